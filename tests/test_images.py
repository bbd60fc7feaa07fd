"""Pictures made here from MNIST's test digits, as people would photograph, scan and draw them."""

import csv
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import digit_rnn
from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.images import PictureError, digits
from digit_rnn.reading import readings
from tests.conftest import Command

Array = npt.NDArray[Any]


@pytest.fixture(scope="session")
def mnist(root: Path) -> tuple[Array, Array]:
    """MNIST's test images, as bytes, and their labels."""
    data = MNISTDataModule(str(root))
    data.setup("test")
    return data.test_set.images.numpy(), data.test_set.labels.numpy()


@pytest.fixture(scope="session")
def network(trained: Path) -> DigitRNN:
    return DigitRNN.load_from_checkpoint(trained / "checkpoints" / "best.ckpt").eval()


def paper(image: Array, size: int, width: int, height: int, left: int, top: int) -> Array:
    """Dark ink on unevenly lit paper, the digit ``size`` pixels large."""
    ink = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    page = np.linspace(0.95, 0.75, width, dtype=np.float32)[None].repeat(height, 0)
    page[top : top + size, left : left + size] *= 1 - 0.8 * ink.clip(0, 1)
    return (page * 255).astype(np.uint8)


def line(images: Array, climb: int = 0, gap: int = 30) -> Array:
    """Digits in a row, each 80 pixels large."""
    page = np.zeros((200 + abs(climb) * len(images), 60 + (80 + gap) * len(images)), np.uint8)
    for place, image in enumerate(images):
        top = 60 + (climb * place if climb >= 0 else -climb * (len(images) - place))
        left = 30 + (80 + gap) * place
        page[top : top + 80, left : left + 80] |= cv2.resize(image, (80, 80))
    return 255 - page


VARIANTS: dict[str, Callable[[Array], Array]] = {
    "as they are": lambda image: image,
    "inverted": lambda image: 255 - image,
    "enlarged": lambda image: cv2.resize(image, (300, 300), interpolation=cv2.INTER_CUBIC),
    "off-centre on paper": lambda image: paper(image, 120, 300, 260, 150, 20),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_mnists_own_digits_lose_nothing(variant: str, mnist: tuple[Array, Array], network: DigitRNN) -> None:
    """2,000 test digits: within 0.5 points of the accuracy on the raw tensors."""
    images, labels = mnist[0][:2000], torch.from_numpy(mnist[1][:2000])
    pictures = [digits(VARIANTS[variant](image), "digit") for image in images]
    seen = torch.from_numpy(np.stack([found[0].image for found in pictures]))
    with torch.no_grad():
        raw = (network(torch.from_numpy(images) / 255).argmax(1) == labels).float().mean().item()
        read = (network(seen).argmax(1) == labels).float().mean().item()
    assert read >= raw - 0.005


def test_a_digit_is_drawn_as_mnist_would(mnist: tuple[Array, Array]) -> None:
    for image in mnist[0][:50]:
        (found,) = digits(paper(image, 150, 300, 260, 100, 30), "digit")
        drawn = found.image
        assert (drawn.shape, drawn.dtype) == ((28, 28), np.float32)
        assert drawn.min() >= 0
        assert drawn.max() == 1
        rows, columns = (np.flatnonzero((drawn > 0.4).any(axis)) for axis in (1, 0))
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 22  # the box of 20
        grid = np.arange(28) + 0.5
        assert (drawn.sum(1) * grid).sum() / drawn.sum() == pytest.approx(14.5, abs=0.2)
        assert (drawn.sum(0) * grid).sum() / drawn.sum() == pytest.approx(14.5, abs=0.2)
        left, top, right, bottom = found.box
        assert 100 <= left < right <= 250
        assert 30 <= top < bottom <= 180


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
        (found,) = digits(file)
        right += int(network(torch.from_numpy(found.image)[None]).argmax()) == label
    assert right >= 18


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, bool])
def test_arrays_of_every_kind(dtype: type, mnist: tuple[Array, Array]) -> None:
    (expected,) = digits(255 - mnist[0][0])
    grey = 255 - mnist[0][0]
    array = {np.uint8: grey, np.uint16: grey * np.uint16(257), bool: grey > 128}.get(dtype, (grey / 255).astype(dtype))
    (found,) = digits(array)
    assert np.abs(found.image - expected.image).mean() < 0.03


def test_values_that_are_no_numbers_are_black(mnist: tuple[Array, Array]) -> None:
    page = (255 - mnist[0][0]) / 255
    page[page < 0.2] = np.nan
    (found,), (expected,) = digits(page), digits(255 - mnist[0][0])
    assert np.abs(found.image - expected.image).mean() < 0.03


def test_the_first_reason_to_check_is_named(mnist: tuple[Array, Array]) -> None:
    (digit,) = digits(mnist[0][0])
    for touching, confidence, strange, reason in [
        (True, 0.5, True, "touching"),
        (False, 0.5, True, "low confidence"),
        (False, 0.995, True, "unlike a digit"),
        (False, 0.995, False, ""),
    ]:
        probabilities = torch.full((1, 10), (1 - confidence) / 9)
        probabilities[0, 7] = confidence
        (reading,) = readings([digit._replace(touching=touching)], probabilities, torch.tensor([strange]))
        assert (reading.digit, reading.check) == (7, reason)
        assert reading.confidence == pytest.approx(confidence)


@pytest.mark.parametrize("climb", [-12, 0, 12])
def test_rows_are_found_in_reading_order(climb: int, mnist: tuple[Array, Array], network: DigitRNN) -> None:
    images, labels = mnist[0][:12], mnist[1][:12]
    page = np.concatenate([line(images[:6], climb), line(images[6:], climb)])
    found = digits(page)
    assert [(digit.row, digit.position) for digit in found] == [(row, place) for row in (0, 1) for place in range(6)]
    with torch.no_grad():
        read = network(torch.from_numpy(np.stack([digit.image for digit in found]))).argmax(1).numpy()
    assert (read == labels).sum() >= 11
    assert not any(digit.touching for digit in found)


def test_ruled_lines_specks_and_a_dot_are_no_digits(mnist: tuple[Array, Array]) -> None:
    page = line(mnist[0][:5])
    page[128:130] = 60  # a line through the digits' feet
    page[20:26, 300:306] = 0
    rng = np.random.default_rng(0)
    page[rng.integers(0, page.shape[0], 50), rng.integers(0, page.shape[1], 50)] = 90
    assert [(digit.row, digit.position) for digit in digits(page)] == [(0, place) for place in range(5)]


def test_touching_digits_are_cut_and_marked(mnist: tuple[Array, Array]) -> None:
    page = line(np.stack([mnist[0][3], mnist[0][18]]), gap=-24)  # 0 and 3
    page[98:102, 70:110] = 0  # a stroke that joins them
    found = digits(page)
    assert len(found) == 2
    assert all(digit.touching for digit in found)


@pytest.mark.parametrize("level", [0, 3, 15])
def test_an_empty_page_holds_nothing(level: int) -> None:
    rng = np.random.default_rng(level)
    assert digits(rng.normal(200, level, (300, 200)).clip(0, 255).astype(np.uint8)) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 450),
    height=st.integers(1, 450),
    channels=st.sampled_from([0, 3, 4]),
    seed=st.integers(0, 9),
    levels=st.sampled_from([1, 2, 256]),
)
def test_any_array_gives_digits_or_nothing(width: int, height: int, channels: int, seed: int, levels: int) -> None:
    shape = (height, width, channels) if channels else (height, width)
    array = (np.random.default_rng(seed).integers(0, levels, shape) * (255 // max(levels - 1, 1))).astype(np.uint8)
    for found in digits(array):
        assert found.image.shape == (28, 28)
        assert np.isfinite(found.image).all()
        left, top, right, bottom = found.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_letters_and_stains_are_flagged_and_digits_are_not(mnist: tuple[Array, Array], trained: Path) -> None:
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
    model = DigitRNN.load_from_checkpoint(trained / "checkpoints" / "best.ckpt").eval()

    def checked(pictures: Iterable[Array]) -> float:
        """Share of the pictures that are flagged."""
        found = [digits(picture.astype(np.uint8), "digit") for picture in pictures]
        images = torch.from_numpy(np.stack([each[0].image for each in found if each]))
        with torch.no_grad():
            read = readings([digit for each in found for digit in each], *model.predict_step((images, images), 0))
        return (sum(bool(reading.check) for reading in read) + found.count([])) / len(found)

    assert checked(pages) > 0.8  # after a single epoch
    assert checked(255 - mnist[0][:1000]) < 0.4
    with torch.no_grad():
        _, strange = model.predict_step((torch.from_numpy(mnist[0]) / 255, torch.empty(0)), 0)
    assert strange.float().mean().item() == pytest.approx(0.02, abs=0.01)


BAD_FILES: dict[str, bytes] = {
    "empty.png": b"",
    "text.jpg": b"no picture",
    "cut.png": b"",
    "bomb.png": b"",
}


def make_bad_files(folder: Path, mnist: tuple[Array, Array]) -> None:
    for name, content in BAD_FILES.items():
        (folder / name).write_bytes(content)
    Image.fromarray(mnist[0][0]).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-60])
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")


def test_pages_are_not_passed_over(tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    pages = [Image.fromarray(255 - image) for image in mnist[0][:3]]
    for name in ("scan.tif", "film.gif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(PictureError, match="has 3 pages"):
            digits(tmp_path / name)
    # A phone's photo that carries another one for the preview is one picture.
    first, *more = (page.convert("RGB").resize((112, 112)) for page in pages)
    first.save(tmp_path / "photo.jpg", format="MPO", save_all=True, append_images=more)
    assert len(digits(tmp_path / "photo.jpg")) == 1


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
        digits(array)


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_pictures_are_refused(name: str, tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    make_bad_files(tmp_path, mnist)
    with pytest.raises(PictureError, match="pixels" if name == "bomb.png" else "not a picture, or damaged"):
        digits(tmp_path / name)


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predict_reads_a_folder(command: Command, tmp_path: Path, trained: Path, mnist: tuple[Array, Array]) -> None:
    folder = tmp_path / "scans"
    (folder / "deeper").mkdir(parents=True)
    (folder / "x.png").mkdir()
    odd = tmp_path / "old" / os.fsdecode(b"caf\xe9.png")  # Latin-1, as an old disk has it
    odd.parent.mkdir()
    os.symlink(folder, folder / "deeper" / "loop")
    Image.fromarray(line(mnist[0][:4])).save(folder / "b four digits.png")
    Image.fromarray(255 - mnist[0][4]).save(folder / "deeper" / "数字.png")
    Image.new("L", (50, 50), 255).save(folder / "a.png")
    Image.fromarray(255 - mnist[0][0]).save(odd)
    (folder / "notes.txt").write_text("no picture")
    checkpoint = trained / "checkpoints" / "best.ckpt"
    result = command("predict", "--ckpt_path", checkpoint, "--data.images", "scans", "scans/*four*", "old")
    assert (result.status, result.err) == (0, "")
    text = "".join(str(label) for label in mnist[1][:4])
    lines = result.out.splitlines()
    assert lines[:2] == ["scans/a.png  no digit found", f"scans/b four digits.png  {text}"]
    assert lines[2].startswith("scans/deeper/数字.png  ")
    assert lines[3] == r"old/caf\udce9.png  7"
    assert lines[4].startswith("4 pictures, 6 digits, ")
    assert lines[4].endswith(" to check, 0 unreadable")
    folder = tmp_path / "predictions" / "version_0"
    rows = read_table(folder)
    assert [row["file"] for row in rows] == ["scans/a.png"] + ["scans/b four digits.png"] * 4 + [
        "scans/deeper/数字.png",
        r"old/caf\udce9.png",
    ]
    assert (rows[0]["digit"], rows[0]["check"]) == ("", "no digit found")
    assert "".join(row["digit"] for row in rows[1:5]) == text
    records = [json.loads(record) for record in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["rows"] for record in records] == [[], [text], [rows[5]["digit"]], ["7"]]
    assert records[1]["digits"][2]["box"] == [int(rows[3][side]) for side in ("left", "top", "right", "bottom")]
    assert (folder / "predictions.png").read_bytes().startswith(b"\x89PNG")

    from_python = digit_rnn.read(tmp_path / "scans" / "b four digits.png", checkpoint)
    assert [(r.row, r.position, list(r.box), r.digit, r.check) for r in from_python] == [
        (d["row"], d["position"], d["box"], d["digit"], d["check"]) for d in records[1]["digits"]
    ]


def test_bad_pictures_are_reported_and_the_others_read(
    command: Command, tmp_path: Path, trained: Path, mnist: tuple[Array, Array]
) -> None:
    make_bad_files(tmp_path, mnist)
    Image.fromarray(255 - mnist[0][0]).save(tmp_path / "good.png")
    files = [*BAD_FILES, "good.png"]
    result = command("predict", "--ckpt_path", trained / "checkpoints" / "best.ckpt", "--data.images", *files)
    assert result.status == 1
    assert result.err == "error: cannot read 4 of 5 pictures: see the column check\n"
    assert "5 pictures, 1 digit, " in result.out
    assert ", 4 unreadable\n" in result.out
    rows = read_table(tmp_path / "predictions" / "version_0")
    assert [row["file"] for row in rows] == files
    assert all(row["check"] and not row["digit"] for row in rows[:4])
    assert rows[4]["digit"] == "7"


def test_layout_can_be_said(command: Command, tmp_path: Path, trained: Path, mnist: tuple[Array, Array]) -> None:
    Image.fromarray(line(mnist[0][:2])).save(tmp_path / "two.png")
    checkpoint = trained / "checkpoints" / "best.ckpt"
    for layout, count in (("auto", 2), ("digits", 2), ("digit", 1)):
        command("predict", "--ckpt_path", checkpoint, "--data.images", "two.png", "--data.layout", layout)
        newest = max((tmp_path / "predictions").iterdir())
        assert len(read_table(newest)) == count


@pytest.mark.slow
def test_20_000_files_in_a_folder(command: Command, tmp_path: Path, trained: Path, mnist: tuple[Array, Array]) -> None:
    (tmp_path / "many").mkdir()
    for index in range(20_000):
        Image.fromarray(255 - mnist[0][index % 10_000]).save(tmp_path / "many" / f"{index:05}.png")
    result = command("predict", "--ckpt_path", trained / "checkpoints" / "best.ckpt", "--data.images", "many")
    assert (result.status, result.err) == (0, "")
    rows = read_table(tmp_path / "predictions" / "version_0")
    single = {row["file"]: row["digit"] for row in rows if row["position"] == "0"}
    assert list(single) == [f"many/{index:05}.png" for index in range(20_000)]
    right = sum(int(digit) == mnist[1][index % 10_000] for index, digit in enumerate(single.values()))
    assert right > 0.94 * 20_000
