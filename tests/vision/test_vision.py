"""Pictures made here from MNIST's test digits, as people would photograph, scan and draw them."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digit_rnn import DigitRNN
from digit_rnn.finding import find_digits
from digit_rnn.vision import Box
from tests.helpers import Array, paper

VARIANTS: dict[str, Callable[[Array], Array]] = {
    "as they are": lambda image: image,
    "inverted": lambda image: 255 - image,
    "enlarged": lambda image: cv2.resize(image, (300, 300), interpolation=cv2.INTER_CUBIC),
    "off-centre on paper": lambda image: paper(image, 120, 300, 260, 150, 20),
}


@pytest.mark.parametrize(
    "variant",
    ["as they are", *(pytest.param(name, marks=pytest.mark.slow) for name in list(VARIANTS)[1:])],
)
def test_mnists_own_digits_lose_nothing(variant: str, mnist: tuple[Array, Array], network: DigitRNN) -> None:
    """2,000 test digits: within 0.5 points of the accuracy on the raw tensors."""
    images, labels = mnist[0][:2000], torch.from_numpy(mnist[1][:2000])
    pictures = [find_digits(VARIANTS[variant](image), "digit") for image in images]
    seen = torch.from_numpy(np.stack([found[0].image for found in pictures]))
    with torch.no_grad():
        raw = (network(torch.from_numpy(images) / 255).argmax(1) == labels).float().mean().item()
        read = (network(seen).argmax(1) == labels).float().mean().item()
    assert read >= raw - 0.005


def test_a_digit_is_drawn_as_mnist_would(mnist: tuple[Array, Array]) -> None:
    for image in mnist[0][:50]:
        (found,) = find_digits(paper(image, 150, 300, 260, 100, 30), "digit")
        drawn = found.image
        assert (drawn.shape, drawn.dtype) == ((28, 28), np.float32)
        assert drawn.min() >= 0
        assert drawn.max() == 1
        rows, columns = (np.flatnonzero((drawn > 0.4).any(axis)) for axis in (1, 0))
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 22  # the box of 20
        grid = np.arange(28) + 0.5
        assert (drawn.sum(1) * grid).sum() / drawn.sum() == pytest.approx(14.5, abs=0.2)
        assert (drawn.sum(0) * grid).sum() / drawn.sum() == pytest.approx(14.5, abs=0.2)
        left, top, right, bottom = found.box
        assert 100 <= left < right <= 250
        assert 30 <= top < bottom <= 180


@pytest.mark.parametrize("level", [0, 3, 15])
def test_an_empty_page_holds_nothing(level: int) -> None:
    rng = np.random.default_rng(level)
    assert find_digits(rng.normal(200, level, (300, 200)).clip(0, 255).astype(np.uint8)) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 450),
    height=st.integers(1, 450),
    channels=st.sampled_from([0, 3, 4]),
    seed=st.integers(0, 9),
    levels=st.sampled_from([1, 2, 256]),
)
def test_any_array_gives_digits_or_nothing(width: int, height: int, channels: int, seed: int, levels: int) -> None:
    shape = (height, width, channels) if channels else (height, width)
    array = (np.random.default_rng(seed).integers(0, levels, shape) * (255 // max(levels - 1, 1))).astype(np.uint8)
    for found in find_digits(array):
        assert found.image.shape == (28, 28)
        assert np.isfinite(found.image).all()
        left, top, right, bottom = found.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_a_box_in_a_picture_of_another_size_stays_within_it() -> None:
    for size in (1600, 700, 400):
        for new in range(size + 1, size + 30):
            assert Box(0, 3, size, size).scaled((size, size), (new, new))[2:] == (new, new)
    assert Box(10, 20, 30, 41).scaled((100, 100), (50, 200)) == (5, 40, 15, 82)
    assert Box(11, 20, 31, 41).scaled((100, 100), (50, 50)) == (5, 10, 16, 21)
