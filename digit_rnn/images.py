"""Pictures of handwriting → images like MNIST's own: float32 (28, 28) in [0, 1], ink bright, centred by mass.

MNIST's digits were fitted into a box of 20×20 pixels, keeping their shape, and moved so that their centre of mass
lies in the middle of 28×28 (LeCun et al. 1998). A network trained on them reads others as well as these steps are
followed.
"""

import math
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

Array = npt.NDArray[Any]
Source = str | Path | Image.Image | Array
Layout = Literal["auto", "digit", "digits"]
Box = tuple[int, int, int, int]  # left, top, right, bottom

SIZE, BOX = 28, 20  # MNIST's image, and the box of its digit
SIDES = (160, 400, 1600)  # a picture is reduced to the first of these sizes at which its digits are clear
PAPER = 80  # to which it is reduced for the paper behind the ink, which changes slowly
CLEAR = 40  # pixels of a digit's longer side
FINE = 4  # digits are drawn on a grid this many times as fine as MNIST's
STROKE = (2.8, 3.4)  # widths, in pixels of the 20-pixel box, between which strokes are left as they are
CONTRAST = 0.08  # of paper's lightness: less than this between ink and paper is an empty page
GRAIN = 3.5  # ink stands out from paper by this many standard deviations of the paper, or there is none
LINE = 0.75  # of the picture's width or height: thin strokes of this length are ruled lines
SPECK = 0.2  # of the largest stroke: what is smaller is no digit and no part of one
INK = 0.4  # share of full ink from which a pixel belongs to a stroke
FAINT = 0.15  # share of full ink at which a digit's box is cut

cv2.setNumThreads(1)  # the work is spread over processes, and OpenCV's threads don't survive a fork


class PictureError(Exception):
    """A picture that cannot be read; the message says why."""


class Digit(NamedTuple):
    """A digit found in a picture."""

    row: int  # from the top, from 0
    position: int  # in its row from the left, from 0
    box: Box  # in pixels of the upright picture
    image: Array  # float32 (28, 28)
    touching: bool  # cut out of strokes that hold together: perhaps at the wrong place


def digits(source: Source, layout: Layout = "auto") -> list[Digit]:
    """Finds the digits in a picture and draws each as MNIST would have.

    Args:
        source: Path, PIL image or array: (H, W) or (H, W, 3 or 4), of bytes, 16-bit integers or floats in [0, 1].
        layout: What the picture holds: one digit, digits in rows, or auto, which finds out.

    Returns:
        The digits in reading order; none for an empty page.

    Raises:
        PictureError: It is no picture, is damaged, or unfolds to more pixels than Pillow thinks safe (89 million).
    """
    lightness, (width, height) = load(source)
    for side in SIDES:
        reduced = _reduce(lightness, side)
        found = find(ink(reduced), layout)
        unclear = [touching or max(x1 - x0, y1 - y0) < CLEAR for row in found for (x0, y0, x1, y1), _, touching in row]
        if reduced is lightness or (found and not any(unclear)):
            break
    rows, columns = reduced.shape

    def original(box: Box) -> Box:
        left, top, right, bottom = box
        return left * width // columns, top * height // rows, -(-right * width // columns), -(-bottom * height // rows)

    return [
        Digit(row, position, original(box), normalise(strokes), touching)
        for row, members in enumerate(found)
        for position, (box, strokes, touching) in enumerate(members)
    ]


def load(source: Source) -> tuple[Array, tuple[int, int]]:
    """Opens a picture upright: its lightness, uint8 (H, W) and reduced if large, and its own width and height."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of flaws that don't keep Pillow from reading the picture
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _from_array(source) if isinstance(source, np.ndarray) else _open(source) as image:
                frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1  # a phone's photo with a preview
                if frames > 1 or not all(image.size):
                    raise PictureError(f"has {frames} pages" if frames > 1 else "has no pixels")
                lies = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
                size = image.size[::-1] if lies else image.size
                image.draft(None, (SIDES[-1],) * 2)  # a JPEG can be opened at a half or a quarter of its size
                lightness = _lightness(ImageOps.exif_transpose(image))
    except PictureError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PictureError(str(error)) from error
    except Exception as error:  # Pillow raises whatever the damaged bytes lead to
        if isinstance(error, OSError) and error.strerror:
            raise PictureError(error.strerror) from error
        raise PictureError(f"not a picture, or damaged ({type(error).__name__})") from error
    return _reduce(lightness, SIDES[-1]), size


def ink(lightness: Array) -> Array:
    """Separates ink from paper: light or dark ink, under uneven light.

    Args:
        lightness: uint8 (H, W).

    Returns:
        float32 (H, W): 0 for paper to 1 for full ink; all 0 for an empty page.
    """
    height, width = lightness.shape
    small = _reduce(lightness, PAPER)
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


class _Piece(NamedTuple):
    """Connected strokes."""

    box: Box
    labels: tuple[int, ...]

    def joined(self, other: "_Piece") -> "_Piece":
        left, top, right, bottom = zip(self.box, other.box, strict=True)
        return _Piece((min(left), min(top), max(right), max(bottom)), self.labels + other.labels)

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]


def find(strokes: Array, layout: Layout = "auto") -> list[list[tuple[Box, Array, bool]]]:
    """Finds the digits: rows from the top, digits of a row from the left.

    Args:
        strokes: float32 (H, W), what ``ink`` returns.
        layout: digit, if all strokes are one digit; digits; or auto, which tells one from several by their sizes.

    Returns:
        For each digit of each row its box, its own ink float32 (H', W'), and whether it was cut from touching strokes.
    """
    binary = (strokes > INK).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    spanning = (stats[1:, 2:4] >= LINE * np.array(strokes.shape[::-1])).any(axis=0)
    if spanning.any():
        for axis in np.flatnonzero(spanning).tolist():
            binary = _without_lines(binary, axis)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    pieces = [_Piece((x, y, x + w, y + h), (i,)) for i, (x, y, w, h, _) in enumerate(stats.tolist()) if i]
    if not pieces:
        return []
    size = max(max(piece.width, piece.height) for piece in pieces)
    pieces = [piece for piece in pieces if max(piece.width, piece.height) >= SPECK * size]
    if layout != "digit":
        pieces = _join(pieces)
        pieces = [piece for piece in pieces if piece.height >= 0.4 * max(piece.height for piece in pieces)]
    several = layout == "digits" or len(pieces) > 1 or pieces[0].width > 1.6 * pieces[0].height
    if layout == "digit" or not several:
        whole = pieces[0]
        for piece in pieces[1:]:
            whole = whole.joined(piece)
        return [[(whole.box, _own(strokes, labels, whole)[0], False)]]
    return [[part for piece in row for part in _split(strokes, labels, piece)] for row in _rows(pieces)]


def _without_lines(binary: Array, axis: int) -> Array:
    """Takes away ruled lines: thin strokes across (axis 0) or down most of the picture; mends what they crossed."""
    picture = binary if axis == 0 else np.ascontiguousarray(binary.T)
    height, width = picture.shape
    runs = cv2.morphologyEx(picture, cv2.MORPH_OPEN, np.ones((1, max(3, width // 15)), np.uint8))
    if np.count_nonzero(runs.any(axis=0)) < LINE * width:
        return binary
    _, labels, stats, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    for label, (_, y, w, h, area) in enumerate(stats.tolist()):
        thickness = area // max(w, 1) + 1
        if label and w >= LINE * width and thickness <= 0.02 * height:
            picture = np.where(labels == label, np.uint8(0), picture)
            band = np.s_[max(0, y - thickness) : y + h + thickness]
            picture[band] = cv2.morphologyEx(picture[band], cv2.MORPH_CLOSE, np.ones((2 * thickness + 1, 1), np.uint8))
    return picture if axis == 0 else np.ascontiguousarray(picture.T)


def _join(pieces: list[_Piece]) -> list[_Piece]:
    """Joins strokes that stand above one another, such as a 5 and its bar."""
    joined: list[_Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.width * piece.height, reverse=True):
        for index, other in enumerate(joined):
            overlap = min(piece.box[2], other.box[2]) - max(piece.box[0], other.box[0])
            gap = max(piece.box[1], other.box[1]) - min(piece.box[3], other.box[3])
            reach = 0.25 if piece.height < 0.5 * other.height else 0.1
            if overlap > 0.5 * piece.width and gap < reach * other.height:
                joined[index] = other.joined(piece)
                break
        else:
            joined.append(piece)
    return joined


def _rows(pieces: list[_Piece]) -> list[list[_Piece]]:
    """Follows each row from digit to digit, so that it may climb or fall."""

    def middle(piece: _Piece) -> float:
        return (piece.box[1] + piece.box[3]) / 2

    rows: list[list[_Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.box[0]):
        row = min(rows, key=lambda row: abs(middle(piece) - middle(row[-1])), default=None)
        if row and abs(middle(piece) - middle(row[-1])) < 0.6 * max(piece.height, row[-1].height):
            row.append(piece)
        else:
            rows.append([piece])
    return sorted(rows, key=lambda row: sum(map(middle, row)) / len(row))


def _split(strokes: Array, labels: Array, piece: _Piece) -> list[tuple[Box, Array, bool]]:
    """Cuts strokes that are too wide for one digit where they have least ink."""
    own, start = _own(strokes, labels, piece)
    _, top, _, bottom = piece.box
    fewest, most = round(piece.width / piece.height), round(piece.width / (0.6 * piece.height))
    if piece.width < 1.3 * piece.height or piece.height < BOX // 2:
        return [(piece.box, own, False)]
    profile = cv2.GaussianBlur(own.sum(axis=0, keepdims=True), (0, 0), max(1.0, piece.height / 30))[0]
    best: tuple[float, list[int]] = (math.inf, [])
    for parts in range(max(2, fewest), most + 1):
        edges = [round((part + side) * len(profile) / parts) for part in range(1, parts) for side in (-0.3, 0.3)]
        cuts = [a + int(profile[a:b].argmin()) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        best = min(best, (float(max(profile[cuts])), cuts))
    spans = pairwise([0, *best[1], len(profile)])
    return [((start + a, top, start + b, bottom), own[:, a:b], True) for a, b in spans if own[:, a:b].max() > INK]


def _own(strokes: Array, labels: Array, piece: _Piece) -> tuple[Array, int]:
    """The ink of a digit with its soft edges, without that of its neighbours, and where it begins on the left."""
    left, top, right, bottom = piece.box
    margin = max(1, max(piece.width, piece.height) // 20)
    start = max(0, left - margin)
    area = np.s_[max(0, top - margin) : bottom + margin, start : right + margin]
    mask = np.isin(labels[area], piece.labels).astype(np.uint8)
    near = cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
    return strokes[area] * near, start


def normalise(strokes: Array) -> Array:
    """Draws the ink of one digit as MNIST would have.

    Args:
        strokes: float32 (H, W), 0 for paper to 1 for full ink, with some ink.

    Returns:
        float32 (28, 28).
    """
    rows, columns = (np.flatnonzero((strokes > FAINT).any(axis)) for axis in (1, 0))
    strokes = strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
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


def _open(source: str | Path | Image.Image) -> Image.Image:
    return source.copy() if isinstance(source, Image.Image) else Image.open(source)


def _from_array(array: Array) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or array.shape[2:] not in ((), (3,), (4,)) or array.ndim < 2:
        raise PictureError(f"is an array of shape {array.shape}: expected (H, W) or (H, W, 3 or 4)")
    if array.dtype == np.uint16 and array.ndim == 3:
        array = (array >> 8).astype(np.uint8)
    if array.dtype == bool:
        array = array * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        array = np.rint(np.nan_to_num(array).clip(0, 1) * 255).astype(np.uint8)
    elif array.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"is an array of {array.dtype}: expected bytes, 16-bit integers or floats in [0, 1]")
    return Image.fromarray(array)


def _lightness(image: Image.Image) -> Array:
    """Lightness, uint8 (H, W); what is transparent becomes paper."""
    if image.mode[0] in "IF":  # 16 or 32 bits, used in whole or in part
        values = np.nan_to_num(np.asarray(image, np.float32))
        low, high = float(values.min()), float(values.max())
        grey: Array = np.rint((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
        return grey
    if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
        image = image.convert("RGBA")
    light = image.convert("L")
    if image.has_transparency_data and (alpha := image.getchannel("A")).getextrema() != (255, 255):
        opaque = np.asarray(light)[::4, ::4][np.asarray(alpha)[::4, ::4] > 127]  # a sample knows enough
        # Dark ink has lighter edges, light ink no darker ones.
        dark = len(opaque) > 0 and np.percentile(opaque, 10) < 128
        light = Image.composite(light, Image.new("L", image.size, 255 if dark else 0), alpha)
    return np.asarray(light)


def _reduce(picture: Array, side: int) -> Array:
    """The picture with its longer side reduced to ``side``, or the picture itself where it is no longer than that."""
    scale = side / max(picture.shape)
    if scale >= 1:
        return picture
    width, height = (max(1, round(length * scale)) for length in reversed(picture.shape))
    result: Array = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return result


def _otsu(values: Array) -> float:
    """The threshold between dark and light that Otsu's method finds."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return low
    levels = ((values - low) / (high - low) * 255).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    return low + (level + 0.5) / 255 * (high - low)
