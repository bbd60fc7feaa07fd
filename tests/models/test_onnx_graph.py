"""The graph for ONNX answers as the network does."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from digit_rnn import DigitRNN
from digit_rnn.models.onnx_graph import onnx_model
from tests.exported import answers, expected, session

pytest.importorskip("onnx")

KINDS = [("rnn", "tanh"), ("rnn", "relu"), ("gru", "tanh"), ("lstm", "tanh")]


@torch.no_grad()
def calibrated(cell: str, nonlinearity: str, depth: int, both: bool, eleventh: bool) -> DigitRNN:
    """A network in which no two numbers are the same, whose confidence has learnt from some images."""
    torch.manual_seed(0)
    options: Any = {"cell": cell, "nonlinearity": nonlinearity, "num_layers": depth, "bidirectional": both}
    model = DigitRNN(**options, hidden_size=24, dropout=0.5, non_digit_output=eleventh).eval()
    for name, parameter in model.named_parameters():
        if "bias" in name:
            nn.init.uniform_(parameter, -0.3, 0.3)
        elif "weight_hh" in name:
            # A relu's identity never forgets: after 60 rows, float32 itself is off by 1e-5 in logits of hundreds.
            nn.init.uniform_(parameter, -0.2, 0.2)
    images = torch.rand(500, 28, 28)
    features = model.network.features(images)
    model.confidence.fit(features, model.network.classify(features), torch.randint(10, (500,)))
    assert model.confidence.temperature != 1
    return model


@pytest.mark.parametrize(("cell", "nonlinearity"), KINDS)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("eleventh", [False, True])
def test_the_file_answers_as_the_network(
    cell: str, nonlinearity: str, depth: int, both: bool, eleventh: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    model = calibrated(cell, nonlinearity, depth, both, eleventh)
    written = onnx_model(model, {})
    kinds = [node.op_type for node in written.graph.node]
    assert kinds.count(cell.upper()) == depth
    running = session(written.SerializeToString())
    outliers = []
    for rows in (1, 13, 28, 60):
        for batch in (1, 7, 300):
            images = torch.rand(batch, rows, 28)
            wanted, is_outlier, margin = expected(model, images)
            probabilities, found = answers(running, images)
            assert (probabilities.dtype, probabilities.shape) == (np.float32, (batch, 10))
            assert (found.dtype, found.shape) == (np.bool_, (batch,))
            np.testing.assert_allclose(probabilities, wanted, rtol=0, atol=1e-5)
            clear = margin > 1e-4
            assert clear.mean() > 0.9
            assert found[clear].tolist() == is_outlier[clear].tolist()
            outliers += found.tolist()
    assert 0 < sum(outliers) < len(outliers)
    assert capfd.readouterr().err == ""  # the runtime has nothing to complain about


@pytest.mark.parametrize(("cell", "nonlinearity"), KINDS)
@pytest.mark.parametrize("eleventh", [False, True])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_an_outlier(cell: str, nonlinearity: str, eleventh: bool, number: float) -> None:
    """The runtime's cells would make a digit of it."""
    model = calibrated(cell, nonlinearity, 1, False, eleventh)
    images = torch.rand(40, 28, 28)
    before = answers(session(onnx_model(model, {}).SerializeToString()), images)
    images[3, 5, 7] = number
    probabilities, is_outlier = answers(session(onnx_model(model, {}).SerializeToString()), images)
    assert is_outlier[3]
    assert np.isnan(probabilities[3]).all()
    others = np.arange(40) != 3
    np.testing.assert_allclose(probabilities[others], before[0][others], atol=1e-6)
    assert is_outlier[others].tolist() == before[1][others].tolist()


def test_before_it_learns_confidence_finds_every_image_odd() -> None:
    for eleventh in (False, True):
        model = DigitRNN(non_digit_output=eleventh).eval()
        assert answers(session(onnx_model(model, {}).SerializeToString()), torch.rand(5, 28, 28))[1].all()
