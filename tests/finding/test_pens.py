"""What is of the pen and the paper of a page's digits, what the network finds odd, and light ink on dark paper."""

import cv2
import numpy as np
import pytest

from digit_rnn.checkpoints import PRETRAINED, read_checkpoint
from digit_rnn.finding import find_digits
from digit_rnn.finding.ink import best_ink
from digit_rnn.finding.page import _alike
from digit_rnn.finding.recogniser import STRONG, Recogniser, Seen
from digit_rnn.finding.row import UNLIKE
from digit_rnn.vision.page import Page
from tests.helpers import Array, line


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(read_checkpoint(PRETRAINED)[0].eval())


def test_strokes_on_the_table_and_at_the_edge_are_none_of_the_pages_digits() -> None:
    strokes, paper = np.zeros((60, 300), np.float32), np.full((60, 300), 200, np.float32)
    for left in (20, 60, 100, 200):
        strokes[10:50, left : left + 20] = 1
    strokes[10:50, 292:300] = 1  # a stroke as wide as a pen's, which the edge cuts
    paper[:, 180:280] = 60  # the table
    page = Page(strokes, paper=paper)
    pieces = sorted(page.pieces(), key=lambda piece: piece.box.left)
    seen = Seen(np.array([3, 4, 7, 8, 1]), np.full(5, 0.95), np.full(5, 0.02))
    sure = np.array([True, True, True, True, False])
    assert _alike(page, pieces, seen, sure).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ((0.3, 0.3, 0.28), True),  # a row of a paler pen
        ((0.3, 0.9, 0.9), False),  # among the usual pen's, such as what shines through the paper
        ((0.3,), False),  # too few to be a row
        ((0.15, 0.15, 0.15), False),  # too pale
    ],
)
def test_a_row_may_be_of_a_paler_pen(beside: tuple[float, ...], expected: bool) -> None:
    rows = (0.9, 0.9, 0.9, 0.9), beside
    darkness = np.zeros((200, 300), np.float32)
    for top, shades in zip((10, 110), rows, strict=True):
        for place, shade in enumerate(shades):
            darkness[top : top + 40, 20 + 60 * place : 40 + 60 * place] = shade
    page = Page((darkness > 0).astype(np.float32), darkness)
    pieces = sorted(page.pieces(), key=lambda piece: (piece.box.top, piece.box.left))
    seen = Seen(np.full(len(pieces), 3), np.full(len(pieces), 0.95), np.full(len(pieces), 0.02))
    alike = _alike(page, pieces, seen, np.ones(len(pieces), bool))
    assert alike[:4].all()
    assert alike[4] == expected


def test_few_true_digits_are_odd(recogniser: Recogniser, mnist: tuple[Array, Array]) -> None:
    images = mnist[0][:2000].astype(np.float32) / 255
    share = (recogniser.see(list(images)).no_digit > recogniser.odd).mean()
    assert 0.003 < share < 0.04


def test_few_true_digits_turn_into_something_else(recogniser: Recogniser, mnist: tuple[Array, Array]) -> None:
    images = list(mnist[0][:400].astype(np.float32) / 255)
    others = [
        image for image, none in zip(images, recogniser.see(images).no_digit, strict=True) if none < recogniser.odd
    ]
    assert np.mean([recogniser.is_unsteady(image) for image in others]) < 0.02


def test_a_letter_that_looks_like_a_digit_is_doubted_as_it_does_not_when_turned(recogniser: Recogniser) -> None:
    strokes = [
        [(0.02, 0.03), (0.1, 1.2)],
        [(0, 0.05), (0.35, 0), (0.7, 0.2), (0.5, 0.42), (0.2, 0.5)],
        [(0.2, 0.5), (0.5, 0.5), (0.65, 0.75), (0.45, 0.95), (0.1, 0.95)],
    ]  # a beta
    random = np.random.default_rng(9)
    picture, width, pen = np.full((300, 300), 255, np.uint8), random.uniform(70, 120), int(random.integers(5, 12))
    for stroke in strokes:
        points = np.array(stroke) + random.normal(0, 0.04, (len(stroke), 2))
        cv2.polylines(picture, [(points * [width, 150] + [90, 70]).astype(np.int32)], False, 0, pen, cv2.LINE_AA)
    (found,) = find_digits(picture)
    seen = recogniser.see([found.image])
    assert (seen.digit, seen.belief > STRONG, seen.no_digit < recogniser.odd) == (8, True, True)
    assert found.doubt == UNLIKE
    (found,) = find_digits(picture, "digit")  # so it was said
    assert found.doubt == ""


@pytest.mark.parametrize("light", [False, True])
def test_ink_is_dark_or_light(light: bool, recogniser: Recogniser, mnist: tuple[Array, Array]) -> None:
    picture = line(list(mnist[0][:6]))
    page, height = best_ink(255 - picture if light else picture, recogniser)
    assert 30 < height < 70
    assert len(page.pieces(30)) == 6
