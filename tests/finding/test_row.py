"""Digits that run into each other."""

import cv2
import numpy as np

from digit_rnn.reading import DigitReader, text_rows
from tests.helpers import Array, trimmed


def test_zeros_with_a_side_in_common_are_two(mnist: tuple[Array, Array]) -> None:
    images, labels = mnist
    seven, five, zeros = images[labels == 7][0], images[labels == 5][0], images[labels == 0]
    gap = np.zeros((84, 24), np.uint8)
    reader = DigitReader()
    for place in (0, 1, 10, 11, 23):
        zero = trimmed(zeros[place])
        pair = np.zeros((84, 2 * zero.shape[1] - 8), np.uint8)
        pair[:, : zero.shape[1]] = zero
        pair[:, -zero.shape[1] :] |= zero
        row = np.hstack([gap, trimmed(seven), gap, pair, gap, trimmed(five), gap])
        readings = reader.read(np.pad(255 - row, ((100, 100), (60, 400)), constant_values=255))
        assert text_rows(readings) == ["7005"]
        assert [reading.check for reading in readings if reading.digit == 0] == ["touching"] * 2


def test_wide_digits_that_would_be_cut_into_several_slices_stay_whole(mnist: tuple[Array, Array]) -> None:
    images, labels = mnist
    seven, five = trimmed(images[labels == 7][0]), trimmed(images[labels == 5][0])
    gap = np.zeros((84, 24), np.uint8)
    reader = DigitReader()
    for nine in images[labels == 9][:10]:
        wide = cv2.resize(trimmed(nine), None, fx=1.8, fy=1)
        row = np.hstack([gap, seven, gap, wide, gap, five, gap])
        readings = reader.read(np.pad(255 - row, ((100, 100), (60, 400)), constant_values=255))
        assert [reading.digit for reading in readings if reading.digit is not None] == [7, 9, 5]
