"""Short lines down: the dividers of tables and combs, and the sides of boxes."""

from collections.abc import Sequence

import cv2
import numpy as np

from digit_rnn.vision.box import Box
from digit_rnn.vision.lines import lines_down
from digit_rnn.vision.load import Array
from digit_rnn.vision.pieces import Piece


def posts_between(binary: Array, darkness: Array, across: Array, height: float, thickest: float) -> Array:
    """Pixels of short lines down between lines across, but where strokes cross: three or more alike, or sides of boxes.

    Args:
        binary: uint8 (H, W), 1 for ink.
        darkness: float32 (H, W), how much darker than the paper it is.
        across: uint8 (H, W), the lines across.
        height: Of the digits, in pixels.
        thickest: Pixels of their thickness at most.

    Returns:
        uint8 (H, W).
    """
    found = lines_down(binary, darkness, binary, round(0.85 * height), thickest)
    reach = max(1, round(0.6 * height))  # of digits that cross them
    whole = cv2.morphologyEx(np.pad(found, reach), cv2.MORPH_CLOSE, np.ones((reach, 1), np.uint8))
    whole = np.ascontiguousarray(whole[reach:-reach, reach:-reach])
    through = cv2.dilate(across, np.ones((3, round(0.4 * height) | 1), np.uint8))  # where posts cross them, too
    whole[through > 0] = 0
    near = cv2.dilate(through, np.ones((round(0.16 * height) | 1, 1), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=8)
    posts = {
        label: Box(x, y, x + w, y + h)
        for label, (x, y, w, h, _) in enumerate(stats.tolist())
        if label and near[y, x : x + w].any() and near[y + h - 1, x : x + w].any()
    }
    left, top, _, bottom = np.array(list(posts.values()), int).reshape(-1, 4).T
    x, y, tall = (abs(each[:, None] - each) < 0.3 * height for each in (left, top, bottom - top))
    is_post = (tall & (x | y)).sum(1) > 2  # 1s may be two
    chosen = [
        label
        for (label, box), each in zip(posts.items(), is_post, strict=True)
        if each or _is_side(box, across, round(0.5 * height))
    ]
    return found & np.isin(labels, chosen).astype(np.uint8)


def _is_side(box: Box, across: Array, reach: int) -> bool:
    """Whether a line down is the side of a box: lines across go from both its ends to the same side, and no further."""
    near = [across[max(0, end - reach // 4) : end + reach // 4] for end in (box.top, box.bottom)]
    before = [rows[:, max(0, box.left - reach) : max(0, box.left - reach // 3)].any() for rows in near]
    after = [rows[:, box.right + reach // 3 : box.right + reach].any() for rows in near]
    return (all(before) and not any(after)) or (all(after) and not any(before))


def teeth_of(pieces: Sequence[Piece], across: Array, height: float, thickest: float) -> list[Piece]:
    """The teeth of combs: strokes that end on a line across, four or more as high and as far apart as each other.

    Args:
        pieces: Of the size of teeth.
        across: uint8 (H, W), the lines across.
        height: Of the digits, in pixels.
        thickest: Pixels of their thickness at most.
    """
    near = cv2.dilate(across, np.ones((round(0.16 * height) | 1, round(0.4 * height) | 1), np.uint8))
    thin = [piece for piece in pieces if piece.box.width <= min(thickest, piece.box.height / 2)]
    ends = [near[(piece.box.top, piece.box.bottom - 1), piece.box.left : piece.box.right].any() for piece in thin]
    standing = [piece for piece, each in zip(thin, ends, strict=True) if each]
    teeth: set[Piece] = set()
    for piece in standing:
        alike = [
            each
            for each in standing
            if abs(each.box.height - piece.box.height) <= max(2, 0.1 * piece.box.height)
            and abs(each.box.bottom - piece.box.bottom) < height
        ]
        gaps = np.array([abs(each.box.left - piece.box.left) for each in alike if each != piece], float)
        steps = gaps / max(gaps.min(initial=np.inf), 1)
        if len(gaps) > 2 and (abs(steps - steps.round()) < 0.12).all():
            teeth.update(alike)
    return sorted(teeth)
