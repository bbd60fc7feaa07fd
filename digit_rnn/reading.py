"""From the digits in a picture and the network's probabilities to what the picture says."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from digit_rnn.checkpoints import read_checkpoint
from digit_rnn.images import Box, Digit, Layout, Source, digits
from digit_rnn.model import SURE


class Reading(NamedTuple):
    """One digit, read."""

    row: int  # from the top, from 0
    position: int  # in its row from the left, from 0
    box: Box  # left, top, right, bottom, in pixels of the upright picture
    digit: int
    confidence: float  # probability of the digit, calibrated on validation images
    check: str  # why a person should look, or nothing


def readings(found: Sequence[Digit], probabilities: Tensor, strange: Tensor) -> list[Reading]:
    """Joins the digits of a picture with their probabilities (N, 10) and which of them are strange (N,)."""
    result = []
    for digit, row, unlike in zip(found, probabilities, strange.tolist(), strict=True):
        confidence = float(row.max())
        reasons = {"touching": digit.touching, "low confidence": confidence < SURE, "unlike a digit": unlike}
        check = next((reason for reason, holds in reasons.items() if holds), "")
        result.append(Reading(digit.row, digit.position, digit.box, int(row.argmax()), confidence, check))
    return result


def rows(read: Iterable[Reading]) -> list[str]:
    """The digits as text, a string a row."""
    lines: dict[int, str] = {}
    for reading in read:
        lines[reading.row] = lines.get(reading.row, "") + str(reading.digit)
    return list(lines.values())


def read(source: Source, checkpoint: str | Path, layout: Layout = "auto") -> list[Reading]:
    """Reads the digits in a picture.

    Args:
        source: Path, PIL image or array, as for ``digit_rnn.images.digits``.
        checkpoint: File of a trained network.
        layout: What the picture holds: one digit, digits in rows, or auto, which finds out.

    Returns:
        The digits in reading order; none for an empty page.

    Raises:
        PictureError: The picture cannot be read.
        CheckpointError: The checkpoint cannot be used.
    """
    model, _ = read_checkpoint(Path(checkpoint))
    found = digits(source, layout)
    if not found:
        return []
    images = torch.stack([torch.from_numpy(digit.image) for digit in found])
    with torch.inference_mode():
        return readings(found, *model.eval().predict_step((images, images), 0))
