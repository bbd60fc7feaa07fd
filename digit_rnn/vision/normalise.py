"""One digit's ink drawn as MNIST would have: float32 (28, 28) in [0, 1], ink bright, centred by mass.

MNIST's digits were fitted into a box of 20×20 pixels, keeping their shape, and moved so that their centre of mass
lies in the middle of 28×28 (LeCun et al. 1998). A network trained on them reads others as well as these steps are
followed.
"""

import cv2
import numpy as np

from digit_rnn.vision.load import Array

SIZE, BOX = 28, 20  # MNIST's image, and the box of its digit
FINE = 4  # digits are drawn on a grid this many times as fine as MNIST's
STROKE = (2.8, 3.4)  # widths, in pixels of the 20-pixel box, between which strokes are left as they are
FAINT = 0.15  # share of full ink at which a digit's box is cut


def normalise(strokes: Array) -> Array:
    """Draws the ink of one digit as MNIST would have.

    Args:
        strokes: float32 (H, W), 0 for paper to 1 for full ink, with some ink.

    Returns:
        float32 (28, 28).
    """
    strokes = cropped(strokes)
    scale = FINE * BOX / max(strokes.shape)
    width, height = (max(1, round(length * scale)) for length in reversed(strokes.shape))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fine = cv2.resize(strokes, (width, height), interpolation=smooth)
    fine = np.pad(fine, 2 * FINE)  # room for strokes that grow
    inside = cv2.distanceTransform((fine > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    if inside.any():
        # Across a stroke of width w, the distance to its edge is w / 4 on average.
        stroke = 4 * float(inside[inside > 0].mean()) / FINE
        wanted = min(max(stroke, STROKE[0]), STROKE[1])
        if wanted != stroke:
            outside = cv2.distanceTransform((fine <= 0.5).astype(np.uint8), cv2.DIST_L2, 5)
            edge = (wanted - stroke) / 2 * FINE
            fine = np.clip((inside - outside + edge) / FINE + 0.5, 0, 1).astype(np.float32)
    # MNIST's centre of mass lies at 14.5, counted from the image's edge.
    y, x = (float((fine.sum(axis) * (np.arange(fine.shape[1 - axis]) + 0.5)).sum() / fine.sum()) for axis in (1, 0))
    middle = (SIZE // 2 + 0.5) * FINE
    shift = np.array([[1, 0, round(middle - x)], [0, 1, round(middle - y)]], np.float32)
    canvas = cv2.warpAffine(fine, shift, (SIZE * FINE, SIZE * FINE))
    image: Array = cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    # Half of MNIST's ink is brighter than 0.9; drawing on a fine grid leaves a third.
    image = (image / max(float(image.max()), 1e-6) - FAINT) * 1.4 + FAINT
    return image.clip(0, 1)


def cropped(strokes: Array) -> Array:
    """Without the empty space around the ink."""
    x, y, width, height = cv2.boundingRect((strokes > FAINT).astype(np.uint8))
    return strokes[y : y + height, x : x + width] if width else strokes


def mapped(strokes: Array, matrix: Array) -> Array:
    """Turned, slanted or stretched around the middle by a matrix (2, 2)."""
    height, width = strokes.shape
    middle = np.array([width / 2, height / 2])
    return cv2.warpAffine(strokes, np.column_stack([matrix, middle - matrix @ middle]), (width, height))
