"""Which pieces of ink stand in one row."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from digit_rnn.vision.box import around
from digit_rnn.vision.load import Array
from digit_rnn.vision.pieces import Piece

REACH = 0.6  # digit heights by which a row may climb or fall from a digit to the next
BESIDE = 0.25  # of the lower one's height: digits close to each other that overlap by so much are in one row, too
SLOPES = tuple(step / 20 for step in range(-5, 6))  # at which a page may be tilted
ROW = 0.2  # digit heights that digits may stand off in their rows for each row less
MANY = 200  # pieces of a texture, which has no rows
LOW = 1.9  # digit heights: what is all within so many is one row
GAP = 1.0  # digit heights between a digit and what still belongs to its row beside digits


def in_rows(pieces: Sequence[Piece], height: float) -> list[list[Piece]]:
    """Rows from the top, the pieces of each from the left.

    Args:
        pieces: All of them as high as digits, more or less.
        height: Of the digits, in pixels.
    """
    return _rows_at(_tilt(pieces, height), pieces, height)


def rows_of(pieces: Sequence[Piece], is_digit: Sequence[bool], height: float) -> list[list[Piece]]:
    """Rows from the top, the pieces of each from the left.

    Args:
        pieces: Of a page.
        is_digit: Which of them are taken for digits by themselves: they make the rows, and the others join them.
        height: Of the digits, in pixels.
    """
    slices: dict[int, list[Piece]] = {}  # of each stroke, which stays in one row
    for piece in pieces:
        slices.setdefault(_stroke(piece), []).append(piece)
    digits = {_stroke(piece) for piece, taken in zip(pieces, is_digit, strict=True) if taken}
    strokes = [_whole(label, parts) for label, parts in slices.items()]
    cores = [stroke for stroke in strokes if stroke.label in digits]
    slope = _tilt(cores, height)
    rows = _rows_at(slope, cores, height)
    _join_others([stroke for stroke in strokes if stroke.label not in digits], rows, height)

    def place(row: list[Piece]) -> float:  # what joined a row does not say where it runs
        return _place([piece for piece in row if piece.label in digits] or row, slope)

    def from_left(piece: Piece) -> int:
        return piece.box.left + piece.box.right

    rows.sort(key=place)
    return [sorted((part for stroke in row for part in slices[stroke.label]), key=from_left) for row in rows]


def _rows_at(slope: float, pieces: Sequence[Piece], height: float) -> list[list[Piece]]:
    """Rows of a page that is tilted so much."""
    rows: list[list[Piece]] = []
    for band in _bands(pieces):
        low = max(piece.box.bottom for piece in band) - min(piece.box.top for piece in band) < LOW * height
        rows += [sorted(band, key=lambda piece: piece.box.left)] if low else _chains(band, height, slope)
    return sorted(rows, key=lambda row: _place(row, slope))


def _stroke(piece: Piece) -> int:
    """The label of connected ink, or of that of which a piece is a slice."""
    return piece.cut_from or piece.label


def _whole(label: int, slices: Sequence[Piece]) -> Piece:
    """The stroke that was sliced."""
    return Piece(around(piece.box for piece in slices), label, sum(piece.area for piece in slices))


def _middle(piece: Piece) -> float:
    return (piece.box.top + piece.box.bottom) / 2


def _bands(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces between which no horizontal line could be drawn lie in one band."""
    bands: list[list[Piece]] = []
    bottom = -1
    for piece in sorted(pieces, key=lambda piece: piece.box.top):
        if piece.box.top >= bottom:
            bands.append([])
        bands[-1].append(piece)
        bottom = max(bottom, piece.box.bottom)
    return bands


def _chains(pieces: Sequence[Piece], height: float, slope: float) -> list[list[Piece]]:
    """Follows each row from piece to piece, so that it may climb, fall or bend; wide gaps are crossed at the slope."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.box.left):
        best: tuple[float, list[Piece]] | None = None
        for row in rows:
            last = row[-1]
            gap = max(0, piece.box.left - last.box.right)
            step = abs(_step(last, piece, slope))
            cost = step + 0.1 * gap
            overlap = min(piece.box.bottom, last.box.bottom) - max(piece.box.top, last.box.top)
            beside = gap < height / 2 and overlap > BESIDE * min(piece.box.height, last.box.height)
            fits = beside or step < REACH * max(piece.box.height, last.box.height, height)
            if fits and (best is None or cost < best[0]):
                best = cost, row
        if best:
            best[1].append(piece)
        else:
            rows.append([piece])
    return rows


def _tilt(pieces: Sequence[Piece], height: float) -> float:
    """The slope, of a few, at which pieces make the fewest and straightest rows: that of a page seen tilted."""
    if len(pieces) > MANY:
        return 0.0

    def misfit(slope: float) -> float:
        rows = _chains(pieces, height, slope)
        return ROW * height * len(rows) + sum(abs(_step(a, b, slope)) for row in rows for a, b in pairwise(row))

    return min(SLOPES, key=lambda slope: (misfit(slope), abs(slope)))


def _step(last: Piece, piece: Piece, slope: float) -> float:
    """How far a piece is below the place where a row would go on at a slope, in pixels."""
    return _middle(piece) - _middle(last) - slope * (piece.box.left - last.box.left)


def _place(row: Sequence[Piece], slope: float) -> float:
    """How far down a row stands, in pixels, where it would reach the left side at the page's slope."""
    return sum(_middle(piece) - slope * piece.box.left for piece in row) / len(row)


def _join_others(others: Sequence[Piece], rows: list[list[Piece]], height: float) -> None:
    """Lets each piece join the row next to it, the nearest first; a tall one that has none begins a row."""
    boxes = np.array([piece.box for piece in others], np.float64).reshape(-1, 4)
    nearest, owner = np.full(len(others), np.inf), np.zeros(len(others), int)
    waiting = np.ones(len(others), bool)

    def joined(number: int, piece: Piece) -> None:
        distance = _distances(boxes, piece, height)
        closer = distance < nearest
        nearest[closer], owner[closer] = distance[closer], number

    for number, row in enumerate(rows):
        for piece in row:
            joined(number, piece)
    tallest_first = np.argsort(boxes[:, 1] - boxes[:, 3], kind="stable")
    while waiting.any():
        place = int(np.where(waiting, nearest, np.inf).argmin())
        if nearest[place] < GAP * height:
            rows[owner[place]].append(others[place])
        else:
            place = int(tallest_first[waiting[tallest_first]][0])
            if others[place].box.height <= 0.6 * height:
                return
            owner[place] = len(rows)
            rows.append([others[place]])  # perhaps a part of a digit that is broken
        waiting[place] = False
        joined(int(owner[place]), others[place])


def _distances(boxes: Array, piece: Piece, height: float) -> Array:
    """From boxes (N, 4) to a piece: to the side, and twice as much up or down beyond what belongs to a row."""
    left, top, right, bottom = boxes.T
    aside = np.maximum(np.maximum(piece.box.left - right, left - piece.box.right), 0)
    above = np.maximum(np.maximum(piece.box.top - bottom, top - piece.box.bottom), 0)
    off = np.abs((top + bottom) / 2 - _middle(piece))
    level = (off < 0.3 * height) & (bottom - top > 0.4 * height)  # beside each other, as in a table
    distance: Array = np.where(level, 0.2, 1) * aside + 2 * above + 2 * np.maximum(off - height, 0)
    return distance
