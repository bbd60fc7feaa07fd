"""Ink apart from paper: light or dark, under uneven light."""

import cv2
import numpy as np

from digit_rnn.vision.load import Array, reduced

PAPER = 80  # pixels to which a picture is reduced for the paper behind the ink, which changes slowly
CONTRAST = 0.08  # of paper's lightness: less than this between ink and paper is an empty page
GRAIN = 3.5  # ink stands out from paper by this many standard deviations of the paper, or there is none


def ink(lightness: Array) -> Array:
    """Separates ink from paper: light or dark ink, under uneven light.

    Args:
        lightness: uint8 (H, W).

    Returns:
        float32 (H, W): 0 for paper to 1 for full ink; all 0 for an empty page.
    """
    height, width = lightness.shape
    small = reduced(lightness, PAPER)
    # Paper is what there is most of around a place; ink stands out from it to the dark or to the light side.
    excess = small - cv2.medianBlur(small, max(3, max(small.shape) // 3) | 1).astype(np.float32)
    if (excess * excess * excess).sum() > 0:  # a power would take 20 times as long
        small, lightness = 255 - small, 255 - lightness
    # The paper behind the ink: what remains when strokes, up to a quarter of the picture wide, are closed.
    side = max(3, max(small.shape) // 4) | 1
    square = np.ones((side, side), np.uint8)
    paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, square, borderType=cv2.BORDER_REPLICATE)
    paper = cv2.GaussianBlur(paper.astype(np.float32), (0, 0), side / 4)
    paper = cv2.resize(paper.clip(25), (width, height), interpolation=cv2.INTER_LINEAR)
    dark = 1 - lightness / paper
    step = 1 + max(height, width) // 200  # a sample of the pixels knows as much of their distribution
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
