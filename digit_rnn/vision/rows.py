"""Which pieces of ink stand in one row."""

from collections.abc import Sequence

from digit_rnn.vision.page import Piece

REACH = 0.6  # digit heights by which a row may climb or fall from a digit to the next
GAP = 1.0  # digit heights between a digit and what still belongs to its row beside digits


def rows_of(pieces: Sequence[Piece], is_digit: Sequence[bool], height: float) -> list[list[Piece]]:
    """Rows from the top, the pieces of each from the left.

    Args:
        pieces: Of a page.
        is_digit: Which of them are taken for digits by themselves: they make the rows, and the others join them.
        height: Of the digits, in pixels.
    """
    cores = [piece for piece, taken in zip(pieces, is_digit, strict=True) if taken]
    rows: list[list[Piece]] = []
    for band in _bands(cores):
        low = max(piece.box.bottom for piece in band) - min(piece.box.top for piece in band) < 2.3 * height
        rows += [sorted(band, key=lambda piece: piece.box.left)] if low else _chains(band, height)
    others = [piece for piece, taken in zip(pieces, is_digit, strict=True) if not taken]
    for piece in sorted(others, key=lambda piece: -piece.height):
        near = [(distance, row) for row in rows if (distance := _distance(piece, row, height)) < GAP * height]
        if near:
            min(near, key=lambda each: each[0])[1].append(piece)
        elif piece.height > 0.6 * height:
            rows.append([piece])  # perhaps a part of a digit that is broken
    for row in rows:
        row.sort(key=lambda piece: piece.box.left + piece.box.right)
    return sorted(rows, key=lambda row: sum(map(_middle, row)) / len(row))


def _middle(piece: Piece) -> float:
    return (piece.box.top + piece.box.bottom) / 2


def _bands(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces between which no horizontal line could be drawn lie in one band."""
    bands: list[list[Piece]] = []
    bottom = -1
    for piece in sorted(pieces, key=lambda piece: piece.box.top):
        if piece.box.top >= bottom:
            bands.append([])
        bands[-1].append(piece)
        bottom = max(bottom, piece.box.bottom)
    return bands


def _chains(pieces: Sequence[Piece], height: float) -> list[list[Piece]]:
    """Follows each row from piece to piece, so that it may climb, fall or bend."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.box.left):
        best: tuple[float, list[Piece]] | None = None
        for row in rows:
            last = row[-1]
            step = abs(_middle(piece) - _middle(last))
            cost = step + 0.1 * max(0, piece.box.left - last.box.right)
            if step < REACH * max(piece.height, last.height, height) and (best is None or cost < best[0]):
                best = cost, row
        if best:
            best[1].append(piece)
        else:
            rows.append([piece])
    return rows


def _distance(piece: Piece, row: Sequence[Piece], height: float) -> float:
    """From a piece to a row's nearest: to the side, and twice as much up or down beyond what belongs to a row."""

    def away(other: Piece) -> float:
        aside = max(other.box.left - piece.box.right, piece.box.left - other.box.right, 0)
        above = max(other.box.top - piece.box.bottom, piece.box.top - other.box.bottom, 0)
        off = max(0.0, abs(_middle(piece) - _middle(other)) - height)
        return aside + 2 * above + 2 * off

    return min(away(other) for other in row)
