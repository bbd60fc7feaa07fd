"""Where the digits of a picture are: what the network takes for digits decides.

Pieces of ink, and groups of neighbouring pieces, are all drawn as MNIST would have and classified in one batch; the best
path through a row is what is read (over-segmentation; LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning
applied to document recognition", sections V and VI).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from digit_rnn.models.classifier import DigitRNN
from digit_rnn.vision import Box, Digit, Layout, Source, find_digits, load
from digit_rnn.vision.load import Array, reduced
from digit_rnn.vision.normalise import normalise
from digit_rnn.vision.page import Page, Piece, local_ink

SIDE = 1100  # pixels to which a picture is reduced before its pages are read
TRIAL_SIDE = 700  # the same, where only the best way to see ink is sought
SHARES = (1 / 30, 1 / 12, 1 / 4)  # of the picture's side: how wide the strokes and blots are that may be ink
WANTED = 48  # pixels of a digit's height at which pages are read
RULES = (0.1, 0.008, 0.25)  # of the picture's side: length and thickness of ruled lines, and what they span
MOST = 160  # pieces that are tried
GROUP = 4  # pieces that a digit may consist of


class Seen(NamedTuple):
    """What the network makes of images."""

    digit: Array  # int (N,), the likeliest digit
    belief: Array  # (N,), probability that it is this digit
    no_digit: Array  # (N,), probability that it is none


class Candidate(NamedTuple):
    """Neighbouring pieces of a row taken as one digit."""

    first: int
    last: int  # inclusive
    box: Box
    image: Array


class DigitFinder:
    """Finds digits in pictures with a network that has learnt what is none.

    Args:
        model: It has an output for what is no digit.
    """

    def __init__(self, model: DigitRNN) -> None:
        self.model = model

    def see(self, images: Sequence[Array]) -> Seen:
        """What the network makes of float32 images (28, 28)."""
        if not len(images):
            nothing = np.zeros(0)
            return Seen(nothing.astype(int), nothing, nothing)
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(images))
            network = self.model.network
            probabilities = network.classify(network.features(batch)).softmax(1).numpy()
        digits = probabilities[:, :10]
        return Seen(digits.argmax(1), digits.max(1), probabilities[:, 10])

    def find(self, source: Source, layout: Layout = "auto") -> list[Digit]:
        """Finds digits."""
        lightness, size = load(source)
        simple = find_digits(source, layout)
        if layout == "digit":
            return simple
        page = self.read_page(lightness)
        self.both = simple, page
        if layout == "auto":
            ours, theirs = self.worth(page), self.worth(simple)
            self.trace = (*self.trace, round(ours, 2), round(theirs, 2), len(simple))
            if len(simple) == 1 and ours < 2.5 or theirs >= 0.97 * ours:
                return simple
        return page

    def worth(self, found) -> float:
        seen = self.see([d.image for d in found])
        value = np.where(seen.belief > 0.5, seen.belief, -0.3) * np.where(seen.digit == 1, 0.4, 1)
        return float(value.sum())


    def best_ink(self, lightness: Array) -> tuple[Page, float]:
        """The way to see ink in which the network believes most, and the height of digits there, in pixels."""
        small = reduced(lightness, TRIAL_SIDE)
        side = max(small.shape)
        best = (0.0, 0.0, 0.0, False, False)
        for light in (False, True):
            for share in SHARES:
                page = Page(local_ink(small, share, light))
                best = max(best, (*self.belief(page), share, light, False))
                if page.pieces(0.3 * side):
                    page.remove_lines(*(side * x for x in RULES))
                    best = max(best, (*self.belief(page), share, light, True))
        self.trace = best
        score, height, share, light, ruled = best
        if not score:
            return Page(np.zeros_like(lightness, np.float32)), 0.0
        scale = WANTED / height
        size = min(max(round(scale * side), TRIAL_SIDE//2), max(lightness.shape))
        large = reduced(lightness, size)
        page = Page(local_ink(large, share, light))
        if ruled:
            page.remove_lines(*(size * x for x in RULES))
        return page, height * size / side

    def belief(self, page: Page) -> tuple[float, float]:
        """How much of a page's connected ink is taken for digits, and their height."""
        side = max(page.strokes.shape)
        pieces = [p for p in page.pieces(9, 0.7 * side) if p.height >= 8 and 0.03 < p.width / p.height < 2.2]
        if len(pieces) > MOST:
            pieces = sorted(pieces, key=lambda p: -p.area)[:MOST]
        if not pieces:
            return 0.0, 0.0
        seen = self.see([normalise(page.ink_of([p])[1]) for p in pieces])
        weight = np.where(seen.belief > 0.8, seen.belief, 0) * np.where(seen.digit == 1, 0.2, 1)
        heights = np.array([p.height for p in pieces])
        if not weight.any():
            return 0.0, 0.0
        order = heights.argsort()
        total = weight[order].cumsum()
        height = float(heights[order][np.searchsorted(total, total[-1] / 2)])
        alike = (heights > 0.5 * height) & (heights < 2 * height)
        return float(weight[alike].sum()), height

    def read_page(self, lightness: Array) -> list[Digit]:
        page, height = self.best_ink(lightness)
        if not height:
            return []
        page.remove_lines(1.6 * height, 0.25 * height, 1.8 * height)
        page.remove_posts(height)
        scale = max(lightness.shape) / max(page.strokes.shape)
        pieces = self.pieces(page, height)
        rows = chain(pieces, height)
        found: list[Digit] = []
        count = 0
        for row in rows:
            chosen = self.best_path(page, row, height)
            if chosen:
                for position, (cand, kind) in enumerate(chosen):
                    found.append(Digit(count, position, cand.box, cand.image, False))
                count += 1
        return found

    def pieces(self, page: Page, height: float) -> list[Piece]:
        pieces = page.pieces(0.12 * height, 6 * height)
        result: list[Piece] = []
        for piece in pieces:
            if piece.height > 2.2 * height or piece.height < 0.08*height:
                continue
            if piece.width > 1.05 * height and piece.height > 0.5 * height:
                result += page.cut(piece, height)
            else:
                result.append(piece)
        return result

    def best_path(self, page: Page, row: list[Piece], height: float):
        candidates = []
        for first in range(len(row)):
            for last in range(first, min(first + GROUP, len(row))):
                members = row[first : last + 1]
                left, top, right, bottom = zip(*(p.box for p in members), strict=True)
                w, h = max(right) - min(left), max(bottom) - min(top)
                if last > first and (w > 1.4 * height or h > 1.7 * height):
                    continue
                if last > first and max(l for l in left) - min(right) > 0.35 * height:
                    continue
                box, ink = page.ink_of(members)
                if ink.max() <= 0.2: continue
                candidates.append(Candidate(first, last, box, normalise(ink)))
        seen = self.see([c.image for c in candidates])
        n = len(row)
        best = [-math.inf] * (n + 1)
        best[0] = 0.0
        back: list = [None] * (n + 1)
        by_first: dict[int, list[int]] = {}
        for i, c in enumerate(candidates):
            by_first.setdefault(c.first, []).append(i)
        for start in range(n):
            if best[start] == -math.inf:
                continue
            piece = row[start]
            size = max(piece.width, piece.height) / height
            for i in by_first.get(start, []):
                c = candidates[i]
                h = (c.box.bottom - c.box.top) / height
                prior = -0.5 * (math.log(h) / 0.35) ** 2
                score = math.log(max(seen.belief[i], 1e-6)) + prior
                if c.last == start:
                    reject = math.log(max(seen.no_digit[i], 1e-6)) - 0.5
                    reject = max(reject, -0.4 - 6*max(0.0, size-0.25)) 
                    reject = max(reject, -3.0 + prior) if size<.5 else reject
                    if best[start] + reject > best[start + 1]:
                        best[start + 1] = best[start] + reject
                        back[start + 1] = (start, i, False)
                if best[start] + score > best[c.last + 1]:
                    best[c.last + 1] = best[start] + score
                    back[c.last + 1] = (start, i, True)
        path = []
        end = n
        while end > 0:
            if back[end] is None:
                return []
            start, i, is_digit = back[end]
            path.append((i, is_digit))
            end = start
        path.reverse()
        chosen = [(candidates[i], seen.belief[i], int(seen.digit[i])) for i, ok in path if ok]
        rejected = [candidates[i] for i, ok in path if not ok]
        return self.words(chosen, rejected, height)

    def words(self, chosen, rejected, height):
        items = [(c.box, c, b, d) for c, b, d in chosen] + [(c.box, None, 0, 0) for c in rejected if c.box.bottom-c.box.top > .45*height]
        items.sort(key=lambda x: x[0].left)
        words = []
        for it in items:
            if words and it[0].left - words[-1][-1][0].right < 0.8 * height:
                words[-1].append(it)
            else:
                words.append([it])
        out = []
        for w in words:
            digits = [it for it in w if it[1] is not None]
            strong = [it for it in digits if it[2] > 0.9]
            if len(digits) * 2 < len(w) or not strong:
                continue
            if all(it[3] == 1 for it in digits) and not all(it[2] > .95 for it in digits):
                continue
            out += [(it[1], it[3]) for it in digits]
        return out


def chain(pieces: list[Piece], height: float) -> list[list[Piece]]:
    """Rows."""
    large = [p for p in pieces if p.height > 0.6 * height]
    small = [p for p in pieces if p.height <= 0.6 * height]
    rows: list[list[Piece]] = []
    for band in bands(large):
        if max(p.box.bottom for p in band) - min(p.box.top for p in band) < 2.3 * height:
            rows.append(sorted(band, key=lambda p: p.box.left))
        else:
            rows += follow(band, height)
    for p in small:
        options = []
        for row in rows:
            q = min(row, key=lambda q: distance(p, q))
            if distance(p, q) < 0.5 * height:
                options.append((distance(p, q), id(row), row))
        if options:
            min(options)[2].append(p)
    for row in rows:
        row.sort(key=lambda p: (p.box.left + p.box.right) / 2)
    return sorted(rows, key=lambda row: np.median([mid(p) for p in row]))


def distance(p, q):
    dx = max(q.box.left - p.box.right, p.box.left - q.box.right, 0)
    dy = max(q.box.top - p.box.bottom, p.box.top - q.box.bottom, 0)
    return dx + 2 * dy


def mid(p: Piece) -> float:
    return (p.box.top + p.box.bottom) / 2


def bands(pieces):
    result = []
    bottom = -1
    for p in sorted(pieces, key=lambda p: p.box.top):
        if p.box.top >= bottom:
            result.append([])
        result[-1].append(p)
        bottom = max(bottom, p.box.bottom)
    return result


def follow(large, height):
    rows = []
    for p in sorted(large, key=lambda p: p.box.left):
        best, where = math.inf, None
        for row in rows:
            last = row[-1]
            gap = max(0, p.box.left - last.box.right)
            d = abs(mid(p) - mid(last))
            if d < 0.6 * max(p.height, last.height, 0.9 * height) and d + 0.1 * gap < best:
                best, where = d + 0.1 * gap, row
        if where is not None:
            where.append(p)
        else:
            rows.append([p])
    return rows
