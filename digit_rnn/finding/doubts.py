"""Why a person should look at what was found: what is beside it, how high it is, and what else the page holds."""

from collections.abc import Sequence

import numpy as np

from digit_rnn.finding.recogniser import Seen
from digit_rnn.finding.row import UNLIKE
from digit_rnn.vision import TOUCHING, Array, Box, Digit

OTHERS = 0.31  # share of clear digits among what is as high as they are, under which a page is one of other things
TALL = 1.25  # times as high as the digits of its row, from which a 1 may be a slash
NEAR = 1.5  # of its height: a stroke no further from a digit may be a 1 beside it


def beside_doubted(found: list[Digit], left_out: Sequence[Box], strokes: Sequence[Box]) -> list[Digit]:
    """Makes digits doubtful that are next to something left out although it may be one.

    Args:
        found: The digits and the marks among them.
        left_out: What may be digits.
        strokes: What may be 1s where digits are near, and elsewhere lines.
    """
    if not found:
        return found
    left, top, right, bottom = np.array([digit.box for digit in found]).T
    doubtful = {
        int((abs(left + right - box.left - box.right) + abs(top + bottom - box.top - box.bottom)).argmin())
        for box in left_out
    }
    for box in strokes:
        apart = np.maximum(left - box.right, box.left - right)
        level = abs(top + bottom - box.top - box.bottom) < box.height
        level &= abs(bottom - top - box.height) < 0.4 * box.height
        beside = np.flatnonzero(level & (apart < NEAR * box.height))
        doubtful.update(beside[apart[beside].argsort()][:1].tolist())
    return [
        digit._replace(doubt=digit.doubt or "beside what may be a digit") if place in doubtful else digit
        for place, digit in enumerate(found)
    ]


def doubted_as(found: Sequence[Digit], others: Sequence[Digit]) -> list[Digit]:
    """Makes digits doubtful that another reading of the same picture doubts, too, but where it parted a whole one."""
    result = []
    for digit in found:
        left, top, right, bottom = digit.box
        same = (
            other.doubt
            for other in others
            if other.doubt != TOUCHING
            and 2 * left < other.box.left + other.box.right < 2 * right
            and 2 * top < other.box.top + other.box.bottom < 2 * bottom
        )
        result.append(digit._replace(doubt=digit.doubt or next(filter(None, same), "")))
    return result


def odd_doubted(found: Sequence[Digit], is_odd: Array) -> list[Digit]:
    """Makes doubtful what the network might take for no digit, bool (N,)."""
    return [
        digit._replace(doubt=digit.doubt or UNLIKE * odd) for digit, odd in zip(found, is_odd.tolist(), strict=True)
    ]


def tall_ones_doubted(found: list[Digit], seen: Seen) -> list[Digit]:
    """Makes 1s doubtful that are far higher than the digits of their row, of which there are three at least."""
    heights: dict[int, list[int]] = {}
    for digit in found:
        if digit.is_digit:
            heights.setdefault(digit.row, []).append(digit.box.height)
    result = []
    for digit, value in zip(found, seen.digit.tolist(), strict=True):
        of_row = heights.get(digit.row, [])
        is_tall = value == 1 and len(of_row) > 2 and digit.box.height > TALL * float(np.median(of_row))
        result.append(digit._replace(doubt=digit.doubt or "perhaps a slash" * is_tall))
    return result


def page_doubted(found: list[Digit], seen: Seen, tall: int) -> list[Digit]:
    """Makes all digits of a page doubtful where few of its marks, or of what is as high, are clear ones.

    1s count half; of what is as high, slices of longer strokes do not count, as those of letters look like digits.

    Args:
        found: The digits and the marks among them.
        seen: What the network takes them for.
        tall: How many things on the page are as high as digits.
    """
    is_digit = np.array([digit.is_digit for digit in found], bool)
    weight = is_digit * np.where(seen.digit == 1, 0.5, seen.is_clear)
    apart = weight[[digit.doubt != TOUCHING for digit in found]]
    if (weight == 1).any() and weight.sum() >= len(found) / 2 and apart.sum() >= OTHERS * tall:
        return found
    return [digit._replace(doubt=digit.doubt or "a page of other things") for digit in found]
