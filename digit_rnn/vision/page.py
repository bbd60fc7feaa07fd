"""Pages: the ink of a picture at the scale of a pen, without ruled lines, boxes and stains."""

from collections.abc import Sequence
from itertools import compress

import cv2
import numpy as np

from digit_rnn.vision.frames import frames_of, goes_around
from digit_rnn.vision.ink import strengthened
from digit_rnn.vision.lines import lines_across, lines_down
from digit_rnn.vision.load import Array
from digit_rnn.vision.pieces import STROKE, Pieces
from digit_rnn.vision.posts import posts_between, teeth_of

BARS = 4.0  # heights of digits: what is no longer has no bars
BAR, SOLID = 0.17, 0.5  # heights of digits that bars are thick, at least and at most
RULED = 0.5  # share of the picture's width or height in which lines make it ruled paper


class Page(Pieces):
    """The ink of a picture under one idea of where ink is, from which what is no writing can be taken away.

    Args:
        strokes: float32 (H, W), 0 for paper to 1 for full ink.
        darkness: float32 (H, W), how much darker than the paper it is; by default the same.
        paper: float32 (H, W), the lightness of the paper behind it; by default 1.
    """

    def __init__(self, strokes: Array, darkness: Array | None = None, paper: Array | None = None) -> None:
        super().__init__(strokes, darkness, paper)
        self.across = np.zeros_like(self.binary)  # lines across that were taken away,
        self.thickness = 0.0  # and how thick they were
        self.is_ruled = False  # whether lines through most of the picture were taken away

    def remove_lines(self, length: float, thickest: float, larger: float, kept: Sequence[int] = ()) -> None:
        """Takes long thin lines away, at slight angles, without the strokes that cross them or lie on them.

        Args:
            length: Pixels in which a line runs on.
            thickest: Pixels of its thickness at most.
            larger: Only in pieces longer than this are lines sought.
            kept: Labels of pieces that are left as they are.
        """
        large = [piece.label for piece in self.pieces(larger) if piece.label not in kept]
        if not large:
            return
        searched = np.isin(self.labels, large).astype(np.uint8)
        ink = self.binary, self.darkness, searched
        across, thickness = lines_across(*ink, round(length), thickest)
        self.across |= across
        self.thickness = max(self.thickness, thickness)
        lines = across | lines_down(*ink, round(1.6 * length), thickest)
        self.is_ruled |= bool(max(lines.any(axis).mean() for axis in (0, 1)) > RULED)
        self.remove_ink(lines)

    def remove_frames(self) -> None:
        """Takes the four sides of boxes away, and rings, not what is in them; a 0 has no corners, and is empty."""
        largest = max(self.binary.shape) / 5
        self.remove_ink(frames_of(self.labels, self.pieces(12, largest)))
        pieces = self.pieces(5, largest)
        whole = list(compress(pieces, ~self.at_edge(pieces)))
        boxes = np.array([piece.box for piece in whole], int).reshape(-1, 4)
        self.remove([piece for piece in whole if goes_around(self.labels, piece.label, piece.box, boxes)])

    def remove_blanks(self, height: float, thickest: float) -> None:
        """Takes away the short lines on which digits are to be written, three or more as long as each other.

        On ruled paper, short lines are rests of the longer ones and parts of digits, and stay.

        Args:
            height: Of the digits, in pixels.
            thickest: Pixels of the lines' thickness at most.
        """
        lines = [
            p.box.width
            for p in self.pieces(0.8 * height, 2 * height)
            if p.box.height <= min(thickest, 0.2 * p.box.width)
        ]
        length = float(np.median(lines or [0]))
        if not self.is_ruled and sum(abs(line - length) < 0.1 * length for line in lines) > 2:
            across, _ = lines_across(self.binary, self.darkness, self.binary, round(0.9 * length), thickest)
            self.remove_ink(across)

    def remove_bars(self, height: float) -> None:
        """Takes bars away that are thicker than a pen, as sides of bold boxes, out of what is far larger than digits.

        What also holds a solid area, such as a dark table, stays.

        Args:
            height: Of the digits, in pixels.
        """
        large: Array = np.isin(self.labels, [p.label for p in self.pieces(BARS * height)]).astype(np.uint8)
        solid = cv2.morphologyEx(large, cv2.MORPH_OPEN, np.ones((round(SOLID * height),) * 2, np.uint8))
        large[np.isin(self.labels, np.unique(self.labels[solid > 0]))] = 0
        thick = cv2.morphologyEx(large, cv2.MORPH_OPEN, np.ones((max(3, round(BAR * height)),) * 2, np.uint8))
        _, bars, stats, _ = cv2.connectedComponentsWithStats(thick)
        is_long = stats[:, 2:4].max(1) > 2 * height
        is_long[0] = False  # paper
        near: Array = cv2.dilate(is_long[bars].astype(np.uint8), np.ones((5, 5), np.uint8))
        self.remove_ink(near & large)

    def remove_posts(self, height: float) -> None:
        """Takes the short lines down away that stood between lines across, as in tables, or on one, as in open combs.

        Args:
            height: Of the digits, in pixels.
        """
        if self.across.any():
            thickest = min(0.32 * height, 1.5 * self.thickness + 2)  # a 1 between ruled lines is thicker
            self.remove_ink(posts_between(self.binary, self.darkness, self.across, height, thickest))
            self.remove(teeth_of(self.pieces(0.2 * height, 1.2 * height), self.across, height, thickest))

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
        self.remove_ink(pale.astype(np.uint8))
        left = set(np.unique(self.labels[large]).tolist())
        parts = [piece for piece in self.pieces() if piece.label in left]
        self.remove(list(compress(parts, self.at_edge(parts))))  # no part of the page
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
