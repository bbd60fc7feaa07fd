"""Pens: the ink of digits and signs, drawn on a fine grid, and put into an image as that of pictures is."""

from collections.abc import Sequence

import cv2
import numpy as np

from digit_rnn.data.strokes import Stroke
from digit_rnn.vision.load import Array
from digit_rnn.vision.normalise import cropped, mapped, normalise

Random = np.random.Generator

FINE = 3  # digits are drawn on a grid this many times as fine as MNIST's


def enlarged(image: Array, random: Random) -> Array:
    """A digit's ink on a finer grid, with a pen of random width: uint8 (28, 28) → float32 (H, W) in [0, 1]."""
    large = cv2.resize(image, None, fx=FINE, fy=FINE, interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    level = random.uniform(0.25, 0.75)  # where the blurred stroke has its edge: a wider or a thinner pen
    ink = cv2.GaussianBlur(large, (0, 0), 1.0)
    return cropped(np.clip((ink - min(level, 0.6 * float(ink.max()))) * 6 + 0.5, 0, 1).astype(np.float32))


def written(signs: Sequence[Sequence[Stroke]], random: Random) -> Array:
    """One of these signs, now and then two, drawn by their strokes with an unsteady hand: float32 (H, W) in [0, 1]."""
    canvas = np.zeros((140, 240), np.float32)
    pen = int(random.integers(3, 10))
    for place in range(1 if random.random() < 0.85 else 2):
        size = random.uniform(30, 75), random.uniform(45, 90)
        corner = np.array([40 + 85 * place, 25]) + random.uniform(-4, 4, 2)
        for stroke in signs[int(random.integers(len(signs)))]:
            points = np.array(stroke) + random.normal(0, 0.05, (len(stroke), 2))
            curve = _smooth(points) * size + corner
            cv2.polylines(canvas, [curve.astype(np.int32)], False, 1.0, pen, cv2.LINE_AA)
    return warped(canvas, random)


def warped(canvas: Array, random: Random) -> Array:
    """Slanted, turned a little and stretched."""
    return mapped(canvas, np.eye(2) + random.uniform(-0.25, 0.25, (2, 2)))


def image_of(ink: Array) -> Array:
    """Ink as MNIST would have drawn it: uint8 (28, 28)."""
    return np.rint(normalise(ink) * 255).astype(np.uint8) if ink.max() > 0.2 else np.zeros((28, 28), np.uint8)


def _smooth(points: Array, steps: int = 8) -> Array:
    """A curve through points (N, 2), as Catmull and Rom draw it: (M, 2)."""
    if len(points) < 3:
        return points
    before, after = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
    padded = np.vstack([before, points, after])
    t = np.linspace(0, 1, steps)[:, None]
    a, b, c, d = (padded[i : i + len(points) - 1, None] for i in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    result: Array = curve.reshape(-1, 2)
    return result
