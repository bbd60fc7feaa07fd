"""Boxes and rings around digits."""

from collections.abc import Sequence

import cv2
import numpy as np

from digit_rnn.vision.box import Box
from digit_rnn.vision.load import Array
from digit_rnn.vision.pieces import Piece

SIDES = 0.8  # of each side of a box, at least, is seen and straight,
WHOLE = 0.9  # and of two opposite ones, so much; those of two 0s that touch are rounder
INSIDE = 0.35  # of its height, at least, is what a ring goes around,
SMALL_INSIDE = 0.2  # and where it goes around several, each of them


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
        sides = own[:band], own[::-1][:band], own.T[:band], own.T[::-1][:band]
        above, below, left, right = (_straight(side) for side in sides)
        whole = max(min(above, below), min(left, right)) > WHOLE  # a digit may reach out of the others
        if whole and min(above, below, left, right) > SIDES:
            own[band:-band, band:-band] = False
            frames[area][own] = 1
    return frames


def _straight(ink: Array) -> float:
    """The largest share of columns in which ink, bool (H, W), lies on one straight line, slightly sloping perhaps."""
    depth, width = ink.shape
    if ink.any(0).mean() <= SIDES:
        return 0.0
    near = cv2.dilate(ink.astype(np.uint8), np.ones((3, 1), np.uint8))
    padded, along = np.pad(near, ((depth, depth), (0, 0))), np.arange(width)
    shares = []
    for rise in range(-depth, depth + 1, 2):
        rows = np.arange(depth, 2 * depth)[:, None] + np.rint(rise * (along / width - 0.5)).astype(int)
        shares.append(padded[rows, along].mean(1).max())
    return float(max(shares))


def goes_around(labels: Array, label: int, box: Box, others: Array) -> bool:
    """Whether ink goes around a digit or several: a ring around a number, but no 0, which is empty.

    Args:
        labels: int (H, W), which ink each pixel belongs to.
        label: That of this ink.
        box: Where it is.
        others: int (N, 4), the boxes of all ink.
    """
    left, top, right, bottom = others.T
    inside = (left > box.left) & (top > box.top) & (right < box.right) & (bottom < box.bottom)
    inside &= bottom - top > SMALL_INSIDE * box.height
    if inside.sum() < 2:
        inside &= bottom - top > INSIDE * box.height
    if not inside.any():
        return False
    own = labels[box.top : box.bottom, box.left : box.right] == label
    y, x = round(0.3 * box.height), round(0.3 * box.width)
    if own.mean() > 0.5 or own[y:-y, x:-x].any():  # a blot, or a table
        return False
    for place in np.flatnonzero(inside):
        x, y = (left[place] + right[place]) // 2 - box.left, (top[place] + bottom[place]) // 2 - box.top
        if own[y, :x].any() and own[y, x:].any() and own[:y, x].any() and own[y:, x].any():
            return True
    return False
