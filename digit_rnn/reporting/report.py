"""The report of a test: figures, a table, and one page that shows them and opens without a network."""

import base64
import csv
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from digit_rnn.reporting import figures

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>digit_rnn: test report</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}}
img{{max-width:100%}} table{{border-collapse:collapse}}
td,th{{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}}
figure{{margin:2em 0}} figcaption{{color:#555}}</style>
<h1>Test report</h1>
<p>{summary}</p>
{table}
{figures}
</html>
"""

CAPTIONS = {
    "reading.png": "What the network believes after each row: each digit beside the probabilities of 0 to 9.",
    "reading.gif": "The first test digit, read row by row.",
    "rows.png": "Accuracy if the network had to answer after so many rows.",
    "confusion.png": "True digits down, predicted digits across; mistakes are shaded by their share of the true digit.",
    "mistakes.png": "The mistakes of which the network was most certain, the most certain first.",
    "reliability.png": "Accuracy of predictions of about the same confidence; in the bars, how many there are.",
}


def write_report(
    folder: Path,
    checkpoint: str,
    images: Tensor,
    labels: Tensor,
    probabilities: Tensor,
    to_check: Tensor,
    probabilities_by_row: Tensor,
) -> None:
    """Writes figures, ``digits.csv`` and ``report.html``.

    Args:
        folder: An empty folder.
        checkpoint: The file that was tested, for the page.
        images: float32 (N, 28, 28).
        labels: (N,).
        probabilities: (N, 10).
        to_check: bool (N,), which a person should look at.
        probabilities_by_row: (M, 28, 10), the probabilities after each row for the first M of them.
    """
    predicted = probabilities.argmax(1)
    matrix = multiclass_confusion_matrix(predicted, labels, probabilities.shape[1])
    drawn = report_figures(matrix, images, labels, probabilities, probabilities_by_row)
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=120)
    figures.row_by_row_animation(images[0], probabilities_by_row[0], folder / "reading.gif")

    rows = digits_table(matrix)
    with (folder / "digits.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    shown = [embedded(folder / name, caption) for name, caption in CAPTIONS.items() if (folder / name).exists()]
    summary = f"{checkpoint}: {summary_text(predicted != labels, to_check)}"
    write_page(folder, summary, html_table(rows), "\n".join(shown))


def write_page(folder: Path, summary: str, table: str, figures: str) -> None:
    """Writes ``report.html``: a line of text, and what is HTML already."""
    page = PAGE.format(summary=escape(summary), table=table, figures=figures)
    (folder / "report.html").write_text(page, encoding="utf-8", errors="backslashreplace")  # for names in no encoding


def report_figures(
    matrix: Tensor, images: Tensor, labels: Tensor, probabilities: Tensor, probabilities_by_row: Tensor
) -> dict[str, Figure]:
    """The figures by their files' names; of the confusion matrix (10, 10), and as in ``write_report``."""
    error = float(multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=10))
    worst = most_certain_mistakes(labels, probabilities)
    by_rows = (probabilities_by_row.argmax(2) == labels[: len(probabilities_by_row), None]).float().mean(0)
    drawn = {
        "reading.png": figures.row_by_row_figure(images[:6], probabilities_by_row[:6]),
        "rows.png": figures.rows_figure(by_rows),
        "confusion.png": figures.confusion_figure(matrix),
        "reliability.png": figures.reliability_figure(probabilities, labels, error),
    }
    if len(worst):
        drawn["mistakes.png"] = figures.predictions_figure(images[worst], labels[worst], probabilities[worst])
    return drawn


def digits_table(matrix: Tensor) -> list[list[str]]:
    """For each digit, how many images there are, and the recall and precision: rows of a table, its header first.

    Args:
        matrix: int (10, 10), true digits down, predicted ones across.
    """
    right, count, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    recall, precision = right / count.clamp(min=1), right / predicted.clamp(min=1)
    rows = zip(count.tolist(), recall.tolist(), precision.tolist(), strict=True)
    return [
        ["digit", "images", "recall", "precision"],
        *([str(digit), str(n), f"{r:.4f}", f"{p:.4f}"] for digit, (n, r, p) in enumerate(rows)),
    ]


def summary_text(wrong: Tensor, to_check: Tensor) -> str:
    """How many of the images are wrong, bool (N,), and how many of those that nobody is asked to check, bool (N,)."""
    return (
        f"{1 - float(wrong.float().mean()):.2%} of {len(wrong):,} test images, {int(wrong.sum())} mistakes. "
        f"To be checked by a person are {float(to_check.float().mean()):.1%}; "
        f"of the others, {int(wrong[~to_check].sum())} of {int((~to_check).sum()):,} are wrong."
    )


def most_certain_mistakes(labels: Tensor, probabilities: Tensor, count: int = 25) -> Tensor:
    """Indices of the wrong predictions with the highest confidence, the highest first."""
    confidence, predicted = probabilities.max(1)
    wrong = (predicted != labels).nonzero()[:, 0]
    order: Tensor = wrong[confidence[wrong].argsort(descending=True)]
    return order[:count]


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table."""
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def embedded(file: Path, caption: str) -> str:
    """A picture as part of the page."""
    data = base64.b64encode(file.read_bytes()).decode()
    image = f'<img src="data:image/{file.suffix[1:]};base64,{data}" alt="">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
