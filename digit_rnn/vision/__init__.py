"""From any picture to images like MNIST's: load → ink → segment → normalise."""

from typing import NamedTuple

from digit_rnn.vision.box import Box
from digit_rnn.vision.ink import ink
from digit_rnn.vision.load import LARGEST_SIDE, Array, Source, load, reduced
from digit_rnn.vision.normalise import normalise
from digit_rnn.vision.segment import Layout, segment

__all__ = ["TOUCHING", "Array", "Box", "Digit", "Layout", "Source", "connected_digits", "load"]

SIDES = (160, 400, LARGEST_SIDE)  # a picture is reduced to the first of these sizes at which its digits are clear
CLEAR = 40  # pixels of a digit's longer side
TOUCHING = "touching"  # a doubt: strokes that were parted


class Digit(NamedTuple):
    """A digit found in a picture."""

    row: int  # from the top, from 0
    position: int  # in its row from the left, from 0
    box: Box  # in pixels of the upright picture
    image: Array  # float32 (28, 28)
    doubt: str  # why it may not be what it seems, or nothing
    is_digit: bool = True  # or a mark among digits that is none

    def doubted(self, reason: str) -> "Digit":
        """The same with a reason for doubt, or none; the first one stays."""
        return self._replace(doubt=self.doubt or reason)


def connected_digits(lightness: Array, size: tuple[int, int], layout: Layout = "auto") -> tuple[list[Digit], int]:
    """Finds digits by their connected ink alone, and draws each as MNIST would have.

    It holds for one digit, and for several that stand apart on plain paper.

    Args:
        lightness: uint8 (H, W), as ``load`` gives it.
        size: The picture's own width and height.
        layout: What the picture holds: one digit, digits in rows, or auto, which finds out.

    Returns:
        The digits in reading order, none for an empty page; and how many other things were too small for digits.
    """
    for side in SIDES:
        small = reduced(lightness, side)
        found, others = segment(ink(small), layout)
        unclear = [touching or box.side < CLEAR for row in found for box, _, touching in row]
        if small is lightness or (found and not any(unclear)):
            break
    digits = [
        Digit(row, position, box.scaled(small.shape[::-1], size), normalise(strokes), TOUCHING * touching)
        for row, members in enumerate(found)
        for position, (box, strokes, touching) in enumerate(members)
    ]
    return digits, others
