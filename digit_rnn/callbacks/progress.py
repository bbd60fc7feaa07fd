"""A run's progress on the screen."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from torch import Tensor


class ProgressBar(TQDMProgressBar):
    """A bar with the epoch's loss and accuracy so far, and a line for each epoch that stays.

    Where the output goes to a file or a pipe, only the lines are written.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)
        if sys.stdout is None or not sys.stdout.isatty():
            self.disable()

    def init_train_tqdm(self) -> Tqdm:
        """The bar of an epoch, which goes when training ends."""
        bar = super().init_train_tqdm()
        bar.leave = False
        return bar

    def init_validation_tqdm(self) -> Tqdm:
        """No bar for validation within ``fit``: it takes less than a second."""
        return Tqdm(disable=True) if self.trainer.state.fn == "fit" else super().init_validation_tqdm()

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        """Training loss and accuracy, from the beginning of the epoch."""
        return {name: f"{value:.4f}" for name, value in pl_module.train_metrics.so_far().items()}

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Starts the epoch's bar and clock."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}")
        self.epoch_start = time.monotonic()
        self.validated = False

    def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
        """Notes that there are new figures."""
        super().on_validation_end(trainer, *args)
        self.validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Writes the epoch's line."""
        super().on_train_epoch_end(trainer, pl_module)
        total = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        seconds = time.monotonic() - self.epoch_start
        # The model logs its training metrics after this hook: those in callback_metrics are the epoch's before.
        training = {f"train_{name}": value for name, value in pl_module.train_metrics.compute().items()}
        validation = trainer.callback_metrics if self.validated else {}
        if trainer.is_global_zero:
            metrics = metrics_line({**validation, **training})
            Tqdm.write(f"epoch {trainer.current_epoch + 1}{total}  {metrics}  {seconds:.1f} s")


def metrics_line(metrics: Mapping[str, Tensor]) -> str:
    """The losses and accuracies among some metrics, in one line."""
    names = [f"{stage}_{name}" for stage in ("train", "val", "test") for name in ("loss", "accuracy")]
    return "  ".join(f"{name} {float(metrics[name]):.4f}" for name in names if name in metrics)
