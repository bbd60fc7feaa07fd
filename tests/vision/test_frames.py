"""Boxes and rings around digits go; a 0 stays."""

import cv2
import numpy as np
import pytest

from digit_rnn.vision.box import Box
from digit_rnn.vision.frames import goes_around
from digit_rnn.vision.page import Page
from tests.helpers import Array


def rings(*centres: int) -> Array:
    ink = np.zeros((200, 900), np.float32)
    for x in centres:
        cv2.ellipse(ink, (x, 100), (35, 40), 0, 0, 360, 1, 4)
    return ink


def left_ends(ink: Array) -> list[int]:
    page = Page(ink)
    page.remove_frames()
    return sorted(piece.box.left for piece in page.pieces())


def test_a_box_goes_though_a_digit_reaches_out_of_it() -> None:
    ink = np.zeros((200, 900), np.float32)
    cv2.ellipse(ink, (155, 100), (34, 30), 0, 0, 360, 1, 5)  # a 0, on the right
    cv2.rectangle(ink, (110, 60), (180, 140), 1, 3)
    cv2.rectangle(ink, (210, 60), (280, 140), 1, 3)  # and an empty box
    page = Page(ink)
    page.remove_frames()
    (zero,) = page.pieces()
    assert zero.box == pytest.approx((119, 68, 181, 133), abs=3)


@pytest.mark.parametrize("degrees", [-6, 0, 6])
def test_a_box_that_slopes_goes(degrees: float) -> None:
    ink = np.zeros((200, 900), np.float32)
    corners = cv2.boxPoints(((155, 100), (80, 80), degrees)).astype(np.int32)
    cv2.polylines(ink, [corners], True, 1, 3)
    assert left_ends(ink) == []


def test_a_ring_around_ink_goes_and_an_empty_one_stays() -> None:
    ink = rings(100, 300, 500, 700)
    cv2.line(ink, (100, 75), (100, 125), 1, 4)  # a 1 in the first,
    cv2.line(ink, (300, 95), (300, 105), 1, 4)  # a speck in the second,
    cv2.line(ink, (545, 75), (545, 125), 1, 4)  # and a 1 beside the third
    assert left_ends(ink) == [pytest.approx(left, abs=3) for left in (98, 265, 298, 465, 543, 665)]


def test_a_table_is_no_ring_around_what_is_in_its_cells() -> None:
    ink = np.zeros((200, 900), np.float32)
    for left in (100, 160):
        cv2.rectangle(ink, (left, 60), (left + 60, 140), 1, 3)
        cv2.line(ink, (left + 30, 80), (left + 30, 120), 1, 4)
    labels = cv2.connectedComponents((ink > 0).astype(np.uint8))[1]
    boxes = np.array([(99, 59, 222, 142), (128, 78, 133, 123), (188, 78, 193, 123)])
    assert not goes_around(labels, int(labels[60, 100]), Box(*boxes[0].tolist()), boxes)
    labels[62:139, 155:166] = 0  # without the side between them
    assert goes_around(labels, int(labels[60, 100]), Box(*boxes[0].tolist()), boxes)


def test_what_the_edge_of_the_picture_cuts_is_no_ring() -> None:
    ink = rings(35)
    cv2.line(ink, (35, 75), (35, 125), 1, 4)
    assert left_ends(ink) == [0, pytest.approx(33, abs=3)]


def test_what_is_more_ink_than_hole_is_no_ring() -> None:
    ink = np.zeros((200, 900), np.float32)
    cv2.circle(ink, (120, 100), 60, 1, -1)
    cv2.circle(ink, (120, 100), 32, 0, -1)
    cv2.line(ink, (120, 77), (120, 123), 1, 4)
    assert left_ends(ink) == [60, pytest.approx(118, abs=3)]
