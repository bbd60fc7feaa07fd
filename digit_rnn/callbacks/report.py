"""The report of a test, as a callback."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from digit_rnn.callbacks.run import new_version, remove_on_error
from digit_rnn.models.confidence import CONFIDENCE_THRESHOLD
from digit_rnn.models.metrics import Rows


class ReportWriter(Callback):
    """Writes a report of a test, ``report.html`` with its figures, into a new folder.

    Args:
        parent: The report goes to ``parent/version_N``.
        checkpoint: What is tested, named in the report.
    """

    folder: Path | None = None

    def __init__(self, parent: Path, checkpoint: str) -> None:
        self.parent = parent
        self.checkpoint = checkpoint

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins anew."""
        self.rows = Rows("images", "labels", "probabilities", "is_outlier").to(pl_module.device)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Keeps one batch."""
        self.rows.update(*batch, *outputs.values())

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Writes the report."""
        images, labels, probabilities, is_outlier = self.rows.columns()
        self.rows.reset()
        if not trainer.is_global_zero:
            return
        from digit_rnn.reporting.report import write_report

        # A network that reads from both ends is asked 28 times for each image.
        read_by_row = images[:1000] if pl_module.network.rnn.bidirectional else images
        parts = [
            pl_module.probabilities_by_row(part.to(pl_module.device)).cpu() for part in torch.split(read_by_row, 1000)
        ]
        to_check = is_outlier | ~(probabilities.amax(1) >= CONFIDENCE_THRESHOLD)
        self.folder = new_version(self.parent)
        with remove_on_error(self.folder):
            write_report(self.folder, self.checkpoint, images, labels, probabilities, to_check, torch.cat(parts))
