"""What happens around a run: progress on the screen, records for TensorBoard, predictions on the disk."""

import csv
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler
from torch import Tensor

from digit_rnn.data import Batch, Picture, gather_rows
from digit_rnn.model import NUM_CLASSES, ROW_LENGTH

if TYPE_CHECKING:
    from digit_rnn.reading import Reading


def new_version(parent: Path) -> Path:
    """Makes the next folder ``parent/version_N``. Runs that start at the same moment get folders of their own."""
    taken = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdecimal()]
    number = max(taken, default=-1) + 1
    while True:
        try:
            (folder := parent / f"version_{number}").mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise MisconfigurationException(
                f"cannot make the folder {folder}: {error.strerror}; choose another --trainer.default_root_dir"
            ) from error


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Removes a new folder again where it cannot be filled, as on a full disk."""
    try:
        yield
    except OSError:
        shutil.rmtree(folder)
        raise


class NoProfiler(PassThroughProfiler):
    """Does nothing in the context that Lightning opens around each of a hundred calls a step."""

    nothing: AbstractContextManager[None] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Measures nothing."""
        return self.nothing


class RunFolder(Callback):
    """Gives each run of ``fit`` a folder of its own, with its configuration, checkpoints and TensorBoard log.

    It is made once the data is known to be there: a run that cannot start leaves nothing behind.

    Args:
        parent: The folder is ``parent/version_N``.
        config: Text of ``config.yaml``, with which the run can be repeated.
        tensorboard: Whether to log for TensorBoard.
        resumed: The folder of a run that goes on, instead of a new one.
        step: The step from which it goes on; what was logged of later ones is void.
    """

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
        made = (self.resumed or new_version(self.parent)) if trainer.is_global_zero else None
        self.folder = Path(trainer.strategy.broadcast(str(made)))
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint):
                callback.dirpath = str(self.folder / "checkpoints")
        if self.tensorboard:
            # TensorBoard loads TensorFlow where it is installed, for 3 seconds and no use; this is its own switch.
            sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
            folders = {"save_dir": self.parent.parent, "name": self.parent.name, "version": self.folder.name}
            trainer.logger = TensorBoardLogger(
                **folders,  # type: ignore[arg-type]
                default_hp_metric=False,
                purge_step=self.step,
            )
        if trainer.is_global_zero and not self.resumed:
            with filled(self.folder):
                (self.folder / "config.yaml").write_text(self.config, encoding="utf-8")


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint in the run's folder, wherever that lies when the run goes on, and from wherever it is named.

    Args:
        resumed: Whether the run goes on: else, what a checkpoint knows of its own run's best is not this run's.
        options: Those of ModelCheckpoint.
    """

    def __init__(self, resumed: bool, **options: Any) -> None:
        super().__init__(enable_version_counter=False, **options)
        self.resumed = resumed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best score, with the paths as they are now; Lightning forgets it where they differ."""
        if self.resumed:

            def here(path: str) -> str:
                return str(Path(self.dirpath or "", Path(path).name)) if path else path

            paths = {name: here(path) for name, path in state_dict.items() if name.endswith("_model_path")}
            models = {here(path): score for path, score in state_dict["best_k_models"].items()}
            state_dict = {**state_dict, **paths, "best_k_models": models, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)


class ProgressBar(TQDMProgressBar):
    """A bar with the epoch's loss and accuracy so far, and a line for each epoch that stays.

    Where the output goes to a file or a pipe, only the lines are written.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)

    @property
    def is_enabled(self) -> bool:
        """Whether a bar is drawn."""
        return super().is_enabled and sys.stdout.isatty()

    def init_train_tqdm(self) -> Tqdm:
        """The bar of an epoch, which goes when training ends."""
        bar = super().init_train_tqdm()
        bar.leave = False
        return bar

    def init_validation_tqdm(self) -> Tqdm:
        """No bar for validation within ``fit``: it takes less than a second."""
        return Tqdm(disable=True) if self.trainer.training else super().init_validation_tqdm()

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        """Training loss and accuracy, from the beginning of the epoch."""
        if self.is_disabled:
            return {}
        return {name.removeprefix("train_"): f"{value:.4f}" for name, value in pl_module.training_metrics().items()}

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
        if trainer.is_global_zero:
            # The model logs its training metrics after this hook: those in callback_metrics are the epoch's before.
            validation = trainer.callback_metrics if self.validated else {}
            metrics = metrics_line({**validation, **pl_module.training_metrics()})
            Tqdm.write(f"epoch {trainer.current_epoch + 1}{total}  {metrics}  {seconds:.1f} s")


def best_checkpoint(trainer: Trainer) -> RunCheckpoint | None:
    """What keeps the run's best checkpoint, if anything does."""
    return next(
        (each for each in trainer.checkpoint_callbacks if isinstance(each, RunCheckpoint) and each.monitor), None
    )


def metrics_line(metrics: Mapping[str, Tensor]) -> str:
    """The losses and accuracies among some metrics, in one line."""
    names = [f"{stage}_{name}" for stage in ("train", "val", "test") for name in ("loss", "accuracy")]
    return "  ".join(f"{name} {float(metrics[name]):.4f}" for name in names if name in metrics)


class TensorBoardRecord(Callback):
    """Adds graph, pictures of each epoch, and the hyperparameters with their result to a TensorBoard log."""

    DIGITS = 12  # of the validation images, shown in each epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the graph."""
        if isinstance(trainer.logger, TensorBoardLogger) and trainer.is_global_zero:
            example = torch.zeros(1, ROW_LENGTH, ROW_LENGTH, device=pl_module.device)
            pl_module.eval()  # dropout would be drawn, and differently each time the graph is checked
            trainer.logger.experiment.add_graph(pl_module, example)
            pl_module.train()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Writes the epoch's confusion matrix, some validation digits and how one of them is read."""
        if not isinstance(trainer.logger, TensorBoardLogger) or not pl_module.val_outputs or not trainer.is_global_zero:
            return
        from digit_rnn import thumbnails

        _, logits, labels = (torch.cat(column).cpu() for column in zip(*pl_module.val_outputs, strict=True))
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        images = data.val_set.images[: self.DIGITS].to(pl_module.device) / 255
        predicted = logits.argmax(1)
        matrix = torch.bincount(labels * NUM_CLASSES + predicted, minlength=NUM_CLASSES**2).view(NUM_CLASSES, -1)
        beliefs = pl_module.beliefs(images[:1])[0]
        pictures = {
            "confusion_matrix": thumbnails.confusion_sheet(matrix),
            "validation_digits": thumbnails.digits_sheet(images, labels[: self.DIGITS], predicted[: self.DIGITS]),
            "reading": thumbnails.reading_sheet(images[0], beliefs),
        }
        for name, picture in pictures.items():
            # Of the epoch's last step, as its figures are: a run that goes on from its end makes void what is later.
            trainer.logger.experiment.add_image(name, picture, trainer.global_step - 1, dataformats="HWC")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the hyperparameters with the best validation accuracy."""
        score = getattr(best_checkpoint(trainer), "best_model_score", None)
        if isinstance(trainer.logger, TensorBoardLogger) and score is not None:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            parameters = {**pl_module.hparams, **(data.hparams if data else {})}
            trainer.logger.log_hyperparams(parameters, {"best_val_accuracy": float(score)})


class ReportWriter(Callback):
    """Writes a report of a test, ``report.html`` with its figures, into a new folder.

    Args:
        parent: The report goes to ``parent/version_N``.
        checkpoint: What is tested, named in the report.
    """

    def __init__(self, parent: Path, checkpoint: str) -> None:
        self.parent = parent
        self.checkpoint = checkpoint
        self.folder: Path | None = None

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins anew."""
        self.outputs: list[tuple[Tensor, ...]] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any
    ) -> None:
        """Keeps one batch."""
        self.outputs.append((*batch, *outputs.values()))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Writes the report."""
        columns = gather_rows([torch.cat(column) for column in zip(*self.outputs, strict=True)], trainer)
        if not trainer.is_global_zero:
            return
        from digit_rnn.report import write_report  # matplotlib, only when a figure is drawn

        images, labels, probabilities, strange = columns
        # A network that reads from both ends is asked 28 times for each image.
        few = images[:1000] if pl_module.rnn.bidirectional else images
        beliefs = torch.cat([pl_module.beliefs(part.to(pl_module.device)).cpu() for part in torch.split(few, 1000)])
        self.folder = new_version(self.parent)
        with filled(self.folder):
            write_report(self.folder, self.checkpoint, images, labels, probabilities, strange, beliefs)


class PredictionWriter(BasePredictionWriter):
    """Writes ``predictions.csv`` as the predictions of test images come, and a picture of some, into a new folder.

    Args:
        parent: The results go to ``parent/version_N``.
        sample_size: Digits in the picture, chosen at random by the seed.
    """

    def __init__(self, parent: Path, sample_size: int = 25) -> None:
        super().__init__("batch")
        self.parent = parent
        self.sample_size = sample_size

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the table and draws the sample."""
        loader: Any = trainer.predict_dataloaders
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        total = min(len(loader.dataset), int(trainer.num_predict_batches[0] * data.eval_batch_size))
        self.chosen = set(torch.randperm(total)[: self.sample_size].tolist())
        self.sample: list[tuple[Tensor, Tensor, Tensor]] = []
        self.folder = new_version(self.parent)
        self.file = (self.folder / "predictions.csv").open("w", newline="", encoding="utf-8")
        self.table = csv.writer(self.file)
        self.table.writerow(["index", "true_label", "predicted_label", "confidence"])

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: tuple[Tensor, Tensor],
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Appends one batch."""
        images, labels = batch
        indices = list(batch_indices or [])
        probabilities, _ = prediction
        confidence, predicted = probabilities.max(dim=1)
        rounded = [f"{share:.4f}" for share in confidence.tolist()]
        self.table.writerows(zip(indices, labels.tolist(), predicted.tolist(), rounded, strict=True))
        self.file.flush()  # what is written stays if the run is stopped
        for place, index in enumerate(indices):
            if index in self.chosen:
                self.sample.append((images[place].cpu(), labels[place].cpu(), probabilities[place].cpu()))

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Closes the table and draws the picture."""
        from digit_rnn.figures import predictions_figure, reading_figure  # matplotlib, only when a figure is drawn

        self.file.close()
        images, labels, probabilities = (torch.stack(column) for column in zip(*self.sample, strict=True))
        predictions_figure(images, labels, probabilities).savefig(self.folder / "predictions.png", dpi=110)
        with torch.inference_mode():
            beliefs = pl_module.beliefs(images[:6].to(pl_module.device)).cpu()
        reading_figure(images[:6], beliefs).savefig(self.folder / "reading.png", dpi=110)


class ReadingWriter(BasePredictionWriter):
    """Writes what pictures say, as it is read: ``predictions.csv``, a row a digit, and ``.jsonl``, a line a picture.

    Args:
        parent: The results go to ``parent/version_N``.
        shown: Pictures that are drawn with their readings in ``predictions.png``.
    """

    COLUMNS = ("file", "row", "position", "left", "top", "right", "bottom", "digit", "confidence", "check")

    def __init__(self, parent: Path, shown: int = 24) -> None:
        super().__init__("batch")
        self.parent = parent
        self.shown = shown

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the tables."""
        self.folder = new_version(self.parent)
        text: Any = {"encoding": "utf-8", "errors": "backslashreplace"}  # for names in no encoding
        self.csv = (self.folder / "predictions.csv").open("w", newline="", **text)
        self.jsonl = (self.folder / "predictions.jsonl").open("w", **text)
        self.table = csv.writer(self.csv)
        self.table.writerow(self.COLUMNS)
        self.counts = Counter[str]()
        self.sample: list[tuple[str, list[Reading]]] = []

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: tuple[Tensor, Tensor],
        batch_indices: Sequence[int] | None,
        batch: tuple[Tensor, list[Picture]],
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Appends some pictures."""
        from digit_rnn.reading import readings, rows

        _, pictures = batch
        sizes = [len(picture.digits) for picture in pictures]
        parts = zip(*(torch.split(column.cpu(), sizes) for column in prediction), strict=True)
        for (file, found, error), (probabilities, strange) in zip(pictures, parts, strict=True):
            read = readings(found, probabilities, strange)
            for row, position, box, digit, confidence, check in read:
                self.table.writerow([file, row, position, *box, digit, f"{confidence:.4f}", check])
            if not read:
                self.table.writerow([file, *[""] * 8, error or "no digit found"])
            digits = [reading._asdict() | {"confidence": round(reading.confidence, 4)} for reading in read]
            line = {"file": file, "rows": rows(read), "digits": digits, "error": error or None}
            self.jsonl.write(json.dumps(line, ensure_ascii=False) + "\n")
            self.counts.update(pictures=1, digits=len(read), unreadable=int(bool(error)))
            self.counts["to check"] += sum(bool(reading.check) for reading in read) or not read
            if len(self.sample) < self.shown and not error:
                self.sample.append((file, read))
        self.csv.flush()  # what is written stays if the run is stopped
        self.jsonl.flush()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the tables and draws the pictures."""
        from digit_rnn.figures import readings_figure

        self.csv.close()
        self.jsonl.close()
        if self.sample:
            readings_figure(self.sample).savefig(self.folder / "predictions.png", dpi=110)
