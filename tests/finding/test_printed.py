"""Print on a form: left out where a paler pen wrote beside it, and only there."""

import numpy as np
import pytest

from digit_rnn import DigitReader, Reading
from digit_rnn.finding.printed import _print_like
from digit_rnn.reading import text_rows
from digit_rnn.reporting.scores import edit_distance
from tests.helpers import Array
from tests.pages import make_page


def text_of(readings: list[Reading]) -> str:
    return "".join("".join(text_rows(readings)).split("_"))


def test_printed_numbers_beside_handwriting_are_not_read(mnist: tuple[Array, Array]) -> None:
    reader = DigitReader()
    wrong = count = 0
    for seed in (9, 10, 11):
        page = make_page("form", seed, *mnist)
        readings = reader.read(page.picture)
        first = min(left for left, *_ in page.boxes)
        assert not any(reading.box.right < first for reading in readings)  # the numbers stand on the left
        assert sum(reading.check == "beside what may be a digit" for reading in readings) >= 2
        wrong += edit_distance("".join(page.rows), text_of(readings))
        count += sum(map(len, page.rows))
    assert wrong <= 0.1 * count


def test_digits_of_two_pens_are_all_read(mnist: tuple[Array, Array]) -> None:
    upper, lower = (make_page("rows", seed, *mnist) for seed in (0, 2))
    height, width = (min(page.picture.shape[axis] for page in (upper, lower)) for axis in (0, 1))
    dark = upper.picture[:height, :width]
    pale = 255 - (255 - lower.picture[:height, :width].astype(float)) * 0.5
    pale += dark.max() - pale.max()
    readings = DigitReader().read(np.concatenate([dark, pale.clip(0, 255).astype(np.uint8)]))
    boxes = [box for page in (upper, lower) for box in page.boxes if box[2] < width and box[3] < height]
    assert len(readings) >= 0.9 * len(boxes)


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
