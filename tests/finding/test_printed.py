"""Print on a form: left out where a paler pen wrote beside it, and only there."""

import cv2
import numpy as np
import pytest

from digit_rnn import DigitReader, Reading
from digit_rnn.finding.printed import _print_like
from digit_rnn.reading import text_rows
from digit_rnn.reporting.scores import edit_distance
from tests.helpers import Array


def text_of(readings: list[Reading]) -> str:
    return "".join("".join(text_rows(readings)).split("_"))


def test_digits_of_a_darker_pen_are_read_as_well(mnist: tuple[Array, Array]) -> None:
    reader, random = DigitReader(), np.random.default_rng(3)
    wrong = 0
    for height in (100, 100, 90, 110):  # MNIST's digits are nearly as high as each other, as print is
        page = np.full((400, 900), 240, np.float32)
        places = random.integers(0, 1000, 12)
        for place, index in enumerate(places):
            row, column = divmod(place, 6)
            ink = cv2.resize(mnist[0][index], (height, height), interpolation=cv2.INTER_CUBIC) / 255
            area = np.s_[40 + 170 * row : 40 + 170 * row + height, 60 + 130 * column : 60 + 130 * column + height]
            page[area] += ((30, 150)[row] - page[area]) * ink.clip(0, 1)
        truth = "".join(str(mnist[1][index]) for index in places)
        wrong += edit_distance(truth, text_of(reader.read(page.clip(0, 255).astype(np.uint8))))
    assert wrong <= 4  # of 48


@pytest.mark.parametrize(
    ("heights", "dark", "printed"),
    [
        ([40, 40, 41, 50, 46, 58], [0.7, 0.72, 0.71, 0.4, 0.41, 0.39], 3),
        ([40, 45, 51, 50, 46, 58], [0.7, 0.72, 0.71, 0.4, 0.41, 0.39], 0),  # of several heights
        ([40, 40, 41, 50, 46, 58], [0.7, 0.72, 0.71, 0.6, 0.61, 0.59], 0),  # all as dark
        ([40, 40, 41, 50, 46, 58], [0.7, 0.72, 0.71, 0.2, 0.5, 0.53], 0),  # of any darkness
        ([40, 40, 41, 50, 46, 58], [0.7, 0.72, 0.71, 0.7, 0.71, 0.39], 0),  # one pale digit
        ([40, 40, 41, 50, 55, 61, 67, 74, 33, 36, 45, 50, 46], [0.7] * 11 + [0.4, 0.41], 0),  # among many others
        ([40, 40, 50, 46, 58, 61], [0.7, 0.72, 0.4, 0.41, 0.39, 0.4], 0),  # two as high as each other
    ],
)
def test_print_is_of_one_height_and_darker_than_a_pen(heights: list[int], dark: list[float], printed: int) -> None:
    found = [_print_like(np.array(heights), np.array(dark), each) for each in range(len(heights))]
    assert max(each.sum() for each in found) == printed
