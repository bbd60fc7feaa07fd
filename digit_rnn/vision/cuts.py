"""Where ink that is wider than a digit may be cut."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from digit_rnn.vision.load import Array

SEVERAL = 1.4  # of its height: wider ink holds more than one digit
TALL = 0.8  # of the digits' height: lower ink, such as printed words, is not cut through strokes


def cuts_of(own: Array, height: float) -> list[int]:
    """Columns at which ink, bool (H, W), may be cut: where there is little of it, where it is low, or in shared sides.

    Strokes that cross from a digit to the next are thin there; where two round digits touch, their ink is low.
    """
    is_tall, height = len(own) > TALL * height, min(height, len(own))
    reach = max(2, round(height / 8))
    margin = round(0.15 * height)
    top, bottom = own.argmax(0), len(own) - own[::-1].argmax(0)
    ink = _smooth(own.sum(0), height)
    low = _smooth(np.where(own.any(0), bottom - top, 0), height)
    cuts: list[int] = []
    for profile, most in ((ink, 0.35 * height), (low, 0.8 * height)):
        lowest = cv2.erode(profile[None], np.ones((1, 2 * reach + 1), np.uint8))[0]
        places = np.flatnonzero((profile <= lowest + 1e-6) & (profile < most)).tolist()
        for x in places:
            if margin < x < own.shape[1] - margin and all(abs(x - cut) > reach / 2 for cut in cuts):
                cuts.append(x)
    cuts.sort()
    is_several = is_tall and own.shape[1] > SEVERAL * height
    return sorted(cuts + _shared_sides(ink, cuts, height, reach)) if is_several else cuts


def _shared_sides(ink: Array, cuts: Sequence[int], height: float, reach: int) -> list[int]:
    """Columns of a stroke down between two cuts far apart: there two digits may lie on each other."""
    sides = []
    for start, end in pairwise(cuts):
        most = start + int(ink[start:end].argmax())
        thick = ink[most] > max(0.45 * height, 2 * ink[start], 2 * ink[end])
        if end - start > 0.35 * height and thick and min(most - start, end - most) > reach:
            sides.append(most)
    return sides


def _smooth(profile: Array, height: float) -> Array:
    """A number a column, without the jags of single pixels: float32 (W,)."""
    smooth: Array = cv2.GaussianBlur(profile[None].astype(np.float32), (0, 0), max(0.8, height / 40))[0]
    return smooth
