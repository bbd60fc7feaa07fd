"""Words of a row: marks beside each other, of which most are digits, or which are left out."""

from collections.abc import Sequence
from typing import NamedTuple

from digit_rnn.vision.load import Array
from digit_rnn.vision.segment import Box

BELIEVED = 0.5  # probability from which a piece is taken for a digit
LIKELY = 0.75  # the same, with some doubt
STRONG = 0.9  # and with little
MAJORITY = 0.4  # of a word's marks, by belief: with fewer digits it is something else
SPACE = 0.8  # digit heights between words


class Mark(NamedTuple):
    """A part of a row."""

    box: Box
    image: Array
    is_digit: bool
    digit: int
    belief: float
    doubt: str


def words_of(marks: Sequence[Mark], height: float) -> list[Mark]:
    """Leaves out words in which less than half is digits, and marks that stand apart from digits."""
    words: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda mark: mark.box.left):
        if words and mark.box.left - max(m.box.right for m in words[-1]) < SPACE * height:
            words[-1].append(mark)
        else:
            words.append([mark])
    company = sum(mark.belief > LIKELY and mark.digit != 1 for mark in marks if mark.is_digit)
    kept: list[Mark] = []
    for word in words:
        digits = [mark for mark in word if mark.is_digit]
        only_ones = all(mark.digit == 1 for mark in digits)  # any scratch is one
        needed = (LIKELY if only_ones else BELIEVED) if company > 1 else (STRONG if only_ones else LIKELY)
        if (
            sum(mark.belief for mark in digits) < MAJORITY * sum(_is_tall(mark, height) for mark in word)
            or max((mark.belief for mark in digits), default=0) < needed
        ):
            continue
        for mark in word:
            if mark.is_digit or not kept or kept[-1].is_digit:  # one placeholder for marks beside each other
                kept.append(mark)
    return kept


def _is_tall(mark: Mark, height: float) -> bool:
    """Whether a mark is as high as a letter; the rest of a line is not."""
    return mark.is_digit or mark.box.bottom - mark.box.top > 0.45 * height


def size_of(box: Box) -> int:
    """The longer side, in pixels."""
    return max(box.right - box.left, box.bottom - box.top)
