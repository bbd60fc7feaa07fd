"""Why a person should look at what was found: what is beside it, how high it is, and what else the page holds."""

from collections.abc import Sequence

import numpy as np

from digit_rnn.finding.recogniser import Seen
from digit_rnn.finding.row import UNLIKE
from digit_rnn.vision import TOUCHING, Array, Box, Digit

OTHERS = 0.31  # share of clear digits among what is as high as they are, under which a page is one of other things
TALL = 1.25  # times as high as the digits of its row, from which a 1 may be a slash
BEYOND = 0.04  # heights of its row's digits by which a slash ends above and below its neighbours
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
    return [digit.doubted("beside what may be a digit" * (place in doubtful)) for place, digit in enumerate(found)]


def doubted_as(found: Sequence[Digit], others: Sequence[Digit]) -> list[Digit]:
    """Makes digits doubtful that another reading of the same picture doubts, too, but where it parted a whole one."""
    result = []
    for digit in found:
        same = (other.doubt for other in others if other.doubt != TOUCHING and digit.box.holds(other.box))
        result.append(digit.doubted(next(filter(None, same), "")))
    return result


def lost_doubted(found: list[Digit], others: Sequence[Digit]) -> list[Digit]:
    """Makes digits doubtful next to which another reading of the same picture has a digit that is in none of them."""
    theirs = [other.box for other in others if other.is_digit]
    lost = [box for box in theirs if not any(digit.box.holds(box) for digit in found)]
    return beside_doubted(found, lost, [])


def odd_doubted(found: Sequence[Digit], is_odd: Array) -> list[Digit]:
    """Makes doubtful what the network might take for no digit (``is_odd``, bool (N,))."""
    return [digit.doubted(UNLIKE * odd) for digit, odd in zip(found, is_odd.tolist(), strict=True)]


def ones_doubted(found: list[Digit], seen: Seen) -> list[Digit]:
    """Makes 1s doubtful that may be other strokes: slashes in a row, and rows of nothing else, as staples are.

    A slash is far higher than the digits of its row, of which there are three at least, or ends above and below both
    of its neighbours.
    """
    rows: dict[int, list[int]] = {}
    for place, digit in enumerate(found):
        if digit.is_digit:
            rows.setdefault(digit.row, []).append(place)
    count = sum(map(len, rows.values()))
    reasons: dict[int, str] = {}
    for row in rows.values():
        ones = [place for place in row if seen.digit[place] == 1]
        if len(ones) == len(row) < count:
            reasons |= dict.fromkeys(ones, "perhaps lines")
        boxes = [found[place].box for place in row]
        slashes = [here for here, place in enumerate(row) if place in ones and _may_be_slash(boxes, here)]
        reasons |= {row[here]: "perhaps a slash" for here in slashes}
    return [digit.doubted(reasons.get(place, "")) for place, digit in enumerate(found)]


def _may_be_slash(row: Sequence[Box], here: int) -> bool:
    """Whether a stroke is far higher than its row, or ends above and below its neighbours on both sides."""
    if len(row) < 3:
        return False
    box, height = row[here], float(np.median([box.height for box in row]))
    beside = row[here - 1 : here + 2 : 2] if 0 < here < len(row) - 1 else []
    beyond = [min(each.top - box.top, box.bottom - each.bottom) > BEYOND * height for each in beside]
    return box.height > TALL * height or (bool(beyond) and all(beyond))


def turned_doubted(found: list[Digit], is_clear: Array, turned: Array) -> list[Digit]:
    """Makes all digits doubtful of which more would be clear upside down; other doubts come of that.

    Args:
        found: The digits and the marks among them.
        is_clear: Which of them are clear digits, bool (N,).
        turned: Which are when they are turned by a half, bool (N,).
    """
    if turned.sum() <= is_clear.sum():
        return found
    return [digit._replace(doubt="perhaps upside down") if digit.is_digit else digit for digit in found]


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
    return [digit.doubted("a page of other things") for digit in found]
