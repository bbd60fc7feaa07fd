import copy
import itertools
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer

from digit_rnn import DigitRNN, MNISTDataModule
from tests.conftest import Command

PLAIN = {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0}


def test_logits_are_those_of_the_network_that_was_asked_for() -> None:
    model = DigitRNN("lstm", hidden_size=16, num_layers=2, bidirectional=True, dropout=0.3).eval()
    rnn = model.network.rnn
    assert (rnn.mode, rnn.hidden_size, rnn.num_layers, rnn.bidirectional, rnn.dropout) == ("LSTM", 16, 2, True, 0.3)
    assert model.network.dropout.p == 0.3
    assert DigitRNN(nonlinearity="tanh").network.rnn.mode == "RNN_TANH"
    images = torch.rand(3, 28, 28)
    assert torch.equal(model(images), model.network(images))


def test_default_network_is_the_originals_in_size() -> None:
    assert sum(parameter.numel() for parameter in DigitRNN().parameters()) == 21_514


def test_names_in_a_checkpoint() -> None:
    rnn = [f"network.rnn.{kind}_{place}_l0" for kind in ("weight", "bias") for place in ("ih", "hh")]
    head = ["network.head.weight", "network.head.bias"]
    confidence = [f"confidence.{name}" for name in ("temperature", "whitening", "centers", "outlier_threshold")]
    assert list(DigitRNN().state_dict()) == rnn + head + confidence


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_one_training_step_is_the_one_done_by_hand(nonlinearity: str, root: Path, tmp_path: Path) -> None:
    """Loss, gradients and Adam's update of the first batch, with torch alone beside it."""
    torch.manual_seed(5)
    model = DigitRNN(nonlinearity=nonlinearity, learning_rate=1e-3, epsilon=1e-7, **PLAIN)  # type: ignore[arg-type]
    rnn, head = copy.deepcopy(model.network.rnn), copy.deepcopy(model.network.head)
    data = MNISTDataModule(str(root), augmentations={})
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
            assert (stepped - mine[f"network.{prefix}.{name}"])[clear].abs().max() < 1e-6


def test_learning_rate_rises_then_falls_to_zero(root: Path, tmp_path: Path) -> None:
    model = DigitRNN(learning_rate=1.0, warmup=0.3, schedule="cosine")
    trainer = Trainer(
        max_epochs=1, limit_train_batches=100, accelerator="cpu", logger=False, enable_checkpointing=False,
        limit_val_batches=0, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, data := MNISTDataModule(str(root)))
    assert pickle.loads(pickle.dumps(data)).train_seed == data.train_seed
    factor = trainer.lr_scheduler_configs[0].scheduler.lr_lambdas[0]  # type: ignore[union-attr]
    rates = [factor(step) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 31)
    assert all(a < b for a, b in itertools.pairwise(rates[:31]))
    assert rates[30] == 1.0
    assert rates[65] == pytest.approx(0.5, abs=0.01)
    assert all(a > b for a, b in itertools.pairwise(rates[30:]))
    assert rates[100] == pytest.approx(0)


@pytest.mark.parametrize("options", [{}, {"cell": "lstm"}, {"bidirectional": True, "num_layers": 2}])
def test_probabilities_by_row_are_those_of_the_rows_alone(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = DigitRNN(**options).eval()  # type: ignore[arg-type]
    model.confidence.temperature.fill_(0.7)
    images = torch.rand(3, 28, 28)
    with torch.no_grad():
        by_row = model.probabilities_by_row(images)
        for rows in (1, 2, 15, 28):
            assert torch.allclose(by_row[:, rows - 1], model.probabilities(images[:, :rows]), atol=1e-5)


def test_loss_that_is_not_finite_stops_the_run(command: Command, tmp_path: Path) -> None:
    result = command(
        "fit", "--trainer.max_epochs=4", "--trainer.limit_train_batches=100", "--model.hidden_size=32",
        "--model.learning_rate=1e30", "--trainer.gradient_clip_val=null", "--model.warmup=0",
    )  # fmt: skip
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "is not finite" in result.err
    assert not (tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt").exists()
