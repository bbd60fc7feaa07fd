"""Figures: tensors in, ``matplotlib.figure.Figure`` out; no pyplot, nothing is left open, no screen is needed."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from digit_rnn.images import load
from digit_rnn.reading import Reading

INK = "#222222"
SURE = "#0072b2"
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


def readings_figure(pictures: Sequence[tuple[str, Sequence[Reading]]]) -> Figure:
    """Pictures with a box around each digit and what it was read as; readings to be checked stand in colour.

    Args:
        pictures: Their files, and the digits read in each.
    """
    columns = min(len(pictures), 4)
    lines = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(2.6 * columns, 2.4 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (file, read) in zip(axes, pictures, strict=False):
        lightness, reduction = load(file)
        height, width = lightness.shape
        axis.imshow(lightness, cmap="gray", vmin=0, vmax=1, extent=(0, width * reduction, height * reduction, 0))
        for reading in read:
            left, top, right, bottom = reading.box
            color = MISTAKE if reading.check else SURE
            axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=color, linewidth=1))
            text = f"{reading.digit}?" if reading.check else str(reading.digit)
            label = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
            axis.text(left, top, text, color=color, fontsize=8, va="bottom", fontweight="bold", bbox=label)
        name = Path(file).name
        axis.set_title(name if len(name) <= 28 else f"{name[:13]}…{name[-13:]}", fontsize=8, color=INK)
        if not read:
            axis.text(0.5, 0.5, "no digit found", transform=axis.transAxes, ha="center", color=MISTAKE, fontsize=9)
    return figure
