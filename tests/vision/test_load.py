from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from digit_rnn import DigitRNN
from digit_rnn.errors import PictureError
from digit_rnn.finding import find_digits
from digit_rnn.vision import load
from tests.helpers import BAD_FILES, Array, make_bad_files


def save(path: Path, grey: Array, mode: str) -> None:
    """Writes dark ink on light ground in one of the ways in which pictures come."""
    image = Image.fromarray(grey)
    if mode == "alpha only":
        image = Image.merge("RGBA", [Image.new("L", image.size)] * 3 + [Image.fromarray(255 - grey)])
    elif mode == "white on alpha":
        image = Image.merge("RGBA", [Image.new("L", image.size, 255)] * 3 + [Image.fromarray(255 - grey)])
    elif mode == "16-bit":
        image = Image.fromarray(grey.astype(np.uint16) * 200)
    elif mode == "palette":
        image = image.convert("RGB").quantize(16)
    elif mode == "transparent palette":
        image = image.quantize(8)
    elif mode in ("1", "RGB", "CMYK", "LA", "F"):
        image = image.convert(mode)
    exif = Image.Exif()
    if mode == "turned":
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6  # to be turned clockwise for viewing
    # It is the paper that is transparent.
    image.save(path, exif=exif, **({"transparency": image.getpixel((0, 0))} if "transparent" in mode else {}))


MODES = {
    "L": "png", "1": "png", "RGB": "bmp", "CMYK": "tif", "LA": "png", "16-bit": "png", "palette": "gif",
    "F": "tiff", "transparent grey": "png",
    "transparent palette": "png", "alpha only": "png", "white on alpha": "webp", "turned": "jpg", "plain": "jpeg",
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_picture(mode: str, tmp_path: Path, mnist: tuple[Array, Array], network: DigitRNN) -> None:
    images, labels = mnist[0][:20], mnist[1][:20]
    right = 0
    for image, label in zip(images, labels, strict=True):
        file = tmp_path / f"digit.{MODES[mode]}"
        save(file, 255 - cv2.resize(image, (90, 90)), mode)
        (found,) = find_digits(file)
        right += int(network(torch.from_numpy(found.image)[None]).argmax()) == label
    assert right >= 18


@pytest.mark.parametrize("kind", ["tiff_lzw", "raw", "png", "jpg"])
def test_turned_picture_has_its_own_size_and_boxes(kind: str, tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    """A wide picture, stored upright and to be turned clockwise for viewing, with a digit at its right."""
    grey = np.full((120, 300), 255, np.uint8)
    grey[16:104, 200:288] = 255 - cv2.resize(mnist[0][0], (88, 88))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / f"turned.{'tif' if kind in ('tiff_lzw', 'raw') else kind}"
    stored = Image.fromarray(grey).transpose(Image.Transpose.ROTATE_90)
    stored.save(file, exif=exif, **({"compression": kind} if file.suffix == ".tif" else {}))
    if kind == "raw":
        with pytest.raises(PictureError, match="turned TIFF without compression"):
            load(file)
        return
    assert load(file)[1] == (300, 120)
    (found,), (expected,) = find_digits(file), find_digits(grey)
    np.testing.assert_allclose(found.box, expected.box, atol=2)


def test_thin_stroke_that_is_in_the_alpha_channel_alone() -> None:
    """Three pixels wide, between every fourth: a sample of the pixels must not miss it."""
    alpha = np.zeros((28, 28), np.uint8)
    alpha[4:24, 13:16] = 255
    picture = Image.merge("RGBA", [Image.new("L", (28, 28))] * 3 + [Image.fromarray(alpha)])
    (found,) = find_digits(picture)
    assert found.box == (13, 4, 16, 24)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, bool])
def test_arrays_of_every_kind(dtype: type, mnist: tuple[Array, Array]) -> None:
    (expected,) = find_digits(255 - mnist[0][0])
    grey = 255 - mnist[0][0]
    array = {np.uint8: grey, np.uint16: grey * np.uint16(257), bool: grey > 128}.get(dtype, (grey / 255).astype(dtype))
    (found,) = find_digits(array)
    assert np.abs(found.image - expected.image).mean() < 0.03


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1, 255])
def test_floats_that_are_no_lightness_are_refused(wrong: float, mnist: tuple[Array, Array]) -> None:
    page = (255 - mnist[0][0]) / 255
    page[3, 4] = wrong
    with pytest.raises(PictureError, match=r"floats that are not all in \[0, 1\]"):
        find_digits(page)


def test_pages_are_not_passed_over(tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    pages = [Image.fromarray(255 - image) for image in mnist[0][:3]]
    for name in ("scan.tif", "film.gif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(PictureError, match="has 3 pages"):
            find_digits(tmp_path / name)
    # A phone's photo that carries another one for the preview is one picture.
    first, *more = (page.convert("RGB").resize((112, 112)) for page in pages)
    first.save(tmp_path / "photo.jpg", format="MPO", save_all=True, append_images=more)
    assert len(find_digits(tmp_path / "photo.jpg")) == 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 5), np.uint8), r"shape \(0, 5\)"),
        (np.zeros((5, 5, 2), np.uint8), r"shape \(5, 5, 2\)"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (np.zeros((5, 5), np.int64), "int64"),
        (np.zeros((5, 5), complex), "complex"),
    ],
)
def test_bad_arrays_are_refused(array: Array, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        find_digits(array)


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_pictures_are_refused(name: str, tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    make_bad_files(tmp_path, mnist)
    with pytest.raises(PictureError, match="pixels" if name == "bomb.png" else "not a picture, or damaged"):
        find_digits(tmp_path / name)
