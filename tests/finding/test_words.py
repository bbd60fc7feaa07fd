"""Numbers among letters and operators: what is kept, what becomes a placeholder, what is left out."""

import numpy as np
import pytest

from digit_rnn.finding.words import Mark, log_size, words_of
from digit_rnn.vision.box import Box

HEIGHT = 40
IMAGE = np.zeros((28, 28), np.float32)


def marks(text: str, belief: float = 0.95) -> list[Mark]:
    """Digits, letters, which are as high, low operators, and wide spaces."""
    row = []
    for place, sign in enumerate(text):
        left, low = 30 * place, sign in "-=,"
        box = Box(left, 15 if low else 0, left + 20, 22 if low else HEIGHT)
        if sign.isdigit():
            row.append(Mark(box, IMAGE, True, int(sign), belief, ""))
        elif sign != " ":
            row.append(Mark(box, IMAGE, False, 8, 0.05, "no digit"))
    return row


def text(kept: list[Mark]) -> str:
    return "".join(str(mark.digit) if mark.is_digit else "_" for mark in kept)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("2468", "2468"),
        ("24-68", "24_68"),
        ("x-y=3", "_3"),  # a number between operators stands for itself
        ("3x-4y=5", "3_4_5"),
        ("12,50", "12_50"),
        ("letters", ""),
        ("number  25", "25"),
        ("24-2abc", "24_2_"),  # most of it is digits
        ("abcdef2", ""),  # a letter that looks like a digit
        ("1", "1"),
        ("", ""),
    ],
)
def test_numbers_are_kept(row: str, expected: str) -> None:
    assert text(words_of(marks(row), HEIGHT, in_company=False)) == expected


@pytest.mark.parametrize(("belief", "in_company", "expected"), [(0.6, False, ""), (0.6, True, "2"), (0.8, False, "2")])
def test_a_lone_digit_needs_less_belief_on_a_page_of_digits(belief: float, in_company: bool, expected: str) -> None:
    assert text(words_of(marks("2", belief), HEIGHT, in_company)) == expected


def test_what_becomes_a_placeholder_is_no_digit() -> None:
    kept = words_of(marks("25abc1def"), HEIGHT, in_company=False)
    assert text(kept) in ("25_", "")
    assert all(mark.doubt == "no digit" for mark in kept if not mark.is_digit)


@pytest.mark.parametrize(("height", "expected"), [(22, ""), (HEIGHT, "_00_")])
def test_a_low_0_among_letters_is_an_o(height: int, expected: str) -> None:
    row = marks("f00d")
    row = [mark._replace(box=mark.box._replace(bottom=height)) if mark.is_digit else mark for mark in row]
    assert text(words_of(row, HEIGHT, in_company=True)) == expected


@pytest.mark.parametrize(
    ("row", "height", "doubt"), [("10", 30, "perhaps letters"), ("10", 38, ""), ("12", 30, ""), ("0", 30, "")]
)
def test_low_digits_that_look_like_letters_are_doubtful(row: str, height: int, doubt: str) -> None:
    found = [mark._replace(box=mark.box._replace(bottom=height)) for mark in marks(row)]
    kept = words_of(found, HEIGHT, in_company=True)
    assert text(kept) == row
    assert {mark.doubt for mark in kept} == {doubt}


def test_a_low_0_is_likelier_than_another_low_digit_and_a_low_1_less_likely() -> None:
    assert log_size(0, 0.5) > log_size(6, 0.5) + 0.4
    assert log_size(1, 0.5) < log_size(6, 0.5) - 0.4
    assert log_size(0, 1.5) == log_size(1, 1.5) == log_size(6, 1.5)
    assert log_size(0, 1) == 0
