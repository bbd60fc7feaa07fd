"""What is left out of a reading, and makes a person look beside it."""

import cv2
import numpy as np
import pytest

from digit_rnn.reading import DigitReader, Reading
from tests.helpers import Array

WIDTH = 800


def sheet(rows: list[tuple[Array, int, int, int]], height: int) -> Array:
    """Rows of digits on paper: their images, how high they are, and where each row begins."""
    page = np.full((height, WIDTH), 235, np.uint8)
    for images, size, left, top in rows:
        for image in images:
            lines, columns = (np.flatnonzero((image > 60).any(axis)) for axis in (1, 0))
            crop = image[lines[0] : lines[-1] + 1, columns[0] : columns[-1] + 1]
            crop = cv2.resize(crop, (max(4, crop.shape[1] * size // len(crop)), size), interpolation=cv2.INTER_CUBIC)
            page[top : top + size, left : left + crop.shape[1]] -= (crop * 0.85).astype(np.uint8)
            left += crop.shape[1] + size // 3
    return page


def doubts(readings: list[Reading]) -> list[str]:
    return [reading.check for reading in readings if reading.check]


@pytest.mark.parametrize("share", [0.2, 0.4])
@pytest.mark.parametrize("upper", [False, True])
def test_a_row_that_the_edge_cuts_is_not_passed_over(share: float, upper: bool, mnist: tuple[Array, Array]) -> None:
    for seed in range(6):
        first, second = mnist[0][10 * seed : 10 * seed + 5], mnist[0][10 * seed + 5 : 10 * seed + 10]
        page = sheet([(first, 60, 100, 90), (second, 60, 100, 300)], 460)
        page = page[90 + round(60 * (1 - share)) :] if upper else page[: 300 + round(60 * share)]
        readings = DigitReader().read(page)
        assert len(readings) >= 3
        assert doubts(readings)


def test_a_digit_that_the_side_cuts_is_not_passed_over(mnist: tuple[Array, Array]) -> None:
    for seed in range(6):
        page = sheet([(mnist[0][5 * seed : 5 * seed + 5], 60, 100, 150)], 400)
        runs = np.flatnonzero(np.diff((page < 150).any(0).astype(int)))  # where ink begins and ends
        last = runs[-2], runs[-1]
        assert doubts(DigitReader().read(page[:, : last[0] + round(0.4 * (last[1] - last[0]))]))


def test_a_digit_that_the_side_cuts_on_ruled_paper_is_read_with_doubt(mnist: tuple[Array, Array]) -> None:
    for start in (0, 15, 20, 30, 40):
        page = sheet([(mnist[0][start : start + 5], 60, 350, 150)], 400)
        runs = np.flatnonzero(np.diff((page < 150).any(0).astype(int)))
        page[::80] = page[1::80] = 120  # lines, with which the page's reading is taken
        last = DigitReader().read(page[:, : runs[-2] + round(0.85 * (runs[-1] - runs[-2]))])[-1]
        assert (last.digit is None, last.check) == (False, "at the edge of the picture")


def test_a_whole_page_within_its_margins_is_without_doubt(mnist: tuple[Array, Array]) -> None:
    images, labels = mnist
    chosen = [images[labels == digit][0] for digit in (2, 3, 5, 6, 8)]
    readings = DigitReader().read(sheet([(np.array(chosen), 60, 100, 90), (np.array(chosen), 60, 100, 300)], 460))
    assert [reading.digit for reading in readings] == [2, 3, 5, 6, 8] * 2
    assert "beside what may be a digit" not in doubts(readings)


@pytest.mark.parametrize("share", [0.2, 0.3])
def test_a_far_smaller_number_is_read_or_makes_a_person_look(share: float, mnist: tuple[Array, Array]) -> None:
    images, labels = mnist
    for start in (0, 45, 162, 216):  # connected ink alone passes over the number of the last two
        large, small = images[start : start + 4], images[start + 4 : start + 9]
        readings = DigitReader().read(sheet([(large, 110, 80, 60), (small, round(110 * share), 500, 380)], 500))
        assert doubts(readings) or [reading.digit for reading in readings] == labels[start : start + 9].tolist()
