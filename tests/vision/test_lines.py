"""Lines that are straight, climb or bend go; the strokes of digits stay."""

import cv2
import numpy as np
import pytest

from digit_rnn.vision.lines import lines_across
from tests.helpers import Array, line


def drawn(slope: float, bend: float, thickness: int = 2) -> Array:
    """A line across an empty page, uint8 (300, 900)."""
    x = np.arange(900)
    y = 150 + slope * (x - 450) + bend * ((x - 450) / 450) ** 2
    page = np.zeros((300, 900), np.uint8)
    points = np.stack([x, y], 1).round().astype(np.int32)
    cv2.polylines(page, [points], False, 1, thickness)
    return page


@pytest.mark.parametrize(("slope", "bend"), [(0, 0), (0.013, 0), (-0.07, 0), (0.2, 0), (-0.29, 0), (0, 25), (0.1, -30)])
def test_lines_of_any_slope_and_bend_are_found(slope: float, bend: float) -> None:
    page = drawn(slope, bend)
    found, thickness = lines_across(page, page.astype(np.float32), page, 100, 8)
    assert found.sum() > 0.95 * page.sum()
    assert 1 <= thickness <= 4


def test_digits_on_a_line_keep_their_strokes(mnist: tuple[Array, Array]) -> None:
    ink = (line(list(mnist[0][:7])) < 128).astype(np.uint8)
    rule = np.zeros_like(ink)
    cv2.line(rule, (0, 122), (ink.shape[1], 128), 1, 2)
    page = ink | rule
    found, _ = lines_across(page, page.astype(np.float32), page, 150, 8)
    assert found[(rule > 0) & (ink == 0)].mean() > 0.95
    assert found[ink > 0].mean() < 0.04


def test_strokes_of_digits_are_no_lines(mnist: tuple[Array, Array]) -> None:
    ink = (line(list(mnist[0][:40])) < 128).astype(np.uint8)
    found, thickness = lines_across(ink, ink.astype(np.float32), ink, 150, 8)
    assert not found.any()
    assert thickness == 0


@pytest.mark.parametrize("slope", [0, 0.03])
def test_a_darker_stroke_that_lies_on_a_line_stays(slope: float) -> None:
    rule, bar = np.zeros((300, 900), np.float32), np.zeros((300, 900), np.float32)
    cv2.line(rule, (0, 100), (899, round(100 + 899 * slope)), 0.25, 2)
    cv2.line(bar, (400, round(100 + 400 * slope)), (470, round(100 + 470 * slope)), 0.7, 3)
    darkness = np.maximum(rule, bar)
    page = (darkness > 0).astype(np.uint8)
    found, _ = lines_across(page, darkness, page, 150, 8)
    assert not found[bar > 0].any()
    assert found[page > 0].sum() > 0.95 * (page[bar == 0] > 0).sum()


def test_empty_page() -> None:
    empty = np.zeros((50, 60), np.uint8)
    assert lines_across(empty, empty.astype(np.float32), empty, 20, 3) == (pytest.approx(empty), 0)
