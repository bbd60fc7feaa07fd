"""The way to see ink in which a network believes most."""

import numpy as np

from digit_rnn.finding.recogniser import Recogniser
from digit_rnn.vision.ink import local_ink
from digit_rnn.vision.load import Array, reduced
from digit_rnn.vision.page import Page

TRIAL_SIDE = 700  # pixels to which a picture is reduced where the best way to see ink is sought
WANTED = 48  # pixels of a digit's height at which a page is read
SHARES = (1 / 30, 1 / 12, 1 / 4)  # of the picture's side: the widest strokes and blots that may be ink
RULES = (0.1, 0.008, 0.25)  # of the picture's side: length and thickness of ruled lines, and what they span
BRIGHT = 170  # lightness of paper on which no ink is lighter
MOST = 160  # pieces that are tried to judge a way to see ink


def best_ink(lightness: Array, recogniser: Recogniser) -> tuple[Page, float]:
    """The page, uint8 (H, W), seen in the best way; and the height of its digits, in pixels, or 0 if there are none."""
    small = reduced(lightness, TRIAL_SIDE)
    side = max(small.shape)
    best = (0.0, 0.0, 0.0, False, False)
    for light in (False, True)[: 1 + (np.median(small) < BRIGHT)]:
        for share in SHARES:
            page = _page(small, share, light)
            best = max(best, (*_belief(page, recogniser, light), share, light, False))
            if page.pieces(RULES[2] * side):
                page.remove_lines(*(side * each for each in RULES))
                best = max(best, (*_belief(page, recogniser, light), share, light, True))
    score, height, share, light, ruled = best
    if not score:
        return Page(np.zeros_like(lightness, np.float32)), 0.0
    side = min(max(round(side * WANTED / height), TRIAL_SIDE // 2), max(lightness.shape))
    page = _page(reduced(lightness, side), share, light)
    if ruled:
        page.remove_lines(*(side * each for each in RULES))
    return page, height * side / max(small.shape)


def _page(lightness: Array, share: float, light: bool) -> Page:
    page = Page(*local_ink(lightness, share, light))
    page.remove_frames()
    return page


def _belief(page: Page, recogniser: Recogniser, light: bool) -> tuple[float, float]:
    """How much of a page's connected ink is taken for digits, and their height.

    Ones count little, as any scratch is one, and together at most half of what the others do. Light ink counts
    by its share of digits, as the edges of shadows and the paper between strokes would be some, too.
    """
    side = max(page.strokes.shape)
    pieces = [p for p in page.pieces(9, 0.7 * side) if p.box.height >= 8 and 0.03 < p.box.width / p.box.height < 2.2]
    pieces = sorted(pieces, key=lambda piece: -piece.area)[:MOST]
    if not pieces:
        return 0.0, 0.0
    seen = recogniser.see([page.drawn([piece])[1] for piece in pieces])
    weight = np.where(seen.belief > 0.8, seen.belief, 0)
    is_one = seen.digit == 1
    ones, others = weight[is_one].sum(), weight[~is_one].sum()
    weight[is_one] *= min(0.2, 0.5 * max(others, 1) / max(ones, 1))
    if not weight.any():
        return 0.0, 0.0
    heights = np.array([piece.box.height for piece in pieces])
    order = heights.argsort()
    total = weight[order].cumsum()
    height = float(heights[order][np.searchsorted(total, total[-1] / 2)])  # the weighted median
    alike = (heights > 0.5 * height) & (heights < 2 * height)
    clear = float((weight > 0).mean()) if light else 1.0
    return float(weight[alike].sum()) * clear, height
