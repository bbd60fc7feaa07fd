"""The choice between one digit, a few and a page; what the edge cuts."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from digit_rnn.errors import OptionError, PictureError
from digit_rnn.finding import find_digits, pretrained_finder
from digit_rnn.finding.finder import _as_good, _with_marks, _worth
from digit_rnn.finding.recogniser import STRONG, Seen
from digit_rnn.finding.row import UNLIKE
from digit_rnn.reading import DigitReader, text_rows
from digit_rnn.vision import TOUCHING, Box, Digit
from tests.helpers import Array, line, paper
from tests.pages import make_page

IMAGE = np.zeros((28, 28), np.float32)


def test_a_stroke_that_the_edge_cuts_is_a_mark_beside_a_digit(mnist: tuple[Array, Array]) -> None:
    zero = mnist[0][np.flatnonzero(mnist[1] == 0)[0]]
    picture = line([zero], gap=60)
    cv2.line(picture, (2, 0), (14, picture.shape[0]), 0, 9)
    found = find_digits(picture)
    (read,) = text_rows(DigitReader().read(picture))
    assert read.replace("_", "") == "0"
    assert sum(digit.is_digit for digit in found) == 1


def test_a_lone_stroke_is_doubtful_where_the_page_holds_something_else(mnist: tuple[Array, Array]) -> None:
    picture = np.full((560, 800), 250, np.uint8)
    picture[20:540, 500:512] = 60
    pale = np.kron(mnist[0][11], np.ones((4, 4))) / 255  # beside the line, plain ink does not see it
    picture[200:312, 100:212] = 250 * (1 - 0.2 * pale)
    (found,) = find_digits(picture)
    assert found.doubt == UNLIKE


def test_touching_zeros_are_parted(mnist: tuple[Array, Array]) -> None:
    digits, labels = mnist
    for first in range(3):
        zeros = digits[np.flatnonzero(labels == 0)[first : first + 3]]
        crops = [image[:, np.flatnonzero(image.any(0))[0] : np.flatnonzero(image.any(0))[-1] + 1] for image in zeros]
        joined = np.concatenate([np.pad(digits[0], ((0, 0), (0, 12))), *crops], 1)
        picture = cv2.resize(255 - np.pad(joined, 14), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        (read,) = text_rows(DigitReader().read(picture))
        assert read == "7000"


@pytest.mark.parametrize("count", [3, 4, 6])
def test_a_number_in_a_ring_is_read_and_the_ring_is_no_0(mnist: tuple[Array, Array], count: int) -> None:
    images, labels = mnist
    chosen = [images[labels == digit][0] for digit in (7, 2, 1, 0, 4, 9)[:count]]
    row = np.pad(cv2.resize(np.hstack(chosen), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), 60)
    height, width = row.shape
    cv2.ellipse(row, (width // 2, height // 2), (width // 2 - 8, height // 2 - 8), 3, 0, 360, 255, 5, cv2.LINE_AA)
    readings = DigitReader().read(np.pad(255 - row, 100, constant_values=255))
    (text,) = text_rows(readings)
    assert text.strip("_") == "721049"[:count]


def test_operators_between_digits_that_stand_apart_are_marks(mnist: tuple[Array, Array]) -> None:
    picture = line([image for image, label in zip(*mnist, strict=True) if label in (2, 7)][:4], gap=50)
    for left in (110, 370):  # a minus after the first digit and after the third
        cv2.line(picture, (left + 5, 100), (left + 40, 100), 0, 7)
    (read,) = text_rows(DigitReader().read(picture))
    assert read == "7_27_7"


@pytest.mark.parametrize(("count", "is_doubtful"), [(3, False), (6, True)])
def test_three_digits_do_not_tell_which_way_up_they_are(
    count: int, is_doubtful: bool, mnist: tuple[Array, Array]
) -> None:
    digits = {int(label): image for image, label in zip(*mnist, strict=True)}
    found = find_digits(line([digits[label] for label in (6, 4, 9, 6, 4, 9)[:count]], gap=50)[::-1, ::-1])
    assert any(digit.doubt == "perhaps upside down" for digit in found) == is_doubtful


def test_what_the_network_takes_for_none_is_a_mark_among_several() -> None:
    found = [Digit(0, place, Box(40 * place, 5, 40 * place + 20, 45), IMAGE, "") for place in range(5)]
    size = (300, 60)
    seen = Seen(np.array([1, 5, 1, 7, 8]), np.array([0.8, 0.3, 0.8, 0.95, 0.95]), np.array([0.1, 0.6, 0.1, 0, 0]))
    plain = np.zeros(5, bool)
    marks = _with_marks(found, seen, plain, size)  # the first is a stroke at the left edge
    assert [mark.is_digit for mark in marks] == [False, False, True, True, True]
    assert [mark.doubt for mark in marks] == ["no digit", "no digit", "", "", ""]
    surer = seen._replace(belief=np.full(5, 0.95))
    for is_odd in (plain, ~plain):
        assert _with_marks(found, surer, is_odd, size)[0].is_digit == (not is_odd.any())
    assert _with_marks(found, seen._replace(no_digit=np.full(5, 0.9)), plain, size) == found
    few = _with_marks(found, seen._replace(belief=np.full(5, 0.8)), plain, size)  # no digit is clear among marks
    assert [mark.doubt for mark in few] == ["no digit"] * 2 + ["a page of other things"] * 3


def test_doubtful_1s_are_worth_nothing_and_other_digits_are() -> None:
    doubts = ("", TOUCHING, UNLIKE, TOUCHING)  # a 1 may be cut from a longer stroke, or be the end of a ring
    found = [Digit(0, place, Box(0, 0, 9, 9), IMAGE, doubt) for place, doubt in enumerate(doubts)]
    seen = Seen(np.array([1, 1, 1, 3]), np.ones(4), np.zeros(4))
    assert _worth(found, seen) == pytest.approx(0.4 + 0 + 0 + 1)


def test_connected_ink_is_taken_unless_it_has_lost_a_digit() -> None:
    assert _as_good(9.8, 10)
    assert not _as_good(9.6, 10)
    assert _as_good(55.1, 55.5)
    assert not _as_good(54.9, 55.5)  # of many digits, too, this is one
    assert not _as_good(0, 0)


@pytest.mark.parametrize(
    ("corners", "pen"),
    [([(70, 70), (170, 70), (170, 170), (70, 170)], 6), ([(120, 60), (180, 180), (60, 180)], 9)],
    ids=["box", "triangle"],
)
def test_a_box_or_a_triangle_alone_is_no_0_without_doubt(corners: list[tuple[int, int]], pen: int) -> None:
    picture = np.full((240, 240), 235, np.uint8)
    cv2.polylines(picture, [np.array(corners, np.int32)], True, 40, pen, cv2.LINE_AA)
    assert all(reading.check for reading in DigitReader().read(picture))


def test_pictures_are_searched_together_as_one_by_one(mnist: tuple[Array, Array], tmp_path: Path) -> None:
    single = [paper(mnist[0][place], 120, 300, 260, 60, 40) for place in range(4)]
    pages = [make_page(kind, 3, *mnist).picture for kind in ("rows", "empty")]
    (tmp_path / "bad.png").write_bytes(b"")
    cross = np.full((200, 200), 255, np.uint8)
    cv2.line(cross, (60, 60), (140, 140), 0, 8)
    cv2.line(cross, (140, 60), (60, 140), 0, 8)
    assert all(digit.doubt for digit in find_digits(cross))  # by what the network says of it, not of the digits before
    sources: list[Any] = [single[0], tmp_path / "bad.png", pages[0], *single[1:], cross, line(mnist[0][:3]), pages[1]]
    found = pretrained_finder().find_each(sources)
    error = found.pop(1)
    assert isinstance(error, PictureError)
    assert len(found) == 8
    for together, source in zip(found, sources[:1] + sources[2:], strict=True):
        assert isinstance(together, list)
        alone = find_digits(source)
        assert [digit._replace(image=IMAGE) for digit in together] == [digit._replace(image=IMAGE) for digit in alone]
        assert all((one.image == other.image).all() for one, other in zip(together, alone, strict=True))
    assert [len(digits) for digits in found[:1] + found[2:5] if isinstance(digits, list)] == [1] * 4
    assert pretrained_finder().find_each([]) == []


def test_a_layout_that_there_is_not_is_refused(mnist: tuple[Array, Array]) -> None:
    with pytest.raises(OptionError, match="layout 'page': expected auto, digit, digits"):
        find_digits(255 - mnist[0][0], "page")  # type: ignore[arg-type]


def test_one_narrow_digit_that_is_not_clear_is_kept_and_doubted(mnist: tuple[Array, Array]) -> None:
    doubted = 0
    for image in mnist[0][:200]:
        picture = paper(image, 160, 300, 300, 70, 70)
        (digit,) = find_digits(picture)
        seen = pretrained_finder().recogniser.see([digit.image])
        if seen.no_digit[0] > pretrained_finder().recogniser.odd and not seen.belief[0] > STRONG:
            doubted += 1
            assert digit.doubt == UNLIKE
    assert doubted > 0


@pytest.mark.parametrize("large", [1, 5])
def test_a_digit_far_larger_than_the_others_makes_its_neighbour_doubtful(
    large: int, mnist: tuple[Array, Array]
) -> None:
    digits = {int(label): image for image, label in zip(*mnist, strict=True)}
    page = np.full((420, 900), 255, np.uint8)
    for place, label in enumerate((2, 3, 5, 6, 8)):
        small = cv2.resize(digits[label], (56, 56), interpolation=cv2.INTER_CUBIC)
        page[340:396, 60 + 70 * place : 116 + 70 * place] -= small
    page[20:300, 500:780] -= cv2.resize(digits[large], (280, 280), interpolation=cv2.INTER_CUBIC)
    readings = DigitReader().read(page)
    assert [reading.digit for reading in readings] == [2, 3, 5, 6, 8]
    assert [bool(reading.check == "beside what may be a digit") for reading in readings] == [False] * 4 + [True]


def test_a_digit_of_a_far_paler_pen_makes_its_neighbour_doubtful(mnist: tuple[Array, Array]) -> None:
    digits = {int(label): image for image, label in zip(*mnist, strict=True)}
    page = np.full((420, 900), 220.0)
    for label, x, y, ink in ((2, 60, 60, 1), (3, 130, 60, 1), (5, 200, 60, 1), (8, 270, 60, 1), (6, 60, 250, 0.35)):
        image = cv2.resize(digits[label], (56, 56), interpolation=cv2.INTER_AREA)
        page[y : y + 56, x : x + 56] *= 1 - 0.8 * ink * image / 255
    readings = DigitReader().read(page.astype(np.uint8))
    assert [reading.digit for reading in readings] == [2, 3, 5, 8]
    assert "beside what may be a digit" in {reading.check for reading in readings}


def test_what_the_edge_of_a_large_picture_cuts_is_doubtful(mnist: tuple[Array, Array]) -> None:
    three = next(image for image, label in zip(*mnist, strict=True) if label == 3)
    rows, columns = np.flatnonzero(three.any(1)), np.flatnonzero(three.any(0))
    tight = 255 - three[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for size, layout, doubt in ((700, "auto", "at the edge of the picture"), (700, "digit", ""), (300, "auto", "")):
        picture = cv2.resize(tight, (size * tight.shape[1] // len(tight), size), interpolation=cv2.INTER_CUBIC)
        (found,) = find_digits(picture, layout)  # type: ignore[arg-type]
        assert found.doubt == doubt


@pytest.mark.parametrize("side", [pytest.param(45, marks=pytest.mark.slow), 70])
def test_more_digits_than_are_read_are_all_doubtful(side: int, mnist: tuple[Array, Array]) -> None:
    rows = [np.concatenate(list(mnist[0][side * row : side * (row + 1)]), 1) for row in range(side)]
    readings = DigitReader().read(255 - np.concatenate(rows))
    assert 0 < len(readings) < side * side
    assert all(reading.check for reading in readings)
