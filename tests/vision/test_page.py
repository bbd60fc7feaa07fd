"""Ink, lines and pieces of pages."""

import cv2
import numpy as np
import pytest

from digit_rnn.vision.ink import local_ink
from digit_rnn.vision.page import Page
from tests.helpers import Array, line


def ruled(page: Array, slope: float, gap: int, shade: int = 120) -> Array:
    result = page.copy()
    height, width = page.shape
    for y in range(-height, 2 * height, gap):
        cv2.line(result, (0, y), (width, round(y + slope * width)), shade, 2)
    return np.minimum(result, page)


@pytest.mark.parametrize("slope", [0.0, 0.04, -0.08])
def test_lines_go_and_the_strokes_that_cross_them_stay(slope: float, mnist: tuple[Array, Array]) -> None:
    plain = line(list(mnist[0][:8]))
    page = Page(*local_ink(ruled(plain, slope, 45), 1 / 4, light=False))
    digits = Page(*local_ink(plain, 1 / 4, light=False)).binary > 0
    before = page.binary > 0
    page.remove_lines(130, 10, 300)
    after = page.binary > 0
    assert (before & ~digits).sum() > 10_000
    assert (after & ~digits).sum() < 0.25 * (before & ~digits).sum()
    assert (after & digits).sum() > 0.85 * digits.sum()


def test_the_walls_of_a_comb_go_with_its_lines(mnist: tuple[Array, Array]) -> None:
    page = line(list(mnist[0][:6]), gap=40)
    left, right, top, bottom = 10, page.shape[1] - 10, 40, 160
    for y in (top, bottom):
        cv2.line(page, (left, y), (right, y), 60, 3)
    for x in np.linspace(left, right, 7).astype(int).tolist():
        cv2.line(page, (x, top), (x, bottom), 60, 3)
    found = Page(*local_ink(page, 1 / 4, light=False))
    found.remove_lines(130, 10, 300)
    found.remove_posts(80)
    tall = [piece for piece in found.pieces(40) if piece.box.height > 40]
    assert len(tall) == 6


@pytest.mark.parametrize(("upper", "lower"), [(0.45, 0.45), (0.65, 0.65), (0.45, 0.18)])
def test_a_pale_digit_among_dark_ones_becomes_full_ink(upper: float, lower: float, mnist: tuple[Array, Array]) -> None:
    full = 1 - line(list(mnist[0][:6])).astype(np.float32) / 255
    _, label = cv2.connectedComponents((full > 0.05).astype(np.uint8), connectivity=8)
    pale = label == label[:, : full.shape[1] // 7].max()  # of the first digit
    share = np.where(np.arange(len(full))[:, None] < len(full) / 2, upper, lower)
    page = Page(np.where(pale, share * full, full).astype(np.float32))
    assert page.strengthen(80)
    assert page.strokes[pale & (full > 0.9)].mean() > (0.8 if upper == lower else 0.6)
    assert page.binary[pale & (full > 0.9)].all()
    assert (page.strokes == full)[(label > 0) & ~pale].all()
    assert len(page.pieces(40)) == len(Page(full).pieces(40))
    assert not Page(full).strengthen(80)


@pytest.mark.parametrize(("width", "height"), [(10, 150), (130, 80), (10, 30)])
def test_pale_ink_that_is_larger_or_smaller_than_digits_stays_pale(width: int, height: int) -> None:
    strokes = np.zeros((300, 300), np.float32)
    strokes[50 : 50 + height, 50 : 50 + width] = 0.5
    page = Page(strokes.copy())
    assert not page.strengthen(80)
    assert (page.strokes == strokes).all()


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("contrast", [0.15, 0.8])
def test_ink_under_a_shadow(light: bool, contrast: float, mnist: tuple[Array, Array]) -> None:
    strokes = 1 - line(list(mnist[0][:6])).astype(np.float32) / 255
    paper = np.linspace(0.9, 0.45, strokes.shape[1], dtype=np.float32)[None]
    paper = np.where(np.arange(strokes.shape[1]) > 300, 0.6 * paper, paper) * np.ones_like(strokes)
    page = paper * (1 - contrast * strokes)
    picture = (255 * ((1 - page) if light else page)).astype(np.uint8)
    ink = local_ink(picture, 1 / 12, light)[0] > 0.4
    inside = np.ones(ink.shape, bool)
    inside[:, 280:320] = False  # the shadow's edge
    wanted = (strokes > 0.5) & inside
    assert (ink & wanted).sum() > 0.9 * wanted.sum()
    assert (ink & inside & (strokes < 0.05)).sum() < 0.2 * wanted.sum()


def test_a_wide_piece_is_sliced_where_it_is_thin(mnist: tuple[Array, Array]) -> None:
    page = np.zeros((80, 200), np.float32)
    page[10:70, 20:60] = page[10:70, 110:150] = 1
    page[40:43, 60:110] = 1  # what joins them
    found = Page(page)
    (piece,) = found.pieces(20)
    slices = found.cut(piece, 60)
    assert len(slices) >= 2
    assert sum(each.area for each in slices) == piece.area
    assert not any(each.box.left < 60 and each.box.right > 110 for each in slices)


def test_a_box_around_a_digit_goes_and_the_digit_stays(mnist: tuple[Array, Array]) -> None:
    digits = line([mnist[0][0], mnist[0][3]])  # a 7 and a 0, which has no corners
    page = np.pad(digits, ((0, 0), (0, 600)), constant_values=255)
    plain = Page(*local_ink(page, 1 / 4, light=False))
    for left in (20, 130):
        cv2.rectangle(page, (left, 50), (left + 95, 150), 60, 3)
    boxed = Page(*local_ink(page, 1 / 4, light=False))
    assert len(boxed.pieces(30)) == 4
    boxed.remove_frames()
    found, expected = (np.array(sorted(piece.box for piece in each.pieces(30))) for each in (boxed, plain))
    np.testing.assert_allclose(found, expected, atol=2)


def test_round_digits_that_touch_are_cut_where_they_touch() -> None:
    page = np.zeros((60, 200), np.float32)
    for centre in (35, 65, 95):
        cv2.ellipse(page, (centre, 30), (15, 20), 0, 0, 360, 1, 5)
    found = Page(page)
    (piece,) = found.pieces(20)
    ends = [each.box.right for each in found.cut(piece, 40)]
    assert all(min(abs(end - touch) for end in ends) <= 3 for touch in (50, 80))


def test_a_stroke_that_two_digits_share_is_cut_through() -> None:
    page = np.zeros((60, 200), np.float32)
    for centre in (35, 71, 107):
        cv2.ellipse(page, (centre, 30), (18, 20), 0, 0, 360, 1, 5)
    cv2.line(page, (53, 10), (53, 50), 1, 5)
    (piece,) = Page(page).pieces(20)

    def nearest_cut(height: int) -> int:
        return min(abs(each.box.right - 53) for each in Page(page).cut(piece, height))

    assert nearest_cut(47) <= 2
    assert nearest_cut(80) > 10  # where digits are as high as that, it is something else


def test_a_dark_stroke_leaves_the_pale_stain_that_it_stands_on() -> None:
    page = np.zeros((200, 300), np.float32)
    cv2.circle(page, (150, 100), 80, 0.3, 10)
    page[60:140, 72] = 0.4  # the soft edge of a stroke,
    page[60:140, 66:72] = 1  # which lies on the stain
    page[0:90, 280:300] = 0.3
    page[20:60, 290:300] = 1  # a dark thing that the picture's edge cuts
    stained = Page((page > 0).astype(np.float32), page)
    assert [piece.box.height > 80 for piece in stained.pieces(30)] == [True, True]
    assert stained.remove_pale(0.5, 85)
    (stroke,) = stained.pieces(3)
    assert abs(stroke.box.left - 65) <= 1
    assert abs(stroke.box.right - 73) <= 1
    assert abs(stroke.box.height - 80) <= 2
    assert not stained.remove_pale(0.5, 85)


@pytest.mark.parametrize("on_ruled_paper", [False, True])
def test_short_lines_to_write_on_go_but_not_from_ruled_paper(on_ruled_paper: bool, mnist: tuple[Array, Array]) -> None:
    digits = 1 - line(list(mnist[0][:6]), gap=40).astype(np.float32) / 255
    digits = np.pad(digits, ((0, 0), (0, 400)))  # on some lines, nothing stands
    ink = digits.copy()
    for left in range(10, ink.shape[1] - 90, 105):
        cv2.line(ink, (left, 128), (left + 80, 128), 1, 3)
    page = Page(ink)
    page.is_ruled = on_ruled_paper
    page.remove_blanks(60, 10)
    lines = (ink > 0.4) & (digits < 0.05)
    assert page.binary[lines].mean() == pytest.approx(1 if on_ruled_paper else 0, abs=0.15)
    assert page.binary[digits > 0.5].mean() > 0.97


@pytest.mark.parametrize("thickness", [10, 16])
def test_thick_lines_across_go(thickness: int, mnist: tuple[Array, Array]) -> None:
    digits = 1 - line(list(mnist[0][:6]), gap=40).astype(np.float32) / 255
    ink = np.pad(digits, ((60, 60), (0, 0)))
    written = ink > 0.5
    for y in (60, 260):
        cv2.line(ink, (5, y), (ink.shape[1] - 5, y), 1, thickness)
    page = Page(ink)
    page.remove_lines(240, 18, 240)
    assert page.binary[(ink > 0.5) & ~written].mean() < 0.05
    assert page.binary[written].mean() > 0.97


def test_bars_go_out_of_what_digits_hang_on_but_not_out_of_what_is_solid(mnist: tuple[Array, Array]) -> None:
    plain = 255 - line(list(mnist[0][:6]), gap=10)  # about 60 pixels high
    digits = Page(plain.astype(np.float32) / 255).binary > 0
    barred = np.vstack([plain, np.zeros_like(plain)])
    foot = int(np.flatnonzero(digits.any(1))[-1])
    barred[foot - 16 : foot + 2] = 255  # all digits stand in it
    page = Page(barred.astype(np.float32) / 255)
    assert len(page.pieces(40)) == 1
    page.remove_bars(60)
    assert len([piece for piece in page.pieces(40) if piece.box.height > 30]) == 6
    above = digits[: foot - 20]
    assert (page.binary[: foot - 20] & above).sum() > 0.95 * above.sum()
    barred[foot + 2 : foot + 60] = 255
    solid = Page(barred.astype(np.float32) / 255)
    solid.remove_bars(60)
    assert len(solid.pieces(40)) == 1
