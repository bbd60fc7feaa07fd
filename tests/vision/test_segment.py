import cv2
import numpy as np
import pytest
import torch

from digit_rnn import DigitRNN
from digit_rnn.finding import find_digits
from digit_rnn.vision.segment import segment
from tests.helpers import Array, line


@pytest.mark.parametrize("climb", [-12, 0, 12])
def test_rows_are_found_in_reading_order(climb: int, mnist: tuple[Array, Array], network: DigitRNN) -> None:
    images, labels = mnist[0][:12], mnist[1][:12]
    page = np.concatenate([line(images[:6], climb), line(images[6:], climb)])
    found = find_digits(page)
    assert [(digit.row, digit.position) for digit in found] == [(row, place) for row in (0, 1) for place in range(6)]
    with torch.no_grad():
        read = network(torch.from_numpy(np.stack([digit.image for digit in found]))).argmax(1).numpy()
    assert (read == labels).sum() >= 11
    assert not any(digit.doubt == "touching" for digit in found)


def test_ruled_lines_specks_and_a_dot_are_no_digits(mnist: tuple[Array, Array]) -> None:
    page = line(mnist[0][:5])
    page[128:130] = 60  # a line through the digits' feet
    page[20:26, 300:306] = 0
    rng = np.random.default_rng(0)
    page[rng.integers(0, page.shape[0], 50), rng.integers(0, page.shape[1], 50)] = 90
    assert [(digit.row, digit.position) for digit in find_digits(page)] == [(0, place) for place in range(5)]


def test_touching_digits_are_cut_and_marked(mnist: tuple[Array, Array]) -> None:
    page = line(np.stack([mnist[0][3], mnist[0][18]]), gap=-24)  # 0 and 3
    page[98:102, 70:110] = 0  # a stroke that joins them
    found = find_digits(page)
    assert len(found) == 2
    assert all(digit.doubt == "touching" for digit in found)


def test_a_digit_that_hangs_lower_beside_the_others_is_in_their_row() -> None:
    strokes = np.zeros((400, 400), np.float32)
    strokes[137:295, 40:130] = strokes[75:295, 145:315] = strokes[260:380, 362:380] = 1
    assert [len(row) for row in segment(strokes)[0]] == [3]


def test_what_is_too_small_for_a_digit_is_counted_and_dirt_is_not() -> None:
    strokes = np.zeros((200, 400), np.float32)
    cv2.circle(strokes, (80, 100), 60, 1.0, 5)
    for place, height in enumerate((36, 36, 14, 14, 14, 3)):  # of the ring: 0.3, 0.1 and 0.02
        strokes[20 : 20 + height, 200 + 30 * place : 206 + 30 * place] = 1
    rows, others = segment(strokes)
    assert [len(row) for row in rows] == [1]
    assert others == 5
