"""Pieces in rows: climbing, falling, beside each other, and with marks between them."""

import pytest

from digit_rnn.vision.box import Box
from digit_rnn.vision.pieces import Piece
from digit_rnn.vision.rows import in_rows, rows_of

HEIGHT = 40


def piece(left: float, top: float, label: int, height: float = HEIGHT, width: float = 25) -> Piece:
    return Piece(Box(int(left), int(top), int(left + width), int(top + height)), label, 300)


def labels(rows: list[list[Piece]]) -> list[list[int]]:
    return [[each.label for each in row] for row in rows]


@pytest.mark.parametrize("climb", [-14, -7, 0, 7, 14])
def test_rows_that_climb_or_fall_stay_apart(climb: int) -> None:
    pieces = [
        piece(60 * place, 300 + 90 * row + climb * place, 10 * row + place) for place in range(8) for row in (1, 0)
    ]
    rows = rows_of(pieces, [True] * len(pieces), HEIGHT)
    assert labels(rows) == [list(range(8)), list(range(10, 18))]


@pytest.mark.parametrize("climb", [-36, 36])
def test_rows_of_a_tilted_page_go_on_behind_wide_gaps_and_stand_in_their_order(climb: int) -> None:
    """What is told from a row without gaps, which each page has."""
    close = [piece(40 * place, 300 + climb * place / 6, place) for place in range(6)]
    wide = [piece(240 * place, 390 + climb * place, 10 + place) for place in range(4)]
    right = [piece(600 + 40 * place, 480 + climb * (2.5 + place / 6), 20 + place) for place in range(2)]
    pieces = [*right, *wide, *close]
    rows = rows_of(pieces, [True] * len(pieces), HEIGHT)
    assert labels(rows) == [list(range(6)), list(range(10, 14)), [20, 21]]
    assert labels(in_rows(pieces, HEIGHT)) == labels(rows)


def test_short_numbers_at_a_slope_from_each_other_are_no_row() -> None:
    upper, lower = [piece(247, 266, 0), piece(281, 264, 1)], [piece(101, 312, 10), piece(139, 302, 11)]
    assert labels(in_rows([*upper, *lower, piece(198, 418, 20), piece(240, 417, 21)], HEIGHT)) == [
        [0, 1],
        [10, 11],
        [20, 21],
    ]


def test_digits_that_stand_loosely_are_one_row_where_nothing_is_above_or_below() -> None:
    pieces = [piece(70 * place, 100 + (30 if place % 2 else 0), place) for place in range(6)]
    assert labels(rows_of(pieces, [True] * 6, HEIGHT)) == [list(range(6))]


def test_marks_join_the_row_beside_them_and_specks_far_away_join_none() -> None:
    digits = [piece(60 * place, 100, place) for place in range(3)]
    comma = piece(88, 130, 7, height=14, width=6)
    speck = piece(600, 400, 8, height=10, width=10)
    rows = rows_of([*digits, comma, speck], [True, True, True, False, False], HEIGHT)
    assert labels(rows) == [[0, 1, 7, 2]]


def test_a_broken_digit_far_from_others_is_a_row_of_its_own() -> None:
    rows = rows_of([piece(0, 0, 0), piece(600, 400, 1)], [True, False], HEIGHT)
    assert labels(rows) == [[0], [1]]


def test_pieces_join_the_nearest_first_so_that_a_broken_digit_at_the_end_stays_in_its_row() -> None:
    digits = [piece(40 * place, 100, place) for place in range(3)]
    ends = [piece(125 + 40 * place, 100, 10 + place, width=38) for place in range(3)]
    rows = rows_of([*digits, *ends], [True] * 3 + [False] * 3, HEIGHT)
    assert labels(rows) == [[0, 1, 2, 10, 11, 12]]


def test_cells_of_a_table_are_one_row_though_they_stand_far_apart() -> None:
    cells = [piece(150 * place, 100, place) for place in range(4)]
    rows = rows_of(cells, [True, True, False, True], HEIGHT)
    assert labels(rows) == [[0, 1, 2, 3]]


def test_the_slices_of_a_stroke_stay_in_its_row() -> None:
    upper = [piece(0, 100, 0), piece(600, 100, 1)]
    two = [piece(300, 104, 2, width=20), piece(320, 144, 3, height=12, width=20)]  # its foot is low
    lower = [piece(0, 152, 4), piece(270, 152, 5), piece(600, 152, 6)]
    pieces = [*upper, *(each._replace(cut_from=9) for each in two), *lower]
    assert labels(rows_of(pieces, [True] * 7, HEIGHT)) == [[0, 2, 3, 1], [4, 5, 6]]
    assert labels(rows_of([*upper, *two, *lower], [True] * 7, HEIGHT)) == [[0, 2, 1], [4, 5, 3, 6]]
