"""Boxes and rings around digits."""

from collections.abc import Sequence

import numpy as np

from digit_rnn.vision.load import Array
from digit_rnn.vision.pieces import Piece

INSIDE = 0.35  # of its height, at least, is what a ring goes around


def frames_of(labels: Array, pieces: Sequence[Piece]) -> Array:
    """The four sides of those pieces that are boxes, but not what is in them: uint8 (H, W)."""
    frames = np.zeros(labels.shape, np.uint8)
    for piece in pieces:
        box, band = piece.box, max(2, round(0.14 * min(piece.box.width, piece.box.height)))
        around_one = 0.5 < piece.box.width / piece.box.height < 1.8  # a longer box, or a table, is lines
        if not around_one or min(piece.box.width, piece.box.height) < 12:
            continue
        area = np.s_[box.top : box.bottom, box.left : box.right]
        own = labels[area] == piece.label
        sides = own[:band].any(0), own[-band:].any(0), own[:, :band].any(1), own[:, -band:].any(1)
        if min(side.mean() for side in sides) > 0.93:
            own[band:-band, band:-band] = False
            frames[area][own] = 1
    return frames


def rings_of(labels: Array, pieces: Sequence[Piece]) -> list[Piece]:
    """Those pieces that go around another one, of at least ``INSIDE`` of their height."""
    left, top, right, bottom = np.array([piece.box for piece in pieces], int).reshape(-1, 4).T
    rings = []
    for piece in pieces:
        box = piece.box
        inside = (left > box.left) & (top > box.top) & (right < box.right) & (bottom < box.bottom)
        inside &= bottom - top > INSIDE * piece.box.height
        if not inside.any() or piece.area > 0.5 * piece.box.width * piece.box.height:
            continue
        own = labels[box.top : box.bottom, box.left : box.right] == piece.label
        for place in np.flatnonzero(inside):
            x, y = (left[place] + right[place]) // 2 - box.left, (top[place] + bottom[place]) // 2 - box.top
            if own[y, :x].any() and own[y, x:].any() and own[:y, x].any() and own[y:, x].any():
                rings.append(piece)
                break
    return rings
