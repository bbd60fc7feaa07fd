"""Makes photos of pages with handwritten digits, and says which digits are where: everything follows from a seed."""

import math
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from tests.cells import cell_lines, printed
from tests.kinds import CAMERAS, KINDS, LAYOUTS, PAPERS, PENS, Kind
from tests.paper import INKS, SIDES, Array, clouds, light, photographed, sheet, stain, surround
from tests.pens import DROPPED, EM, OPERATORS, digit_lines, draw_ring, drawn, operator_lines, scribble_lines, text_lines

__all__ = ["KINDS", "Page", "make_page"]

Box = tuple[int, int, int, int]

WORDS = ("Name", "Date", "Total", "Amount", "Note", "Street", "Place", "Sum", "Code", "Number", "Marks", "Year", "Tel")
LARGEST = 1e6  # pixels of a picture: larger ones take long


class Page(NamedTuple):
    picture: Array  # uint8 (H, W) or (H, W, 3)
    rows: list[str]  # the digits of each row, rows from the top; letters and operators are left out
    boxes: list[Box]  # left, top, right, bottom of each digit in reading order, right and bottom outside


def make_page(kind: str, seed: int, images: Array, labels: Array) -> Page:
    """Makes the page of a kind and a seed, with digits out of images uint8 (N, 28, 28) and labels (N,)."""
    rng = np.random.default_rng((seed, zlib.crc32(kind.encode())))
    options = KINDS[kind]
    if kind == "mixed":
        options = {}
        for group in (CAMERAS, LAYOUTS, PENS, PAPERS):
            options = options | group[str(rng.choice(list(group)))]
    draft = _Draft(rng, Kind(**options), images, labels)
    draft.write()
    written = [row for row in draft.found if row]
    texts = ["".join(str(label) for label, _ in row) for row in written]
    return Page(_picture(draft), texts, [box for row in written for _, box in row])


class _Draft:
    """A page in the making: its measures, its ink, and the digits written so far.

    Positions are those on a flat sheet; ``lens`` says where the camera sees them.
    """

    def __init__(self, rng: np.random.Generator, kind: Kind, images: Array, labels: Array) -> None:
        self.rng, self.kind, self.images, self.labels = rng, kind, images, labels
        self.height = math.exp(rng.uniform(*np.log(kind.height)))
        width = int(np.clip(self.height * rng.uniform(11, 22), 600, 1600))
        self.pitch = self.height * rng.uniform(1.8, 2.3)
        self.pen = max(1.3, rng.uniform(*kind.pen) * self.height)
        self.slope = math.tan(math.radians(rng.uniform(-kind.slope, kind.slope)))
        self.bend = rng.uniform(-kind.bend, kind.bend) * self.height
        self.border, self.side = (str(rng.choice(kind.border)) if kind.border else ""), str(rng.choice(SIDES))
        if self.border == "binding":
            self.side = str(rng.choice(("left", "top")))
        self.depth = rng.uniform(0.1, 0.16) * width if self.border else 0.0
        inset = {side: max(0.05 * width, 0.6 * self.height) + self.depth * (side == self.side) for side in SIDES}
        self.left, self.right = inset["left"], width - inset["right"]
        rise = self.slope * (self.right - self.left)
        room = LARGEST / width - inset["top"] - inset["bottom"] - abs(rise)
        self.count = int(np.clip(rng.integers(kind.rows[0], kind.rows[1] + 1), 1, max(1, room / self.pitch)))
        self.top = inset["top"] + max(0.0, -rise) + max(0.0, -self.bend)
        height = self.top + max(0.0, rise) + abs(self.bend) + self.count * self.pitch + inset["bottom"]
        tall = min(max(height * rng.uniform(1, 1.5), 0.35 * width), max(height, LARGEST / width))
        self.size = int(tall), width
        self.top += rng.uniform(0, tall - height)
        self.ink = np.zeros(self.size, np.float32)
        self.print, self.lines = np.zeros(self.size, np.uint8), np.zeros(self.size, np.uint8)
        corners = np.array(((0, 0), (width, 0), (width, self.size[0]), (0, self.size[0])), np.float32)
        moved = corners + rng.uniform(-kind.tilt, kind.tilt, (4, 2)).astype(np.float32) * width
        self.lens = cv2.getPerspectiveTransform(corners, moved)
        self.found: list[list[tuple[int, Box]]] = []
        self.pressed = 1.0  # how dark the pen of this row is

    def write(self) -> None:
        """Writes what the layout says."""
        for row in range(self.count):
            self.found.append([])
            if self.kind.second_pen[0] < 1:
                self.pressed = self.rng.uniform(*self.kind.second_pen) if row % 2 else 1.0
            middle = self.top + (row + 0.5) * self.pitch
            match self.kind.layout:
                case "rows":
                    self._write_row(self._label(middle), middle)
                case "columns":
                    self._write_columns(middle)
                case "comb" | "boxes" | "table" | "crosses" | "teeth" | "blanks" | "fields":
                    self._write_cells(row, middle)
                case "print" | "script" as layout:
                    _write_words(self, middle, by_hand=layout == "script")
        if self.kind.layout == "scribble":
            lines = scribble_lines(self.rng, int(0.8 * (self.right - self.left)), int(0.7 * self.size[0]))
            self.draw(lines, 1.0, 1.1 * self.left, self.size[0] / 2)

    def _write_row(self, x: float, middle: float) -> None:
        gap, after = self.rng.uniform(*self.kind.gap) * self.height, False
        for place in range(int(self.rng.integers(self.kind.digits[0], self.kind.digits[1] + 1))):
            if self.kind.signs and place and not after and self.rng.random() < 0.4:
                x = self._write_sign(x, middle) + gap
                after = True
            else:
                after = False
            x = self._write_digit(x, middle) + gap * self.rng.uniform(0.8, 1.2)
            if x + 1.2 * self.height > self.right:
                break

    def _write_columns(self, middle: float) -> None:
        columns = max(1, min(4, int((self.right - self.left) / (4 * self.height))))
        for column in range(columns):
            x = self.left + column * (self.right - self.left) / columns
            for _ in range(int(self.rng.integers(1, 4))):
                x = self._write_digit(x, middle) + 0.2 * self.height

    def _write_cells(self, row: int, middle: float) -> None:
        table, cross = self.kind.layout == "table", self.kind.layout == "crosses"
        wide = self.height * (3.0 if table else self.kind.cell)
        step = wide * (1.25 if self.kind.layout in ("boxes", "crosses", "blanks") else 1)
        tall = self.pitch if table else 1.1 * self.kind.cell * self.height
        start = self.left if table else self._label(middle)
        cells = min(int((self.right - start) / step), 6 if table else 9)
        for cell in range(cells):
            x = start + cell * step
            corner, end = (int(x), int(middle - tall / 2)), (int(x + wide), int(middle + tall / 2))
            thick = max(1, round(self.height * self.kind.frame))
            for line in cell_lines(self.kind.layout, corner, end, cell == 0, cell == cells - 1):
                cv2.line(self.print, *line, 255, thick, cv2.LINE_AA)
            if table and (row == 0 or cell == 0):
                text = str(row) if self.kind.numbered and row else str(self.rng.choice(WORDS))
                printed(
                    self.print,
                    text,
                    len(self.found),
                    x + 0.2 * self.height,
                    middle,
                    (0.8 if text.isdigit() else 0.5) * self.height,
                )
            elif cross:
                self.draw(operator_lines("x", self.rng), 0.02 * self.height, x + 0.3 * self.height, middle)
            elif self.rng.random() < 0.8:
                x += self.rng.uniform(0.25, 0.4) * (1 if table else 2 * (self.kind.cell - 1)) * self.height
                for _ in range(int(self.rng.integers(1, 3)) if table else 1):
                    x = self._write_digit(x, middle) + 0.15 * self.height

    def _label(self, middle: float) -> float:
        """A printed word before a row; returns where the row begins."""
        if not self.kind.words:
            return self.left + self.rng.uniform(0, 1.5) * self.height
        height, gap = (each * self.height for each in self.kind.label)
        word = str(self.rng.choice(WORDS))
        return printed(self.print, word, len(self.found), self.left, middle, height) + gap

    def _write_digit(self, x: float, middle: float) -> float:
        """Writes any digit; returns its right end."""
        for _ in range(9):
            index = int(self.rng.integers(len(self.images)))
            lines = digit_lines(self.images[index])
            if cv2.connectedComponents(lines)[0] <= 3:  # some of MNIST's digits are in shreds
                break
        height = self.height * self.rng.uniform(0.85, 1.15)
        # What is wider than high is a digit that leans; it is kept from filling the row.
        scale = min((height - self.pen) / lines.shape[0], 1.1 * self.height / lines.shape[1])
        left, top, right, bottom = self.draw(lines, scale, x, middle + self.rng.normal(0, 0.04) * self.height)
        self.found[-1].append((int(self.labels[index]), (left, top, right, bottom)))
        if self.kind.rings:
            draw_ring(self.ink, (left, top, right, bottom), self.height, self.pen)
        return x + right - left

    def _write_sign(self, x: float, middle: float) -> float:
        """Writes an operator, a comma or a letter; returns its right end."""
        sign = str(self.rng.choice(list(self.kind.signs)))
        lines = operator_lines(sign, self.rng) if sign in OPERATORS else text_lines(sign, cv2.FONT_HERSHEY_SIMPLEX)
        left, _, right, _ = self.draw(lines, 0.9 * self.height / EM, x, middle + DROPPED.get(sign, 0) * self.height)
        return x + right - left

    def draw(self, lines: Array, scale: float, x: float, middle: float) -> Box:
        """Draws lines whose left end is at ``x``; returns where the picture shows them."""
        angle = math.degrees(math.atan(self.slope)) + self.rng.normal(0, 2.5)
        ink = drawn(lines, scale, self.pen, angle, self.rng)
        height, width = ink.shape
        along = (x - self.left) / (self.right - self.left)
        middle += self.slope * (x - self.left) + self.bend * math.sin(math.pi * along)
        centre = cv2.perspectiveTransform(np.array([[[x + width / 2, middle]]], np.float32), self.lens)[0, 0]
        left = int(np.clip(centre[0] - width / 2, 0, self.size[1] - width))
        top = int(np.clip(centre[1] - height / 2, 0, self.size[0] - height))
        place = self.ink[top : top + height, left : left + width]
        np.maximum(place, self.pressed * ink, out=place)
        return left, top, left + width, top + height


def _write_words(draft: _Draft, middle: float, by_hand: bool) -> None:
    """Writes or prints words along a row."""
    x = draft.left
    while x + 4.5 * draft.height < draft.right:
        word = str(draft.rng.choice(WORDS))
        if by_hand:
            lines = text_lines(word, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX)
            x = draft.draw(lines, 0.8 * draft.height / EM, x, middle)[2] + 0.6 * draft.height
        else:
            x = printed(draft.print, word, len(draft.found), x, middle, 0.7 * draft.height) + 0.5 * draft.height


def _picture(draft: _Draft) -> Array:
    """The photo of a page."""
    rng, kind, size = draft.rng, draft.kind, draft.size
    if kind.rules:
        _rule(draft)
    shade, colour = str(rng.choice(kind.papers)), np.array(INKS[str(rng.choice(kind.inks))], np.float32)
    page = sheet(rng, size, shade)
    for layer, strength, hue in ((draft.lines, rng.uniform(0.2, 0.55), "blue"), (draft.print, 0.85, "black")):
        seen = cv2.warpPerspective(layer, draft.lens, size[::-1], flags=cv2.INTER_LINEAR).astype(np.float32) / 255
        page *= 1 - strength * seen[..., None] * np.array(INKS[hue], np.float32)
    ink = rng.uniform(*kind.contrast) * _dried(rng, draft.ink, draft.height, kind.grain)[..., None]
    if shade == "board":
        page += ink * (0.92 - page)
    else:
        page *= 1 - ink * colour
    for _ in range(kind.stains):
        page = stain(rng, page, draft.height)
    if draft.border:
        page = surround(rng, page, draft.border, draft.side, draft.depth, draft.height)
    page *= light(rng, size, kind.shadow, kind.corners)[..., None]
    quality = int(rng.integers(*kind.quality))
    return photographed(rng, page, rng.uniform(*kind.blur), rng.uniform(*kind.noise), quality, bool(rng.random() < 0.2))


def _rule(draft: _Draft) -> None:
    """Draws the lines of ruled or squared paper; the rows stand on lines."""
    height, width = draft.size
    squared = draft.kind.rules == "squared"
    step = draft.rng.uniform(0.5, 0.9) * draft.height if squared else draft.pitch
    first = (draft.top + 0.5 * draft.pitch + 0.58 * draft.height) % step
    thick = max(1, round(draft.height * draft.rng.uniform(0.015, 0.05)))
    for y in np.arange(first, height, step):
        cv2.line(draft.lines, (-width, int(y)), (2 * width, int(y)), 255, thick)
    for x in np.arange(draft.rng.uniform(0, step), width, step) if squared else ():
        cv2.line(draft.lines, (int(x), -height), (int(x), 2 * height), 255, thick)


def _dried(rng: np.random.Generator, ink: Array, height: float, grain: bool) -> Array:
    """Ink that varies a little along the strokes, or, with grain, that is missing in places."""
    even = np.clip(1 + 0.06 * clouds(rng, ink.shape, 0.2 * height), 0, 1.1) * ink
    if grain:
        even = even * np.clip(0.75 + 0.45 * clouds(rng, ink.shape, 1.5), 0, 1)
        even = even * np.clip(4 * (clouds(rng, ink.shape, 0.12 * height) + 1.6), 0, 1)  # gaps
    return np.clip(even, 0, 1)
