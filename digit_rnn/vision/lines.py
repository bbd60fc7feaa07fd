"""Ruled lines, sides of tables and boxes: long, thin and nearly straight, whatever their slope and bend."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from digit_rnn.vision.load import Array

STEEPEST = 0.35  # slope of a line across
COVERED = 0.85  # of its length, on which a line has ink
DARKER = 1.6  # times a line's ink: where there is more, a stroke lies on it, such as the bar of a 4
BEYOND = 0.5  # lengths by which a line is followed past its ends, where strokes have hidden it
MOST = 400  # lines that are followed: a texture has any number


def lines_across(binary: Array, darkness: Array, searched: Array, length: int, thickest: float) -> tuple[Array, float]:
    """Pixels of lines that run across, where no stroke crosses them and no darker or thicker one lies on them.

    Args:
        binary: uint8 (H, W), 1 for ink.
        darkness: float32 (H, W), how much darker than the paper it is.
        searched: uint8 (H, W), ink in which lines may begin.
        length: Pixels in which a line runs on.
        thickest: Pixels of its thickness at most.

    Returns:
        uint8 (H, W); and the thickness that these lines usually have.
    """
    thin = searched - _tall(searched, thickest)
    across = np.ones((1, 2 * math.ceil(thickest) + 1), np.uint8)  # what crosses a line interrupts it
    joined = cv2.morphologyEx(thin, cv2.MORPH_CLOSE, across) & binary
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    long = np.flatnonzero(stats[1:, 2] >= length) + 1
    found = []
    for label in long[np.argsort(-stats[long, 2])][:MOST].tolist():
        x, y, w, h, _ = stats[label].tolist()
        found += _curves(labels[y : y + h, x : x + w] == label, x, y, length)
    result = np.zeros_like(binary)
    for width in {math.ceil(thickness) for _, thickness in found}:
        curves = [points for points, thickness in found if math.ceil(thickness) == width]
        result |= _near(curves, darkness, width, BEYOND * length) & binary & (1 - _tall(binary, 1.6 * width + 1))
    return result, float(np.median([thickness for _, thickness in found] or [0]))


def lines_down(binary: Array, darkness: Array, searched: Array, length: int, thickest: float) -> Array:
    """The same of lines that run down: uint8 (H, W)."""
    ink, dark, among = (np.ascontiguousarray(each.T) for each in (binary, darkness, searched))
    across, _ = lines_across(ink, dark, among, length, thickest)
    return np.ascontiguousarray(across.T)


def _tall(binary: Array, height: float) -> Array:
    """Ink that is higher than this many pixels."""
    tall: Array = cv2.morphologyEx(binary, cv2.MORPH_OPEN, np.ones((math.floor(height) + 1, 1), np.uint8))
    return tall


def _curves(own: Array, x: int, y: int, length: int) -> list[tuple[Array, float]]:
    """Lines in a thin piece: points (N, 2) along each, and its thickness, in pixels.

    Args:
        own: bool (H, W), the piece.
        x: Where it lies in the picture,
        y: from the left and from the top.
        length: Pixels of a line.
    """
    if curve := _curve(own):
        points, thickness = curve
        return [(points + np.array([x, y]), thickness)]
    half = own.shape[1] // 2
    if half < 0.75 * length:
        return []
    return _curves(own[:, :half], x, y, length) + _curves(own[:, half:], x + half, y, length)


def _curve(own: Array) -> tuple[Array, float] | None:
    """The one line that a thin piece is, or nothing."""
    height, width = own.shape
    count = own.sum(0)  # of connected ink: no column is empty
    thickness = float(np.median(count))
    middle = (own * np.arange(height)[:, None]).sum(0) / count
    kept = np.ones(width, bool)
    place = np.arange(width) / width
    for _ in range(3):  # without what hangs on it
        factors = np.polynomial.polynomial.polyfit(place[kept], middle[kept], 2 if width > 40 else 1)
        curve = np.polynomial.polynomial.polyval(place, factors)
        away = np.abs(curve - middle)
        kept = away <= max(1.5 * float(np.median(away)), 0.7)
    near = own & (np.abs(np.arange(height)[:, None] - curve) <= max(0.5 * thickness, 1) + 0.5)
    ends = np.polynomial.polynomial.polyval(np.linspace(0, 1, max(3, width // 12)), factors)
    if near.any(0).mean() < COVERED or abs(ends[-1] - ends[0]) > STEEPEST * width:
        return None
    return np.stack([np.linspace(0, width, len(ends)), ends], 1), thickness


def _near(curves: Sequence[Array], darkness: Array, width: int, reach: float) -> Array:
    """Where lines of a width run, but for strokes that lie on them: uint8 (H, W).

    Args:
        curves: Points (N, 2) along each.
        darkness: float32 (H, W).
        width: Of the lines, in pixels.
        reach: Pixels by which each is followed past its ends.
    """
    band = 2 * math.ceil(0.8 * width) + 1
    ink = cv2.blur(darkness, (1, band))  # of the whole width, however it falls on the pixels
    most = np.zeros_like(ink)
    for points in curves:
        limit = DARKER * float(np.median(_along(points, ink)))
        points = np.concatenate([_end(points, -reach), points, _end(points[::-1], -reach)[::-1]])
        cv2.polylines(most, [np.rint(points).astype(np.int32)], False, limit, band)
    near: Array = (ink < most).astype(np.uint8)
    return near


def _along(points: Array, values: Array) -> Array:
    """The values, of (H, W), at each pixel along a curve."""
    x = np.arange(math.ceil(points[0, 0]), math.ceil(points[-1, 0]))
    y = np.rint(np.interp(x, *points.T)).astype(int)
    found: Array = values[y.clip(0, len(values) - 1), x]
    return found


def _end(points: Array, reach: float) -> Array:
    """The point, (1, 2), at which a curve would be ``reach`` pixels before it begins."""
    step = points[1] - points[0]
    end: Array = points[:1] + reach * step / max(float(np.hypot(*step)), 1e-6)
    return end
