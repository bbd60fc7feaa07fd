"""What is printed on forms: words, and boxes, combs, fields and blanks to write digits in."""

import cv2

from tests.paper import Array

Point = tuple[int, int]
FONTS = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)


def cell_lines(layout: str, corner: Point, end: Point, is_first: bool, is_last: bool) -> list[tuple[Point, Point]]:
    """The lines of one cell of a row.

    Args:
        layout: the kind's layout.
        corner: left and top of the cell, in pixels.
        end: its right and bottom.
        is_first: whether it is the first of its row.
        is_last: whether it is the last.
    """
    (left, top), (right, bottom) = corner, end
    floor = ((left, bottom), (right, bottom))
    match layout:
        case "blanks":  # high enough that digits stand on them
            line = bottom - (bottom - top) // 6
            return [((left, line), (right, line))]
        case "teeth":
            start = bottom - 2 * (bottom - top) // 5
            return [floor, ((left, start), (left, bottom)), ((right, start), (right, bottom))]
    sides = [((left, top), (left, bottom)), ((right, top), (right, bottom))]
    if layout == "fields":
        sides = sides[:1] * is_first + sides[1:] * is_last
    return [floor, ((left, top), (right, top)), *sides]


def printed(canvas: Array, word: str, font: int, x: float, middle: float, height: float) -> float:
    """Prints a word in one of the fonts on uint8 (H, W); returns its right end."""
    font, scale, thick = FONTS[font % len(FONTS)], height / 21, max(1, round(height / 12))
    cv2.putText(canvas, word, (int(x), int(middle + height / 2)), font, scale, 255, thick, cv2.LINE_AA)
    return x + cv2.getTextSize(word, font, scale, thick)[0][0]
