from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from digit_rnn import DigitRNN
from digit_rnn.reporting import figures
from tests.helpers import count_by_hand


def test_confusion_figure_shows_the_counts(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    matrix = count_by_hand(seen[1], seen[2])
    axis = figures.confusion_figure(matrix).axes[0]
    drawn = torch.zeros(10, 10, dtype=torch.long)
    for text in axis.texts:
        predicted, true = (round(place) for place in text.get_position())
        drawn[true, predicted] = int(text.get_text().split()[0])
    assert torch.equal(drawn, matrix)
    shares = axis.images[0].get_array()
    assert shares is not None
    assert shares[4, 9] == pytest.approx(100 * matrix[4, 9].item() / matrix[4].sum().item(), abs=1e-4)


def test_row_by_row_figure_ends_with_the_prediction(seen: tuple[Tensor, Tensor, Tensor], network: DigitRNN) -> None:
    images, _, probabilities = seen
    with torch.no_grad():
        by_row = network.probabilities_by_row(images[:4])
    axes = figures.row_by_row_figure(images[:4], by_row).axes
    for place in range(4):
        picture, heat = axes[2 * place].images[0].get_array(), axes[2 * place + 1].images[0].get_array()
        assert picture is not None
        assert heat is not None
        np.testing.assert_allclose(picture, images[place])
        np.testing.assert_allclose(heat[-1], probabilities[place], atol=1e-5)


def test_animation_adds_a_row_a_frame(seen: tuple[Tensor, Tensor, Tensor], network: DigitRNN, tmp_path: Path) -> None:
    with torch.no_grad():
        figures.row_by_row_animation(seen[0][0], network.probabilities_by_row(seen[0][:1])[0], tmp_path / "reading.gif")
    with Image.open(tmp_path / "reading.gif") as film:
        assert film.n_frames >= 28  # frames that are alike may be joined
    assert (tmp_path / "reading.gif").stat().st_size < 400_000


def test_reliability_figure_shows_accuracy_by_confidence(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    _, labels, probabilities = seen
    bars = figures.reliability_figure(probabilities, labels, 0.01).axes[0].patches
    confidence, predicted = probabilities.max(1)
    inside = (confidence >= 0.5) & (confidence < 0.6)
    share = (predicted == labels)[inside].float().mean().item()
    assert bars[5].get_height() == pytest.approx(share)  # type: ignore[attr-defined]
