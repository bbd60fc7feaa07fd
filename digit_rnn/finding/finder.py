"""One digit, a few, or a page: what a picture holds is what the network believes most of."""

from collections.abc import Sequence
from functools import cache
from typing import get_args

import numpy as np

from digit_rnn.checkpoints import PRETRAINED, read_checkpoint
from digit_rnn.errors import OptionError, PictureError
from digit_rnn.finding.doubts import doubted_as, lost_doubted, odd_doubted, ones_doubted, page_doubted, turned_doubted
from digit_rnn.finding.page import read_page
from digit_rnn.finding.recogniser import BELIEVED, PERHAPS_NONE, STRONG, Recogniser, Seen
from digit_rnn.models.classifier import DigitRNN
from digit_rnn.vision import Array, Digit, Layout, Source, connected_digits, load

SMALL = 500  # pixels of the longer side, up to which a picture is rather of one digit than of a page
OTHER_THINGS = 2  # other things beside one digit: it may be the ring of a cup beside a page's digits
TURNED = 4  # digits and marks: fewer do not tell which way up they are
FEW = 2.5  # believed digits, under which a page is rather one digit


class DigitFinder:
    """Finds digits in pictures.

    Args:
        model: Has learnt what is no digit (``non_digit_output``).
    """

    def __init__(self, model: DigitRNN) -> None:
        self.recogniser = Recogniser(model)

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
        (found,) = self.find_each([source], layout)
        if isinstance(found, PictureError):
            raise found
        return found

    def find_each(self, sources: Sequence[Source], layout: Layout = "auto") -> list[list[Digit] | PictureError]:
        """Finds the digits in each of several pictures, as ``find`` does; in small ones, in half of the time.

        Returns:
            For each picture its digits, or why it cannot be read.
        """
        if layout not in get_args(Layout):
            raise OptionError(f"layout {layout!r}: expected {', '.join(get_args(Layout))}")
        results: list[list[Digit] | PictureError] = [[] for _ in sources]
        small: dict[int, _Plain] = {}  # the network looks at them together; large ones would fill the memory
        for place, source in enumerate(sources):
            try:
                plain = _Plain(source, layout)
            except PictureError as error:
                results[place] = error
                continue
            if max(plain.size) <= SMALL:
                small[place] = plain
            else:
                results[place] = self._decide(plain, self._see(plain.digits), layout)
        seen = self._see([digit for plain in small.values() for digit in plain.digits])
        start = 0
        for place, plain in small.items():
            end = start + len(plain.digits)
            results[place] = self._decide(plain, Seen(*(each[start:end] for each in seen)), layout)
            start = end
        return results

    def _decide(self, picture: "_Plain", seen: Seen, layout: Layout) -> list[Digit]:
        """Chooses a reading, and doubts a letter alone, and digits that look upside down."""
        found = self._chosen(picture, seen, layout)
        if layout != "digit":
            found = [_cut_doubted(digit, picture.size) for digit in found]
            if len(found) == 1:
                return self._letter_doubted(found, picture, seen)
        if len(found) < TURNED:
            return found
        images = [digit.image for digit in found]
        both = self.recogniser.see([*images, *(image[::-1, ::-1] for image in images)])
        return turned_doubted(found, *np.split(both.is_clear, 2))

    def _letter_doubted(self, found: list[Digit], picture: "_Plain", seen: Seen) -> list[Digit]:
        """Makes a picture's only digit doubtful that, turned a little, looks like none, as many letters do."""
        is_plain = len(picture.digits) == 1 and picture.digits[0].image is found[0].image
        if not is_plain:  # a page's reading, of which the network has not been asked
            seen = self._see(found)
        is_unsteady = seen.no_digit[0] > PERHAPS_NONE and self.recogniser.is_unsteady(found[0].image)
        return odd_doubted(found, np.array([is_unsteady]))

    def _chosen(self, picture: "_Plain", seen: Seen, layout: Layout) -> list[Digit]:
        """Takes what a picture's connected ink says, or, where the network believes more of that, a page's reading."""
        plain, size = picture.digits, picture.size
        if layout == "digit":
            return plain
        if len(plain) == 1 and picture.others < OTHER_THINGS:
            if _is_all(plain[0], seen, size):
                return plain
            if _is_narrow(plain[0], seen, size):
                return odd_doubted(plain, seen.no_digit > self.recogniser.odd)
        page, is_plain = read_page(picture.lightness, size, self.recogniser)
        digits = [digit for digit in page if digit.is_digit]
        on_page = self._see(digits)
        ours, theirs = _worth(digits, on_page), _worth(plain, seen)
        one = len(plain) == 1 and layout == "auto" and ours < FEW
        is_side = one and _at_edge(plain[0], size) and (seen.digit[0] == 1 or seen.belief[0] <= BELIEVED)
        if is_side and on_page.is_clear.any():
            return page  # the stroke was the side of a box, or all lines of squared paper
        little = not page and len(plain) < FEW + 1  # perhaps one digit in pieces, of which nothing is believed
        if not (one or little or (is_plain and _as_good(theirs, ours))):
            return page
        is_stroke = one and seen.digit[0] == 1  # alone, it may be anything
        on_plain_ink_only = on_page.digit.tolist() != [1] if is_stroke else not (page or one)
        is_odd = seen.no_digit > self.recogniser.odd
        plain = odd_doubted(ones_doubted(plain, seen), is_odd | on_plain_ink_only)
        if one or little:
            return plain
        plain = lost_doubted(doubted_as(plain, page), page)
        return _with_marks_beside(_with_marks(plain, seen, is_odd, size), page)

    def _see(self, digits: Sequence[Digit]) -> Seen:
        return self.recogniser.see([digit.image for digit in digits])


class _Plain:
    """A picture, and the digits that its connected ink shows."""

    def __init__(self, source: Source, layout: Layout) -> None:
        self.lightness, self.size = load(source)
        self.digits, self.others = connected_digits(self.lightness, self.size, layout)
        if layout != "digit":  # one that was cut out may fill its picture
            self.digits = [_cut_doubted(digit, self.size) for digit in self.digits]


def find_digits(source: Source, layout: Layout = "auto") -> list[Digit]:
    """Finds digits with the network that comes with the package: see ``DigitFinder.find``."""
    return pretrained_finder().find(source, layout)


@cache
def pretrained_finder() -> DigitFinder:
    """Finds with the network that comes with the package."""
    model, _ = read_checkpoint(PRETRAINED)
    return DigitFinder(model.eval())


def _worth(found: Sequence[Digit], seen: Seen) -> float:
    """How much of what was found is taken for digits; what is none counts against it, and ones count little.

    Doubtful ones do not count: they may be parts of a slash or of a ring.
    """
    doubtful = np.array([bool(digit.doubt) for digit in found], bool)
    value = np.where(seen.belief > BELIEVED, seen.belief, -0.3) * np.where(seen.digit == 1, 0.4 * ~doubtful, 1)
    return float(value.sum())


def _as_good(plain: float, page: float) -> bool:
    """Whether connected ink is worth nearly what a page's reading is; if less by half a digit, it has lost one."""
    return plain > 0 and page - plain <= min(0.03 * page, 0.5)


def _is_all(digit: Digit, seen: Seen, size: tuple[int, int]) -> bool:
    """Whether a digit is so clear and large that nothing else is to be sought; in a large picture, a stroke is not.

    Nor is what reaches the edge of a large one: dark corners look like a 0.
    """
    side = digit.box.side
    if max(size) <= SMALL:
        large, may_be_all = side > 0.15 * max(size), seen.digit[0] != 1 or not _at_edge(digit, size)
    else:
        large, may_be_all = side > 0.3 * max(size), seen.digit[0] != 1 and not _at_edge(digit, size)
    return bool(large and may_be_all and seen.belief[0] > STRONG)


def _is_narrow(digit: Digit, seen: Seen, size: tuple[int, int]) -> bool:
    """Whether a small picture's only ink is large and too narrow for three digits, as many as a page has."""
    narrow = digit.box.width <= 1.3 * digit.box.height and digit.box.height > 0.25 * max(size)
    return bool(max(size) <= SMALL and narrow and seen.belief[0] > BELIEVED and not _at_edge(digit, size))


def _at_edge(digit: Digit, size: tuple[int, int]) -> bool:
    left, top, right, bottom = digit.box
    return left <= 0 or top <= 0 or right >= size[0] or bottom >= size[1]


def _cut_doubted(digit: Digit, size: tuple[int, int]) -> Digit:
    """What the edge of a large picture cuts may be the side of a sheet, a finger or a part of a digit."""
    cut = max(size) > SMALL and _at_edge(digit, size)
    return digit.doubted("at the edge of the picture" * cut)


def _with_marks(found: list[Digit], seen: Seen, is_odd: Array, size: tuple[int, int]) -> list[Digit]:
    """Among several digits, what the network takes for none and odd strokes that the picture's edge cuts are marks.

    Where most are marks, all are doubtful.
    """
    at_edge = [_at_edge(digit, size) for digit in found]
    stroke = (seen.digit == 1) & ((seen.belief < STRONG) | is_odd) & np.array(at_edge, bool)
    none = (seen.no_digit > 0.5) | stroke
    if none.all() or not none.any():
        return found
    found = [
        digit._replace(is_digit=False, doubt="no digit") if is_none else digit
        for digit, is_none in zip(found, none, strict=True)
    ]
    return page_doubted(found, seen, len(found))


def _with_marks_beside(found: list[Digit], page: Sequence[Digit]) -> list[Digit]:
    """Adds the low marks that a page's reading has beside digits, such as operators; connected ink leaves them out."""
    rows = [[digit for digit in found if digit.row == row] for row in range(found[-1].row + 1)]
    for mark in page:
        left, top, right, bottom = mark.box
        for row in rows if not mark.is_digit else []:
            before = [digit for digit in row if digit.box.right <= left]
            after = [digit for digit in row if digit.box.left >= right]
            beside = [digit.box.top < (top + bottom) / 2 < digit.box.bottom for digit in (*before[-1:], *after[:1])]
            if any(beside) and len(before) + len(after) == len(row):
                row.insert(len(before), mark)
                break
    return [
        digit._replace(row=number, position=place) for number, row in enumerate(rows) for place, digit in enumerate(row)
    ]
