"""Print on a form, beside handwriting: row numbers and labels, which are not what was written."""

from collections.abc import Sequence
from itertools import compress

import numpy as np

from digit_rnn.finding.recogniser import BELIEVED, Seen
from digit_rnn.vision import Array, Box
from digit_rnn.vision.page import Page
from digit_rnn.vision.pieces import Piece

FEWEST = 3  # digits of print
SAME = 0.025  # of its height: printed digits are as high as each other, within this or a pixel,
AS_DARK = 0.15  # and as dark, within this share,
SHARE = 0.3  # and at least so many of the digits that are as dark
LETTERS = 0.5  # and at least so many letters as digits: a darker pen's digits stand without
PALER = 0.75  # of print's darkness: as pale as this, at most, is a pen beside it
APART = 2.5  # standard deviations of both, at least, between print's and the pen's darkness


def remove_print(page: Page, pieces: Sequence[Piece], seen: Seen, height: float) -> tuple[float, list[Box]]:
    """Takes print away where there is handwriting, too, of a paler pen.

    Print is known by its digits, which are of one height and darkness, and by its letters.

    Args:
        page: Its lines are away.
        pieces: Its connected ink that may be digits.
        seen: What they are taken for.
        height: Of the digits, printed ones included, in pixels.

    Returns:
        The height of the digits that stay, and where the printed ones were.
    """
    heights = np.array([piece.box.height for piece in pieces])
    is_tall = heights > 0.55 * height
    is_digit, is_letter = seen.is_clear & is_tall, ~((seen.belief > BELIEVED) & is_tall) & (heights > 0.2 * height)
    digits, letters = list(compress(pieces, is_digit)), list(compress(pieces, is_letter))
    if len(digits) < FEWEST + 2 or not letters:
        return height, []
    heights, dark = heights[is_digit], page.traits(digits)[1]
    printed = max((_print_like(heights, dark, each) for each in range(len(digits))), key=np.count_nonzero)
    if not printed.any():
        return height, []
    split = _split(dark, printed)
    if (page.traits(letters)[1] > split).sum() < LETTERS * (dark > split).sum():
        return height, []
    every = page.pieces()
    page.remove(list(compress(every, page.traits(every)[1] > split)))
    boxes = [piece.box for piece in compress(digits, dark > split)]
    return float(np.median(heights[dark < split])), boxes


def _print_like(heights: Array, dark: Array, one: int) -> Array:
    """Which digits are print, if this one is: bool (N,)."""
    same = abs(heights - heights[one]) <= max(SAME * heights[one], 1)
    same &= abs(dark - dark[one]) <= AS_DARK * dark[one]
    split = _split(dark, same)
    pen = dark < split
    if same.sum() < max(FEWEST, SHARE * (~pen).sum()) or pen.sum() < 2:
        return np.zeros_like(same)
    apart = np.median(dark[same]) - dark[pen].mean() > APART * (dark[same].std() + dark[pen].std())
    result: Array = same & apart
    return result


def _split(dark: Array, printed: Array) -> float:
    """The darkness between print and what is much paler, or 0 if there are no two such digits."""
    middle = np.median(dark[printed])
    pen = dark < PALER * middle
    return float(middle + np.median(dark[pen])) / 2 if pen.sum() > 1 else 0.0
