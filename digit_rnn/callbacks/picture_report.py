"""How well labelled pictures are read, as a callback."""

from collections import Counter
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from digit_rnn.callbacks.predictions import DRAWN, NO_DIGIT_FOUND, read_pictures
from digit_rnn.callbacks.processes import Processes
from digit_rnn.callbacks.run import new_version, remove_on_error
from digit_rnn.data.pictures import Picture
from digit_rnn.reading import Reading, text_rows
from digit_rnn.reporting.pictures import write_picture_report
from digit_rnn.reporting.scores import Score, count


class PictureReport(BasePredictionWriter):
    """Compares readings with the labels of their pictures, and writes a report into a new folder in the end.

    Args:
        parent: The report goes to ``parent/version_N``.
        checkpoint: What is tested, named in the report.
    """

    folder: Path | None = None

    def __init__(self, parent: Path, checkpoint: str) -> None:
        super().__init__("batch")
        self.parent = parent
        self.checkpoint = checkpoint

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begins anew; not in ``on_predict_start``, which knows no process without a batch."""
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        self.processes = Processes(trainer)
        self.counts = Counter[str]()
        self.mistakes: list[tuple[int, Score]] = []
        self.drawn: list[tuple[bool, int, str, list[str], list[Reading]]] = []

    def write_on_batch_end(
        self, trainer: Any, pl_module: Any, prediction: Any, batch_indices: Any, batch: Any, *args: Any
    ) -> None:
        """Counts some pictures, and keeps those that were read wrong."""
        labels: dict[str, list[str]] = trainer.datamodule.labels
        for index, (picture, read) in zip(batch_indices, read_pictures(batch, prediction), strict=True):
            score = scored(picture, read, labels[picture.file])
            self.counts.update(count(score))
            if not score.is_right:
                self.mistakes.append((index, score))
                if not score.error:
                    self.drawn.append((bool(score.check), index, score.file, score.expected, read))
        self.drawn = sorted(self.drawn)[:DRAWN]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes the report."""
        if stage != "predict":
            return
        shares = self.processes.gather((self.counts, self.mistakes, self.drawn))
        if self.processes.rank:
            return
        self.counts = sum((counts for counts, _, _ in shares), Counter[str]())
        self.mistakes = sorted(each for _, mistakes, _ in shares for each in mistakes)
        drawn = sorted(each for _, _, drawn in shares for each in drawn)[:DRAWN]
        self.folder = new_version(self.parent)
        with remove_on_error(self.folder):
            write_picture_report(
                self.folder,
                self.checkpoint,
                self.counts,
                [score for _, score in self.mistakes],
                [(file, expected, read) for _, _, file, expected, read in drawn],
            )


def scored(picture: Picture, read: list[Reading], expected: list[str]) -> Score:
    """Compares what was read of a picture with its rows of digits."""
    reasons = dict.fromkeys(reading.check for reading in read if reading.check)
    check = picture.error or "; ".join(reasons) or ("" if read else NO_DIGIT_FOUND)
    flagged = sum(bool(reading.check) for reading in read)
    return Score(picture.file, expected, text_rows(read), check, picture.error, flagged)
