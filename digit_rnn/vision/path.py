"""The best path through a row: which neighbouring pieces of ink are one digit, and which are none.

After LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", sections V and VI.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Segment(NamedTuple):
    """Neighbouring pieces of a row, taken as one digit, or a single one, taken as none."""

    first: int
    last: int  # inclusive
    is_digit: bool
    score: float  # its log-probability
    candidate: int  # whatever the caller knows it by


def best_path(segments: Sequence[Segment], length: int) -> list[tuple[Segment, float]]:
    """The path over all pieces of a row with the highest sum of scores, and how probable each segment of it is.

    Args:
        segments: From which the path is made.
        length: The number of pieces.

    Returns:
        The segments in order, each with its share among all paths, in [0, 1]; none where there is no path.
    """
    ending: list[list[Segment]] = [[] for _ in range(length + 1)]
    for segment in segments:
        ending[segment.last + 1].append(segment)
    best, total = np.full(length + 1, -math.inf), np.full(length + 1, -math.inf)
    best[0] = total[0] = 0.0
    taken: list[Segment | None] = [None] * (length + 1)
    for end in range(1, length + 1):
        for segment in ending[end]:
            if (score := best[segment.first] + segment.score) > best[end]:
                best[end], taken[end] = score, segment
            total[end] = np.logaddexp(total[end], total[segment.first] + segment.score)
    rest = np.full(length + 1, -math.inf)  # the sum over all paths from a place to the end
    rest[length] = 0.0
    for end in range(length, 0, -1):
        for segment in ending[end]:
            rest[segment.first] = np.logaddexp(rest[segment.first], rest[end] + segment.score)
    path: list[tuple[Segment, float]] = []
    place = length
    while place and (segment := taken[place]):  # type: ignore[assignment]
        share = total[segment.first] + segment.score + rest[place] - total[length]
        path.append((segment, float(np.exp(share))))
        place = segment.first
    return path[::-1] if not place else []
