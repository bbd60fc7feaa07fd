"""What a photo of paper shows beside the writing: the sheet, what lies around it, the light and the camera."""

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Range = tuple[float, float]

SHADES: dict[str, tuple[float, float, float]] = {  # red, green, blue of paper in full light
    "white": (0.96, 0.96, 0.95),
    "cream": (0.95, 0.91, 0.82),
    "grey": (0.72, 0.72, 0.73),
    "kraft": (0.66, 0.52, 0.37),
    "board": (0.13, 0.19, 0.16),
    "wood": (0.55, 0.38, 0.22),
    "gravel": (0.6, 0.57, 0.52),
}
INKS: dict[str, tuple[float, float, float]] = {  # share of red, green and blue that ink takes away
    "black": (1, 1, 0.95),
    "blue": (1, 0.85, 0.4),
    "red": (0.35, 1, 0.9),
    "pencil": (0.95, 0.95, 0.95),
}
SIDES = ("left", "top", "right", "bottom")


def clouds(rng: np.random.Generator, size: tuple[int, int], grain: float, stretch: float = 1) -> Array:
    """Smooth noise of spread 1, ``grain`` pixels coarse, ``stretch`` times as coarse from left to right."""
    height, width = size
    small = rng.standard_normal((math.ceil(height / grain) + 3, math.ceil(width / grain / stretch) + 3))
    noise: Array = cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return noise / max(float(noise.std()), 0.1)


def sheet(rng: np.random.Generator, size: tuple[int, int], shade: str) -> Array:
    """Paper in even light: float32 (H, W, 3)."""
    rough = 0.018 if shade in ("kraft", "board") else 0.008
    grain = clouds(rng, size, 150) + 0.6 * clouds(rng, size, 9) + clouds(rng, size, 2)
    if shade == "board":  # chalk that was wiped off
        grain += 2 * clouds(rng, size, 25, 6)
    elif shade == "wood":
        grain += 12 * clouds(rng, size, 5, 30)
    elif shade == "gravel":
        grain += 20 * clouds(rng, size, 9) + 8 * clouds(rng, size, 3)
    colour: Array = np.array(SHADES[shade], np.float32) * rng.uniform(0.95, 1.0)
    return np.clip(colour * (1 + rough * grain)[..., None], 0, 1)


def light(rng: np.random.Generator, size: tuple[int, int], shadow: bool, corners: float = 0.0) -> Array:
    """How brightly each place is lit: a slope, darker corners, and the edge of a shadow where asked for.

    Args:
        rng: decides all else.
        size: height and width in pixels.
        shadow: whether a shadow falls on the page.
        corners: the share of the light that is lost in the corners, as with a flash.
    """
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width - 0.5, y / height - 0.5
    turn = rng.uniform(0, 2 * math.pi)
    lit: Array = 1 - rng.uniform(0, 0.25) * (0.5 + x * math.cos(turn) + y * math.sin(turn))
    lit *= 1 - rng.uniform(0, 0.5) * (x * x + y * y)
    lit *= 1 - corners * (2 * (x * x + y * y)) ** 0.75
    if shadow:
        turn, soft = rng.uniform(0, 2 * math.pi), rng.uniform(0.006, 0.06)
        bow = 0.15 * np.sin(3 * (x * math.sin(turn) - y * math.cos(turn)) + rng.uniform(0, 6))
        inside = (x * math.cos(turn) + y * math.sin(turn) + bow + rng.uniform(-0.15, 0.15)) / soft
        lit *= 1 - rng.uniform(0.25, 0.5) / (1 + np.exp(-np.clip(inside, -30, 30)))
    return lit


def stain(rng: np.random.Generator, page: Array, unit: float) -> Array:
    """Spills a blot, or leaves the ring of a cup, on float32 (H, W, 3) with digits ``unit`` pixels high."""
    (height, width), over = page.shape[:2], np.zeros(page.shape[:2], np.float32)
    place = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    cv2.circle(over, place, int(rng.uniform(1.5, 4) * unit), 1, int(rng.choice((-1, round(0.3 * unit)))))
    soft = cv2.GaussianBlur(over, (0, 0), 2 + 0.05 * unit)[..., None]
    stained: Array = page * (1 - 0.25 * soft * np.array((0.6, 0.9, 1.2), np.float32))
    return stained


def surround(rng: np.random.Generator, page: Array, border: str, side: str, depth: float, unit: float) -> Array:
    """Lays something along one side of the page.

    Args:
        rng: decides its shape and colour.
        page: float32 (H, W, 3).
        border: table, dark, finger or binding.
        side: one of ``SIDES``.
        depth: how many pixels it reaches into the picture.
        unit: the digits' height, after which a finger is sized.
    """
    turns = SIDES.index(side)  # everything is drawn at the left
    page = np.ascontiguousarray(np.rot90(page, turns))
    if border == "finger":
        page = _finger(rng, page, depth, unit)
    elif border == "binding":
        page = _binding(rng, page, depth)
    else:
        page = _edge(rng, page, border, depth)
    return np.ascontiguousarray(np.rot90(page, -turns))


def _edge(rng: np.random.Generator, page: Array, border: str, depth: float) -> Array:
    """The sheet ends, and a table or the dark begins."""
    size = page.shape[:2]
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    reach = x + (y / size[0] - 0.5) * rng.uniform(-0.5, 0.5) * depth - 0.7 * depth
    if border == "table":
        colour = np.array((0.42, 0.26, 0.13), np.float32) * rng.uniform(0.5, 1.3)
        floor = colour * (1 + 0.12 * clouds(rng, size, 4, 25) + 0.05 * clouds(rng, size, 60))[..., None]
    else:
        floor = np.array((0.07, 0.07, 0.08), np.float32) * (1 + 0.25 * clouds(rng, size, 40))[..., None]
    # The sheet throws a small shadow on what lies below it.
    floor = floor * (1 - 0.5 * np.exp(-np.maximum(-reach, 0) / 12))[..., None]
    over = np.clip(0.5 - reach / 1.5, 0, 1)[..., None]
    edged: Array = np.clip(page * (1 - over) + floor * over, 0, 1)
    return edged


def _finger(rng: np.random.Generator, page: Array, depth: float, unit: float) -> Array:
    """The tip of a finger or two."""
    height, width = page.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    skin = np.array((0.78, 0.55, 0.44), np.float32) * rng.uniform(0.6, 1.05)
    thick = min(max(0.9 * unit, 0.12 * height), 0.22 * height)
    first = rng.uniform(0.2, 0.7) * height
    for middle in (first, first + 2.1 * thick)[: int(rng.integers(1, 3))]:
        long = depth * rng.uniform(0.75, 0.95)
        tilt = (y - middle) + rng.uniform(-0.3, 0.3) * (x - long)
        end = np.maximum(x - (long - thick), 0)  # round at the tip, straight behind it
        away = np.sqrt(tilt * tilt + end * end) / thick
        page = page * (1 - 0.35 * np.exp(-np.maximum(away - 1, 0) * 9) * (away > 0.9))[..., None]
        round_ = np.sqrt(np.clip(1 - away * away, 0, 1)) * 0.55 + 0.45
        nail = np.exp(-(((tilt / thick / 0.55) ** 2 + ((x - long + 0.7 * thick) / thick / 0.6) ** 2) ** 4))
        over = np.clip((1 - away) * thick / 3, 0, 1)[..., None]
        page = page * (1 - over) + (skin * round_[..., None] + 0.07 * nail[..., None]) * over
    return np.clip(page, 0, 1)


def _binding(rng: np.random.Generator, page: Array, depth: float) -> Array:
    """Holes along the side with a wire through them, and the dark behind the sheet."""
    height = page.shape[0]
    edge, pitch = int(0.45 * depth), int(rng.uniform(0.35, 0.6) * depth)
    page = page.copy()
    page[:, : edge - 2] = np.array((0.2, 0.19, 0.18), np.float32) * rng.uniform(0.5, 1.5)
    page[:, edge - 2 : edge] *= 0.6
    hole = max(3, pitch // 6)
    for y in range(int(rng.integers(0, pitch)), height, pitch):
        right = edge + int(0.28 * depth)
        cv2.circle(page, (right, y), hole, (0.12, 0.12, 0.12), -1, cv2.LINE_AA)
        shape = ((edge + right) // 2 - hole, y - hole // 2), (right - edge, int(0.3 * pitch)), -8
        for bright, thick in ((0.25, max(3, hole // 2 + 2)), (0.75, max(1, hole // 4))):
            cv2.ellipse(page, *shape, 180, 370, (bright,) * 3, thick, cv2.LINE_AA)
    return page


def photographed(rng: np.random.Generator, page: Array, blur: float, noise: float, quality: int, grey: bool) -> Array:
    """What a camera makes of a page.

    Args:
        rng: decides the noise, and the way a moving camera blurs.
        page: float32 (H, W, 3) from 0 to 1.
        blur: spread of the blur in pixels.
        noise: spread of the noise as a share of white.
        quality: JPEG's, from 1 to 100.
        grey: whether colour is dropped.

    Returns:
        uint8 (H, W, 3), or (H, W) if grey.
    """
    page = cv2.GaussianBlur(page, (0, 0), max(blur, 0.4))
    if blur > 1:
        kernel = np.zeros((9, 9), np.float32)
        turn = rng.uniform(0, math.pi)
        way = np.array((math.cos(turn), math.sin(turn))) * blur
        start, end = (tuple(int(part) for part in np.rint(4 + sign * way)) for sign in (-1, 1))
        cv2.line(kernel, start, end, 1)
        page = cv2.filter2D(page, -1, kernel / kernel.sum())
    page = page + noise * rng.standard_normal(page.shape[:2], np.float32)[..., None]
    picture: Array = (np.clip(page, 0, 1) * 255).astype(np.uint8)
    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
    seen = np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED))
    return seen if grey else np.ascontiguousarray(seen[..., ::-1])
