"""Rectangles in pictures."""

from collections.abc import Iterable
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom lie outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels."""
        return self.bottom - self.top

    @property
    def side(self) -> int:
        """Pixels of the longer side."""
        return max(self.width, self.height)

    def overlaps(self, other: "Box") -> bool:
        """Whether the two have a pixel in common."""
        across = max(self.left, other.left) < min(self.right, other.right)
        return across and max(self.top, other.top) < min(self.bottom, other.bottom)

    def holds(self, other: "Box") -> bool:
        """Whether the middle of the other lies in this one."""
        across = 2 * self.left < other.left + other.right < 2 * self.right
        return across and 2 * self.top < other.top + other.bottom < 2 * self.bottom

    def scaled(self, size: tuple[int, int], new: tuple[int, int]) -> "Box":
        """This box of a picture of a width and a height, in the same picture of another size, rounded outwards."""
        (width, height), (new_width, new_height) = size, new
        return Box(
            self.left * new_width // width,
            self.top * new_height // height,
            -(-self.right * new_width // width),
            -(-self.bottom * new_height // height),
        )


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds these, of which there is one at least."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return Box(min(left), min(top), max(right), max(bottom))
