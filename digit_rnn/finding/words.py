"""Words of a row: marks beside each other, of which most are digits, or which are left out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from digit_rnn.finding.recogniser import BELIEVED, LIKELY, STRONG
from digit_rnn.vision.box import Box
from digit_rnn.vision.load import Array

MAJORITY = 0.4  # of a word's marks, by belief: with fewer digits it is something else
LOW = 0.85  # of the row's digits: letters of a label are often lower
SPACE = 0.8  # digit heights between words


class Mark(NamedTuple):
    """A part of a row."""

    box: Box
    image: Array
    is_digit: bool
    digit: int
    belief: float
    doubt: str


def words_of(marks: Sequence[Mark], height: float, in_company: bool) -> list[Mark]:
    """Leaves out words that are no numbers, but for a placeholder where a number stands close by.

    Args:
        marks: Of a row.
        height: Of its digits, in pixels.
        in_company: Whether the page holds many clear digits: then less belief is needed.
    """
    in_row = sum(mark.belief > LIKELY and mark.digit != 1 for mark in marks if mark.is_digit) > 1
    in_company = in_company or in_row
    kept: list[Mark] = []
    for phrase in phrases(marks, height):
        words = _words(phrase, height)
        whole = _is_number([m for m in phrase if _is_tall(m, height)], height, in_row, in_company)
        numbers = [whole or _is_number(word, height, in_row, in_company) for word in words]
        if not any(numbers):
            continue
        perhaps = "perhaps letters" * _may_be_letters(phrase, height)
        for word, is_number in zip(words, numbers, strict=True):
            for mark in word:
                if mark.is_digit and is_number:
                    kept.append(mark._replace(doubt=mark.doubt or perhaps))
                elif not kept or kept[-1].is_digit:  # one placeholder for marks beside each other
                    kept.append(mark._replace(is_digit=False, doubt="no digit"))
    return kept


def phrases(marks: Sequence[Mark], height: float) -> list[list[Mark]]:
    """Marks between which there is no wide space."""
    phrases: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda mark: mark.box.left):
        if phrases and mark.box.left - max(m.box.right for m in phrases[-1]) < SPACE * height:
            phrases[-1].append(mark)
        else:
            phrases.append([mark])
    return phrases


def _words(phrase: Sequence[Mark], height: float) -> list[list[Mark]]:
    """Parts a phrase at low marks, such as commas and operators, each of which is a word of its own."""
    words: list[list[Mark]] = []
    joins = False
    for mark in phrase:
        tall = _is_tall(mark, height)
        if tall and joins:
            words[-1].append(mark)
        else:
            words.append([mark])
        joins = tall
    return words


def _is_number(word: Sequence[Mark], height: float, in_row: bool, in_company: bool) -> bool:
    """Whether most of a word is digits; a digit that stands alone has to be clear, and so has a stroke.

    Among letters, a 0 that is lower than the row's digits counts less: it may be an o.
    """
    digits = [mark for mark in word if mark.is_digit]
    only_ones = all(mark.digit == 1 for mark in digits)  # any scratch is one
    needed = (LIKELY if in_row else STRONG) if only_ones else (BELIEVED if in_company else LIKELY)
    has_letters = len(digits) < len(word)
    believed = sum(
        mark.belief * (math.exp(log_size(0, mark.box.height / height)) if has_letters and mark.digit == 0 else 1)
        for mark in digits
    )
    return bool(digits) and believed >= MAJORITY * len(word) and max(mark.belief for mark in digits) >= needed


def _may_be_letters(phrase: Sequence[Mark], height: float) -> bool:
    """Whether digits that look like letters stand alone, and lower than their row's, such as the ID of a form."""
    digits = [mark for mark in phrase if mark.is_digit]
    low = max((mark.box.height for mark in digits), default=0) < LOW * height
    return low and len(digits) > 1 and all(mark.digit in (0, 1) for mark in digits)


def log_size(digit: int, tall: float) -> float:
    """How likely a digit is so many times as high as its row's digits: 0, or less."""
    spread = {0: 0.4, 1: 0.28}.get(digit, 0.35) if tall < 1 else 0.35  # many write low 0s; a low 1 is rather a comma
    return -0.5 * (math.log(tall) / spread) ** 2


def _is_tall(mark: Mark, height: float) -> bool:
    """Whether a mark is as high as a letter; operators, commas and the rest of a line are not."""
    needed = 0.5 if mark.box.width < 0.25 * height else 0.3
    return mark.is_digit or mark.box.height > needed * height
