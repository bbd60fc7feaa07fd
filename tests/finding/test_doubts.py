"""A number that is read with a digit too few or too many is flagged; reasons to look at single digits."""

import cv2
import numpy as np
import pytest

from digit_rnn.finding.doubts import beside_doubted, doubted_as, ones_doubted, turned_doubted
from digit_rnn.finding.recogniser import Seen
from digit_rnn.reading import DigitReader
from digit_rnn.vision import TOUCHING, Box, Digit
from tests.helpers import Array, trimmed

IMAGE = np.zeros((28, 28), np.float32)
HEIGHT = 160  # pixels of a row, of which a digit takes 84


def row_of(boxes: list[Box], doubts: list[str] | None = None) -> list[Digit]:
    """Digits of one row."""
    return [
        Digit(0, place, box, IMAGE, doubt)
        for place, (box, doubt) in enumerate(zip(boxes, doubts or [""] * len(boxes), strict=True))
    ]


def number(images: Array, random: np.random.Generator) -> list[Array]:
    """The digits of a number, as MNIST has them: each by another writer with another pen."""
    gap = np.zeros((84, int(random.integers(10, 30))), np.uint8)
    return [part for image in images for part in (trimmed(image), gap)]


@pytest.mark.parametrize("with_slash", [False, True])
@pytest.mark.parametrize("seed", [*range(100, 107), 110])  # 106 is decided by the page's reading, 110 by connected ink
def test_a_number_with_a_digit_too_few_or_too_many_is_flagged(
    mnist: tuple[Array, Array], seed: int, with_slash: bool
) -> None:
    images, labels = mnist
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(labels), int(random.integers(4, 9)))
    chosen[1:3] = random.choice(np.flatnonzero(labels == 1), 2)  # a thin pen's 1 might be taken for a line
    row = np.pad(np.hstack(number(images[chosen], random)), ((38, 38), (0, 0)))
    if with_slash:
        width, height = random.uniform(30, 90), random.uniform(1.2, 1.9) * 84
        slash = np.zeros((HEIGHT, 120), np.uint8)
        ends = [(int(15 + side * width), int(HEIGHT / 2 + (0.5 - side) * height)) for side in (0, 1)]
        cv2.line(slash, *ends, 255, int(random.integers(7, 12)), cv2.LINE_AA)
        row = np.hstack([row, slash])
    readings = DigitReader().read(np.pad(255 - row, ((60, 60), (60, 300)), constant_values=255))
    digits = [reading for reading in readings if reading.digit is not None]
    assert len(digits) >= len(chosen) - 2
    assert len(digits) == len(chosen) or any(reading.check for reading in readings)


def test_a_number_that_loses_a_thin_1_is_flagged(mnist: tuple[Array, Array]) -> None:
    gap = np.zeros((84, 23), np.uint8)
    places = (6246, 2747, 5865, 4517, 4719, 8490, 6137, 1627)  # 20021089; the 1 is far thinner than the others
    row = np.hstack([part for place in places for part in (trimmed(mnist[0][place]), gap)])
    readings = DigitReader().read(np.pad(255 - row, ((98, 98), (60, 300)), constant_values=255))
    assert len(readings) < len(places)
    assert any(reading.check for reading in readings)


def test_the_digit_beside_what_is_left_out_is_doubtful() -> None:
    found = row_of([Box(100 * place, 0, 100 * place + 20, 40) for place in range(3)])
    doubted = beside_doubted(found, [Box(130, 0, 150, 40)], [])
    assert [digit.doubt for digit in doubted] == ["", "beside what may be a digit", ""]
    assert beside_doubted([], [Box(0, 0, 1, 1)], [Box(0, 0, 1, 1)]) == []


@pytest.mark.parametrize(
    ("stroke", "doubtful"),
    [
        (Box(40, 2, 44, 40), 0),  # a 1 between the digits
        (Box(140, 0, 144, 44), 1),
        (Box(200, 0, 204, 40), None),  # far away
        (Box(40, 40, 44, 80), None),  # below the row
        (Box(40, -30, 44, 70), None),  # a line down
        (Box(40, 30, 44, 42), None),  # a comma
    ],
)
def test_a_thin_stroke_that_is_left_out_is_a_reason_where_it_may_be_a_1(stroke: Box, doubtful: int | None) -> None:
    doubted = beside_doubted(row_of([Box(0, 0, 20, 40), Box(100, 0, 120, 40)]), [], [stroke])
    assert [place for place, digit in enumerate(doubted) if digit.doubt] == ([] if doubtful is None else [doubtful])


@pytest.mark.parametrize(("height", "is_doubtful"), [(45, False), (55, True)])
def test_a_1_that_is_far_higher_than_its_row_may_be_a_slash(height: int, is_doubtful: bool) -> None:
    found = row_of([Box(0, 0, 20, 40), Box(30, 0, 50, 42), Box(60, 0, 70, height)])
    doubted = ones_doubted(found, Seen(np.array([3, 0, 1]), np.ones(3), np.zeros(3)))
    assert [digit.doubt for digit in doubted] == ["", "", "perhaps a slash" * is_doubtful]


@pytest.mark.parametrize(("top", "bottom", "is_doubtful"), [(-3, 43, True), (-3, 39, False), (1, 43, False)])
def test_a_1_that_ends_above_and_below_its_neighbours_may_be_a_slash(top: int, bottom: int, is_doubtful: bool) -> None:
    found = row_of([Box(0, 0, 20, 40), Box(30, top, 40, bottom), Box(50, 0, 70, 40)])
    doubted = ones_doubted(found, Seen(np.array([3, 1, 0]), np.ones(3), np.zeros(3)))
    assert [digit.doubt for digit in doubted] == ["", "perhaps a slash" * is_doubtful, ""]
    at_the_end = ones_doubted(found[1:], Seen(np.array([1, 0]), np.ones(2), np.zeros(2)))
    assert not any(digit.doubt for digit in at_the_end)


def test_a_row_of_1s_is_doubtful_beside_other_rows() -> None:
    found = [digit._replace(row=row) for row in (0, 1) for digit in row_of([Box(0, 0, 9, 40), Box(30, 0, 39, 40)])]
    doubted = ones_doubted(found, Seen(np.array([1, 1, 1, 7]), np.ones(4), np.zeros(4)))
    assert [digit.doubt for digit in doubted] == ["perhaps lines"] * 2 + [""] * 2
    assert not any(digit.doubt for digit in ones_doubted(found[:2], Seen(np.ones(2, int), np.ones(2), np.zeros(2))))


def test_one_digit_beside_a_1_says_too_little_of_how_high_it_may_be() -> None:
    found = row_of([Box(0, 0, 20, 40), Box(60, 0, 70, 80)])
    assert not any(d.doubt for d in ones_doubted(found, Seen(np.array([3, 1]), np.ones(2), np.zeros(2))))


def test_what_another_reading_doubts_is_doubtful_but_not_where_it_has_cut() -> None:
    boxes = [Box(0, 0, 20, 40), Box(30, 0, 50, 40), Box(60, 0, 80, 40)]
    others = row_of([Box(1, 1, 19, 41), Box(31, 0, 50, 42), Box(90, 0, 99, 40)], ["odd", TOUCHING, "odd"])
    assert [digit.doubt for digit in doubted_as(row_of(boxes), others)] == ["odd", "", ""]


def test_digits_that_are_clearer_upside_down_are_doubtful() -> None:
    found = row_of([Box(30 * place, 0, 30 * place + 20, 40) for place in range(4)], ["", TOUCHING, "", "no digit"])
    found[3] = found[3]._replace(is_digit=False)
    fewer, more = (np.arange(4) < clear for clear in (2, 3))
    doubts = [digit.doubt for digit in turned_doubted(found, fewer, more)]
    assert doubts == ["perhaps upside down"] * 3 + ["no digit"]
    assert turned_doubted(found, more, more) == turned_doubted(found, more, fewer) == found
