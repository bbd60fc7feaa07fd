"""Strokes of a pen: MNIST's digits, operators and letters as thin lines, drawn at any size, width and angle."""

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

EM = 80  # height in pixels at which letters and operators are laid out
ENLARGED = 4  # MNIST's digits, 20 pixels high, are then as high as an em
ROOM = 24  # pixels around the lines: what the widest pen needs, and a turn

NEIGHBOURS = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))  # clockwise, from the one above

OPERATORS: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {  # lines through points (x, y) of an em
    "+": (((0, 22), (42, 20)), ((21, 0), (20, 42))),
    "-": (((0, 1), (20, 0), (40, 2)),),
    "x": (((0, 0), (36, 38)), ((36, 0), (0, 38))),
    "=": (((0, 0), (42, 1)), ((1, 19), (42, 18))),
    "/": (((34, 0), (0, 84)),),
    ",": (((7, 0), (7, 9), (0, 20)),),
}
DROPPED = {",": 0.5, "/": 0.05}  # how far below the middle of the digits an operator's middle is, in heights of a digit


def thinned(shape: Array) -> Array:
    """The middle lines of a shape, one pixel wide (Zhang and Suen, 1984)."""
    lines = shape.astype(np.uint8)  # empty at the border
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            near = [np.roll(lines, shift, (0, 1)) for shift in NEIGHBOURS]
            count = np.sum(near, axis=0)
            starts = np.sum([(near[i] == 0) & (near[(i + 1) % 8] == 1) for i in range(8)], axis=0)
            up, right, down, left = near[::2]
            if first:
                corner = (up * right * down == 0) & (right * down * left == 0)
            else:
                corner = (up * right * left == 0) & (up * down * left == 0)
            drop = (lines == 1) & (count >= 2) & (count <= 6) & (starts == 1) & corner
            lines[drop] = 0
            changed |= bool(drop.any())
    return lines


def digit_lines(image: Array) -> Array:
    """The middle lines of a digit uint8 (28, 28), enlarged, cropped; a loop that was filled stays filled."""
    return _digit_lines(image.tobytes())


@lru_cache(1000)  # thinning takes longest, and tests use the same few digits again
def _digit_lines(content: bytes) -> Array:
    image = np.frombuffer(content, np.uint8).reshape(28, 28)
    large = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    soft = cv2.GaussianBlur(np.pad(large, 1), (0, 0), 2)
    for least in (115, 80, 50, 25):  # high keeps loops open; lower where faint strokes would break
        shape = (soft > least).astype(np.uint8)
        if cv2.connectedComponents(shape)[0] == 2:
            break
    lines, depth = thinned(shape), cv2.distanceTransform(shape, cv2.DIST_L2, 5)
    if cv2.connectedComponents(lines)[0] > cv2.connectedComponents(shape)[0]:
        lines = shape  # thinning takes away slanted strokes that are two pixels wide
    blob = depth > 1.5 * np.median(depth[lines > 0])
    return _cropped(lines | blob)


def text_lines(text: str, font: int) -> Array:
    """Letters as thin lines, capitals one em high."""
    scale = EM / 21  # OpenCV's capitals are about 21 pixels high
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    canvas = np.zeros((height + 2 * below + 40, width + 80), np.uint8)
    cv2.putText(canvas, text, (40, height + below), font, scale, 1, 1, cv2.LINE_8)
    return _cropped(thinned(canvas))  # newer versions of OpenCV have no thin letters


def operator_lines(sign: str, rng: np.random.Generator) -> Array:
    """An operator's lines, each point a little off."""
    canvas = np.zeros((110, 110), np.uint8)
    for line in OPERATORS[sign]:
        points = np.array(line) + 10 + rng.integers(-3, 4, (len(line), 2))
        cv2.polylines(canvas, [points.astype(np.int32)], False, 1)
    return _cropped(canvas)


def scribble_lines(rng: np.random.Generator, width: int, height: int) -> Array:
    """A smooth line that runs to and fro."""
    canvas = np.zeros((height, width), np.uint8)
    time = np.linspace(0, 1, 400)[:, None]
    speeds, shifts = rng.uniform(3, 16, (4, 2)), rng.uniform(0, 6, (4, 2))
    path = sum(np.sin(time * speeds[i] * 2 + shifts[i]) for i in range(4)) / 8 + 0.5
    cv2.polylines(canvas, [(path * (width - 1, height - 1)).astype(np.int32)], False, 1)
    return _cropped(canvas)


def drawn(lines: Array, scale: float, pen: float, angle: float, rng: np.random.Generator) -> Array:
    """Draws lines with a pen.

    Args:
        lines: uint8 (H, W), 1 on the lines.
        scale: how much larger they are drawn.
        pen: the pen's width in pixels of the drawing.
        angle: by how many degrees they are turned clockwise.
        rng: decides where the pen presses harder.

    Returns:
        Ink float32 (H', W') from 0 to 1, cropped.
    """
    far = cv2.distanceTransform(1 - np.pad(lines, ROOM), cv2.DIST_L2, 5)
    far = np.maximum(cv2.GaussianBlur(far, (0, 0), 1.2) - 0.9, 0)  # rounds the steps that thinning leaves
    height, width = far.shape
    side = math.ceil(scale * math.hypot(height, width))
    turn: Array = cv2.getRotationMatrix2D((width / 2, height / 2), -angle, scale)
    turn[:, 2] += side / 2 - np.array((width / 2, height / 2))
    far = scale * cv2.warpAffine(far, turn, (side, side), flags=cv2.INTER_LINEAR, borderValue=1000)
    press = cv2.resize(rng.uniform(0.8, 1.2, (5, 5)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return _cropped(np.clip(0.5 + pen / 2 * press - far, 0, 1), 0.3)


def draw_ring(ink: Array, box: tuple[int, int, int, int], height: float, pen: float) -> None:
    """Draws a ring on ink, float32 (H, W), around a digit of a page whose digits are ``height`` pixels high."""
    left, top, right, bottom = box
    ring, axes = np.zeros(ink.shape, np.uint8), (round(0.72 * height), round(0.78 * height))
    cv2.ellipse(ring, ((left + right) // 2, (top + bottom) // 2), axes, 0, 0, 360, 255, round(pen), cv2.LINE_AA)
    np.maximum(ink, ring / np.float32(255), out=ink)


def _cropped(ink: Array, least: float = 0.5) -> Array:
    rows, columns = np.where((ink > least).any(1))[0], np.where((ink > least).any(0))[0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
