"""Figures: tensors in, ``matplotlib.figure.Figure`` out; no pyplot, nothing is left open, no screen is needed."""

import math
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from digit_rnn.reporting import printable

INK = "#222222"
RIGHT = "#0072b2"
MISTAKE = "#c43c00"  # a vermilion that stays apart from black for colour-blind readers, and in grey print


def predictions_figure(images: Tensor, labels: Tensor, probabilities: Tensor) -> Figure:
    """Digits in a grid, each titled with its true and its predicted label; mistakes stand in colour.

    Args:
        images: (N, 28, 28), ink bright.
        labels: (N,), the true digits.
        probabilities: (N, 10).
    """
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(1.45 * columns, 1.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, label, row in zip(axes, images, labels, probabilities, strict=False):
        predicted = int(row.argmax())
        wrong = predicted != int(label)
        axis.imshow(image.numpy(), cmap="gray", interpolation="nearest")
        axis.set_title(
            f"true {int(label)}, predicted {predicted}",
            fontsize=8.5,
            color=MISTAKE if wrong else INK,
            fontweight="bold" if wrong else "normal",
        )
    return figure


def row_by_row_figure(images: Tensor, probabilities_by_row: Tensor) -> Figure:
    """Digits beside what the network believes after each of their rows, aligned with them.

    Args:
        images: (N, T, 28).
        probabilities_by_row: (N, T, 10), the probabilities after each row.
    """
    count = len(images)
    columns = min(count, 3)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(3.7 * columns + 0.7, 2.3 * lines + 0.5), layout="constrained")
    pairs = figure.subplots(lines, 2 * columns, squeeze=False, width_ratios=[1.35, 1] * columns).reshape(-1, 2)
    heat: Any = None
    for (left, right), image, row_probabilities in zip(pairs, images, probabilities_by_row, strict=False):
        shown: dict[str, Any] = {"vmin": 0, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}
        left.imshow(image.numpy(), cmap="gray", **shown)
        left.set_xticks([])
        left.set_ylabel("row", fontsize=8)
        heat = right.imshow(row_probabilities.numpy(), cmap="cividis", **shown)
        right.set_xticks(range(10), [str(digit) for digit in range(10)])
        right.set_yticks([])
        right.set_xlabel("digit", fontsize=8)
        last = row_probabilities[-1]
        right.set_title(f"{int(last.argmax())} ({float(last.max()):.0%})", fontsize=9, color=INK)
        for axis in (left, right):
            axis.tick_params(labelsize=7, length=2)
    for pair in pairs[count:]:
        for axis in pair:
            axis.set_axis_off()
    bar = figure.colorbar(heat, ax=pairs.ravel().tolist(), shrink=0.8, pad=0.01)
    bar.set_label("probability", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def row_by_row_animation(image: Tensor, probabilities_by_row: Tensor, path: Path) -> None:
    """One digit's reading as a GIF: rows appear one after another while the probabilities move.

    Args:
        image: (T, 28).
        probabilities_by_row: (T, 10).
        path: The file to write.
    """
    length = len(image)
    figure = Figure(figsize=(4.6, 2.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
    left.set_axis_off()
    picture = left.imshow(torch.zeros_like(image).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    bars = right.bar(range(10), [0.0] * 10, color=RIGHT)
    right.set(ylim=(0, 1), ylabel="probability", xlabel="digit")
    right.set_xticks(range(10))
    right.spines[["top", "right"]].set_visible(False)

    def draw(frame: int) -> None:
        row = min(frame, length - 1)
        picture.set_data((image * (torch.arange(length)[:, None] <= row)).numpy())
        best = int(probabilities_by_row[row].argmax())
        for digit, bar in enumerate(bars):
            bar.set_height(float(probabilities_by_row[row, digit]))
            bar.set_color(MISTAKE if digit == best else RIGHT)
        left.set_title(f"row {row + 1} of {length}", fontsize=9)

    frames = FuncAnimation(figure, draw, length + 8)  # the last row stays for a while
    frames.save(path, PillowWriter(fps=6), dpi=80)


def confusion_figure(matrix: Tensor) -> Figure:
    """How often each true digit was read as each digit: counts in the cells, rates as their shade.

    Args:
        matrix: int (10, 10), true digits down, predicted ones across.
    """
    rates = (matrix / matrix.sum(1, keepdim=True).clamp(min=1)).numpy()
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axis = figure.subplots()
    mistakes = rates.copy()
    np.fill_diagonal(mistakes, np.nan)
    highest = max(1.0, float(np.nanmax(mistakes)) * 100)
    shade = axis.imshow(mistakes * 100, cmap="Oranges", vmin=0, vmax=highest)
    for true in range(10):
        for predicted in range(10):
            if count := int(matrix[true, predicted]):
                right = true == predicted
                text, size = (f"{count}\n{rates[true, predicted]:.1%}", 6) if right else (str(count), 8)
                color = "white" if not right and rates[true, predicted] * 100 > 0.6 * highest else INK
                axis.text(predicted, true, text, ha="center", va="center", fontsize=size, color=color)
    axis.set(xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10))
    figure.colorbar(shade, label="mistakes, % of the true digit", shrink=0.85)
    return figure


def reliability_figure(probabilities: Tensor, labels: Tensor, error: float) -> Figure:
    """Accuracy against confidence in ten bins; on the diagonal, a confidence of 90 % is right 90 times in 100.

    Args:
        probabilities: (N, 10).
        labels: (N,).
        error: The expected calibration error, for the title.
    """
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).float()
    bins = (confidence * 10).long().clamp(max=9)
    counts = bins.bincount(minlength=10)
    accuracy = torch.zeros(10).index_add(0, bins, right) / counts
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    axis.bar(np.arange(10) / 10 + 0.05, accuracy.nan_to_num().numpy(), width=0.092, color=RIGHT)
    for place, count in enumerate(counts.tolist()):
        if count:
            axis.text(
                place / 10 + 0.05, 0.015, f"{count:,}", ha="center", va="bottom", fontsize=7, color="white", rotation=90
            )
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axis.set_title(f"expected calibration error {error:.2%}", fontsize=10)
    return figure


def rows_figure(accuracy: Tensor) -> Figure:
    """Accuracy as a function of the rows read.

    Args:
        accuracy: (T,), after 1 to T rows.
    """
    figure = Figure(figsize=(4.8, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(range(1, len(accuracy) + 1), (accuracy * 100).numpy(), color=RIGHT, marker="o", markersize=3)
    axis.set(xlabel="rows read", ylabel="test accuracy, %", ylim=(0, 102), xlim=(0.5, len(accuracy) + 0.5))
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def pictures_figure(pictures: Sequence[tuple[str, Sequence[Any]]], titles: Sequence[str] = ()) -> Figure:
    """Pictures with a box around each digit and what it was read as; readings to be checked stand in colour.

    Args:
        pictures: Their files, and the readings of each, with a box, a digit (None: a mark that is none) and a reason to
            check or none.
        titles: What stands below the file's name, for each picture.
    """
    from digit_rnn.vision.load import load  # OpenCV, which no other figure needs

    columns = min(len(pictures), 4)
    lines = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(2.6 * columns, 2.4 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (file, read), title in zip(axes, pictures, titles or repeat(""), strict=False):
        lightness, (width, height) = load(file)
        axis.imshow(lightness, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
        for reading in read:
            left, top, right, bottom = reading.box
            color = MISTAKE if reading.check else RIGHT
            axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=color, linewidth=1))
            digit = "_" if reading.digit is None else str(reading.digit)
            text = f"{digit}?" if reading.check else digit
            label = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
            axis.text(left, top, text, color=color, fontsize=8, va="bottom", fontweight="bold", bbox=label)
        lines_above = filter(None, [shortened(printable(Path(file).name)), shortened(title)])
        axis.set_title("\n".join(lines_above), fontsize=8, color=INK, parse_math=False)
        if not read:
            axis.text(0.5, 0.5, "no digit found", transform=axis.transAxes, ha="center", color=MISTAKE, fontsize=9)
    return figure


def shortened(text: str, length: int = 28) -> str:
    """A text's beginning and end, where it is too long."""
    return text if len(text) <= length else f"{text[: length // 2 - 1]}…{text[1 - length // 2 :]}"
