from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from digit_rnn import MNISTDataModule, RowRNN
from digit_rnn.models.recurrence import last_state, supports


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("seq_len", [1, 2, 28])
def test_fast_recurrence_is_nn_rnn(nonlinearity: str, seq_len: int, root: Path) -> None:
    torch.manual_seed(0)
    rnn = RowRNN(nonlinearity=nonlinearity).rnn  # type: ignore[arg-type]
    for bias in (rnn.bias_ih_l0, rnn.bias_hh_l0):
        nn.init.normal_(bias, std=0.1)
    data = MNISTDataModule(str(root))
    data.setup("test")
    images = data.test_set.images[:64, 6 : 6 + seq_len].float() / 255
    direction = torch.randn(64, 128) / 64

    def results(state: torch.Tensor) -> list[torch.Tensor]:
        return [state, *torch.autograd.grad((state * direction).sum(), list(rnn.parameters()))]

    assert supports(rnn, images)
    fast = results(last_state(rnn, images))
    for ours, theirs in zip(fast, results(rnn(images)[1][0]), strict=True):
        assert (ours - theirs).abs().max() <= 1e-6 * max(1.0, theirs.abs().max().item())


def test_fast_recurrence_leaves_everything_else_to_torch() -> None:
    images = torch.rand(2, 28, 28)
    assert supports(RowRNN().rnn, images)
    assert not supports(RowRNN(num_layers=2).rnn, images)
    assert not supports(RowRNN(bidirectional=True).rnn, images)
    assert not supports(RowRNN(cell="gru").rnn, images)
    assert not supports(RowRNN().rnn.eval(), images)
    assert not supports(RowRNN().rnn, images.requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        assert not supports(RowRNN().rnn, torch.rand(2, 28, 28))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_gradients_are_those_of_small_differences(nonlinearity: str) -> None:
    torch.manual_seed(4)
    rnn = nn.RNN(5, 4, nonlinearity=nonlinearity, batch_first=True, dtype=torch.float64)
    images = torch.rand(3, 6, 5, dtype=torch.float64)
    names, parameters = zip(*rnn.named_parameters(), strict=True)

    def state(*values: torch.Tensor) -> torch.Tensor:
        same: Any = SimpleNamespace(**dict(zip(names, values, strict=True)), mode=rnn.mode)
        return last_state(same, images)

    if nonlinearity == "relu":  # no argument so near the kink that a small difference would cross it
        states = torch.cat([torch.zeros(3, 1, 4, dtype=torch.float64), rnn(images)[0]], dim=1)
        w, u, b, c = parameters
        arguments = images @ w.T + b + states[:, :-1] @ u.T + c
        assert arguments.abs().min() > 1e-3
        assert 0.2 < (arguments > 0).double().mean() < 0.8
    assert torch.autograd.gradcheck(state, parameters)
