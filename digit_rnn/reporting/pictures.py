"""The report of a test on labelled pictures."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from digit_rnn.reporting import figures
from digit_rnn.reporting.report import embedded, html_table, write_page
from digit_rnn.reporting.scores import Score, scores_line, scores_table

COLUMNS = ("file", "expected", "read", "check")
LISTED = 200  # mistakes on the page; the table has all
CAPTION = "Mistakes, first those that nothing flags: what is to be checked is in colour, the label above."


def write_picture_report(
    folder: Path,
    checkpoint: str,
    counts: Counter[str],
    mistakes: Sequence[Score],
    drawn: Sequence[tuple[str, list[str], Sequence[Any]]],
) -> None:
    """Writes ``mistakes.csv``, the mistakes as pictures, and ``report.html``.

    Args:
        folder: An empty folder.
        checkpoint: The file that was tested, for the page.
        counts: The figures of all pictures.
        mistakes: Pictures that were read wrong.
        drawn: Some of them that can be opened: their files, the rows expected, and their readings.
    """
    rows = [[score.file, " / ".join(score.expected), " / ".join(score.read), score.check] for score in mistakes]
    with (folder / "mistakes.csv").open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    shown = ""
    if drawn:
        titles = [f"true {' / '.join(expected) or 'no digit'}" for _, expected, _ in drawn]
        figure = figures.pictures_figure([(file, read) for file, _, read in drawn], titles)
        figure.savefig(folder / "mistakes.png", dpi=110)
        shown = embedded(folder / "mistakes.png", CAPTION)
    tables = html_table(scores_table(counts))
    if rows:
        more = f"<p>The first {LISTED} of {len(rows):,} mistakes; mistakes.csv has all.</p>" if rows[LISTED:] else ""
        tables += f"<h2>Mistakes</h2>{more}{html_table([COLUMNS, *rows[:LISTED]])}"
    write_page(folder, f"{checkpoint}: {scores_line(counts)}", tables, shown)
