"""A run's folder and its checkpoints."""

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from digit_rnn import process
from digit_rnn.checkpoints import write_whole
from digit_rnn.errors import OptionError, OutputError

MONITORED = ("val_loss", "val_accuracy", "train_loss", "train_accuracy", "train_loss_step")
PATIENCE = 3  # seconds for which other processes are waited for


def new_version(parent: Path) -> Path:
    """Makes the next folder ``parent/version_N``. Runs that start at the same moment get folders of their own.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdecimal()]
        number = max(taken, default=-1) + 1
        while True:
            with suppress(FileExistsError):
                (folder := parent / f"version_{number}").mkdir()
                return folder
            number += 1
    except OSError as error:
        reason = f"cannot make the folder {error.filename}: {error.strerror}"
        raise OutputError(f"{reason}; choose another --trainer.default_root_dir") from error


@contextmanager
def remove_on_error(folder: Path) -> Iterator[None]:
    """Removes a new folder again where it cannot be filled, as on a full disk or at Ctrl-C."""
    try:
        yield
    except BaseException:
        _remove(folder)
        raise


def _remove(folder: Path) -> None:
    """Removes a new folder, and the one around it where nothing else is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def remove_void_rows(table: Path, step: int) -> None:
    """Removes what a CSVLogger's table holds of this step and later ones, which are made anew."""
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            kept = [row for row in rows if (row.get("step") or "").isdecimal() and int(row["step"]) < step]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, rows.fieldnames or [])
        writer.writeheader()
        writer.writerows(kept)
        write_whole(table, text.getvalue().encode())


class ReadyToSave(Callback):
    """From here on, Ctrl-C does not end the process at once."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called once all processes have joined."""
        process.early_stop.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """After Ctrl-C, lets the other processes that read pictures end by themselves.

        Lightning would kill them and, once it sees their status, this one in the middle of its last words.
        """
        if trainer.predicting and isinstance(exception, KeyboardInterrupt):
            for other in getattr(trainer.strategy.launcher, "procs", ()):
                with suppress(subprocess.TimeoutExpired):
                    other.wait(PATIENCE)


class RunFolder(Callback):
    """Gives each run of ``fit`` a folder of its own, with its configuration, checkpoints and TensorBoard log.

    It is made once the data is known to be there, and removed again if the run ends before its first step.

    Args:
        parent: The folder is ``parent/version_N``.
        config: Text of ``config.yaml``, with which the run can be repeated.
        tensorboard: Whether to log for TensorBoard.
        resumed: The folder of a run that is resumed, instead of a new one.
        step: The step from which it is resumed; what was logged of later ones is void.
    """

    folder: Path | None = None

    def __init__(
        self, parent: Path, config: str, tensorboard: bool, resumed: Path | None = None, step: int | None = None
    ) -> None:
        self.parent = resumed.parent if resumed else parent
        self.config = config
        self.tensorboard = tensorboard
        self.resumed = resumed
        self.step = step

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Makes the folder and points checkpoints and logger at it."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if (monitor := getattr(callback, "monitor", None)) not in (None, *MONITORED):
                raise OptionError(f"{type(callback).__name__} monitors {monitor!r}: expected {', '.join(MONITORED)}")
        made = (self.resumed or new_version(self.parent)) if trainer.is_global_zero else None
        self.folder = Path(trainer.strategy.broadcast(str(made)))
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, RunCheckpoint):
                callback.dirpath = str(self.folder / "checkpoints")
            elif isinstance(callback, ModelCheckpoint):  # a user's own, which may have any names
                callback.dirpath = callback.dirpath or str(self.folder / "own_checkpoints")
        if self.tensorboard:
            place = self.parent.parent, self.parent.name, self.folder.name
            trainer.logger = TensorBoardLogger(*place, default_hp_metric=False, purge_step=self.step)
        if trainer.is_global_zero and not self.resumed:
            with remove_on_error(self.folder):
                (self.folder / "config.yaml").write_text(self.config, encoding="utf-8")
        if trainer.is_global_zero:
            self._keep_tables([logger for logger in trainer.loggers if isinstance(logger, CSVLogger)])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the options with which a resumed run goes on, for the next time."""
        if self.folder and self.resumed and trainer.is_global_zero:
            write_whole(self.folder / "config.yaml", self.config.encode())

    def _keep_tables(self, loggers: list[CSVLogger]) -> None:
        """Notes where CSVLogger has its tables; a resumed run gets new ones, and the old ones end where it begins."""
        note = (self.folder or Path()) / "csv_tables.txt"
        tables = note.read_text(encoding="utf-8").splitlines() if note.is_file() else []
        for table in tables:
            remove_void_rows(Path(table), self.step or 0)
        if loggers:
            tables += [os.path.abspath(logger.experiment.metrics_file_path) for logger in loggers]
            note.write_text("\n".join(tables), encoding="utf-8")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Writes out the curves first: a run that is resumed from the checkpoint has all points up to it."""
        for logger in trainer.loggers:
            logger.save()
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                logger.experiment.flush()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Removes the folder of a run that has not made a step."""
        if self.folder and not self.resumed and not trainer.global_step and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.finalize("failed")  # it writes from a thread of its own
            _remove(self.folder)
            self.folder = None


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint in the run's folder, wherever that lies when the run is resumed, and from wherever it is named.

    Args:
        resumed: Whether the run is resumed: else, what a checkpoint knows of its own run's best is not this run's.
        options: Those of ModelCheckpoint.
    """

    def __init__(self, resumed: bool, **options: Any) -> None:
        super().__init__(enable_version_counter=False, **options)
        self.resumed = resumed

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves at the end of whole epochs, from which a run can be resumed; any end is better than nothing."""
        first = not Path(self.dirpath or "", f"{self.filename}.ckpt").is_file()
        if trainer.is_last_batch or trainer.max_steps >= 0 or first:
            super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best score although the run's folder was moved, where Lightning would forget it."""
        if self.resumed:

            def here(path: str) -> str:
                return str(Path(self.dirpath or "", Path(path).name)) if path else path

            paths = {name: here(path) for name, path in state_dict.items() if name.endswith("_model_path")}
            models = {here(path): score for path, score in state_dict["best_k_models"].items()}
            state_dict = {**state_dict, **paths, "best_k_models": models, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)


def best_checkpoint(trainer: Trainer) -> RunCheckpoint | None:
    """What keeps the run's best checkpoint, if anything does."""
    return next(
        (each for each in trainer.checkpoint_callbacks if isinstance(each, RunCheckpoint) and each.monitor), None
    )
