"""Pages: ink at the scale of a pen, ruled lines taken away, and the pieces of ink that digits are made of."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from digit_rnn.vision.box import Box, around
from digit_rnn.vision.cuts import cuts_of
from digit_rnn.vision.ink import strengthened
from digit_rnn.vision.lines import lines_across, lines_down, posts_between, teeth_on
from digit_rnn.vision.load import Array
from digit_rnn.vision.normalise import normalise

STROKE = 0.4  # share of full ink from which a pixel belongs to a stroke
INSIDE = 0.35  # of its height, at least, is what a ring goes around
RULED = 0.5  # share of the picture's width or height in which lines make it ruled paper


class Piece(NamedTuple):
    """Connected ink, or a slice of it."""

    box: Box
    label: int  # in the page's labels
    area: int  # pixels
    cut_from: int = 0  # the label of the stroke of which it is a slice, if it is one

    @property
    def width(self) -> int:
        """Pixels."""
        return self.box.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.box.height


class Page:
    """The ink of a picture under one idea of where ink is, and its connected pieces.

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
        self.across = np.zeros_like(self.binary)  # lines across that were taken away,
        self.thickness = 0.0  # and how thick they were
        self.is_ruled = False  # whether lines through most of the picture were taken away
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

    def ink_of(self, pieces: Sequence[Piece]) -> tuple[Box, Array]:
        """The box around some pieces, and their own ink with its soft edges, without that of others."""
        box = around(piece.box for piece in pieces)
        margin = max(1, (box.bottom - box.top) // 24)
        area = np.s_[max(0, box.top - margin) : box.bottom + margin, max(0, box.left - margin) : box.right + margin]
        labels = self.labels[area]
        mask = labels == pieces[0].label
        for piece in pieces[1:]:
            mask |= labels == piece.label
        near = cv2.dilate(mask.view(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
        near[(labels > 0) & ~mask] = 0
        return box, self.strokes[area] * near

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

    def drawn(self, pieces: Sequence[Piece]) -> tuple[Box, Array]:
        """The box around some pieces, and their ink as MNIST would have drawn it: float32 (28, 28)."""
        box, ink = self.ink_of(pieces)
        return box, normalise(ink)

    def cut(self, piece: Piece, height: float) -> list[Piece]:
        """Slices a wide piece where it has least ink, for digits that are about ``height`` pixels high."""
        box = piece.box
        area = np.s_[box.top : box.bottom, box.left : box.right]
        own = self.labels[area] == piece.label
        cuts = cuts_of(own, height)
        if not cuts:
            return [piece]
        slices = []
        for start, end in zip([0, *cuts], [*cuts, piece.width], strict=True):
            part = own[:, start:end]
            if not part.any():
                continue
            rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
            self.labels[area][:, start:end][part] = self.count
            part_box = Box(
                box.left + start + int(columns[0]), box.top + int(rows[0]),
                box.left + start + int(columns[-1]) + 1, box.top + int(rows[-1]) + 1,
            )  # fmt: skip
            slices.append(Piece(part_box, self.count, int(part.sum()), piece.label))
            self.count += 1
        return slices

    def remove_lines(
        self, length: float, thickest: float, larger: float, kept: Sequence[int] = (), across_only: bool = False
    ) -> None:
        """Takes long thin lines away, at slight angles, without the strokes that cross them or lie on them.

        Args:
            length: Pixels in which a line runs on.
            thickest: Pixels of its thickness at most.
            larger: Only in pieces longer than this are lines sought.
            kept: Labels of pieces that are left as they are.
            across_only: Whether lines down stay.
        """
        large = [piece.label for piece in self.pieces(larger) if piece.label not in kept]
        if not large:
            return
        searched = np.isin(self.labels, large).astype(np.uint8)
        ink = self.binary, self.darkness, searched
        across, thickness = lines_across(*ink, round(length), thickest)
        self.across |= across
        self.thickness = max(self.thickness, thickness)
        lines = across if across_only else across | lines_down(*ink, round(1.6 * length), thickest)
        self.is_ruled |= bool(max(lines.any(axis).mean() for axis in (0, 1)) > RULED)
        self._remove(lines)

    def remove_frames(self) -> None:
        """Takes the four sides of boxes away, and rings, not what is in them; a 0 has no corners, and is empty."""
        largest = max(self.binary.shape) / 5
        self._remove(_frames(self.labels, self.pieces(12, largest)))
        pieces = self.pieces(5, largest)
        inside = [piece for piece, cut in zip(pieces, self.at_edge(pieces), strict=True) if not cut]
        self.remove(_rings(self.labels, inside))

    def remove_blanks(self, height: float, thickest: float) -> None:
        """Takes away the short lines on which digits are to be written, three or more as long as each other.

        Where longer lines were taken away, short ones are their rests and parts of digits.

        Args:
            height: Of the digits, in pixels.
            thickest: Pixels of the lines' thickness at most.
        """
        lines = [p.width for p in self.pieces(0.8 * height, 2 * height) if p.height <= min(thickest, 0.2 * p.width)]
        length = float(np.median(lines or [0]))
        if not self.is_ruled and sum(abs(line - length) < 0.1 * length for line in lines) > 2:
            across, _ = lines_across(self.binary, self.darkness, self.binary, round(0.9 * length), thickest)
            self._remove(across)

    def remove_posts(self, height: float) -> None:
        """Takes the short lines down away that stood between lines across, as in combs and tables.

        Args:
            height: Of the digits, in pixels.
        """
        if self.across.any():
            thickest = min(0.25 * height, 1.5 * self.thickness + 2)  # a 1 between ruled lines is thicker
            self._remove(posts_between(self.binary, self.darkness, self.across, height, thickest))
            pieces = self.pieces(0.2 * height, 1.2 * height)
            teeth = teeth_on([piece.box for piece in pieces], self.across, height, thickest)
            self.remove([pieces[place] for place in teeth])

    def remove_pale(self, palest: float, larger: float) -> bool:
        """Takes what is paler than a pen out of pieces that are longer than digits; says whether there was any.

        Args:
            palest: How much darker than the paper a pen's ink is, at least.
            larger: Pixels; shorter pieces are left as they are.
        """
        large = np.isin(self.labels, [piece.label for piece in self.pieces(larger)])
        pen = (large & (self.darkness >= palest)).astype(np.uint8)
        pale = large & (cv2.dilate(pen, np.ones((3, 3), np.uint8)) == 0)  # a pen's stroke keeps its soft edges
        if not pale.any():
            return False
        self._remove(pale.astype(np.uint8))
        left = set(np.unique(self.labels[large]).tolist())
        parts = [piece for piece in self.pieces() if piece.label in left]
        self.remove([part for part, cut in zip(parts, self.at_edge(parts), strict=True) if cut])  # no part of the page
        return True

    def strengthen(self, height: float) -> bool:
        """Draws pale strokes of a digit's size, ``height`` pixels high, as full ink; says whether there were any."""
        strokes = strengthened(self.strokes, height)
        changed = strokes is not self.strokes
        if changed:
            self.binary[(strokes > self.strokes) & (strokes > STROKE)] = 1
            self.strokes = strokes
            self.label()
        return changed

    def remove(self, pieces: Sequence[Piece]) -> None:
        """Takes pieces away."""
        self._remove(np.isin(self.labels, [piece.label for piece in pieces]).astype(np.uint8))

    def _remove(self, removed: Array) -> None:
        if removed.any():
            self.binary[removed > 0] = 0
            near = cv2.dilate(np.ascontiguousarray(removed), np.ones((3, 3), np.uint8))
            self.strokes = np.where((near > 0) & (self.binary == 0), np.float32(0), self.strokes)
            self.label()


def _frames(labels: Array, pieces: Sequence[Piece]) -> Array:
    """The four sides of those pieces that are boxes, but not what is in them: uint8 (H, W)."""
    frames = np.zeros(labels.shape, np.uint8)
    for piece in pieces:
        box, band = piece.box, max(2, round(0.14 * min(piece.width, piece.height)))
        around_one = 0.5 < piece.width / piece.height < 1.8  # a longer box, or a table, is lines
        if not around_one or min(piece.width, piece.height) < 12:
            continue
        area = np.s_[box.top : box.bottom, box.left : box.right]
        own = labels[area] == piece.label
        sides = own[:band].any(0), own[-band:].any(0), own[:, :band].any(1), own[:, -band:].any(1)
        if min(side.mean() for side in sides) > 0.93:
            own[band:-band, band:-band] = False
            frames[area][own] = 1
    return frames


def _rings(labels: Array, pieces: Sequence[Piece]) -> list[Piece]:
    """Those pieces that go around another one, of at least ``INSIDE`` of their height."""
    left, top, right, bottom = np.array([piece.box for piece in pieces], int).reshape(-1, 4).T
    rings = []
    for piece in pieces:
        box = piece.box
        inside = (left > box.left) & (top > box.top) & (right < box.right) & (bottom < box.bottom)
        inside &= bottom - top > INSIDE * piece.height
        if not inside.any() or piece.area > 0.5 * piece.width * piece.height:
            continue
        own = labels[box.top : box.bottom, box.left : box.right] == piece.label
        for place in np.flatnonzero(inside):
            x, y = (left[place] + right[place]) // 2 - box.left, (top[place] + bottom[place]) // 2 - box.top
            if own[y, :x].any() and own[y, x:].any() and own[:y, x].any() and own[y:, x].any():
                rings.append(piece)
                break
    return rings
