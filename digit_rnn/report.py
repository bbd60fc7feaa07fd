"""The report of a test: figures, a table, and one page that shows them and opens without a network."""

import base64
import csv
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_precision,
    multiclass_recall,
)

from digit_rnn import figures
from digit_rnn.model import NUM_CLASSES, SURE

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
    strange: Tensor,
    beliefs: Tensor,
) -> None:
    """Writes figures, ``digits.csv`` and ``report.html``.

    Args:
        folder: An empty folder.
        checkpoint: The file that was tested, for the page.
        images: float32 (N, 28, 28).
        labels: (N,).
        probabilities: (N, 10).
        strange: bool (N,), which images are hardly digits.
        beliefs: (M, 28, 10), the probabilities after each row for the first M of them.
    """
    predicted = probabilities.argmax(1)
    accuracy = (predicted == labels).float().mean().item()
    error = float(multiclass_calibration_error(probabilities, labels, NUM_CLASSES, n_bins=10))
    matrix = multiclass_confusion_matrix(predicted, labels, NUM_CLASSES)
    worst = most_certain_mistakes(labels, probabilities)
    by_rows = (beliefs.argmax(2) == labels[: len(beliefs), None]).float().mean(0)
    drawn: dict[str, Figure] = {
        "reading.png": figures.reading_figure(images[:6], beliefs[:6]),
        "rows.png": figures.rows_figure(by_rows),
        "confusion.png": figures.confusion_figure(matrix),
        "reliability.png": figures.reliability_figure(probabilities, labels, error),
    }
    if len(worst):
        drawn["mistakes.png"] = figures.predictions_figure(images[worst], labels[worst], probabilities[worst])
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=120)
    figures.reading_animation(images[0], beliefs[0], folder / "reading.gif")

    precision, recall = (
        metric(predicted, labels, NUM_CLASSES, average=None) for metric in (multiclass_precision, multiclass_recall)
    )
    rows = [["digit", "images", "recall", "precision"]]
    for digit, count in enumerate(matrix.sum(1).tolist()):
        rows.append([str(digit), str(count), f"{recall[digit]:.4f}", f"{precision[digit]:.4f}"])
    with (folder / "digits.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    cells = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    table = "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"
    shown = [name for name in CAPTIONS if (folder / name).exists()]
    wrong = predicted != labels
    checked = strange | (probabilities.amax(1) < SURE)
    summary = (
        f"{escape(checkpoint)}: {accuracy:.2%} of {len(labels):,} test images, {int(wrong.sum())} mistakes. "
        f"To be checked by a person are {float(checked.float().mean()):.1%}; "
        f"of the others, {int(wrong[~checked].sum())} of {int((~checked).sum()):,} are wrong."
    )
    page = PAGE.format(summary=summary, table=table, figures="\n".join(_embedded(folder / name) for name in shown))
    (folder / "report.html").write_text(page, encoding="utf-8")


def most_certain_mistakes(labels: Tensor, probabilities: Tensor, count: int = 25) -> Tensor:
    """Indices of the wrong predictions with the highest confidence, the highest first."""
    confidence, predicted = probabilities.max(1)
    wrong = (predicted != labels).nonzero()[:, 0]
    order: Tensor = wrong[confidence[wrong].argsort(descending=True)]
    return order[:count]


def _embedded(file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    caption = CAPTIONS[file.name]
    image = f'<img src="data:image/{file.suffix[1:]};base64,{data}" alt="">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
