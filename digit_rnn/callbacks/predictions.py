"""Tables of predictions, written as they come, and pictures of some."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO, get_type_hints

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from digit_rnn.callbacks.run import new_version
from digit_rnn.data.pictures import Picture
from digit_rnn.reading import Reading, readings, text_rows
from digit_rnn.reporting import figures


class TableWriter(BasePredictionWriter):
    """Writes ``predictions.csv`` into a new folder, as the predictions come.

    Args:
        parent: The results go to ``parent/version_N``.
        columns: Names of the table's columns.
    """

    folder: Path | None = None  # made once everything is ready

    def __init__(self, parent: Path, columns: Sequence[str]) -> None:
        super().__init__("batch")
        self.parent = parent
        self.columns = columns

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the table."""
        self.folder = new_version(self.parent)
        self.files = ExitStack()
        self.file = self.open("predictions.csv")
        self.table = csv.DictWriter(self.file, self.columns)
        self.table.writeheader()

    def open(self, name: str) -> TextIO:
        """Opens a new text file in the folder."""
        text: Any = {"encoding": "utf-8", "errors": "backslashreplace"}  # for names in no encoding
        file: TextIO = self.files.enter_context((self.folder or Path()).joinpath(name).open("w", newline="", **text))
        return file

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the files."""
        self.files.close()


class PredictionWriter(TableWriter):
    """Writes a table of the predictions for MNIST's test images, and pictures of some.

    Args:
        parent: The results go to ``parent/version_N``.
        sample_size: Digits in the picture, chosen at random by the seed.
    """

    def __init__(self, parent: Path, sample_size: int = 25) -> None:
        super().__init__(parent, ("index", "true_label", "predicted_label", "confidence"))
        self.sample_size = sample_size

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the table and draws the sample."""
        super().on_predict_start(trainer, pl_module)
        loader: Any = trainer.predict_dataloaders
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        total = min(len(loader.dataset), int(trainer.num_predict_batches[0] * data.eval_batch_size))
        self.chosen = set(torch.randperm(total)[: self.sample_size].tolist())
        self.sample: list[tuple[Tensor, Tensor, Tensor]] = []

    def write_on_batch_end(
        self, trainer: Trainer, pl_module: Any, prediction: Any, batch_indices: Any, batch: Any, *args: Any
    ) -> None:
        """Appends one batch: its images and labels, and the model's predictions."""
        images, labels = (column.cpu() for column in batch)
        probabilities = prediction[0].cpu()
        confidence, predicted = (column.tolist() for column in probabilities.max(dim=1))
        for place, index in enumerate(batch_indices):
            values = (index, int(labels[place]), predicted[place], f"{confidence[place]:.4f}")
            self.table.writerow(dict(zip(self.columns, values, strict=True)))
            if index in self.chosen:
                self.sample.append((images[place], labels[place], probabilities[place]))
        self.file.flush()  # what is written stays if the run is stopped

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Closes the table and draws the pictures."""
        super().on_predict_end(trainer, pl_module)
        images, labels, probabilities = (torch.stack(column) for column in zip(*self.sample, strict=True))
        folder = self.folder or Path()
        figures.predictions_figure(images, labels, probabilities).savefig(folder / "predictions.png", dpi=110)
        with torch.inference_mode():
            by_row = pl_module.probabilities_by_row(images[:6].to(pl_module.device)).cpu()
        figures.row_by_row_figure(images[:6], by_row).savefig(folder / "reading.png", dpi=110)


class ReadingWriter(TableWriter):
    """Writes what pictures say: a table with a row a digit, and ``predictions.jsonl`` with a line a picture.

    Args:
        parent: The results go to ``parent/version_N``.
        sample_size: Pictures that are drawn with their readings in ``predictions.png``.
    """

    def __init__(self, parent: Path, sample_size: int = 24) -> None:
        super().__init__(parent, ["file", *column_names(Reading)])
        self.sample_size = sample_size
        self.sample: list[tuple[str, list[Reading]]] = []
        self.counts = Counter[str]()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the files."""
        super().on_predict_start(trainer, pl_module)
        self.jsonl = self.open("predictions.jsonl")

    def write_on_batch_end(
        self, trainer: Trainer, pl_module: Any, prediction: Any, batch_indices: Any, batch: Any, *args: Any
    ) -> None:
        """Appends some pictures: the digits found in them, and the model's predictions."""
        _, pictures = batch
        sizes = [len(picture.digits) for picture in pictures]
        parts = zip(*(torch.split(column.cpu(), sizes) for column in prediction), strict=True)
        for picture, (probabilities, is_outlier) in zip(pictures, parts, strict=True):
            self._write_picture(picture, readings(picture.digits, probabilities, is_outlier))
        self.file.flush()  # what is written stays if the run is stopped
        self.jsonl.flush()

    def _write_picture(self, picture: Picture, read: list[Reading]) -> None:
        file, _, error = picture
        self.table.writerows({"file": file, **flat(reading)} for reading in read)
        if not read:
            self.table.writerow({"file": file, "check": error or "no digit found"})
        digits = [reading._asdict() | {"confidence": round(reading.confidence, 4)} for reading in read]
        line = {"file": file, "rows": text_rows(read), "digits": digits, "error": error or None}
        self.jsonl.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.counts.update(pictures=1, digits=len(read), unreadable=int(bool(error)))
        self.counts["to check"] += sum(bool(reading.check) for reading in read) or not read
        if len(self.sample) < self.sample_size and not error:
            self.sample.append((file, read))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the files and draws the pictures."""
        super().on_predict_end(trainer, pl_module)
        if self.sample:
            figures.pictures_figure(self.sample).savefig((self.folder or Path()) / "predictions.png", dpi=110)


def column_names(record: type) -> list[str]:
    """The fields of a NamedTuple; one that holds a NamedTuple gives that one's fields."""
    columns: list[str] = []
    for name, kind in get_type_hints(record).items():
        columns += column_names(kind) if hasattr(kind, "_fields") else [name]
    return columns


def flat(record: Any) -> dict[str, object]:
    """The values of a NamedTuple by ``column_names``; fractions with four digits."""
    values: dict[str, object] = {}
    for name, value in record._asdict().items():
        if hasattr(value, "_fields"):
            values |= flat(value)
        else:
            values[name] = f"{value:.4f}" if isinstance(value, float) else value
    return values
