"""Ink apart from paper: light or dark, under uneven light."""

import cv2
import numpy as np

from digit_rnn.vision.load import Array, reduced

PAPER = 80  # pixels to which a picture is reduced for the paper behind the ink, which changes slowly
CONTRAST = 0.08  # of paper's lightness: less than this between ink and paper is an empty page
GRAIN = 3.5  # ink stands out from paper by this many standard deviations of the paper, or there is none

# For ink against its own neighbourhood:
PAPER_SIDE = 300  # pixels to which a picture is reduced for the paper behind the ink
FAINTEST = 0.04  # of paper's lightness: less contrast than this is no ink
LOCAL_GRAIN = 4.0  # robust standard deviations of the paper by which ink stands out
PALE, PALEST = 0.65, 0.1  # shares of full ink: paler ink is made full, if it is darker than the palest,
STRONGER = 3  # times, at most
THICK = 11  # pixels of PAPER_SIDE: ink that is wider is no pen's


def ink(lightness: Array) -> Array:
    """Separates ink from paper: light or dark ink, under uneven light.

    Args:
        lightness: uint8 (H, W).

    Returns:
        float32 (H, W): 0 for paper to 1 for full ink; all 0 for an empty page.
    """
    small = reduced(lightness, PAPER)
    # Paper is what there is most of around a place; ink stands out from it to the dark or to the light side.
    excess = small - cv2.medianBlur(small, max(3, max(small.shape) // 3) | 1).astype(np.float32)
    if (excess * excess * excess).sum() > 0:  # a power would take 20 times as long
        small, lightness = 255 - small, 255 - lightness
    side = max(3, max(small.shape) // 4) | 1  # the widest strokes are a quarter of the picture
    dark = 1 - lightness / _paper(small, side, lightness.shape)
    step = 1 + max(lightness.shape) // 200  # a sample of the pixels knows as much of their distribution
    sample = dark[::step, ::step]
    threshold = _otsu(sample)
    strokes, ground = sample[sample > threshold], sample[sample <= threshold]
    if not len(strokes) or not len(ground):
        return np.zeros_like(dark)
    full, none = float(np.percentile(strokes, 60)), float(np.median(ground))
    if full - none < max(CONTRAST, GRAIN * float(ground.std())):
        return np.zeros_like(dark)
    result: Array = np.clip((dark - none) / (full - none), 0, 1)
    return result


def _otsu(values: Array) -> float:
    """The threshold between dark and light that Otsu's method finds."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return low
    levels = ((values - low) / (high - low) * 255).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    return low + (level + 0.5) / 255 * (high - low)


def local_ink(lightness: Array, share: float, light: bool) -> tuple[Array, Array, Array]:
    """Ink against its own neighbourhood.

    Args:
        lightness: uint8 (H, W).
        share: Of the picture's side, the widest stroke or blot that is told from the paper around it.
        light: Whether the ink is lighter than the paper.

    Returns:
        float32 (H, W): 0 for paper to 1 for full ink; how much darker than the paper it is; and the paper's lightness.
    """
    lightness = 255 - lightness if light else lightness
    small = reduced(lightness, PAPER_SIDE)
    side = max(3, round(max(small.shape) * share)) | 1
    paper = _paper(small, side, lightness.shape)
    dark = 1 - lightness / paper
    sample = dark[::4, ::4]
    middle = float(np.median(sample))
    spread = 1.4826 * float(np.median(np.abs(sample - middle)))
    threshold = max(FAINTEST, middle + LOCAL_GRAIN * spread)
    strong = np.where(dark > threshold, dark, 0).astype(np.float32)
    coarse = cv2.resize(strong, small.shape[::-1], interpolation=cv2.INTER_AREA)
    thick = cv2.morphologyEx(coarse, cv2.MORPH_OPEN, np.ones((THICK, THICK), np.uint8))
    weight = np.maximum(coarse - thick, 0.02 * coarse)  # blots and dark edges say little of a pen
    blurred = _smooth(np.dstack([weight * coarse, weight * coarse * coarse]), max(2.0, max(small.shape) / 16))
    # The mean of the ink around a place, in which strong ink counts more.
    full: Array = blurred[..., 1] / np.maximum(blurred[..., 0], 1e-9)
    full = cv2.resize(np.maximum(full, threshold), lightness.shape[::-1], interpolation=cv2.INTER_LINEAR)
    low = min(middle, threshold / 2)
    strokes = ((dark - low) / np.maximum(0.9 * full - low, 1e-3)).clip(0, 1)
    strokes[dark < threshold * 0.7] *= 0.3
    return strokes.astype(np.float32), dark.clip(0, 1), paper


def strengthened(strokes: Array, height: float) -> Array:
    """Draws ink of a digit's size that is far paler than what is around it as full ink.

    Args:
        strokes: float32 (H, W), 0 for paper to 1 for full ink.
        height: Of the digits, in pixels.

    Returns:
        float32 (H, W); the very same array if there is no such ink.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((strokes > PALEST).astype(np.uint8))
    wide, high = stats[:, 2:4].T / height
    fits = (high > 0.5) & (high < 1.7) & (wide < 1.5)
    fits[0] = False  # paper
    inside = fits[labels]
    label, ink = labels[inside], strokes[inside]
    weight, square = (np.bincount(label, each, count) for each in (ink, ink * ink))
    usual = square / np.maximum(weight, 1e-9)  # the mean of the ink, in which the darker counts more
    pale = fits & (usual < PALE)
    if not pale.any():
        return strokes
    factor = np.where(pale, (1 / np.maximum(usual, 1 / STRONGER)).clip(1), 1).astype(np.float32)[labels]
    soft_edges = np.where(labels > 0, factor, cv2.dilate(factor, np.ones((3, 3), np.uint8)))
    result: Array = np.minimum(strokes * soft_edges, 1)
    return result


def _paper(small: Array, side: int, shape: tuple[int, ...]) -> Array:
    """The paper's lightness, float32 ``shape``: what remains when dark strokes, ``side`` pixels wide, are closed."""
    square = np.ones((side, side), np.uint8)
    paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, square, borderType=cv2.BORDER_REPLICATE)
    paper = _smooth(paper.astype(np.float32), side / 4).clip(25)
    return cv2.resize(paper, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _smooth(array: Array, sigma: float) -> Array:
    """Blurs float32 (H, W) or (H, W, C) by a Gaussian; a wide one on a coarser grid, which looks the same."""
    coarser = int(sigma / 3)
    if coarser < 2:
        return cv2.GaussianBlur(array, (0, 0), sigma)
    height, width = array.shape[:2]
    size = max(1, width // coarser), max(1, height // coarser)
    small = cv2.GaussianBlur(cv2.resize(array, size, interpolation=cv2.INTER_AREA), (0, 0), sigma / coarser)
    result: Array = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return result
