"""Digits found on made-up pages of every kind of paper, pen and camera that ``tests.pages`` knows."""

import numpy as np
import pytest

from digit_rnn import DigitReader
from digit_rnn.finding import find_digits
from digit_rnn.reading import text_rows
from digit_rnn.reporting.scores import edit_distance
from tests.helpers import Array, line
from tests.pages import KINDS, Page, make_page

EMPTY = ("empty", "empty_ruled", "empty_edge", "only_letters", "only_print", "only_crosses", "scribble", "texture")
# Print beside digits, digits in each other, one digit among many lines, rings that touch their digit or each other.
HARD = ("words", "touching", "lone_squared", "circled")


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader()


def mistakes(reader: DigitReader, page: Page) -> tuple[int, int]:
    """How many digits are wrong, missing or too many, at most all, as reports count; and how many there are."""
    read = "".join(character for row in text_rows(reader.read(page.picture)) for character in row if character != "_")
    count = len("".join(page.rows))
    return min(edit_distance("".join(page.rows), read), count), count


def test_most_digits_are_read_on_every_other_kind_of_page(reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    kinds = [kind for kind in KINDS if kind not in (*EMPTY, *HARD)][::2]
    wrong, count = map(sum, zip(*(mistakes(reader, make_page(kind, 7, *mnist)) for kind in kinds), strict=True))
    assert count > 200
    assert wrong < 0.12 * count


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in EMPTY])
def test_each_kind_has_its_bound(kind: str, reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    pages = 12 if KINDS[kind].get("digits") == (1, 1) else 4
    found = [mistakes(reader, make_page(kind, seed, *mnist)) for seed in range(20, 20 + pages)]
    wrong, count = map(sum, zip(*found, strict=True))
    assert wrong < (0.6 if kind in HARD else 0.35) * count


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in ("empty", "only_print"))) for kind in EMPTY]
)
def test_nothing_is_read_without_doubt_where_nothing_is_written(
    kind: str, reader: DigitReader, mnist: tuple[Array, Array]
) -> None:
    for seed in range(3):
        assert all(reading.check for reading in reader.read(make_page(kind, seed, *mnist).picture))


@pytest.mark.parametrize(
    ("kind", "seed"), [("only_letters", 1000), ("only_letters", 2029), ("only_print", 1004), ("only_crosses", 1002)]
)
def test_what_looks_like_a_digit_among_other_things_is_doubtful(
    kind: str, seed: int, reader: DigitReader, mnist: tuple[Array, Array]
) -> None:
    readings = reader.read(make_page(kind, seed, *mnist).picture)
    assert any(reading.digit is not None for reading in readings)
    assert all(reading.check for reading in readings)


@pytest.mark.parametrize("kind", ["columns", "ruled", "narrow"])
def test_digits_of_a_page_that_is_upside_down_are_doubtful(
    kind: str, reader: DigitReader, mnist: tuple[Array, Array]
) -> None:
    for seed in (71, 72):
        picture = make_page(kind, seed, *mnist).picture
        assert "perhaps upside down" not in {reading.check for reading in reader.read(picture)}
        turned = reader.read(np.ascontiguousarray(np.rot90(picture, 2)))
        assert {reading.check for reading in turned if reading.digit is not None} == {"perhaps upside down"}


@pytest.mark.parametrize(("kind", "seed"), [("boxes", 2001), ("boxes", 2009), ("wide", 2012)])
def test_a_digit_that_is_left_out_makes_its_neighbour_doubtful(
    kind: str, seed: int, reader: DigitReader, mnist: tuple[Array, Array]
) -> None:
    page = make_page(kind, seed, *mnist)
    readings = reader.read(page.picture)
    assert sum(reading.digit is not None for reading in readings) < len(page.boxes)
    assert "beside what may be a digit" in {reading.check for reading in readings}


@pytest.mark.parametrize(("kind", "most"), [("lone_ruled", 7), ("lone_squared", 5)])
def test_a_digit_alone_is_found_among_the_lines_of_its_paper(
    kind: str, most: int, reader: DigitReader, mnist: tuple[Array, Array]
) -> None:
    pages = [make_page(kind, seed, *mnist) for seed in range(300, 308)]
    whole = 0
    for page in pages:
        readings = reader.read(page.picture)
        right = [row.replace("_", "") for row in text_rows(readings)] == page.rows
        assert right or not readings or any(reading.check for reading in readings)
        whole += right
    assert whole >= most


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *(("tilted", seed) for seed in (23, 25, 40, 65)),  # wide gaps
        *(("lone_ruled", seed) for seed in (203, 212, 233)),  # a shadow's edge, as light ink
        *(("lone_squared", seed) for seed in (252,)),  # line pieces, as 1s
        *(("lone_squared", seed) for seed in (258, 259)),  # lines, as connected ink
        *(("stained", seed) for seed in (217, 231)),  # a stroke on a stain
        *(("two_pens", seed) for seed in (40, 43, 45)),  # the paler pen's rows, left out
        *(("circled", seed) for seed in (43, 48)),  # rings, as 0s
        *(("dark_corners", seed) for seed in (42,)),  # the light, as a 0
        *(("labels", seed) for seed in (40, 45)),  # letters, as connected ink, and o
        *(("open_comb", seed) for seed in (42, 48)),  # teeth, as 1s
        *(("blanks", seed) for seed in (43, 45)),  # lines under digits, as parts of them
        *(("fields", seed) for seed in (40, 44)),  # sides of boxes, as 1s
        *(("thick_comb", seed) for seed in (47, 702)),  # thick lines
        *(("commas", seed) for seed in (807,)),  # commas, as digits
        *(("tight_boxes", seed) for seed in (42, 49)),  # a box and the digit that reaches out of it, as one
    ],
)
def test_what_once_misled_the_finder(kind: str, seed: int, reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    page = make_page(kind, seed, *mnist)
    assert [row.replace("_", "") for row in text_rows(reader.read(page.picture))] == page.rows


@pytest.mark.parametrize("start", [0, 60])
def test_digits_beside_something_far_darker_are_read(
    start: int, reader: DigitReader, mnist: tuple[Array, Array]
) -> None:
    rows = [line(list(mnist[0][place : place + 5]), gap=40) for place in (start, start + 5)]
    ink = 1 - np.concatenate(rows) / 255
    page = np.pad((200 * (1 - 0.25 * ink)).astype(np.uint8), 200, constant_values=200)
    page[:, np.flatnonzero((page < 195).any(0)).max() + 30 :] = 20  # the table, beyond the sheet's edge
    assert text_rows(reader.read(page)) == [
        "".join(map(str, mnist[1][place : place + 5])) for place in (start, start + 5)
    ]


def test_an_empty_box_among_others_is_no_0(reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    page = make_page("boxes", 700, *mnist)
    assert text_rows(reader.read(page.picture)) == page.rows == ["2469195"]


def test_shades_of_empty_paper_are_no_pale_ink(reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    assert reader.read(make_page("empty", 735, *mnist).picture) == []


def test_what_stands_low_at_the_end_of_a_row_is_a_mark(reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    page = make_page("rows", 701, *mnist)  # its last digit is a 5 in two pieces, the lower like a comma
    assert text_rows(reader.read(page.picture)) == ["7909243_"]


def test_digits_that_hang_on_bold_boxes_are_not_lost_with_them(reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    page = make_page("thick_comb", 800, *mnist)
    rows = text_rows(reader.read(page.picture))
    assert [len(row) for row in rows] == [len(row) for row in page.rows]
    pairs = zip("".join(rows), "".join(page.rows), strict=True)
    assert all(read in (written, "_") for read, written in pairs)


def test_boxes_stand_where_the_digits_are(mnist: tuple[Array, Array]) -> None:
    page = make_page("rows", 3, *mnist)
    found = [digit for digit in find_digits(page.picture) if digit.is_digit]
    assert [len(row) for row in page.rows] == [
        sum(digit.row == row for digit in found) for row in range(len(page.rows))
    ]
    for digit, (left, top, right, bottom) in zip(found, page.boxes, strict=True):
        x, y = (digit.box.left + digit.box.right) / 2, (digit.box.top + digit.box.bottom) / 2
        assert left < x < right
        assert top < y < bottom


def test_marks_between_digits_have_a_place_in_the_text(reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    pages = [make_page("operators", seed, *mnist) for seed in range(4)]
    marks = [reading for page in pages for reading in reader.read(page.picture) if reading.digit is None]
    assert len(marks) >= 4
    assert all(reading.check == "no digit" and reading.confidence == 0 for reading in marks)
    assert any("_" in row.strip("_") for page in pages for row in text_rows(reader.read(page.picture)))


def test_printed_numbers_beside_handwriting_are_not_read(reader: DigitReader, mnist: tuple[Array, Array]) -> None:
    wrong = count = 0
    for seed in (2, 7, 9):
        page = make_page("form", seed, *mnist)
        readings = reader.read(page.picture)
        first = min(left for left, *_ in page.boxes)
        assert not any(reading.box.right < first for reading in readings)  # the numbers stand on the left
        assert sum(reading.check == "beside what may be a digit" for reading in readings) >= 2
        mistaken, written = mistakes(reader, page)
        wrong, count = wrong + mistaken, count + written
    assert wrong <= 0.1 * count
