"""Where in the ink the digits are: rows from the top, digits of a row from the left."""

import math
from functools import reduce
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np

from digit_rnn.vision.box import Box
from digit_rnn.vision.frames import goes_around
from digit_rnn.vision.load import Array
from digit_rnn.vision.pieces import STROKE, Piece, Pieces
from digit_rnn.vision.rows import in_rows

Layout = Literal["auto", "digit", "digits"]


LINE = 0.75  # of the picture's width or height: thin strokes of this length are ruled lines
SPECK = 0.2  # of the largest stroke: what is smaller is no digit and no part of one
OTHER = 0.05  # of the largest stroke: what is smaller is dirt
LOW = 0.4  # of the highest stroke: what is lower is no digit
SMALLEST_CUT = 10  # pixels: lower strokes show too little to be cut


Part = tuple[Box, Array, bool]  # of a digit: its box, its own ink float32 (H', W'), whether it was cut from a stroke


def segment(strokes: Array, layout: Layout = "auto") -> tuple[list[list[Part]], int]:
    """Finds the digits: rows from the top, digits of a row from the left.

    Args:
        strokes: float32 (H, W), what ``ink`` returns.
        layout: digit, if all strokes are one digit; digits; or auto, which tells one from several by their sizes.

    Returns:
        The digits of each row, and how many other things there are that are too small for digits.
    """
    ink = Pieces(strokes)
    spanning = (ink.stats[1:, 2:4] >= LINE * np.array(strokes.shape[::-1])).any(axis=0)
    for axis in np.flatnonzero(spanning).tolist():
        ink.binary = _without_lines(ink.binary, axis)
        ink.label()
    pieces = ink.pieces()
    if not pieces:
        return [], 0
    if layout != "digit":
        pieces = _without_ring(ink.labels, pieces)
    size = max(piece.box.side for piece in pieces)
    others = sum(OTHER * size <= piece.box.side < SPECK * size for piece in pieces)
    pieces = [piece for piece in pieces if piece.box.side >= SPECK * size]
    if layout != "digit":
        pieces = _join(ink, pieces)
        highest = max(piece.box.height for piece in pieces)
        others += sum(piece.box.height < LOW * highest for piece in pieces)
        pieces = [piece for piece in pieces if piece.box.height >= LOW * highest]
    several = layout == "digits" or len(pieces) > 1 or pieces[0].box.width > 1.6 * pieces[0].box.height
    if layout == "digit" or not several:
        whole = reduce(ink.join, pieces)
        return [[(whole.box, _own(ink, whole)[0], False)]], others
    rows = in_rows(pieces, float(np.median([piece.box.height for piece in pieces])))
    return [[part for piece in row for part in _split(ink, piece)] for row in rows], others


def _without_ring(labels: Array, pieces: list[Piece]) -> list[Piece]:
    """Takes away a ring around a number: the largest ink, if it goes around other."""
    largest = max(pieces, key=lambda piece: piece.box.side)
    boxes = np.array([piece.box for piece in pieces])
    is_ring = goes_around(labels, largest.label, largest.box, boxes)
    return [piece for piece in pieces if piece != largest] if is_ring else pieces


def _without_lines(binary: Array, axis: int) -> Array:
    """Takes away ruled lines: thin strokes across (axis 0) or down most of the picture; mends what they crossed."""
    picture = binary if axis == 0 else np.ascontiguousarray(binary.T)
    height, width = picture.shape
    runs = cv2.morphologyEx(picture, cv2.MORPH_OPEN, np.ones((1, max(3, width // 15)), np.uint8))
    if np.count_nonzero(runs.any(axis=0)) < LINE * width:
        return binary
    _, labels, stats, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    for label, (_, y, w, h, area) in enumerate(stats.tolist()):
        thickness = area // max(w, 1) + 1
        if label and w >= LINE * width and thickness <= 0.02 * height:
            picture = np.where(labels == label, np.uint8(0), picture)
            band = np.s_[max(0, y - thickness) : y + h + thickness]
            picture[band] = cv2.morphologyEx(picture[band], cv2.MORPH_CLOSE, np.ones((2 * thickness + 1, 1), np.uint8))
    return picture if axis == 0 else np.ascontiguousarray(picture.T)


def _join(ink: Pieces, pieces: list[Piece]) -> list[Piece]:
    """Joins strokes that stand above one another, such as a 5 and its bar."""
    joined: list[Piece] = []
    boxes = np.zeros((4, len(pieces)), np.int64)  # of those joined: a texture has thousands
    for piece in sorted(pieces, key=lambda piece: piece.box.width * piece.box.height, reverse=True):
        left, top, right, bottom = boxes[:, : len(joined)]
        height = bottom - top
        overlap = np.minimum(piece.box.right, right) - np.maximum(piece.box.left, left)
        gap = np.maximum(piece.box.top, top) - np.minimum(piece.box.bottom, bottom)
        reach = np.where(piece.box.height < 0.5 * height, 0.25, 0.1)
        fitting = np.flatnonzero((overlap > 0.5 * piece.box.width) & (gap < reach * height))
        if fitting.size:
            index = int(fitting[0])
            joined[index] = ink.join(joined[index], piece)
        else:
            index = len(joined)
            joined.append(piece)
        boxes[:, index] = joined[index].box
    return joined


def _split(ink: Pieces, piece: Piece) -> list[Part]:
    """Cuts strokes that are too wide for one digit where they have least ink."""
    own, start = _own(ink, piece)
    _, top, _, bottom = piece.box
    fewest, most = round(piece.box.width / piece.box.height), round(piece.box.width / (0.6 * piece.box.height))
    if piece.box.width < 1.3 * piece.box.height or piece.box.height < SMALLEST_CUT:
        return [(piece.box, own, False)]
    profile = cv2.GaussianBlur(own.sum(axis=0, keepdims=True), (0, 0), max(1.0, piece.box.height / 30))[0]
    best: tuple[float, list[int]] = (math.inf, [])
    for parts in range(max(2, fewest), most + 1):
        edges = [round((part + side) * len(profile) / parts) for part in range(1, parts) for side in (-0.3, 0.3)]
        cuts = [a + int(profile[a:b].argmin()) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        best = min(best, (float(max(profile[cuts])), cuts))
    spans = pairwise([0, *best[1], len(profile)])
    return [(Box(start + a, top, start + b, bottom), own[:, a:b], True) for a, b in spans if own[:, a:b].max() > STROKE]


def _own(ink: Pieces, piece: Piece) -> tuple[Array, int]:
    """The ink of a digit with what is close around it, as its soft edges are, and where it begins on the left."""
    left, top, right, bottom = piece.box
    margin = max(1, piece.box.side // 20)
    start = max(0, left - margin)
    area = np.s_[max(0, top - margin) : bottom + margin, start : right + margin]
    mask = (ink.labels[area] == piece.label).astype(np.uint8)
    near = cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
    return ink.strokes[area] * near, start
