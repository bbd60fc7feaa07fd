"""Figures: tensors in, ``matplotlib.figure.Figure`` out; no pyplot, nothing is left open, no screen is needed."""

import math

from matplotlib.figure import Figure
from torch import Tensor

INK = "#222222"
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
