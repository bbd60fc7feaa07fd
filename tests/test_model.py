import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from torch import nn

from digit_rnn import DigitRNN, MNISTDataModule, recurrence

PLAIN = {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0}


@pytest.mark.parametrize("seq_len", [1, 2, 13, 28, 60])
def test_logits_are_those_of_keras_formulas(seq_len: int) -> None:
    """SimpleRNN and Dense written out: h = tanh(x W + h U + b), logits = h V + c."""
    rng = np.random.default_rng(seq_len)
    w, u, b = rng.normal(0, 0.2, (28, 128)), np.linalg.qr(rng.normal(size=(128, 128)))[0], rng.normal(0, 0.1, 128)
    v, c = rng.normal(0, 0.2, (128, 10)), rng.normal(0, 0.1, 10)
    model = DigitRNN(nonlinearity="tanh")
    weights = {
        "rnn.weight_ih_l0": w.T,
        "rnn.weight_hh_l0": u.T,
        "rnn.bias_ih_l0": b,
        "rnn.bias_hh_l0": 0 * b,
        "head.weight": v.T,
        "head.bias": c,
    }
    tensors = {name: torch.tensor(array, dtype=torch.float32) for name, array in weights.items()}
    model.load_state_dict(model.state_dict() | tensors)

    images = rng.random((5, seq_len, 28))
    h = np.zeros((5, 128))
    for t in range(seq_len):
        h = np.tanh(images[:, t] @ w + h @ u + b)
    expected = h @ v + c

    tensor = torch.tensor(images, dtype=torch.float32)
    for mode in (model.train(), model.eval()):
        np.testing.assert_allclose(mode(tensor).detach().numpy(), expected, atol=1e-5)


def test_default_network_is_the_originals_in_size() -> None:
    model = DigitRNN()
    assert sum(parameter.numel() for parameter in model.parameters()) == 21_514
    assert isinstance(model.rnn, nn.RNN)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_initial_weights_are_keras_ones(cell: str) -> None:
    torch.manual_seed(0)
    model = DigitRNN(cell=cell, nonlinearity="tanh", num_layers=2, bidirectional=True)  # type: ignore[arg-type]
    for name, parameter in model.rnn.named_parameters():
        for gate in parameter.split(128):
            if "bias" in name:
                assert not gate.any()
            elif "weight_hh" in name:
                assert torch.allclose(gate @ gate.T, torch.eye(128), atol=1e-5)
            else:
                bound = (6 / (128 + gate.shape[1])) ** 0.5  # Glorot uniform
                assert 0.98 * bound < gate.abs().max() <= bound
                assert gate.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    bound = (6 / (256 + 10)) ** 0.5
    assert 0.98 * bound < model.head.weight.abs().max() <= bound
    assert not model.head.bias.any()


def test_relu_starts_from_the_identity() -> None:
    assert torch.equal(DigitRNN(nonlinearity="relu").rnn.weight_hh_l0, torch.eye(128))


def test_initial_weights_follow_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return DigitRNN().head.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_head_reads_the_last_state_of_each_direction(cell: str, bidirectional: bool) -> None:
    model = DigitRNN(cell=cell, num_layers=2, bidirectional=bidirectional).eval()  # type: ignore[arg-type]
    images = torch.rand(3, 28, 28)
    outputs, _ = model.rnn(images)  # (3, 28, directions · 128)
    last = torch.cat([outputs[:, -1, :128], outputs[:, 0, 128:]], dim=1)
    assert torch.allclose(model(images), model.head(last), atol=1e-6)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("seq_len", [1, 2, 28])
def test_fast_recurrence_is_nn_rnn(nonlinearity: str, seq_len: int, root: Path) -> None:
    torch.manual_seed(0)
    rnn = DigitRNN(nonlinearity=nonlinearity).rnn  # type: ignore[arg-type]
    for bias in (rnn.bias_ih_l0, rnn.bias_hh_l0):
        nn.init.normal_(bias, std=0.1)
    data = MNISTDataModule(str(root))
    data.setup("test")
    images = data.test_set.images[:64, 6 : 6 + seq_len].float() / 255
    direction = torch.randn(64, 128) / 64

    def results(state: torch.Tensor) -> list[torch.Tensor]:
        return [state, *torch.autograd.grad((state * direction).sum(), list(rnn.parameters()))]

    assert recurrence.serves(rnn, images)
    fast = results(recurrence.last_state(rnn, images))
    for ours, theirs in zip(fast, results(rnn(images)[1][0]), strict=True):
        assert (ours - theirs).abs().max() <= 1e-6 * max(1.0, theirs.abs().max().item())


def test_fast_recurrence_leaves_everything_else_to_torch() -> None:
    images = torch.rand(2, 28, 28)
    assert recurrence.serves(DigitRNN().rnn, images)
    assert not recurrence.serves(DigitRNN(num_layers=2).rnn, images)
    assert not recurrence.serves(DigitRNN(bidirectional=True).rnn, images)
    assert not recurrence.serves(DigitRNN(cell="gru").rnn, images)
    assert not recurrence.serves(DigitRNN().rnn.eval(), images)
    assert not recurrence.serves(DigitRNN().rnn, images.requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        assert not recurrence.serves(DigitRNN().rnn, torch.rand(2, 28, 28))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_one_training_step_is_the_one_done_by_hand(nonlinearity: str, root: Path, tmp_path: Path) -> None:
    """Loss, gradients and Adam's update of the first batch, with torch alone beside it."""
    torch.manual_seed(5)
    model = DigitRNN(nonlinearity=nonlinearity, learning_rate=1e-3, epsilon=1e-7, **PLAIN)  # type: ignore[arg-type]
    rnn, head = copy.deepcopy(model.rnn), copy.deepcopy(model.head)
    data = MNISTDataModule(str(root), translation=0, upstroke=0)
    trainer = Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, data)

    data.train_dataloader().sampler.set_epoch(0)  # type: ignore[attr-defined]
    images, labels = next(iter(data.train_dataloader()))
    loss = F.cross_entropy(head(rnn(images.float() / 255)[1][0]), labels)
    loss.backward()
    assert float(trainer.callback_metrics["train_loss"]) == pytest.approx(loss.item(), abs=1e-6)
    mine = dict(model.named_parameters())
    for prefix, module in (("rnn", rnn), ("head", head)):
        for name, parameter in module.named_parameters():
            gradient = parameter.grad
            assert gradient is not None
            m, v = 0.1 * gradient / (1 - 0.9), 0.001 * gradient**2 / (1 - 0.999)
            stepped = parameter - 1e-3 * m / (v.sqrt() + 1e-7)
            # Where a gradient is near epsilon, Adam magnifies its rounding error.
            clear = gradient.abs() > 1e-5
            assert (stepped - mine[f"{prefix}.{name}"])[clear].abs().max() < 1e-6


def test_learning_rate_rises_then_falls_to_zero(root: Path, tmp_path: Path) -> None:
    model = DigitRNN(learning_rate=1.0, warmup=0.3, schedule="cosine")
    trainer = Trainer(
        max_epochs=1, limit_train_batches=100, accelerator="cpu", logger=False, enable_checkpointing=False,
        limit_val_batches=0, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, MNISTDataModule(str(root)))
    factor = trainer.lr_scheduler_configs[0].scheduler.lr_lambdas[0]  # type: ignore[union-attr]
    rates = [factor(step) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 31)
    assert all(a < b for a, b in itertools.pairwise(rates[:31]))
    assert rates[30] == 1.0
    assert rates[65] == pytest.approx(0.5, abs=0.01)
    assert all(a > b for a, b in itertools.pairwise(rates[30:]))
    assert rates[100] == pytest.approx(0)


@settings(max_examples=40, deadline=None)
@given(
    cell=st.sampled_from(["rnn", "gru", "lstm"]),
    num_layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_size=st.integers(1, 70),
    seq_len=st.integers(1, 60),
    training=st.booleans(),
    seed=st.integers(0, 99),
)
def test_logits_do_not_depend_on_the_rest_of_the_batch(
    cell: str, num_layers: int, bidirectional: bool, batch_size: int, seq_len: int, training: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    model = DigitRNN(cell, hidden_size=16, num_layers=num_layers, bidirectional=bidirectional)  # type: ignore[arg-type]
    model.train(training)  # without dropout, training reads as testing does
    images = torch.rand(batch_size, seq_len, 28)
    together = model(images)
    assert together.shape == (batch_size, 10)
    order = torch.randperm(batch_size)
    torch.testing.assert_close(model(images[order]), together[order], rtol=1e-4, atol=1e-4)
    one = int(order[0])
    torch.testing.assert_close(model(images[one : one + 1])[0], together[one], rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_gives_the_same_logits() -> None:
    model, images = DigitRNN().eval(), torch.rand(8, 28, 28)
    on_cpu = model(images)
    assert torch.allclose(model.cuda()(images.cuda()).cpu(), on_cpu, atol=1e-4)
