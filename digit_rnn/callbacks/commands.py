"""What each subcommand needs around its run: callbacks that write, and options of the trainer."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback

from digit_rnn.callbacks.report import ReportWriter
from digit_rnn.callbacks.run import RunCheckpoint, RunFolder
from digit_rnn.callbacks.tensorboard import TensorBoardRecord


def fit_callbacks(folder: RunFolder, checkpoints: bool) -> list[Callback]:
    """The folder of a run, its TensorBoard log, and its checkpoints, best and last, where they are wanted."""
    if not checkpoints:
        return [folder, TensorBoardRecord()]
    resumed = folder.resumed is not None
    best = RunCheckpoint(resumed, filename="best", monitor="val_accuracy", mode="max")
    last = RunCheckpoint(resumed, filename="last", save_on_train_epoch_end=True)
    return [folder, TensorBoardRecord(), best, last]


def evaluation_callbacks(subcommand: str | None, options: Namespace) -> list[Callback]:
    """What writes the results of a subcommand other than fit."""
    root = Path(options.trainer.default_root_dir or "")
    if subcommand == "predict":
        from digit_rnn.callbacks.predictions import PredictionWriter, ReadingWriter  # OpenCV

        return [(ReadingWriter if options.data.pictures else PredictionWriter)(root / "predictions")]
    if subcommand == "test" and options.data.pictures:
        from digit_rnn.callbacks.picture_report import PictureReport  # OpenCV

        return [PictureReport(root / "reports", options.ckpt_path)]
    if subcommand == "test" and not options.trainer.fast_dev_run:
        return [ReportWriter(root / "reports", options.ckpt_path)]
    return []


def trainer_overrides(subcommand: str | None, trainer: Namespace) -> dict[str, Any]:
    """Options of the trainer that the subcommand decides."""
    overrides: dict[str, Any] = {} if subcommand == "fit" else {"logger": False, "enable_checkpointing": False}
    if subcommand == "predict" and trainer.devices == "auto":
        overrides["devices"] = 1  # the results are the same with any number, and most often quicker there
    if subcommand == "test":
        overrides["limit_predict_batches"] = trainer.limit_test_batches  # of pictures
    return overrides
