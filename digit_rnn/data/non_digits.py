"""Made-up images of what is no digit, drawn as the digits found in pictures are: for networks that learn to tell.

Halves of digits, several digits, letters, operators, bars and scribbles: what a search for digits on paper comes upon
(over-segmentation; LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition").
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from digit_rnn.data.images import Images
from digit_rnn.data.pens import Random, enlarged, image_of, warped, written
from digit_rnn.data.strokes import GLYPHS
from digit_rnn.vision.load import Array
from digit_rnn.vision.normalise import cropped

NON_DIGIT = 10  # the label of what is no digit
# Without those that are written like a digit: O o Q D I l i S s Z z B G b g q } ? & | ! > and, in print, ( ) [ ] {.
LETTERS = "ACEFHJKLMNPRTUVWXYacdefhjkmnprtuvwxy" * 2 + "ACEFHKMNRTXahkmnrxy+=-*#%$€£<@~:;"
FONTS = ("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Italic", "STIXGeneralItalic", "STIXGeneral")
# Which digits each is made of. What is left out is a digit itself, or looks like another: a mirrored 5 is a 2, a turned
# 9 a 5, a 1 beside a line a 1 with an upstroke.
LEFT_OR_RIGHT = {0: (0, 1), 2: (0, 1), 3: (0,), 4: (0,), 5: (0, 1), 6: (1,), 7: (0,), 8: (0,), 9: (0,)}
TOP_OR_BOTTOM = {0: (0, 1), 2: (0, 1), 3: (0, 1), 5: (0, 1)}
TURNED = (2, 7)  # by a quarter
MIRRORED = (3, 4, 7, 9)
BESIDE_LINE = (0, 2, 3, 4, 5, 6, 7, 8, 9)
STROKE = 0.3  # of its length: what is narrower may be a 1


class Maker:
    """Draws non-digits out of training digits.

    Args:
        images: uint8 (N, 28, 28).
        labels: int (N,).
        random: Source of the draws.
    """

    def __init__(self, images: Array, labels: Array, random: Random) -> None:
        self.images = images
        self.labels = labels
        self.random = random

    def digit(self, among: Sequence[int] = range(10)) -> tuple[Array, int]:
        """A digit's ink, enlarged, with a pen of random width: float32 (H, W) in [0, 1], and its label."""
        while (label := int(self.labels[place := self.random.integers(len(self.labels))])) not in among:
            pass
        return enlarged(self.images[place], self.random), label

    def half(self) -> Array:
        """The left, right, upper or lower part of a digit, where that is no digit itself."""
        if self.random.random() < 0.75:
            ink, label = self.digit(tuple(LEFT_OR_RIGHT))
            return _part(ink, 1, int(self.random.choice(LEFT_OR_RIGHT[label])), self.random.uniform(0.35, 0.55))
        ink, label = self.digit(tuple(TOP_OR_BOTTOM))
        return _part(ink, 0, int(self.random.choice(TOP_OR_BOTTOM[label])), self.random.uniform(0.35, 0.5))

    def several(self) -> Array:
        """Two or three digits beside each other, now and then above each other."""
        count = 2 if self.random.random() < 0.8 else 3
        return self._beside([self.digit()[0] for _ in range(count)])

    def one_and_a_half(self) -> Array:
        """A digit with a part of its neighbour."""
        parts = [self.digit()[0], self.half()]
        return self._beside(parts if self.random.random() < 0.5 else parts[::-1])

    def turned(self) -> Array:
        """A digit turned by a quarter, or mirrored."""
        if self.random.random() < 0.5:
            return np.ascontiguousarray(np.rot90(self.digit(TURNED)[0], int(self.random.choice((1, 3)))))
        return np.ascontiguousarray(self.digit(MIRRORED)[0][:, ::-1])

    def beside_line(self) -> Array:
        """A digit with an edge of a box beside it. With a line under it, a 9 would be a 2, and a 3 have a flat foot."""
        ink = np.pad(self.digit(BESIDE_LINE)[0], self.random.integers(3, 9))
        height, width = ink.shape
        x, slope = int(self.random.choice((2, width - 3))), int(self.random.integers(-4, 5))
        cv2.line(ink, (x, 0), (x + slope, height), 1.0, int(self.random.integers(2, 8)))
        return ink

    def letter(self) -> Array:
        """A letter, an operator or two letters, slanted and stretched."""
        text = "".join(self.random.choice(list(LETTERS), 1 if self.random.random() < 0.8 else 2))
        canvas = Image.new("L", (240, 140))
        ImageDraw.Draw(canvas).text((120, 70), text, 255, _font(str(self.random.choice(FONTS))), "mm")
        ink = cv2.GaussianBlur(warped(np.asarray(canvas, np.float32) / 255, self.random), (0, 0), 2)
        result: Array = np.clip((ink - self.random.uniform(0.15, 0.6)) * 5 + 0.5, 0, 1)  # a wider or a thinner pen
        return result

    def written(self) -> Array:
        """A letter or sign drawn by hand, or two of them."""
        return written(list(GLYPHS.values()), self.random)

    def bar(self) -> Array:
        """A stroke that lies rather than stands, or a blot."""
        canvas = np.zeros((100, 100), np.float32)
        if self.random.random() < 0.6:
            angle = self.random.uniform(-0.6, 0.6)
            reach = np.array([np.cos(angle), np.sin(angle)]) * self.random.uniform(15, 45)
            a, b = (50 - reach).astype(int).tolist(), (50 + reach).astype(int).tolist()
            cv2.line(canvas, a, b, 1.0, int(self.random.integers(3, 14)), cv2.LINE_AA)
        else:
            axes = self.random.integers(12, 45, 2).tolist()
            cv2.ellipse(canvas, (50, 50), axes, self.random.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA)
        return canvas

    def scribble(self) -> Array:
        """A wandering stroke, several short ones, or a texture such as that of a shadow's edge."""
        while _is_stroke(canvas := self._scribble()):
            pass
        return canvas

    def _scribble(self) -> Array:
        canvas = np.zeros((100, 100), np.float32)
        kind = self.random.random()
        if kind < 0.4:
            steps = np.cumsum(self.random.normal(0, 1, (self.random.integers(12, 40), 2)), axis=0)
            points = np.cumsum(steps, axis=0)
            points = (points - points.min(0)) / max(float(np.ptp(points, axis=0).max()), 1e-6) * 80 + 10
            cv2.polylines(canvas, [points.astype(np.int32)], False, 1.0, int(self.random.integers(3, 9)), cv2.LINE_AA)
        elif kind < 0.7:
            for _ in range(self.random.integers(2, 6)):
                a, b = self.random.integers(10, 90, (2, 2)).tolist()
                cv2.line(canvas, a, b, 1.0, int(self.random.integers(3, 9)), cv2.LINE_AA)
        else:
            noise = cv2.GaussianBlur(self.random.normal(0, 1, (100, 100)).astype(np.float32), (0, 0), 6)
            level = np.quantile(noise, self.random.uniform(0.6, 0.85))
            canvas = ((noise > level) * 1.0).astype(np.float32)
        return canvas

    def _beside(self, parts: list[Array]) -> Array:
        """Parts in a row with a small gap, or touching; each at a height of its own."""
        if self.random.random() < 0.1:
            parts = [part.T for part in parts]
            return np.ascontiguousarray(self._row(parts).T)
        return self._row(parts)

    def _row(self, parts: list[Array]) -> Array:
        tallest = max(len(part) for part in parts)
        columns: list[Array] = []
        for part in parts:
            part = cropped(part)
            above = int(self.random.integers(0, max(1, (tallest - len(part)) + tallest // 6)))
            gap = int(self.random.integers(0, tallest // 4))
            height = tallest + tallest // 6 + 1
            columns.append(np.pad(part, ((above, max(0, height - above - len(part))), (0, gap)))[:height])
        return np.concatenate(columns, axis=1)


KINDS: dict[Callable[[Maker], Array], float] = {
    Maker.half: 0.22,
    Maker.several: 0.18,
    Maker.one_and_a_half: 0.1,
    Maker.turned: 0.04,
    Maker.beside_line: 0.06,
    Maker.letter: 0.08,
    Maker.written: 0.2,
    Maker.bar: 0.06,
    Maker.scribble: 0.06,
}
"""What is drawn → its share."""


def with_non_digits(digits: Images, share: float) -> Images:
    """Training digits, every third of them drawn anew, and non-digits, so many times as many as digits."""
    images, labels = digits.images.numpy(), digits.labels.numpy()
    redrawn = images.copy()
    redrawn[::3] = redraw(images[::3], seed=0)
    others = make_non_digits(round(share * len(images)), images, labels, seed=1)
    return Images(
        torch.from_numpy(np.concatenate([redrawn, others])),
        torch.cat([digits.labels, torch.full((len(others),), NON_DIGIT)]),
    )


def redraw(images: Array, seed: int) -> Array:
    """The same digits, drawn as those found in pictures are, with pens of other widths: uint8 (N, 28, 28)."""
    random = np.random.default_rng(seed)
    return np.stack([image_of(enlarged(image, random)) for image in images])


def make_non_digits(count: int, images: Array, labels: Array, seed: int) -> Array:
    """Draws images of what is no digit: uint8 (count, 28, 28).

    Args:
        count: How many.
        images: uint8 (N, 28, 28), digits that are taken apart and put together.
        labels: int (N,).
        seed: Decides all of them.
    """
    random = np.random.default_rng(seed)
    maker = Maker(images, labels, random)
    kinds = random.choice(len(KINDS), count, p=list(KINDS.values()))
    makers = list(KINDS)
    return np.stack([image_of(makers[kind](maker)) for kind in kinds]) if count else np.zeros((0, 28, 28), np.uint8)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    """One of the fonts that come with matplotlib."""
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", f"{name}.ttf"), 80)


def _part(ink: Array, axis: int, side: int, share: float) -> Array:
    """The first (0) or last (1) share of the ink along an axis."""
    length = max(2, round(ink.shape[axis] * share))
    start = 0 if side == 0 else ink.shape[axis] - length
    part: Array = np.ascontiguousarray(np.take(ink, np.arange(start, start + length), axis))
    return part


def _is_stroke(ink: Array) -> bool:
    """Whether ink is as narrow as a 1."""
    _, sides, _ = cv2.minAreaRect(cv2.findNonZero((ink > 0.5).astype(np.uint8)))
    return min(sides) < STROKE * max(sides)
