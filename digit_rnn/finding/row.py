"""One row of a page: what its pieces of ink are, alone and together, by the best path."""

import math
from collections.abc import Sequence
from itertools import accumulate, groupby

import numpy as np

from digit_rnn.finding.recogniser import STRONG, Recogniser, Seen
from digit_rnn.finding.words import Mark, log_size
from digit_rnn.vision import TOUCHING, Array
from digit_rnn.vision.box import Box, around
from digit_rnn.vision.normalise import normalise
from digit_rnn.vision.page import Page
from digit_rnn.vision.path import Segment, best_path
from digit_rnn.vision.pieces import Piece

GROUP = 5  # pieces that a digit may consist of
NONE = 0.5  # price, in log-probability, of taking ink for none, for each digit that there would be room for
COMMA = -0.3  # log-probability, at least, that short ink is none where commas are
SHARED = 0.15  # digit heights of the slice beside that also belong to a slice: two 0s may have a side in common
UNLIKE = "unlike a digit"


def read_row(page: Page, row: Sequence[Piece], height: float, recogniser: Recogniser) -> list[Mark]:
    """What stands in a row of pieces, from the left, of which digits are about ``height`` pixels high."""
    spans = [
        (first, last)
        for first in range(len(row))
        for last in range(first, min(first + GROUP, len(row)))
        if _may_be_one(row[first : last + 1], height)
    ]
    spans += [span for span in _cut_strokes(row) if span not in spans]
    drawn = [page.drawn(row[first : last + 1]) for first, last in spans]
    beside = {place: slices for place, span in enumerate(spans) if (slices := _slices_beside(row, *span))}
    for place, slices in beside.items():
        first, last = spans[place]
        drawn.append(_drawn_with(page, row[first : last + 1], slices, round(SHARED * height)))
    seen = recogniser.see([image for _, image in drawn])
    chosen = list(range(len(spans)))
    for with_shared, place in enumerate(beside, len(spans)):
        if seen.belief[with_shared] > seen.belief[place]:
            chosen[place] = with_shared
    segments: list[Segment] = []
    low = _low(row, height)
    for place, (first, last) in zip(chosen, spans, strict=True):
        is_low = first == last and first in low
        segments += _segments(row[first : last + 1], first, last, place, seen, height, is_low)
    marks: list[Mark] = []
    for segment, share in best_path(segments, len(row)):
        place = segment.candidate
        touching = any(piece.cut_from for piece in row[segment.first : segment.last + 1])
        doubt = _doubt(segment.is_digit, share, touching, seen.no_digit[place] > recogniser.odd)
        marks.append(Mark(*drawn[place], segment.is_digit, int(seen.digit[place]), float(seen.belief[place]), doubt))
    return marks


def _slices_beside(row: Sequence[Piece], first: int, last: int) -> list[Piece]:
    """The slices to the left and to the right that were one stroke with these pieces."""
    pairs = [(first, first - 1)] * (first > 0) + [(last, last + 1)] * (last + 1 < len(row))
    return [row[there] for here, there in pairs if row[here].cut_from and row[here].cut_from == row[there].cut_from]


def _drawn_with(page: Page, pieces: Sequence[Piece], beside: Sequence[Piece], reach: int) -> tuple[Box, Array]:
    """As ``Page.drawn``, with the ink of other pieces at most ``reach`` pixels to the left or to the right."""
    left, top, right, bottom = around(piece.box for piece in pieces)
    start = max(0, left - reach)
    area = np.s_[top:bottom, start : right + reach]
    own = np.isin(page.labels[area], [piece.label for piece in (*pieces, *beside)])
    columns = np.flatnonzero(own.any(0)).tolist()
    return Box(start + columns[0], top, start + columns[-1] + 1, bottom), normalise(page.strokes[area] * own)


def _segments(
    pieces: Sequence[Piece], first: int, last: int, place: int, seen: Seen, height: float, is_low: bool
) -> list[Segment]:
    """Pieces taken as a digit, and, where they are one or were one stroke, taken as none."""
    box = around(piece.box for piece in pieces)
    tall, wide = box.height / height, box.width / height
    prior = log_size(int(seen.digit[place]), tall)
    segments = []
    if _may_be_one(pieces, height):
        segments.append(Segment(first, last, True, _log(seen.belief[place]) + prior, place))
    if len(pieces) == 1 or all(piece.cut_from == pieces[0].cut_from != 0 for piece in pieces):
        longer = max(tall, wide)
        digits = max(1.0, wide / 0.6) if len(pieces) > 1 else 1.0
        none = max(_log(seen.no_digit[place]) - NONE * digits, -0.2 - 8 * max(0.0, longer - 0.25))
        none = max(none, prior - 3) if longer < 0.5 else none
        none = max(none, COMMA) if is_low else none
        segments.append(Segment(first, last, False, none, place))
    return segments


def _low(row: Sequence[Piece], height: float) -> set[int]:
    """Where in a row short ink is lower than the middle of the digits beside it, as commas are."""
    reach, short = 3 * height, 0.7 * height
    tall = np.array([piece.box for piece in row if piece.box.height > short]).reshape(-1, 4)
    left, top, right, bottom = tall.T
    low = set()
    for place, piece in enumerate(row):
        if piece.box.height < short and not piece.cut_from:
            beside = (piece.box.left - reach < right) & (left < piece.box.right + reach)
            if beside.any() and piece.box.top > np.median((top + bottom)[beside]) / 2:
                low.add(place)
    return low


def _cut_strokes(row: Sequence[Piece]) -> list[tuple[int, int]]:
    """Where in a row the slices of one stroke stand beside each other."""
    by_stroke = groupby(range(len(row)), key=lambda place: row[place].cut_from)
    strokes = [list(places) for stroke, places in by_stroke if stroke]
    return [(places[0], places[-1]) for places in strokes if len(places) > 1]


def _may_be_one(pieces: Sequence[Piece], height: float) -> bool:
    """Whether neighbouring pieces are few, close and small enough together for one digit."""
    if len(pieces) == 1:
        return True
    box = around(piece.box for piece in pieces)
    if len(pieces) > GROUP or box.width > 1.4 * height or box.height > 1.7 * height:
        return False
    in_order = sorted(piece.box for piece in pieces)
    reached = accumulate((each.right for each in in_order), max)
    return all(after.left - end <= 0.35 * height for end, after in zip(reached, in_order[1:], strict=False))


def _doubt(is_digit: bool, share: float, touching: bool, is_odd: bool) -> str:
    if not is_digit:
        return "no digit"
    reasons = {TOUCHING: touching, "could be divided otherwise": share < STRONG, UNLIKE: is_odd}
    return next((reason for reason, holds in reasons.items() if holds), "")


def _log(probability: float) -> float:
    return math.log(max(float(probability), 1e-6))
