"""Tables of predictions, written as they come by one process or several, and pictures of some."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from digit_rnn.callbacks.processes import Processes, SharedFile, join_parts
from digit_rnn.callbacks.run import new_version
from digit_rnn.data.pictures import Picture
from digit_rnn.errors import OutputError
from digit_rnn.reading import Reading, readings, text_rows
from digit_rnn.reporting import figures

SAMPLE = 25  # test digits in the picture, chosen at random by the seed
DRAWN = 24  # pictures that are drawn with their readings, the first that can be read
NO_DIGIT_FOUND = "no digit found"  # the reason to check a picture that holds none


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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Makes the folder and opens the files; not in ``on_predict_start``, which knows no process without a batch."""
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        self.processes = Processes(trainer)
        folder, *_ = self.processes.each(lambda: None if self.processes.rank else new_version(self.parent))
        self.folder = folder or Path()
        self.files: list[SharedFile] = []
        self.processes.each(self.open_files)

    def open_files(self) -> None:
        """Opens what is written."""
        self.table = csv.DictWriter(self.open("predictions.csv").text, self.columns)
        self.table.writeheader()
        self.end_batch()

    def open(self, name: str) -> SharedFile:
        """Opens a new text file in the folder."""
        try:
            file = SharedFile(self.folder or Path(), name, self.processes)
        except FileNotFoundError as error:
            raise OutputError(
                f"{self.folder} is not there on each host: choose a --trainer.default_root_dir that is"
            ) from error
        self.files.append(file)
        return file

    def end_batch(self) -> None:
        """Ends a batch in each file."""
        for file in self.files:
            file.end_batch()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Waits for all processes; the first one joins what they have written, and adds the pictures."""
        if stage != "predict":
            return
        for file in self.files:
            file.text.close()
        shares = self.processes.gather(([file.ends for file in self.files], self.share()))
        if self.processes.rank == 0:
            for place, file in enumerate(self.files):
                join_parts(file.path, [ends[place] for ends, _ in shares])
            self.finish(pl_module, [share for _, share in shares])

    def share(self) -> Any:
        """What this process has to tell the first one in the end."""

    def finish(self, pl_module: Any, shares: Sequence[Any]) -> None:
        """Called in the first process in the end, with the ``share`` of each."""


class PredictionWriter(TableWriter):
    """Writes a table of the predictions for MNIST's test images, and pictures of some.

    Args:
        parent: The results go to ``parent/version_N``.
    """

    def __init__(self, parent: Path) -> None:
        super().__init__(parent, ("index", "true_label", "predicted_label", "confidence"))
        self.sample: list[tuple[int, int, Tensor, Tensor, Tensor]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws an order of the images, the same in each process; the first that are seen are the sample."""
        loader: Any = trainer.predict_dataloaders
        seeded = torch.Generator().manual_seed(torch.initial_seed())
        self.places = torch.randperm(len(loader.dataset), generator=seeded).argsort().tolist()

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
        for order, place in sorted((self.places[index], place) for place, index in enumerate(batch_indices))[:SAMPLE]:
            self.sample.append((order, batch_indices[place], images[place], labels[place], probabilities[place]))
        self.sample = sorted(self.sample)[:SAMPLE]
        self.end_batch()

    def share(self) -> Any:
        """Its part of the sample."""
        return self.sample

    def finish(self, pl_module: Any, shares: Sequence[Any]) -> None:
        """Draws the pictures."""
        sample = sorted(each for share in shares for each in share)[:SAMPLE]
        _, _, *columns = zip(*sorted(sample, key=lambda each: each[1]), strict=True)
        images, labels, probabilities = map(torch.stack, columns)
        folder = self.folder or Path()
        figures.predictions_figure(images, labels, probabilities).savefig(folder / "predictions.png", dpi=110)
        with torch.inference_mode():
            by_row = pl_module.probabilities_by_row(images[:6].to(pl_module.device)).cpu()
        figures.row_by_row_figure(images[:6], by_row).savefig(folder / "reading.png", dpi=110)


class ReadingWriter(TableWriter):
    """Writes what pictures say: a table with a row a digit, and ``predictions.jsonl`` with a line a picture.

    Args:
        parent: The results go to ``parent/version_N``.
    """

    def __init__(self, parent: Path) -> None:
        super().__init__(parent, ["file", *column_names(Reading)])
        self.sample: list[tuple[int, str, list[Reading]]] = []
        self.counts = Counter[str]()

    def open_files(self) -> None:
        """Opens the table and the lines."""
        self.jsonl = self.open("predictions.jsonl").text
        super().open_files()

    def write_on_batch_end(
        self, trainer: Trainer, pl_module: Any, prediction: Any, batch_indices: Any, batch: Any, *args: Any
    ) -> None:
        """Appends some pictures: the digits found in them, and the model's predictions."""
        for index, (picture, read) in zip(batch_indices, read_pictures(batch, prediction), strict=True):
            self._write_picture(index, picture, read)
        self.end_batch()

    def _write_picture(self, index: int, picture: Picture, read: list[Reading]) -> None:
        file, _, error = picture
        self.table.writerows({"file": file, **flat(reading)} for reading in read)
        if not read:
            self.table.writerow({"file": file, "check": error or NO_DIGIT_FOUND})
        digits = [reading._asdict() | {"confidence": round(reading.confidence, 4)} for reading in read]
        line = {"file": file, "rows": text_rows(read), "digits": digits, "error": error or None}
        self.jsonl.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.counts.update(pictures=1, digits=len(read), unreadable=int(bool(error)))
        self.counts["to check"] += sum(bool(reading.check) for reading in read) or not read
        if len(self.sample) < DRAWN and not error:
            self.sample.append((index, file, read))

    def share(self) -> Any:
        """What it has read, in numbers, and its first pictures."""
        return self.counts, self.sample

    def finish(self, pl_module: Any, shares: Sequence[Any]) -> None:
        """Draws the pictures."""
        self.counts = sum((counts for counts, _ in shares), Counter[str]())
        sample = sorted(each for _, sample in shares for each in sample)
        self.sample = sample[:DRAWN]
        if sample:
            drawn = [(file, read) for _, file, read in self.sample]
            figures.pictures_figure(drawn).savefig((self.folder or Path()) / "predictions.png", dpi=110)


def read_pictures(batch: Any, prediction: Any) -> Iterator[tuple[Picture, list[Reading]]]:
    """The pictures of a batch, with what the model says of the digits found in them."""
    _, pictures = batch
    sizes = [len(picture.digits) for picture in pictures]
    parts = zip(*(torch.split(column.cpu(), sizes) for column in prediction), strict=True)
    for picture, (probabilities, is_outlier) in zip(pictures, parts, strict=True):
        yield picture, readings(picture.digits, probabilities, is_outlier)


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
