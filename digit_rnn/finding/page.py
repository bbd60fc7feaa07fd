"""A page: lines away, ink in pieces, pieces in rows, rows in numbers."""

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from digit_rnn.finding.doubts import beside_doubted, ones_doubted, page_doubted
from digit_rnn.finding.ink import MOST, best_ink
from digit_rnn.finding.printed import remove_print
from digit_rnn.finding.recogniser import BELIEVED, LIKELY, STRONG, Recogniser, Seen
from digit_rnn.finding.row import read_row
from digit_rnn.finding.words import Mark, phrases, words_of
from digit_rnn.vision import Array, Box, Digit
from digit_rnn.vision.box import around
from digit_rnn.vision.page import Page
from digit_rnn.vision.pieces import Piece
from digit_rnn.vision.rows import rows_of

LARGEST = 2.2  # heights of its digits: larger ink is no digit of a page
LOWEST = 0.2  # heights of its digits: what is lower is dirt
PALER = 0.5  # of the darkness of clear digits: what is paler in larger ink is none, such as a stain or a line
PALER_PEN = 0.5  # of the usual pen's darkness: as pale as this, at least, is a row of another pen
LIMIT = 1500  # pieces of a page: a texture has any number
WIDE = 0.9  # of its height: a wider piece that is no digit may be several
MANY = 4  # clear digits by which a page is one of digits
CUT = 0.25  # heights of its digits: smaller ink at the picture's edge is no part of a digit
CUT_DARK, CUT_WIDE = 0.7, 1.5  # of the darkness and of the width of clear digits' strokes: at least, and at most
PERHAPS = 0.25  # probability from which what is left out may be a digit


def read_page(lightness: Array, size: tuple[int, int], recogniser: Recogniser) -> tuple[list[Digit], bool]:
    """Finds the digits of a page: uint8 (H, W), of a picture of this width and height.

    Returns:
        What is found, and whether the page is plain: without lines, and without print, words or another pen's digits
        that were left out.
    """
    page, height = best_ink(lightness, recogniser)
    if not height:
        return [], True
    height, usable, whole, printed = _cleaned(page, height, recogniser)
    pieces, seen, sliced = _sliced(page, usable, whole, height, recogniser)
    is_digit = (seen.belief > BELIEVED) & np.array([piece.box.height > 0.55 * height for piece in pieces], bool)
    sure = is_digit & seen.is_clear
    believed = {piece.label: piece.box.height for piece in compress(pieces, sure)}
    alike = _alike(page, pieces, seen, sure)
    unlike, strokes = _unlike(pieces, seen, is_digit & ~alike)
    pieces = list(compress(pieces, alike))
    makes_row = [each or piece.cut_from in sliced for each, piece in zip(is_digit[alike], pieces, strict=True)]
    rows = rows_of(pieces, makes_row, height)
    lost = _in_no_row(pieces, rows, ((seen.belief > BELIEVED) & (seen.digit != 1))[alike], height)
    left_out = [*printed, *unlike, *lost, *_too_large(page, height, recogniser)]
    found, has_words, tall = list[Digit](), False, 0  # how many marks are as high as digits
    for row in rows:
        row_height = _row_height(row, believed, height)
        marks = [m for m in read_row(page, row, row_height, recogniser) if m.is_digit or m.box.side > 0.4 * row_height]
        kept = words_of(marks, row_height, len(believed) >= MANY)
        boxes = {mark.box for mark in kept}
        has_words |= _has_word([mark for mark in marks if mark.box not in boxes])
        tall += sum(mark.box.height > 0.6 * row_height for mark in marks)
        left_out += _perhaps_digits(marks, boxes, row_height)
        number = found[-1].row + 1 if found else 0
        found += [Digit(number, place, m.box, m.image, m.doubt, m.is_digit) for place, m in enumerate(kept)]
    left_out += _cut_off(page, usable, whole, height, found)
    here = page.strokes.shape[1], page.strokes.shape[0]
    found = [digit._replace(box=digit.box.scaled(here, size)) for digit in beside_doubted(found, left_out, strokes)]
    if len(page.pieces(*_sizes(height))) > LIMIT:
        found = [digit.doubted("more ink than is read") for digit in found]
    seen = recogniser.see([digit.image for digit in found])
    return page_doubted(ones_doubted(found, seen), seen, tall), not (printed or unlike or has_words or page.is_ruled)


def _cleaned(page: Page, height: float, recogniser: Recogniser) -> tuple[float, list[Piece], Seen, list[Box]]:
    """Takes lines and print away, and makes pale ink full: the height of the digits, usable ink, and the print."""
    _remove_lines(page, height, recogniser)
    usable, seen = _usable(page, height, recogniser)
    clear = list(compress(usable, seen.is_clear))
    changed = bool(clear) and page.remove_pale(PALER * float(np.median(page.traits(clear)[1])), LARGEST * height)
    if len(clear) > 1:  # on an empty page, any shade would become ink
        changed |= page.strengthen(height)
    if changed:
        usable, seen = _usable(page, height, recogniser)
    height, printed = remove_print(page, usable, seen, height)
    if printed:
        usable, seen = _usable(page, height, recogniser)
    return height, usable, seen, printed


def _remove_lines(page: Page, height: float, recogniser: Recogniser) -> None:
    """Takes lines away, but not out of what is a digit."""
    tall = [piece for piece in page.pieces(1.3 * height, 3.5 * height) if piece.box.height > 0.8 * height][:MOST]
    seen = recogniser.see([page.drawn([piece])[1] for piece in tall])
    believed = (seen.belief > BELIEVED) & (
        (seen.digit != 1) | np.array([piece.box.height < 2.5 * height for piece in tall], bool)
    )
    kept = [piece.label for piece in compress(tall, believed)]
    page.remove_lines(1.9 * height, 0.16 * height, 1.5 * height, kept)
    page.remove_lines(4 * height, 0.3 * height, 4 * height)  # thick ones are longer than what digits join
    page.remove_bars(height)
    page.remove_blanks(height, 0.16 * height)
    page.remove_posts(height)


def _cut_off(page: Page, usable: Sequence[Piece], seen: Seen, height: float, found: Sequence[Digit]) -> list[Box]:
    """Ink like that of clear digits which the picture's edge cuts: a part of a digit, whatever it looks like."""
    if not seen.is_clear.any():
        return []
    width, dark, _ = page.traits(usable)
    is_pen = (dark > CUT_DARK * np.median(dark[seen.is_clear])) & (width < CUT_WIDE * np.median(width[seen.is_clear]))
    is_large = np.array([piece.box.side > CUT * height for piece in usable])
    cut = compress(usable, is_pen & is_large & page.at_edge(usable))
    return [piece.box for piece in cut if not any(piece.box.overlaps(digit.box) for digit in found)]


def _sizes(height: float) -> tuple[float, float]:
    """Between which the longer side of a digit's ink lies, in pixels, broken and crossed ones included."""
    return 0.12 * height, 6 * height


def _usable(page: Page, height: float, recogniser: Recogniser) -> tuple[list[Piece], Seen]:
    """Connected ink that is of the size of digits or of their parts, the largest first, and what it is taken for."""
    largest_first = sorted(page.pieces(*_sizes(height)), key=lambda piece: -piece.area)[:LIMIT]
    usable = [piece for piece in largest_first if 0.08 * height <= piece.box.height <= LARGEST * height]
    return usable, recogniser.see([page.drawn([piece])[1] for piece in usable])


def _sliced(
    page: Page, usable: Sequence[Piece], seen: Seen, height: float, recogniser: Recogniser
) -> tuple[list[Piece], Seen, set[int]]:
    """Pieces of which digits can be made, wide ones sliced; and the labels of those sliced though a digit."""
    pieces: list[Piece] = []
    whole: list[int] = []  # the places, in usable, of those that are not sliced
    slices: list[Piece] = []
    sliced: set[int] = set()
    for place, (piece, belief) in enumerate(zip(usable, seen.belief, strict=True)):
        wide = piece.box.height > 0.5 * height and piece.box.width > WIDE * min(piece.box.height, height)
        parts = [piece]
        if wide and (belief <= BELIEVED or piece.box.width > 1.05 * height):
            parts = page.cut(piece, height)
            if belief > BELIEVED:
                sliced.add(piece.label)
        if parts == [piece]:
            pieces.append(piece)
            whole.append(place)
        else:
            slices += parts
    seen_slices = recogniser.see([page.drawn([piece])[1] for piece in slices])
    both = zip(seen, seen_slices, strict=True)
    return pieces + slices, Seen(*(np.concatenate([ours[whole], theirs]) for ours, theirs in both)), sliced


def _in_no_row(pieces: Sequence[Piece], rows: Sequence[Sequence[Piece]], perhaps: Array, height: float) -> list[Box]:
    """What may be digits (``perhaps``, bool (N,)) and is in no row, as it is far lower than the page's digits."""
    placed = {piece.label for row in rows for piece in row}
    return [
        piece.box
        for piece in compress(pieces, perhaps)
        if piece.label not in placed and piece.box.height > LOWEST * height
    ]


def _too_large(page: Page, height: float, recogniser: Recogniser) -> list[Box]:
    """Ink that may be a digit, and is far larger than the page's digits are."""
    large = [piece for piece in page.pieces(LARGEST * height, 6 * height) if piece.box.height > LARGEST * height][:MOST]
    seen = recogniser.see([page.drawn([piece])[1] for piece in large])
    perhaps = seen.belief > np.where(seen.digit == 1, STRONG, PERHAPS)  # any line may be a 1
    return [piece.box for piece in compress(large, perhaps)]


def _alike(page: Page, pieces: Sequence[Piece], seen: Seen, sure: Array) -> Array:
    """Which pieces are of the pen and the paper of the sure digits: bool (N,); the rest of a line is thin or pale."""
    if not sure.any():
        return np.ones(len(pieces), bool)
    width, dark, paper = page.traits(pieces)
    thin = (seen.digit == 1) & ((width < 0.65 * np.median(width[sure])) | page.at_edge(pieces))
    usual = float(np.median(dark[sure]))
    pens = _pens(pieces, dark, sure & (seen.digit != 1), usual)
    alike: Array = (dark > 0.5 * pens) & (paper > 0.45 * np.median(paper[sure])) & ~thin
    return alike


def _unlike(pieces: Sequence[Piece], seen: Seen, is_digit: Array) -> tuple[list[Box], list[Box]]:
    """The boxes of what is of another pen or paper: of clear digits, and of what may be 1s."""
    strokes = is_digit & (seen.digit == 1) & (seen.belief > LIKELY)
    return (
        [piece.box for piece in compress(pieces, is_digit & seen.is_clear)],
        [piece.box for piece in compress(pieces, strokes)],
    )


def _pens(pieces: Sequence[Piece], dark: Array, sure: Array, usual: float) -> Array:
    """How dark the pen is with which each piece may be written, (N,): usual, or paler where its row is of another."""
    middle = np.array([p.box.top + p.box.bottom for p in pieces]) / 2
    height = np.median([p.box.height for p in compress(pieces, sure)] or [0])
    beside = abs(middle[:, None] - middle[sure]) < height / 2
    darkest = np.where(beside, dark[sure], 0).max(1, initial=0)
    return np.where(beside.sum(1) > 1, np.clip(darkest, PALER_PEN * usual, usual), usual)


def _row_height(row: Sequence[Piece], believed: Mapping[int, int], height: float) -> float:
    """The height of a row's digits: the median of those believed, by label, or the page's."""
    heights = [believed[piece.label] for piece in row if piece.label in believed]
    return float(np.clip(np.median(heights), 0.6 * height, 1.8 * height)) if heights else height


def _has_word(left: Sequence[Mark]) -> bool:
    """Whether some of what is left out of a row looks like a digit: then most of its word is letters."""
    return any(mark.is_digit and mark.belief > BELIEVED and mark.digit != 1 for mark in left)


def _perhaps_digits(marks: Sequence[Mark], kept: set[Box], height: float) -> list[Box]:
    """Marks that are not kept although they may be digits: by their looks, or as they stand alone and are as large."""
    left = [mark.box for mark in marks if mark.box not in kept and mark.belief > PERHAPS]
    apart = [[mark.box for mark in phrase] for phrase in phrases(marks, height)]
    alone = [around(phrase) for phrase in apart if kept.isdisjoint(phrase)]
    alone = [box for box in alone if box.width < 1.4 * height and 0.7 * height < box.height < 1.6 * height]
    return [box for box in left if box.side > 0.6 * height] + alone
