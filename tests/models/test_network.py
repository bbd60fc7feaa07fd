import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from digit_rnn import RowRNN


@pytest.mark.parametrize("seq_len", [1, 2, 13, 28, 60])
def test_logits_are_those_of_keras_formulas(seq_len: int) -> None:
    """SimpleRNN and Dense written out: h = tanh(x W + h U + b), logits = h V + c."""
    rng = np.random.default_rng(seq_len)
    w, u, b = rng.normal(0, 0.2, (28, 128)), np.linalg.qr(rng.normal(size=(128, 128)))[0], rng.normal(0, 0.1, 128)
    v, c = rng.normal(0, 0.2, (128, 10)), rng.normal(0, 0.1, 10)
    model = RowRNN(nonlinearity="tanh")
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
    model = RowRNN()
    assert sum(parameter.numel() for parameter in model.parameters()) == 21_514
    assert isinstance(model.rnn, nn.RNN)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_initial_weights_are_keras_ones(cell: str) -> None:
    torch.manual_seed(0)
    model = RowRNN(cell=cell, nonlinearity="tanh", num_layers=2, bidirectional=True)  # type: ignore[arg-type]
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
    assert torch.equal(RowRNN(nonlinearity="relu").rnn.weight_hh_l0, torch.eye(128))


def test_initial_weights_follow_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return RowRNN().head.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_head_reads_the_last_state_of_each_direction(cell: str, bidirectional: bool) -> None:
    model = RowRNN(cell=cell, num_layers=2, bidirectional=bidirectional).eval()  # type: ignore[arg-type]
    images = torch.rand(3, 28, 28)
    outputs, _ = model.rnn(images)  # (3, 28, directions · 128)
    last = torch.cat([outputs[:, -1, :128], outputs[:, 0, 128:]], dim=1)
    assert torch.allclose(model(images), model.head(last), atol=1e-6)


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
    model = RowRNN(cell, hidden_size=16, num_layers=num_layers, bidirectional=bidirectional)  # type: ignore[arg-type]
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
    model, images = RowRNN().eval(), torch.rand(8, 28, 28)
    on_cpu = model(images)
    assert torch.allclose(model.cuda()(images.cuda()).cpu(), on_cpu, atol=1e-4)
