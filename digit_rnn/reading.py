"""From a picture to what it says."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from digit_rnn.checkpoints import find_checkpoint, read_checkpoint
from digit_rnn.finding import find_digits
from digit_rnn.models.confidence import CONFIDENCE_THRESHOLD
from digit_rnn.vision import Box, Digit, Layout, Source

NO_DIGIT = "_"  # stands in a row's text for a mark that is no digit


class Reading(NamedTuple):
    """One digit, read. Its fields are the columns of the table that ``predict`` writes."""

    row: int  # from the top, from 0
    position: int  # in its row from the left, from 0
    box: Box  # left, top, right, bottom, in pixels of the upright picture
    digit: int | None  # None for a mark among the digits that is none, such as a letter or an operator
    confidence: float  # probability of the digit, calibrated on validation images
    check: str  # why a person should look, or nothing


class DigitReader:
    """Reads pictures with a trained network, which it loads once.

    Args:
        checkpoint: The trained network: its file, pretrained, which comes with the package, or best or last of the
            newest run in ``runs``. Where the digits are, the pretrained one decides in any case.

    Raises:
        CheckpointError: The checkpoint cannot be used.
    """

    def __init__(self, checkpoint: str | Path = "pretrained") -> None:
        self.model, _ = read_checkpoint(find_checkpoint(str(checkpoint)))
        self.model.eval()

    def read(self, picture: Source, layout: Layout = "auto") -> list[Reading]:
        """Reads the digits in a picture.

        Args:
            picture: Path, open file, PIL image, or array (H, W) or (H, W, 3 or 4) of bytes, 16-bit integers or floats
                in [0, 1].
            layout: What the picture holds: one digit, digits in rows, or auto, which finds out.

        Returns:
            The digits in reading order; none for an empty page.

        Raises:
            PictureError: The picture cannot be read.
        """
        return self.read_digits(find_digits(picture, layout))

    def read_digits(self, found: Sequence[Digit]) -> list[Reading]:
        """Reads what ``find_digits`` has found."""
        if not found:
            return []
        images = torch.stack([torch.from_numpy(digit.image) for digit in found])
        with torch.inference_mode():
            return readings(found, *self.model.predict_step((images, None), 0))


def read(picture: Source, checkpoint: str | Path = "pretrained", layout: Layout = "auto") -> list[Reading]:
    """Reads the digits in one picture, as ``DigitReader`` does, which loads the network only once for many."""
    return DigitReader(checkpoint).read(picture, layout)


def readings(found: Sequence[Digit], probabilities: Tensor, is_outlier: Tensor) -> list[Reading]:
    """Joins the digits of a picture with their probabilities (N, 10) and which of them are outliers, bool (N,)."""
    result = []
    for digit, row, outlier in zip(found, probabilities, is_outlier.tolist(), strict=True):
        confidence = float(row.max())
        sure = confidence >= CONFIDENCE_THRESHOLD  # not so for what is no number
        check = digit.doubt or "low confidence" * (not sure) or "unlike a digit" * outlier
        answer = int(row.argmax()) if digit.is_digit else None
        result.append(Reading(digit.row, digit.position, digit.box, answer, confidence * digit.is_digit, check))
    return result


def text_rows(read: Iterable[Reading]) -> list[str]:
    """The digits as text, a string a row, with ``_`` for marks that are no digits."""
    lines: dict[int, str] = {}
    for reading in read:
        lines[reading.row] = lines.get(reading.row, "") + (NO_DIGIT if reading.digit is None else str(reading.digit))
    return list(lines.values())
