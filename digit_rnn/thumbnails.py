"""Pictures of a run's progress for TensorBoard, drawn in milliseconds: matplotlib would take a tenth of an epoch."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from torch import Tensor

Picture = npt.NDArray[np.uint8]  # (height, width, 3)

CELL = 56  # pixels of a digit, and of a cell of the confusion matrix
RIGHT, WRONG = (70, 160, 230), (240, 110, 40)  # told apart by colour-blind readers too


def digits_sheet(images: Tensor, labels: Tensor, predicted: Tensor) -> Picture:
    """Digits in a row, each with its prediction in the corner; mistakes are framed and show "predicted (true)".

    Args:
        images: float32 (N, 28, 28) in [0, 1].
        labels: (N,).
        predicted: (N,).
    """
    sheet = Image.new("RGB", (CELL * len(images), CELL))
    draw = ImageDraw.Draw(sheet)
    for place, (image, label, guess) in enumerate(zip(images, labels.tolist(), predicted.tolist(), strict=True)):
        left = CELL * place
        sheet.paste(_enlarged(image, CELL, CELL), (left, 0))
        text = str(guess) if guess == label else f"{guess} ({label})"
        draw.text((left + 3, 0), text, fill=RIGHT if guess == label else WRONG, font_size=14)
        if guess != label:
            draw.rectangle((left, 0, left + CELL - 1, CELL - 1), outline=WRONG, width=2)
    return np.asarray(sheet)


def confusion_sheet(matrix: Tensor) -> Picture:
    """Counts of true digits (down) read as predicted ones (across), shaded by their share of the true digit.

    Args:
        matrix: int (10, 10).
    """
    shares = matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    sheet = Image.new("RGB", (CELL * 11, CELL * 11), "white")
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((4, 10), "true ↓\nread →", fill="black", font_size=14)
    for digit in range(10):
        for x, y in ((CELL * (digit + 1), 0), (0, CELL * (digit + 1))):
            draw.text((x + CELL / 2, y + CELL / 2), str(digit), fill="black", anchor="mm", font_size=18)
        for guess in range(10):
            x, y = CELL * (guess + 1), CELL * (digit + 1)
            depth = 0 if guess == digit else min(1.0, 20 * float(shares[digit, guess]))  # full at 5 %
            color = tuple(round(255 - depth * (255 - part)) for part in WRONG)
            draw.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=color, outline=(220, 220, 220))
            if count := int(matrix[digit, guess]):
                draw.text((x + CELL / 2, y + CELL / 2), str(count), fill="black", anchor="mm", font_size=16)
    return np.asarray(sheet)


def reading_sheet(image: Tensor, beliefs: Tensor) -> Picture:
    """A digit beside the probabilities of 0…9 after each of its rows, bright for certain.

    Args:
        image: float32 (T, 28) in [0, 1].
        beliefs: (T, 10).
    """
    height, width = 8 * len(image), 24
    sheet = Image.new("RGB", (8 * 28 + 8 + 10 * width, height + 22), "white")
    sheet.paste(_enlarged(image, 8 * 28, height), (0, 22))
    sheet.paste(_enlarged(beliefs, 10 * width, height), (8 * 28 + 8, 22))
    draw = ImageDraw.Draw(sheet)
    for digit in range(10):
        color = WRONG if digit == int(beliefs[-1].argmax()) else "black"
        draw.text((8 * 28 + 8 + (digit + 0.5) * width, 11), str(digit), fill=color, anchor="mm", font_size=16)
    return np.asarray(sheet)


def _enlarged(values: Tensor, width: int, height: int) -> Image.Image:
    grey = (values.clamp(0, 1) * 255).byte().cpu().numpy()
    return Image.fromarray(grey).resize((width, height), Image.Resampling.NEAREST)
