"""The pages that tests make: they follow from their seeds, and what is said of them is so."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from digit_rnn.data.labels import labelled_pictures
from tests import write_pages
from tests.kinds import EMPTY, KINDS
from tests.pages import Page, make_page
from tests.paper import Array
from tests.pens import digit_lines, drawn

WRITTEN = [kind for kind in KINDS if kind not in EMPTY]
SEED = 5
FRAME = (24, 36)  # width and height at which shapes are compared


@pytest.fixture(scope="module")
def ten(mnist: tuple[Array, Array]) -> Array:
    """One image of each digit, none like another."""
    images, labels = mnist
    return np.stack([images[labels == digit][2] for digit in range(10)])


@cache
def page_of(kind: str, content: bytes) -> Page:
    return make_page(kind, SEED, np.frombuffer(content, np.uint8).reshape(10, 28, 28), np.arange(10))


def grey(page: Page) -> Array:
    picture = page.picture
    return (picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)).astype(np.float32)


def around(box: tuple[int, int, int, int], by: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return slice(max(0, top - by), min(shape[0], bottom + by)), slice(max(0, left - by), min(shape[1], right + by))


def stretched(shape: Array) -> Array:
    """A shape at one size and softness, of mean 0 and length 1, so that products are correlations."""
    shape = cv2.GaussianBlur(cv2.resize(shape, FRAME, interpolation=cv2.INTER_AREA), (0, 0), 1.5)
    shape = shape - shape.mean()
    return np.ravel(shape / np.linalg.norm(shape))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_follows_from_its_seed(kind: str, ten: Array) -> None:
    first, again = page_of(kind, ten.tobytes()), make_page(kind, SEED, ten, np.arange(10))
    assert np.array_equal(first.picture, again.picture)
    assert (first.rows, first.boxes) == (again.rows, again.boxes)


@pytest.mark.parametrize("kind", ["rows", "comb", "mixed", "empty"])
def test_another_seed_gives_another_page(kind: str, ten: Array) -> None:
    page, other = page_of(kind, ten.tobytes()), make_page(kind, SEED + 1, ten, np.arange(10))
    assert not np.array_equal(page.picture, other.picture)
    assert page.boxes != other.boxes or kind == "empty"


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_and_rows_fit_the_picture(kind: str, ten: Array) -> None:
    page = page_of(kind, ten.tobytes())
    height, width = page.picture.shape[:2]
    assert page.picture.dtype == np.uint8
    assert page.picture.shape[2:] in ((), (3,))
    assert 600 <= width <= 1600
    assert len(page.boxes) == len("".join(page.rows))
    assert all(row.isdecimal() for row in page.rows)
    assert bool(page.rows) == (kind in WRITTEN)
    for left, top, right, bottom in page.boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert 15 <= bottom - top <= 180
    start = 0
    for row in page.rows:  # digits of a row from the left
        lefts = [box[0] for box in page.boxes[start : start + len(row)]]
        assert lefts == sorted(lefts)
        start += len(row)


# Rings and lines that touch digits are ink outside of their boxes.
@pytest.mark.parametrize("kind", [kind for kind in WRITTEN if kind not in ("circled", "tight_boxes")])
def test_boxes_hold_ink(kind: str, ten: Array) -> None:
    """What stands out from the paper is inside the boxes rather than right outside of them."""
    page = page_of(kind, ten.tobytes())
    light, boxed = grey(page), np.zeros(page.picture.shape[:2], bool)
    for box in page.boxes:
        boxed[around(box, 0, light.shape)] = True
    held = []
    for box in page.boxes:
        inner, outer = around(box, 0, light.shape), around(box, 6, light.shape)
        paper = np.median(light[around(box, 12, light.shape)])
        out = np.abs(light - paper)
        held.append(out[inner].mean() > out[outer][~boxed[outer]].mean())
    assert np.mean(held) > 0.9


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_digits_drawn_are_those_named(kind: str, ten: Array) -> None:
    page, rng = page_of(kind, ten.tobytes()), np.random.default_rng(0)
    shapes = np.stack([stretched(drawn(digit_lines(image), 1, 7, 0, rng)) for image in ten])
    light = cv2.GaussianBlur(grey(page), (0, 0), 1)
    right = []
    for digit, box in zip("".join(page.rows), page.boxes, strict=True):
        paper = np.median(light[around(box, 12, light.shape)])
        found = shapes @ stretched(np.abs(light[around(box, 0, light.shape)] - paper))
        right.append(int(found.argmax()) == int(digit))
    assert np.mean(right) > 0.8


def test_pages_are_written_with_their_labels(
    tmp_path: Path, root: Path, mnist: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pages"
    monkeypatch.setattr("sys.argv", ["", str(folder), "5", "7", "--kinds", "rows", "empty", "--root", str(root)])
    write_pages.main()
    labels = labelled_pictures([str(folder)])
    assert len(labels) == 4
    for seed in (5, 6):
        page = make_page("rows", seed, *mnist)
        assert labels[str(folder / f"rows_{seed}.png")] == page.rows
        assert np.array_equal(np.asarray(Image.open(folder / f"rows_{seed}.png")), page.picture)
        assert labels[str(folder / f"empty_{seed}.png")] == []


def test_other_labels_give_other_rows_of_the_same_picture(ten: Array) -> None:
    page, moved = page_of("rows", ten.tobytes()), make_page("rows", SEED, ten, (np.arange(10) + 1) % 10)
    assert np.array_equal(page.picture, moved.picture)
    assert page.boxes == moved.boxes
    assert moved.rows == ["".join(str((int(digit) + 1) % 10) for digit in row) for row in page.rows]
