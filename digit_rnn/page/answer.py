"""What the page answers to a picture: the readings, and what the network saw and believed, as JSON's types."""

import io
import warnings
from base64 import b64encode
from collections.abc import Sequence
from threading import BoundedSemaphore, Lock
from typing import Any

import torch
from PIL import Image
from werkzeug.exceptions import RequestEntityTooLarge, ServiceUnavailable

from digit_rnn.errors import PictureError
from digit_rnn.finding import find_digits
from digit_rnn.reading import DigitReader, text_rows
from digit_rnn.vision import Digit, load

PICTURE_TYPES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
}
"""The pictures that are taken, with Pillow's names of their formats; some others would have it call other programs."""

MOST_PIXELS = 50_000_000  # of a picture: few bytes can unfold to gigabytes
MOST_WAITING = 40  # pictures, each up to 20 MB
MOST_EXPLAINED = 24  # digits with their probabilities by row: 0.1 s with a bidirectional network


class Answers:
    """Reads pictures for any number of threads, one after the other.

    Args:
        reader: What reads them.
    """

    def __init__(self, reader: DigitReader) -> None:
        self.reader = reader
        self._reading = Lock()
        self._places = BoundedSemaphore(MOST_WAITING)

    def answer(self, picture: bytes) -> dict[str, Any]:
        """Reads one picture, after those that are being read.

        Boxes are in pixels of the picture of the answer's width and height: upright, and reduced if it was large.

        Raises:
            PictureError: It cannot be read.
            RequestEntityTooLarge: It has too many pixels.
            ServiceUnavailable: Too many are waiting.
        """
        if not self._places.acquire(blocking=False):
            raise ServiceUnavailable("too many pictures are waiting: try again")
        try:
            with self._reading:
                # Their number is a thread's own; with one, an answer takes a tenth of the time on a busy machine.
                torch.set_num_threads(1)
                return self._answer(picture)
        finally:
            self._places.release()

    def _answer(self, picture: bytes) -> dict[str, Any]:
        check_size(picture)
        lightness, _ = load(io.BytesIO(picture))
        height, width = lightness.shape
        found = find_digits(lightness)
        read = self.reader.read_digits(found)
        explained = self._explained(found[:MOST_EXPLAINED])
        digits = [
            {**reading._asdict(), "confidence": round(reading.confidence, 6), **shown}
            for reading, shown in zip(read, explained + [{}] * (len(read) - len(explained)), strict=True)
        ]
        return {"rows": text_rows(read), "digits": digits, "width": width, "height": height}

    def _explained(self, found: Sequence[Digit]) -> list[dict[str, Any]]:
        """Of each digit, the 784 bytes of its image in base64, and (28, 10) probabilities."""
        if not found:
            return []
        images = torch.stack([torch.from_numpy(digit.image) for digit in found])
        with torch.inference_mode():
            by_row = self.reader.model.probabilities_by_row(images).mul(1000).round().div(1000)
            pixels = images.mul(255).round().byte().numpy()
        return [
            {
                "image": b64encode(image.tobytes()).decode(),
                "probabilities_by_row": [[round(p, 3) for p in row] for row in rows],
            }
            for image, rows in zip(pixels, by_row.tolist(), strict=True)
        ]


def check_size(picture: bytes) -> None:
    """Looks at the picture's header; nothing is unfolded.

    Raises:
        PictureError: It is none of ``PICTURE_TYPES``.
        RequestEntityTooLarge: It has too many pixels.
    """
    too_large = RequestEntityTooLarge(f"the picture has more than {MOST_PIXELS // 10**6} million pixels")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(picture), formats=[*PICTURE_TYPES.values(), "MPO"]) as header:
                pixels = header.width * header.height
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as error:  # Pillow raises whatever the damaged bytes lead to
        raise PictureError(f"not a picture, or damaged ({type(error).__name__})") from error
    if pixels > MOST_PIXELS:
        raise too_large
