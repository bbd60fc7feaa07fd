"""Ink in connected pieces: which there are, what they are like, and how MNIST would have drawn them."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from digit_rnn.vision.box import Box, around
from digit_rnn.vision.cuts import cuts_of
from digit_rnn.vision.load import Array
from digit_rnn.vision.normalise import normalise

STROKE = 0.4  # share of full ink from which a pixel belongs to a stroke


class Piece(NamedTuple):
    """Connected ink, or a slice of it."""

    box: Box
    label: int  # in the page's labels
    area: int  # pixels
    cut_from: int = 0  # the label of the stroke of which it is a slice, if it is one


class Pieces:
    """Ink and its connected pieces.

    Args:
        strokes: float32 (H, W), 0 for paper to 1 for full ink.
        darkness: float32 (H, W), how much darker than the paper it is; by default the same.
        paper: float32 (H, W), the lightness of the paper behind it; by default 1.
    """

    def __init__(self, strokes: Array, darkness: Array | None = None, paper: Array | None = None) -> None:
        self.strokes = strokes
        self.darkness = strokes if darkness is None else darkness
        self.paper = np.ones_like(strokes) if paper is None else paper
        self.binary = (strokes > STROKE).astype(np.uint8)
        self.label()

    def label(self) -> None:
        """Finds the connected pieces anew."""
        _, self.labels, self.stats, _ = cv2.connectedComponentsWithStats(self.binary, connectivity=8)
        self.count = len(self.stats)

    def pieces(self, smallest: float = 0, largest: float = math.inf) -> list[Piece]:
        """Connected ink whose longer side is within these limits, in pixels."""
        longer = self.stats[:, 2:4].max(1)
        chosen = np.flatnonzero((longer >= smallest) & (longer <= largest))
        return [
            Piece(Box(x, y, x + w, y + h), label, area)
            for label, (x, y, w, h, area) in zip(chosen.tolist(), self.stats[chosen].tolist(), strict=True)
            if label
        ]

    def drawn(self, pieces: Sequence[Piece]) -> tuple[Box, Array]:
        """The box around some pieces, and their own ink as MNIST would have drawn it: float32 (28, 28)."""
        box = around(piece.box for piece in pieces)
        margin = max(1, (box.bottom - box.top) // 24)
        area = np.s_[max(0, box.top - margin) : box.bottom + margin, max(0, box.left - margin) : box.right + margin]
        labels = self.labels[area]
        mask = labels == pieces[0].label
        for piece in pieces[1:]:
            mask |= labels == piece.label
        near = cv2.dilate(mask.view(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
        near[(labels > 0) & ~mask] = 0  # what is left are their own soft edges
        return box, normalise(self.strokes[area] * near)

    def traits(self, pieces: Sequence[Piece]) -> tuple[Array, Array, Array]:
        """How wide the strokes of pieces are, in pixels, how dark their ink and how light their paper is: (N,) each."""
        inside = cv2.distanceTransform((self.labels > 0).astype(np.uint8), cv2.DIST_L2, 3)
        labels, count = self.labels.ravel(), self.count
        areas = np.maximum(np.bincount(labels, minlength=count), 1)
        width = 4 * np.bincount(labels, inside.ravel(), count) / areas  # the mean distance from the edge is a quarter
        dark = np.bincount(labels, self.darkness.ravel(), count) / areas
        chosen = [piece.label for piece in pieces]
        middle = [((p.box.top + p.box.bottom) // 2, (p.box.left + p.box.right) // 2) for p in pieces]
        paper = self.paper[tuple(np.array(middle).T)]
        return width[chosen], dark[chosen], paper

    def at_edge(self, pieces: Sequence[Piece]) -> Array:
        """Which pieces the picture's edge may have cut off: bool (N,)."""
        left, top, right, bottom = np.array([piece.box for piece in pieces], int).reshape(-1, 4).T
        height, width = self.binary.shape
        result: Array = (left <= 1) | (top <= 1) | (right >= width - 1) | (bottom >= height - 1)
        return result

    def cut(self, piece: Piece, height: float) -> list[Piece]:
        """Slices a wide piece where it has least ink, for digits that are about ``height`` pixels high."""
        box = piece.box
        area = np.s_[box.top : box.bottom, box.left : box.right]
        own = self.labels[area] == piece.label
        cuts = cuts_of(own, height)
        if not cuts:
            return [piece]
        slices = []
        for start, end in pairwise([0, *cuts, box.width]):
            part = own[:, start:end]  # of connected ink: no column is empty
            x, y, w, h = cv2.boundingRect(part.astype(np.uint8))
            x, y = box.left + start + x, box.top + y
            self.labels[area][:, start:end][part] = self.count
            slices.append(Piece(Box(x, y, x + w, y + h), self.count, int(part.sum()), piece.label))
            self.count += 1
        return slices

    def join(self, piece: Piece, other: Piece) -> Piece:
        """Makes another piece, which has not been joined itself, a part of this one."""
        box = other.box
        own = self.labels[box.top : box.bottom, box.left : box.right]
        own[own == other.label] = piece.label
        return piece._replace(box=around((piece.box, box)), area=piece.area + other.area)

    def remove(self, pieces: Sequence[Piece]) -> None:
        """Takes pieces away."""
        self.remove_ink(np.isin(self.labels, [piece.label for piece in pieces]).astype(np.uint8))

    def remove_ink(self, removed: Array) -> None:
        """Takes pixels away, uint8 (H, W), with the soft edges that they leave."""
        if removed.any():
            self.binary[removed > 0] = 0
            near = cv2.dilate(np.ascontiguousarray(removed), np.ones((3, 3), np.uint8))
            self.strokes = np.where((near > 0) & (self.binary == 0), np.float32(0), self.strokes)
            self.label()
