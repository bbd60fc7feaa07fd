from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from digit_rnn import DigitReader, DigitRNN, read
from digit_rnn.errors import CheckpointError, PictureError
from digit_rnn.finding import find_digits
from digit_rnn.reading import readings, text_rows
from tests.helpers import Array, line


def test_the_first_reason_to_check_is_named(mnist: tuple[Array, Array]) -> None:
    (digit,) = find_digits(mnist[0][0])
    for doubt, confidence, outlier, reason in [
        ("touching", 0.5, True, "touching"),
        ("", 0.5, True, "low confidence"),
        ("", 0.995, True, "unlike a digit"),
        ("", 0.995, False, ""),
    ]:
        probabilities = torch.full((1, 10), (1 - confidence) / 9)
        probabilities[0, 7] = confidence
        (reading,) = readings([digit._replace(doubt=doubt)], probabilities, torch.tensor([outlier]))
        assert (reading.digit, reading.check) == (7, reason)
        assert reading.confidence == pytest.approx(confidence)


def test_letters_and_stains_are_flagged_and_digits_are_not(mnist: tuple[Array, Array], network: DigitRNN) -> None:
    """Printed letters that look like no digit, and clouds of dirt."""
    pages = [np.full((140, 140), 240, np.uint8) for _ in range(len("AEFHKMNPRWXdefhkmnw") * 4)]
    for index, page in enumerate(pages):
        letter, font = "AEFHKMNPRWXdefhkmnw"[index // 4], (0, 2, 3, 4)[index % 4]
        cv2.putText(page, letter, (35, 95), font, 2.6, 30, 5)
    noise = np.random.default_rng(0).normal(0, 1, (40, 200, 200)).astype(np.float32)
    for grain, field in enumerate(noise):
        pages.append(
            np.clip(128 + 40 * (cloud := cv2.GaussianBlur(field, (0, 0), 3 + grain / 2)) / cloud.std(), 0, 255)
        )

    def checked(pictures: Iterable[Array]) -> float:
        """Share of the pictures that are flagged."""
        found = [find_digits(picture.astype(np.uint8), "digit") for picture in pictures]
        images = torch.from_numpy(np.stack([each[0].image for each in found if each]))
        with torch.no_grad():
            found_out = readings(
                [digit for each in found for digit in each], *network.predict_step((images, images), 0)
            )
        return (sum(bool(reading.check) for reading in found_out) + found.count([])) / len(found)

    assert checked(pages) > 0.8  # after a single epoch
    assert checked(255 - mnist[0][:1000]) < 0.4
    with torch.no_grad():
        _, is_outlier = network.predict_step((torch.from_numpy(mnist[0]) / 255, torch.empty(0)), 0)
    # Of the validation images, 2 % are outliers; of the test images, by other writers, 2.8 ± 0.2 % over ten seeds.
    assert is_outlier.float().mean().item() == pytest.approx(0.028, abs=0.01)


def test_reader_reads_rows_and_refuses_what_it_cannot(
    tmp_path: Path, trained: Path, mnist: tuple[Array, Array]
) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    reader = DigitReader(checkpoint)
    page = np.concatenate([line(mnist[0][:4]), line(mnist[0][4:8])])
    found = reader.read(page)
    assert [(reading.row, reading.position) for reading in found] == [
        (row, place) for row in (0, 1) for place in range(4)
    ]
    assert text_rows(found) == ["".join(str(reading.digit) for reading in part) for part in (found[:4], found[4:])]
    assert sum(reading.digit == label for reading, label in zip(found, mnist[1][:8], strict=True)) >= 7
    assert read(page, checkpoint) == read(Image.fromarray(page), checkpoint) == found
    assert len(reader.read(page, layout="digit")) == 1
    assert reader.read(np.full((60, 60), 255, np.uint8)) == []
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PictureError, match="not a picture, or damaged"):
        reader.read(tmp_path / "text.png")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        DigitReader(tmp_path / "missing.ckpt")
