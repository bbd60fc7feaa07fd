"""What the command says in the end: where everything is, and how to go on."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer

from digit_rnn.callbacks.progress import metrics_line
from digit_rnn.callbacks.report import ReportWriter
from digit_rnn.callbacks.run import RunFolder, best_checkpoint
from digit_rnn.errors import IncompleteError
from digit_rnn.options import PROGRAM
from digit_rnn.reporting import printable

if TYPE_CHECKING:
    from digit_rnn.callbacks.predictions import TableWriter

FEW = 10  # pictures whose text is printed


def print_run(trainer: Trainer, run: RunFolder) -> None:
    """After ``fit``: the best figure, its checkpoint, and what can be done with it."""
    folder = run.folder or Path()
    best, file = best_checkpoint(trainer), folder / "checkpoints" / "last.ckpt"
    if best and best.best_model_score is not None:
        print(f"best val_accuracy {float(best.best_model_score):.4f}")
        file = Path(best.best_model_path)
    if file.is_file():
        arguments = f"--ckpt_path {shlex.quote(relative(file))}"
        _print(checkpoint=file, test=f"{PROGRAM} test {arguments}", predict=f"{PROGRAM} predict {arguments}")
    _print(logs=folder)
    if run.tensorboard:
        _print(curves=f"tensorboard --logdir {shlex.quote(relative(run.parent))}")


def stopped_fit(trainer: Trainer, run: RunFolder | None) -> str:
    """How to go on with a run that was stopped."""
    last = run.folder / "checkpoints" / "last.ckpt" if run and run.folder else None
    if not last or not last.is_file():
        return "stopped: no epoch was finished, and nothing saved"
    ended = 0 <= (trainer.max_epochs or -1) <= trainer.current_epoch
    if trainer.max_steps >= 0 or ended:  # nothing is left to train, or it could not go on exactly
        return f"stopped: what was saved is in {relative(last.parent)}"
    return f"stopped: go on with {PROGRAM} fit --ckpt_path {shlex.quote(relative(last))}"


def print_evaluation(trainer: Trainer, checkpoint: str) -> None:
    """After ``validate`` and ``test``: the figures, and the report."""
    print(metrics_line(trainer.callback_metrics))
    _print(checkpoint=checkpoint)
    for writer in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(writer, ReportWriter) and writer.folder:
            _print(report=writer.folder / "report.html")


def print_predictions(writer: "TableWriter", checkpoint: str) -> None:
    """After ``predict``: what was read, in short, and where it is in full.

    Raises:
        IncompleteError: Some pictures could not be read.
    """
    from digit_rnn.callbacks.predictions import ReadingWriter  # OpenCV
    from digit_rnn.reading import text_rows

    counts = writer.counts if isinstance(writer, ReadingWriter) else {}
    if isinstance(writer, ReadingWriter):
        for _, file, read in writer.sample if counts["pictures"] <= FEW else ():
            print(f"{printable(relative(file))}  {' / '.join(text_rows(read)) or 'no digit found'}")
        total = f"{plural(counts['pictures'], 'picture')}, {plural(counts['digits'], 'digit')}"
        print(f"{total}, {counts['to check']} to check, {counts['unreadable']} unreadable")
    folder = writer.folder or Path()
    _print(checkpoint=checkpoint, predictions=folder / "predictions.csv")
    for name, picture in (("picture", "predictions.png"), ("reading", "reading.png")):
        if (folder / picture).is_file():
            _print(**{name: folder / picture})
    _refuse_unreadable(counts)


def print_picture_report(trainer: Trainer, checkpoint: str) -> None:
    """After ``test`` on pictures: the figures, the report, and the table of mistakes.

    Raises:
        IncompleteError: Some pictures could not be read.
    """
    from digit_rnn.callbacks.picture_report import PictureReport  # OpenCV
    from digit_rnn.reporting.scores import scores_line

    report = next(c for c in trainer.callbacks if isinstance(c, PictureReport))  # type: ignore[attr-defined]
    folder = report.folder or Path()
    print(scores_line(report.counts))
    _print(checkpoint=checkpoint, report=folder / "report.html", mistakes=folder / "mistakes.csv")
    _refuse_unreadable(report.counts)


def _refuse_unreadable(counts: Mapping[str, int]) -> None:
    if unreadable := counts.get("unreadable"):
        total = plural(counts["pictures"], "picture")
        raise IncompleteError(f"cannot read {unreadable} of {total}: see the column check")


def stopped_run(writer: "TableWriter | None") -> str:
    """What is left of a test or a prediction that was stopped."""
    if not writer:
        return "stopped before the end: no figure is known"
    if not writer.folder:
        return "stopped: nothing read"
    parts = ", a part a process" if writer.processes.count > 1 else ""
    return f"stopped: what was read until then is in {relative(writer.folder)}{parts}"


def print_export(file: Path) -> None:
    """After ``export``: the file, and what goes in and out."""
    _print(
        onnx=file,
        input="images: float32 (batch, rows, 28) in [0, 1], ink bright",
        outputs="probabilities: float32 (batch, 10); is_outlier: bool (batch)",
    )


def relative(path: str | Path) -> str:
    """A path as short as it can be said from here."""
    short = os.path.relpath(path)
    return str(path) if short.startswith("..") else short


def plural(count: int, name: str) -> str:
    """A number of things, in words."""
    return f"{count} {name}{'s' * (count != 1)}"


def _print(**lines: str | Path) -> None:
    """What is where, in two columns."""
    for name, value in lines.items():
        print(f"{name:12}{printable(relative(value) if isinstance(value, Path) else value)}")
