"""Dividers of combs and sides of boxes go; 1s stay."""

import cv2
import numpy as np
import pytest

from digit_rnn.vision.page import Page
from tests.helpers import Array

HEIGHT = 60  # of digits


def tall_ink(ink: Array) -> list[int]:
    """Where what is high stands, from the left, once lines and posts are away."""
    page = Page(ink)
    page.remove_lines(1.9 * HEIGHT, 10, 1.5 * HEIGHT)
    page.remove_posts(HEIGHT)
    return sorted(piece.box.left for piece in page.pieces(0.4 * HEIGHT) if piece.box.height > 0.4 * HEIGHT)


def stroke(ink: Array, x: int, top: int, bottom: int, lean: int = 0) -> None:
    cv2.line(ink, (x, bottom), (x + lean, top), 1, 4)


@pytest.mark.parametrize("step", [70, 95])
def test_the_teeth_of_an_open_comb_go(step: int) -> None:
    ink = np.zeros((200, 800), np.float32)
    cv2.line(ink, (30, 150), (30 + 7 * step, 150), 1, 4)
    for place in range(8):
        stroke(ink, 30 + place * step, 115, 150)
    stroke(ink, 30 + step // 2, 70, 130, lean=8)  # a 1
    assert tall_ink(ink) == [pytest.approx(30 + step // 2, abs=3)]


@pytest.mark.parametrize("uneven", ["height", "distance"])
def test_1s_on_a_line_are_no_teeth(uneven: str) -> None:
    ink = np.zeros((200, 800), np.float32)
    cv2.line(ink, (30, 150), (770, 150), 1, 4)
    places = (60, 150, 265, 330, 480) if uneven == "distance" else (60, 150, 240, 330, 420)
    for x, lower in zip(places, (0, 12, -6, 20, -12), strict=True):
        stroke(ink, x, 90 + (lower if uneven == "height" else 0), 150)
    assert tall_ink(ink) == [pytest.approx(x, abs=3) for x in places]


def test_the_sides_of_one_wide_box_go_and_a_1_in_it_stays() -> None:
    ink = np.zeros((200, 800), np.float32)
    cv2.rectangle(ink, (40, 50), (740, 150), 1, 4)
    stroke(ink, 300, 62, 138)
    assert tall_ink(ink) == [pytest.approx(300, abs=3)]


def test_a_box_close_below_hides_no_side() -> None:
    ink = np.zeros((300, 800), np.float32)
    for left, top in ((120, 20), (40, 132)):
        cv2.rectangle(ink, (left, top), (left + 600, top + 100), 1, 4)
    assert tall_ink(ink) == []


def test_the_sides_of_boxes_under_each_other_go() -> None:
    ink = np.zeros((500, 800), np.float32)
    for top in (20, 180, 340):
        cv2.rectangle(ink, (40, top), (740, top + 100), 1, 4)
        cv2.line(ink, (20, top), (60, top), 1, 4)  # lines that go on past the corners
        cv2.line(ink, (20, top + 100), (60, top + 100), 1, 4)
    assert tall_ink(ink) == []


def test_1s_that_end_before_the_lines_stay() -> None:
    ink = np.zeros((200, 800), np.float32)
    for y in (40, 160):
        cv2.line(ink, (20, y), (780, y), 1, 4)
    for x in (100, 200, 300, 400):
        stroke(ink, x, 54, 146)
    assert tall_ink(ink) == [pytest.approx(x, abs=3) for x in (100, 200, 300, 400)]
