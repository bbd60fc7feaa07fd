"""What several tests call: the command as a process of its own, and pictures made from MNIST's digits."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from tests.conftest import Result

Array = npt.NDArray[Any]

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=20", "--trainer.limit_val_batches=1")


def start(folder: Path, root: Path, *words: str) -> subprocess.Popen[str]:
    """``fit`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "digit_rnn", "fit", f"--data.root={root}", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(path)


def weights(run: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def assert_refused(result: Result, folder: Path, before: set[Path], *fragments: str) -> None:
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    for fragment in fragments:
        assert fragment in result.err
    assert set(folder.rglob("*")) == before


def paper(image: Array, size: int, width: int, height: int, left: int, top: int) -> Array:
    """Dark ink on unevenly lit paper, the digit ``size`` pixels large."""
    ink = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    page = np.linspace(0.95, 0.75, width, dtype=np.float32)[None].repeat(height, 0)
    page[top : top + size, left : left + size] *= 1 - 0.8 * ink.clip(0, 1)
    return (page * 255).astype(np.uint8)


def line(images: Array, climb: int = 0, gap: int = 30) -> Array:
    """Digits in a row, each 80 pixels large."""
    page = np.zeros((200 + abs(climb) * len(images), 60 + (80 + gap) * len(images)), np.uint8)
    for place, image in enumerate(images):
        top = 60 + (climb * place if climb >= 0 else -climb * (len(images) - place))
        left = 30 + (80 + gap) * place
        page[top : top + 80, left : left + 80] |= cv2.resize(image, (80, 80))
    return 255 - page


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


BAD_FILES: dict[str, bytes] = {
    "empty.png": b"",
    "text.jpg": b"no picture",
    "cut.png": b"",
    "bomb.png": b"",
}


def make_bad_files(folder: Path, mnist: tuple[Array, Array]) -> None:
    for name, content in BAD_FILES.items():
        (folder / name).write_bytes(content)
    Image.fromarray(mnist[0][0]).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-60])
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")


def count_by_hand(labels: Tensor, probabilities: Tensor) -> Tensor:
    matrix = torch.zeros(10, 10, dtype=torch.long)
    for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True):
        matrix[label, row.index(max(row))] += 1
    return matrix


def trimmed(image: Array) -> Array:
    """A digit, 84 pixels large, without the empty columns at its sides."""
    large = cv2.resize(image, (84, 84), interpolation=cv2.INTER_CUBIC)
    columns = np.flatnonzero((large > 100).any(0))
    return large[:, columns[0] : columns[-1] + 1]
