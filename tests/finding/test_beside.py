"""Numbers on a sheet with what else lies on sheets: each is read right, or something is flagged."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from digit_rnn.reading import DigitReader, text_rows
from tests.helpers import Array, trimmed

WIDTH, HEIGHT = 760, 460  # pixels
DIGIT = 44  # of a digit's height
PEN = 4


class Sheet:
    """Ink on a sheet of paper."""

    def __init__(self, mnist: tuple[Array, Array], seed: int) -> None:
        self.images, self.labels = mnist
        self.random = np.random.default_rng(seed)
        self.ink = np.zeros((HEIGHT, WIDTH), np.float32)
        self.rows: list[str] = []

    def number(self, count: int, x: int, middle: int, scale: float = 1.0) -> int:
        """Writes digits from x on; gives where they end."""
        text = ""
        for place in self.random.integers(0, len(self.labels), count):
            image = trimmed(self.images[place])
            image = image[(image > 100).any(1)] / 255
            factor = scale * DIGIT / 60
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC).clip(0, 1)
            height, width = image.shape
            self.ink[middle - height // 2 :, x:][:height, :width] += image
            x += width + int(self.random.integers(6, 12))
            text += str(self.labels[place])
        self.rows.append(text)
        return x

    def line(self, *points: tuple[float, float], pen: int = PEN, dark: float = 1.0) -> None:
        cv2.polylines(self.ink, [np.array(points, np.int32)], False, dark, pen, cv2.LINE_AA)

    def picture(self) -> Array:
        ink = cv2.GaussianBlur(self.ink.clip(0, 1), (0, 0), 0.7)
        grain = self.random.normal(0, 2.5, ink.shape)
        return (230 - 170 * ink + grain).clip(0, 255).astype(np.uint8)


def three_rows(mnist: tuple[Array, Array], seed: int) -> Sheet:
    sheet = Sheet(mnist, seed)
    for middle in (90, 220, 330):
        sheet.number(int(sheet.random.integers(3, 6)), 100, middle)
    return sheet


def slashes(sheet: Sheet) -> None:
    end = sheet.number(2, 100, 400)
    sheet.line((end + 16, 400 - 0.55 * DIGIT), (end, 400 + 0.6 * DIGIT))
    sheet.rows[-1] += (sheet.number(2, end + 24, 400), sheet.rows.pop())[1]


def staple(sheet: Sheet) -> None:
    x, lean = sheet.random.uniform(20, 50), sheet.random.uniform(-0.5, 0.5)
    sheet.line((x, 20), (x + 40 * np.sin(lean), 20 + 40 * np.cos(lean)))


def ring_of_a_cup(sheet: Sheet) -> None:
    cv2.circle(sheet.ink, (560, 220), 150, sheet.random.uniform(0.1, 0.35), 9, cv2.LINE_AA)


def lower_row(sheet: Sheet) -> None:
    sheet.number(4, 100, 400, 0.45)


def small_number(sheet: Sheet) -> None:
    sheet.ink[:], sheet.rows = 0, []
    sheet.number(2, 60, 60, 0.7)
    sheet.number(4, 100, 250, 2.6)


def dollar(sheet: Sheet) -> None:
    sheet.ink[:], sheet.rows = 0, []
    sheet.number(3, 150, 110)
    curve = [
        (0.85, 0.15),
        (0.6, 0),
        (0.3, 0.05),
        (0.15, 0.25),
        (0.4, 0.47),
        (0.7, 0.6),
        (0.85, 0.8),
        (0.5, 1),
        (0.1, 0.85),
    ]
    place, size = np.array((110, 88)), np.array((0.6, 1)) * sheet.random.uniform(0.9, 1.2) * DIGIT
    sheet.line(*map(tuple, np.array(curve) * size + place))
    for start, stop in ((-0.15, 0.08), (0.92, 1.15)):
        sheet.line(*map(tuple, np.array([(0.5, start), (0.48, stop)]) * size + place))


def ditto_marks(sheet: Sheet) -> None:
    for x in (120, 130, 170, 180):
        sheet.line((x, 390), (x - 2, 408))


def underlined_sum(sheet: Sheet) -> None:
    for y in (370, 380):
        sheet.line((90, y), (330, y - 3))


def stroke_through(sheet: Sheet) -> None:
    sheet.line((92, 86), (300, 94))


def arrow(sheet: Sheet) -> None:
    sheet.line((480, 220), (600, 220))
    sheet.line((575, 205), (600, 220), (575, 235))


def scribbled_out(sheet: Sheet) -> None:
    for y in range(190, 252, 9):
        sheet.line((95, y), (150, y + 12))


def hair(sheet: Sheet) -> None:
    steps = np.cumsum(np.cumsum(sheet.random.normal(0, 1, (40, 2)), 0), 0)
    points = (steps - steps.min(0)) / np.ptp(steps, 0) * 200 + (450, 150)
    sheet.line(*map(tuple, points.tolist()), pen=1, dark=0.6)


@pytest.mark.parametrize("seed", [61, 65, 71, 73])
@pytest.mark.parametrize(
    "draw",
    [
        slashes,
        staple,
        ring_of_a_cup,
        lower_row,
        small_number,
        dollar,
        ditto_marks,
        underlined_sum,
        stroke_through,
        arrow,
        scribbled_out,
        hair,
    ],
)
def test_right_or_flagged(mnist: tuple[Array, Array], draw: Callable[[Sheet], None], seed: int) -> None:
    sheet = three_rows(mnist, seed)
    draw(sheet)
    assert_right_or_flagged(sheet, sheet.picture())


@pytest.mark.parametrize("seed", [61, 65, 71, 73])
def test_a_ring_beside_a_small_pictures_digits_is_not_all_there_is(mnist: tuple[Array, Array], seed: int) -> None:
    sheet = three_rows(mnist, seed)
    cv2.circle(sheet.ink, (560, 220), 110, 0.4, 6, cv2.LINE_AA)
    assert_right_or_flagged(sheet, cv2.resize(sheet.picture(), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))


def assert_right_or_flagged(sheet: Sheet, picture: Array) -> None:
    readings = DigitReader().read(picture)
    rows = ["".join(character for character in row if character != "_") for row in text_rows(readings)]
    assert sum(reading.digit is not None for reading in readings) > 2
    assert rows == sheet.rows or any(reading.check for reading in readings)
