"""How well pictures were read: what was read of them, compared with their labels."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Score(NamedTuple):
    """One picture."""

    file: str
    expected: list[str]  # rows of digits
    read: list[str]  # rows of digits and of marks that are none
    check: str  # why a person should look, or nothing
    error: str  # why it cannot be read, or nothing
    digits_to_check: int

    @property
    def digits_read(self) -> list[str]:
        """The rows without marks that are no digits."""
        rows = ["".join(filter(str.isdigit, row)) for row in self.read]
        return [row for row in rows if row]

    @property
    def is_right(self) -> bool:
        """Whether all rows are."""
        return self.digits_read == self.expected and not self.error

    @property
    def edits(self) -> int:
        """How many digits are missing, too many or others, rows one after the other."""
        return edit_distance("".join(self.expected), "".join(self.digits_read))


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest insertions, deletions and exchanges that make one of the other."""
    distances = list(range(len(other) + 1))
    for row, left in enumerate(one, 1):
        diagonal, distances[0] = distances[0], row
        for column, right in enumerate(other, 1):
            exchanged = diagonal + (left != right)
            diagonal = distances[column]
            distances[column] = min(diagonal + 1, distances[column - 1] + 1, exchanged)
    return distances[-1]


def count(score: Score) -> Counter[str]:
    """What one picture adds to the figures of all."""
    wrong, flagged = not score.is_right, bool(score.check)
    digits = sum(map(len, score.expected))
    return Counter(
        {
            "pictures": 1,
            "wrong": int(wrong),
            "to check": int(flagged),
            "wrong and not flagged": int(wrong and not flagged),
            "unreadable": int(bool(score.error)),
            "digits": digits,
            "digits right": digits - min(score.edits, digits),
            "edits": score.edits,
            "digits to check": score.digits_to_check,
        }
    )


def scores_line(counts: Counter[str]) -> str:
    """The figures in one line."""
    # Pictures without any digit have no share of digits.
    digits = f"digits right {counts['digits right'] / counts['digits']:.4f}  " if counts["digits"] else ""
    pictures = f"pictures right {1 - counts['wrong'] / counts['pictures']:.4f}"
    return f"{digits}{pictures}  wrong and not flagged {counts['wrong and not flagged']}"


def scores_table(counts: Counter[str]) -> list[list[str]]:
    """The figures as rows of a table."""
    numbers = {
        "pictures": counts["pictures"],
        "pictures read right": counts["pictures"] - counts["wrong"],
        "pictures read wrong": counts["wrong"],
        "of these with nothing flagged": counts["wrong and not flagged"],
        "pictures to check": counts["to check"],
        "unreadable pictures": counts["unreadable"],
        "digits": counts["digits"],
        "digits missing, too many or others": counts["edits"],
        "digits to check": counts["digits to check"],
    }
    return [[name, f"{number:,}"] for name, number in numbers.items()]
