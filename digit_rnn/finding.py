"""Where the digits of a picture are, decided by what a network takes for digits.

A picture of one digit, or of few that stand apart, is read by its connected ink. On a page, pieces of ink and groups of
neighbouring pieces are all drawn as MNIST would have and classified, and the best path through each row is read.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from digit_rnn.checkpoints import PRETRAINED, read_checkpoint
from digit_rnn.models.classifier import DigitRNN
from digit_rnn.models.network import NUM_CLASSES
from digit_rnn.vision import Box, Digit, Layout, Source, connected_digits, load
from digit_rnn.vision.load import Array, reduced
from digit_rnn.vision.page import Page, Piece, local_ink
from digit_rnn.vision.path import Segment, best_path
from digit_rnn.vision.rows import rows_of
from digit_rnn.vision.words import BELIEVED, STRONG, Mark, size_of, words_of

TRIAL_SIDE = 700  # pixels to which a picture is reduced where the best way to see ink is sought
WANTED = 48  # pixels of a digit's height at which a page is read
SHARES = (1 / 30, 1 / 12, 1 / 4)  # of the picture's side: the widest strokes and blots that may be ink
RULES = (0.1, 0.008, 0.25)  # of the picture's side: length and thickness of ruled lines, and what they span
BRIGHT = 170  # lightness of paper on which no ink is lighter
MOST = 160  # pieces that are tried to judge a way to see ink
WIDE = 0.9  # of its height: a wider piece that is no digit may be several
LIMIT = 1500  # pieces of a page: a texture has any number
GROUP = 5  # pieces that a digit may consist of
FEW = 2.5  # believed digits, under which a page is rather one digit
ODD = 0.2  # probability of being no digit from which a person should look
MANY = 4  # clear digits by which a page is one of digits
PERHAPS = 0.25  # probability from which what is left out may be a digit
UNLIKE = "unlike a digit"


class Seen(NamedTuple):
    """What the network makes of images."""

    digit: Array  # int (N,), the likeliest digit
    belief: Array  # (N,), probability that it is this digit
    no_digit: Array  # (N,), probability that it is none


class Candidate(NamedTuple):
    """Ink that may be a digit."""

    box: Box
    image: Array  # float32 (28, 28)
    touching: bool  # cut out of strokes that hold together


class DigitFinder:
    """Finds digits in pictures.

    Args:
        model: Has learnt what is no digit (``non_digit_output``).
    """

    def __init__(self, model: DigitRNN) -> None:
        self.model = model

    def find(self, source: Source, layout: Layout = "auto") -> list[Digit]:
        """Finds the digits in a picture and draws each as MNIST would have.

        Args:
            source: Path, open file, PIL image, or array (H, W) or (H, W, 3 or 4) of bytes, 16-bit integers or floats in
                [0, 1].
            layout: What the picture holds: one digit, digits in rows, or auto, which finds out.

        Returns:
            The digits in reading order, and the marks among them that are none; nothing for an empty page.

        Raises:
            PictureError: It is no picture, is damaged, or unfolds to more pixels than Pillow thinks safe (89 million).
        """
        lightness, size = load(source)
        plain = connected_digits(lightness, size, layout)
        seen = self.see([digit.image for digit in plain])
        if layout == "digit" or (len(plain) == 1 and _is_all(plain[0], seen, size)):
            return plain
        page = self.read_page(lightness, size)
        ours, theirs = worth(self.see([digit.image for digit in page if digit.is_digit])), worth(seen)
        one = len(plain) == 1 and layout == "auto" and ours < FEW
        little = not page and len(plain) < FEW + 1  # perhaps one digit in pieces, of which nothing is believed
        if one or little or (plain and theirs >= 0.97 * ours and theirs > 0):
            odd = ((seen.no_digit > ODD) | (little and not one)).tolist()
            plain = [d._replace(doubt=d.doubt or UNLIKE * is_odd) for d, is_odd in zip(plain, odd, strict=True)]
            return plain if one or little else _with_marks(plain, seen, size)
        return page

    def see(self, images: Sequence[Array]) -> Seen:
        """What the network makes of float32 images (28, 28)."""
        if not images:
            return Seen(np.zeros(0, int), np.zeros(0), np.zeros(0))
        network = self.model.network
        with torch.inference_mode():
            logits = network.classify(network.features(torch.from_numpy(np.stack(images))))
        probabilities = logits.softmax(1).numpy()
        digits = probabilities[:, :NUM_CLASSES]
        return Seen(digits.argmax(1), digits.max(1), probabilities[:, NUM_CLASSES])

    def read_page(self, lightness: Array, size: tuple[int, int]) -> list[Digit]:
        """Finds the digits of a page: uint8 (H, W), of a picture of this width and height."""
        page, height = self.best_ink(lightness)
        if not height:
            return []
        self._clean(page, height)
        pieces, cut = self._pieces(page, height)
        single = [Candidate(*page.drawn([piece]), piece.label in cut) for piece in pieces]
        seen = self.see([candidate.image for candidate in single])
        is_digit = (seen.belief > BELIEVED) & np.array([piece.height > 0.55 * height for piece in pieces], bool)
        sure = is_digit & (seen.belief > STRONG) & (seen.digit != 1)
        believed = {piece.label: piece.height for piece, each in zip(pieces, sure, strict=True) if each}
        alike = self._alike(page, pieces, seen, sure)
        pieces = [piece for piece, each in zip(pieces, alike, strict=True) if each]
        rows = rows_of(pieces, is_digit[alike].tolist(), height)
        scale = size[0] / page.strokes.shape[1], size[1] / page.strokes.shape[0]
        found: list[Digit] = []
        left: list[Box] = []
        for row in rows:
            row_height = _row_height(row, believed, height)
            read = [m for m in self._read_row(page, row, row_height, cut) if m.is_digit or size_of(m.box) > 0.4 * row_height]
            marks = words_of(read, row_height, len(believed) >= MANY)
            number = found[-1].row + 1 if found else 0
            found += [
                Digit(number, position, _scaled(mark.box, scale), mark.image, mark.doubt, mark.is_digit)
                for position, mark in enumerate(marks)
            ]
            kept = {mark.box for mark in marks}
            left += [_scaled(m.box, scale) for m in read if m.belief > PERHAPS and m.box not in kept and size_of(m.box) > 0.6 * row_height]
        return self._doubted(_beside(found, left))

    def _alike(self, page: Page, pieces: Sequence[Piece], seen: Seen, sure: Array) -> Array:
        """Which pieces are of the pen and on the paper of the sure digits: bool (N,); the rest of a line is thin or pale."""
        alike = np.ones(len(pieces), bool)
        if sure.sum() > 1:
            width, dark, paper = page.traits(pieces)
            thin = (seen.digit == 1) & ((width < 0.55 * np.median(width[sure])) | page.at_edge(pieces))
            alike = (dark > 0.5 * np.median(dark[sure])) & (paper > 0.45 * np.median(paper[sure])) & ~thin
        return alike

    def _doubted(self, found: list[Digit]) -> list[Digit]:
        """All digits of a page are doubtful where few of its marks are clear: it may hold something else."""
        seen = self.see([digit.image for digit in found])
        is_digit = np.array([digit.is_digit for digit in found], bool)
        clear, ones = is_digit & (seen.belief > STRONG) & (seen.digit != 1), is_digit & (seen.digit == 1)
        if clear.any() and 2 * clear.sum() + ones.sum() >= len(found):
            return found
        return [digit._replace(doubt=digit.doubt or "a page of other things") for digit in found]

    def best_ink(self, lightness: Array) -> tuple[Page, float]:
        """The way to see ink in which the network believes most, and the height of the digits there, in pixels."""
        small = reduced(lightness, TRIAL_SIDE)
        side = max(small.shape)
        best = (0.0, 0.0, 0.0, False, False)
        for light in (False, True)[: 1 + (np.median(small) < BRIGHT)]:
            for share in SHARES:
                page = _page(small, share, light)
                best = max(best, (*self.belief(page), share, light, False))
                if page.pieces(RULES[2] * side):
                    page.remove_lines(*(side * each for each in RULES))
                    best = max(best, (*self.belief(page), share, light, True))
        score, height, share, light, ruled = best
        if not score:
            return Page(np.zeros_like(lightness, np.float32)), 0.0
        side = min(max(round(side * WANTED / height), TRIAL_SIDE // 2), max(lightness.shape))
        page = _page(reduced(lightness, side), share, light)
        if ruled:
            page.remove_lines(*(side * each for each in RULES))
        return page, height * side / max(small.shape)

    def belief(self, page: Page) -> tuple[float, float]:
        """How much of a page's connected ink is taken for digits, and their height.

        Ones count little, as any scratch is one.
        """
        side = max(page.strokes.shape)
        pieces = [p for p in page.pieces(9, 0.7 * side) if p.height >= 8 and 0.03 < p.width / p.height < 2.2]
        pieces = sorted(pieces, key=lambda piece: -piece.area)[:MOST]
        if not pieces:
            return 0.0, 0.0
        seen = self.see([page.drawn([piece])[1] for piece in pieces])
        weight = np.where(seen.belief > 0.8, seen.belief, 0) * np.where(seen.digit == 1, 0.2, 1)
        if not weight.any():
            return 0.0, 0.0
        heights = np.array([piece.height for piece in pieces])
        order = heights.argsort()
        total = weight[order].cumsum()
        height = float(heights[order][np.searchsorted(total, total[-1] / 2)])  # the weighted median
        alike = (heights > 0.5 * height) & (heights < 2 * height)
        return float(weight[alike].sum()), height

    def _clean(self, page: Page, height: float) -> None:
        """Takes lines away, but not out of what is a digit."""
        tall = [piece for piece in page.pieces(1.3 * height, 3.5 * height) if piece.height > 0.8 * height][:MOST]
        seen = self.see([page.drawn([piece])[1] for piece in tall])
        believed = (seen.belief > BELIEVED) & (
            (seen.digit != 1) | np.array([p.height < 2.5 * height for p in tall], bool)
        )
        kept = [piece.label for piece, digit in zip(tall, believed, strict=True) if digit]
        page.remove_lines(1.4 * height, 0.25 * height, 1.5 * height, kept)
        page.remove_posts(height)

    def _pieces(self, page: Page, height: float) -> tuple[list[Piece], set[int]]:
        """Pieces of ink of which digits can be made, wide ones sliced; and the labels of the slices."""
        pieces: list[Piece] = []
        cut: set[int] = set()
        largest_first = sorted(page.pieces(0.12 * height, 6 * height), key=lambda piece: -piece.area)[:LIMIT]
        usable = [piece for piece in largest_first if 0.08 * height <= piece.height <= 2.2 * height]
        wide = [p for p in usable if p.height > 0.5 * height and p.width > WIDE * min(p.height, height)]
        seen = self.see([page.drawn([piece])[1] for piece in wide])
        whole = {piece.label for piece, belief in zip(wide, seen.belief, strict=True) if belief > BELIEVED}
        sliced = {p.label for p in wide if p.label not in whole or p.width > 1.05 * height}
        for piece in usable:
            slices = page.cut(piece, min(height, piece.height)) if piece.label in sliced else []
            cut |= {each.label for each in slices[1:] and slices}
            pieces += slices or [piece]
        return pieces, cut

    def _read_row(self, page: Page, row: list[Piece], height: float, cut: set[int]) -> list[Mark]:
        candidates: list[Candidate] = []
        spans: list[tuple[int, int]] = []
        for first in range(len(row)):
            for last in range(first, min(first + GROUP, len(row))):
                if last == first or _may_be_one(row[first : last + 1], height):
                    members = row[first : last + 1]
                    touching = any(piece.label in cut for piece in members)
                    candidates.append(Candidate(*page.drawn(members), touching))
                    spans.append((first, last))
        seen = self.see([candidate.image for candidate in candidates])
        segments: list[Segment] = []
        for place, ((first, last), candidate) in enumerate(zip(spans, candidates, strict=True)):
            size = (candidate.box.bottom - candidate.box.top) / height
            low = seen.digit[place] == 1 and size < 1  # a low 1 is rather a comma
            prior = -0.5 * (math.log(size) / (0.28 if low else 0.35)) ** 2
            segments.append(Segment(first, last, True, _log(seen.belief[place]) + prior, place))
            if first == last:
                longer = max(row[first].width, row[first].height) / height
                none = max(_log(seen.no_digit[place]) - 0.25, -0.2 - 6 * max(0.0, longer - 0.25))
                none = max(none, prior - 3) if longer < 0.5 else none
                segments.append(Segment(first, last, False, none, place))
        marks: list[Mark] = []
        for segment, share in best_path(segments, len(row)):
            place = segment.candidate
            box, image, touching = candidates[place]
            doubt = _doubt(segment.is_digit, share, touching, float(seen.no_digit[place]))
            marks.append(Mark(box, image, segment.is_digit, int(seen.digit[place]), float(seen.belief[place]), doubt))
        return marks


def find_digits(source: Source, layout: Layout = "auto") -> list[Digit]:
    """Finds digits with the network that comes with the package: see ``DigitFinder.find``."""
    return _pretrained().find(source, layout)


@cache
def _pretrained() -> DigitFinder:
    model, _ = read_checkpoint(PRETRAINED)
    return DigitFinder(model.eval())


def _page(lightness: Array, share: float, light: bool) -> Page:
    page = Page(*local_ink(lightness, share, light))
    page.remove_frames()
    return page


def _is_all(digit: Digit, seen: Seen, size: tuple[int, int]) -> bool:
    """Whether a digit is so clear and large that nothing else is to be sought; a stroke may be anything."""
    large = max(digit.box.right - digit.box.left, digit.box.bottom - digit.box.top) > 0.3 * max(size)
    return large and bool(seen.belief[0] > STRONG and seen.digit[0] != 1)


def _beside(found: Sequence[Digit], left_out: Sequence[Box]) -> list[Digit]:
    """The digit next to something that is left out though it may be one is doubtful."""
    doubtful: set[int] = set()
    for box in left_out:
        away = [abs(d.box.left + d.box.right - box.left - box.right) + abs(d.box.top + d.box.bottom - box.top - box.bottom) for d in found]
        if away:
            doubtful.add(int(np.argmin(away)))
    return [d._replace(doubt=d.doubt or "beside what may be a digit") if place in doubtful else d for place, d in enumerate(found)]


def _with_marks(found: Sequence[Digit], seen: Seen, size: tuple[int, int]) -> list[Digit]:
    """Some of several digits are none: what the network takes for none, and strokes that the picture's edge cuts."""
    at_edge = [d.box.left <= 0 or d.box.top <= 0 or d.box.right >= size[0] or d.box.bottom >= size[1] for d in found]
    stroke = (seen.digit == 1) & (seen.belief < STRONG) & np.array(at_edge, bool)
    none = (seen.no_digit > 0.5) | stroke
    if none.all():
        return list(found)
    return [d._replace(is_digit=False, doubt="no digit") if is_none else d for d, is_none in zip(found, none, strict=True)]


def worth(seen: Seen) -> float:
    """How much what was found is taken for digits; what is none counts against it, and ones count little."""
    value = np.where(seen.belief > BELIEVED, seen.belief, -0.3) * np.where(seen.digit == 1, 0.4, 1)
    return float(value.sum())


def _row_height(row: Sequence[Piece], believed: Mapping[int, int], height: float) -> float:
    """The height of a row's digits: the median of those believed, by label, or the page's."""
    heights = [believed[piece.label] for piece in row if piece.label in believed]
    return float(np.clip(np.median(heights), 0.6 * height, 1.8 * height)) if heights else height


def _may_be_one(pieces: Sequence[Piece], height: float) -> bool:
    """Whether neighbouring pieces are close enough and small enough together for one digit."""
    left, top, right, bottom = zip(*(piece.box for piece in pieces), strict=True)
    fits = max(right) - min(left) <= 1.4 * height and max(bottom) - min(top) <= 1.7 * height
    return bool(fits and max(left) - min(right) <= 0.35 * height)


def _doubt(is_digit: bool, share: float, touching: bool, no_digit: float) -> str:
    if not is_digit:
        return "no digit"
    reasons = {"touching": touching, "could be divided otherwise": share < STRONG, UNLIKE: no_digit > ODD}
    return next((reason for reason, holds in reasons.items() if holds), "")


def _log(probability: float) -> float:
    return math.log(max(float(probability), 1e-6))


def _scaled(box: Box, scale: tuple[float, float]) -> Box:
    (x, y), (left, top, right, bottom) = scale, box
    return Box(int(left * x), int(top * y), math.ceil(right * x), math.ceil(bottom * y))
