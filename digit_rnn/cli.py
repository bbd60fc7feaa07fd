"""The command: ``python -m digit_rnn {fit,validate,test,predict}``."""

import json
import logging
import os
import re
import shlex
import signal
import sys
import threading
import warnings
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, get_args

import torch
from jsonargparse import DefaultHelpFormatter, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar as AnyProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from digit_rnn.callbacks import (
    NoProfiler,
    PredictionWriter,
    ProgressBar,
    ReadingWriter,
    ReportWriter,
    RunCheckpoint,
    RunFolder,
    TensorBoardRecord,
    best_checkpoint,
    metrics_line,
)
from digit_rnn.checkpoints import CheckpointError, WholeFiles, find_checkpoint, read_checkpoint
from digit_rnn.data import DataError, MNISTDataModule
from digit_rnn.model import DigitRNN

PROGRAM = "python -m digit_rnn"
IMAGES = "--data.images"
PRECISIONS = ("None", "32", "32-true", "16", "16-mixed", "bf16", "bf16-mixed")  # of which the weights are 32-bit
FEW = 10  # pictures whose text is printed
SPLIT = ("validation_fraction", "split_seed")  # these, too, are the checkpoint's
RUNS = "runs"  # where the folders of the runs lie

DESCRIPTION = """Recognises handwritten digits with a small recurrent network.

  python -m digit_rnn fit                        trains on MNIST
  python -m digit_rnn test --ckpt_path best      measures the newest run's best checkpoint
  python -m digit_rnn predict --ckpt_path best   reads the test images, or your pictures with --data.images PATH"""

SUBCOMMANDS = {
    "fit": "Train the network; everything a run makes goes to a folder of its own, runs/version_N.",
    "validate": "Measure a checkpoint on the validation images of its own split.",
    "test": "Measure a checkpoint on MNIST's 10,000 test images.",
    "predict": "Read pictures (--data.images) or MNIST's test images; results go to predictions/version_N.",
}

RULE = """

Options can be given here or in a file (--config); a run's own are in its config.yaml. With --ckpt_path, the network's
options (--model) and the split of the data are those of the checkpoint.
"""

TRAINER_DEFAULTS = {
    "max_epochs": 5,
    "gradient_clip_val": 1.0,
    "enable_model_summary": False,
    "use_distributed_sampler": False,  # the data module shares the images out itself, none twice
    "num_sanity_val_steps": 0,  # the data is known, and validation comes within seconds
}

# Each of these messages, and no other of its kind, is silenced, for the reason beside it.
QUIET = [
    (FutureWarning, r".*LeafSpec.*"),  # Lightning's own code against this torch
    (FutureWarning, r"`torch\.jit\.trace(_method)?` is deprecated"),  # what TensorBoard draws its graph from
    (torch.jit._trace.TracerWarning, ""),  # addressed to those who would run that trace on other images
    (UserWarning, r"The number of training batches \(\d+\) is smaller than the logging interval"),  # epochs are logged
    (UserWarning, r"The '\w+' does not have many workers"),  # the data is in memory: workers would only cost
    (UserWarning, r"Glyph \d+ .* missing from font"),  # a file's name, drawn with boxes in place of letters
    (UserWarning, r"Checkpoint directory .* exists and is not empty"),  # that of a run that goes on
    (UserWarning, r"`ModelCheckpoint\(monitor='val_accuracy'\)` could not find"),  # of a run without validation
    (UserWarning, r"The dirpath has changed"),  # a run that starts from another run's checkpoint has its own folder
]


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Leaves the lines of descriptions as they are."""


class OneLineParser(LightningArgumentParser):
    """A parser that reports a mistake in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Says what was wrong and ends with exit status 2."""
        message = re.sub(r'Parser key "(\S+?)":', r"--\1:", message)
        # "… any of the Union subtypes … Subtypes: [<class 'int'>, …] Errors: … Given value: x" becomes "expected int …"
        if union := re.search(r"Does not validate.*?Subtypes: \[(.*?)\]\s.*Given value: (.*)", message, re.DOTALL):
            types = re.sub(r"<class '(\S+?)'>", r"\1", union[1]).replace("NoneType", "null").replace(", ", " or ")
            types = re.sub(r"(jsonargparse\.)?typing\.", "", types)
            message = f"{message[: union.start()]}expected {types}, found {union[2]}"
        fail(message)


class DigitRNNCLI(LightningCLI):
    """LightningCLI with a folder for each run, checkpoints checked before use, and a short report at the end."""

    config: Any
    trainer: Any
    resumed: Path | None
    step: int | None = None  # from which a run goes on

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Leaves out the options that this program decides: reports are its own, and checkpoints never run code."""
        own = {"weights_only", "verbose", "return_predictions"}
        return {name: skip | own for name, skip in LightningCLI.subcommands().items()}

    def setup_parser(self, *args: Any) -> None:
        """Describes the subcommands in this program's words rather than with the docstrings of Lightning's Trainer."""
        super().setup_parser(*args)
        subcommands: Any = self.parser._subparsers
        for action in subcommands._group_actions[0]._choices_actions:
            action.help = SUBCOMMANDS[action.dest]

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Puts the model and the data, which users turn most, before the trainer's long list."""
        parser.add_lightning_class_args(DigitRNN, "model")
        parser.add_lightning_class_args(MNISTDataModule, "data")
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
        # Of int | float, typing remembers the order in which any library has said it first: with float first,
        # limit_val_batches 1 would be read as 1.0, all of them.
        for action in parser._actions:
            if set(get_args(kind := getattr(action, "_typehint", None))) - {NoneType} == {int, float}:
                action._typehint = int | float | None if NoneType in get_args(kind) else int | float  # type: ignore[attr-defined]

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, then checks what types cannot say, and the checkpoint, before anything is built or written."""
        self.config = parser.parse_args(args)
        self.resumed = self._resumed_run()
        if self.resumed:  # its own options, unless others are given
            self.config = parser.parse_args([args[0], f"--config={self.resumed / 'config.yaml'}", *args[1:]])
        options = self.config[self.config.subcommand]
        for name in ("model", "data", "trainer"):
            if not isinstance(options[name], Namespace):
                fail(f"{name}: expected options by name, found {options[name]!r}")
        seed = options.seed_everything
        if not isinstance(seed, bool) and not 0 <= seed < 2**32:
            fail(f"--seed_everything {seed}: expected a number from 0 to {2**32 - 1}")
        if str(options.trainer.precision) not in PRECISIONS:
            fail(f"--trainer.precision {options.trainer.precision}: expected 32-true, 16-mixed or bf16-mixed")
        limit = {"validate": "limit_val_batches", "test": "limit_test_batches", "predict": "limit_predict_batches"}.get(
            self.config.subcommand, ""
        )
        if limit and options.trainer[limit] == 0:
            fail(f"--trainer.{limit} 0 leaves nothing to {self.config.subcommand}")
        if options.ckpt_path is None:
            if self.config.subcommand != "fit":
                fail(f"{self.config.subcommand} needs a trained network: add --ckpt_path best, last or a file")
            return
        path = find_checkpoint(options.ckpt_path, Path(options.trainer.default_root_dir or "", RUNS))
        _, checkpoint = read_checkpoint(path)
        self._refuse_what_would_be_ignored(parser.parse_args(args, defaults=False), checkpoint)
        if self.config.subcommand == "fit":
            self.step = checkpoint["global_step"] if self.resumed else None
            if "optimizer_states" not in checkpoint or "loops" not in checkpoint:
                fail(f"{path} holds weights only: training cannot go on from it")
            if not checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]:
                fail(f"{path} was saved within an epoch: training goes on exactly only from an epoch's end")
            if 0 <= options.trainer.max_steps <= checkpoint["global_step"]:
                fail(f"{path} has its {checkpoint['global_step']} steps: for more, raise --trainer.max_steps")
            if 0 <= (options.trainer.max_epochs or -1) <= checkpoint["epoch"] + 1:
                fail(f"{path} has its {checkpoint['epoch'] + 1} epochs: for more, raise --trainer.max_epochs")
        # Validation images must not be ones that the network was trained on: the split belongs to the checkpoint.
        split = checkpoint.get("datamodule_hyper_parameters", {})
        for name in SPLIT:
            options.data[name] = split.get(name, options.data[name])
        options.ckpt_path = str(path)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds what the subcommand needs around its run."""
        options = self.config_init[self.subcommand].trainer
        root = Path(options.default_root_dir or "")
        callbacks: list[Any] = []
        theirs = options.callbacks if isinstance(options.callbacks, list) else [options.callbacks]
        if options.enable_progress_bar is not False and not any(isinstance(c, AnyProgressBar) for c in theirs):
            callbacks.append(ProgressBar())
        if self.subcommand == "predict":
            if (options.devices, options.num_nodes) not in (("auto", 1), ("1", 1), (1, 1)):
                fail("predict writes one table and runs on one device: leave out --trainer.devices and num_nodes")
            kwargs["devices"] = 1
            writer = ReadingWriter if self.config_init[self.subcommand].data.images else PredictionWriter
            callbacks.append(writer(root / "predictions"))
        if self.subcommand == "test" and not options.fast_dev_run:
            callbacks.append(ReportWriter(root / "reports", self.config_init[self.subcommand].ckpt_path))
        if self.subcommand != "fit":
            kwargs.update(logger=False, enable_checkpointing=False)
        elif not options.fast_dev_run:
            tensorboard = options.logger in (None, True)
            folder = RunFolder(root / RUNS, self._config_text(), tensorboard, self.resumed, self.step)
            callbacks += [folder, TensorBoardRecord()]
            plugins = options.plugins if isinstance(options.plugins, list) else [options.plugins]
            kwargs["plugins"] = [*filter(None, plugins), WholeFiles()]
            if tensorboard:
                kwargs["logger"] = False  # the run's folder brings it
            if options.enable_checkpointing is not False:
                resumed = self.resumed is not None
                callbacks += [
                    RunCheckpoint(resumed, filename="best", monitor="val_accuracy", mode="max"),
                    RunCheckpoint(resumed, filename="last", save_on_train_epoch_end=True),
                ]
        if options.profiler is None:
            kwargs["profiler"] = NoProfiler()
        self.trainer_defaults = {"callbacks": callbacks}
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, RuntimeError, MisconfigurationException) as error:
            hint = " (auto, as the accelerator, takes what there is)" if "accelerator" in str(error) else ""
            fail(f"{error}{hint}; see {PROGRAM} {self.subcommand} --help")

    def fit(self, model: DigitRNN, datamodule: MNISTDataModule, ckpt_path: str | None) -> None:
        """Trains, and says where everything is."""
        endless = self.trainer.max_epochs == -1 and self.trainer.max_steps == -1
        if endless and (model.schedule != "constant" or model.warmup):
            fail(
                "an endless run has no room for a schedule: set --trainer.max_epochs, or a constant rate without warmup"
            )
        interrupted = False
        try:
            self.trainer.fit(model, datamodule, ckpt_path=ckpt_path)
        except (SystemExit, KeyboardInterrupt):  # Lightning's end after Ctrl-C
            interrupted = True
        run = next((c for c in self.trainer.callbacks if isinstance(c, RunFolder)), None)
        if not run or not self.trainer.is_global_zero:
            if interrupted:
                raise SystemExit(130)
            return
        if interrupted or self.trainer.received_sigterm:
            last = run.folder / "checkpoints" / "last.ckpt"
            advice = f"go on with {PROGRAM} fit --ckpt_path {shlex.quote(relative(last))}"
            fail(f"stopped: {advice if last.is_file() else 'no epoch was finished, and nothing saved'}", status=130)
        best, file = best_checkpoint(self.trainer), run.folder / "checkpoints" / "last.ckpt"
        if best and best.best_model_score is not None:
            print(f"best val_accuracy {float(best.best_model_score):.4f}")
            file = Path(best.best_model_path)
        if file.is_file():
            arguments = f"--ckpt_path {shlex.quote(relative(file))}"
            report(checkpoint=file, test=f"{PROGRAM} test {arguments}", predict=f"{PROGRAM} predict {arguments}")
        report(logs=run.folder)
        if run.tensorboard:
            report(curves=f"tensorboard --logdir {shlex.quote(relative(run.parent))}")

    def validate(self, **kwargs: Any) -> None:
        """Prints loss and accuracy on the validation images."""
        self._evaluate(self.trainer.validate, **kwargs)

    def test(self, **kwargs: Any) -> None:
        """Prints loss and accuracy on the test images."""
        self._evaluate(self.trainer.test, **kwargs)

    def predict(self, model: DigitRNN, datamodule: MNISTDataModule, ckpt_path: str) -> None:
        """Writes the predictions and says where they are."""
        model.load_state_dict(read_checkpoint(Path(ckpt_path))[1]["state_dict"])
        writer = next(c for c in self.trainer.callbacks if isinstance(c, PredictionWriter | ReadingWriter))
        try:
            # Predictions go to the disk batch by batch: kept in memory, they would grow with the number of images.
            self._to_the_end(self.trainer.predict, model, datamodule, return_predictions=False)
        except KeyboardInterrupt:
            kept = getattr(writer, "folder", None)  # made once everything is ready
            fail(
                f"stopped: {f'what was read until then is in {relative(kept)}' if kept else 'nothing read'}", status=130
            )
        if isinstance(writer, ReadingWriter):
            counts = writer.counts
            if counts["pictures"] <= FEW:
                from digit_rnn.reading import rows  # OpenCV, only where pictures are read

                for file, read in writer.sample:
                    name = relative(Path(file)).encode(errors="backslashreplace").decode()  # it may be in no encoding
                    print(f"{name}  {' / '.join(rows(read)) or 'no digit found'}")
            total = f"{plural(counts['pictures'], 'picture')}, {plural(counts['digits'], 'digit')}"
            print(f"{total}, {counts['to check']} to check, {counts['unreadable']} unreadable")
        report(checkpoint=ckpt_path, predictions=writer.folder / "predictions.csv")
        for name, picture in (("picture", "predictions.png"), ("reading", "reading.png")):
            if (writer.folder / picture).is_file():
                report(**{name: writer.folder / picture})
        if isinstance(writer, ReadingWriter) and counts["unreadable"]:
            total = plural(counts["pictures"], "picture")
            fail(f"cannot read {counts['unreadable']} of {total}: see the column check", status=1)

    def _evaluate(self, run: Any, model: DigitRNN, datamodule: MNISTDataModule, ckpt_path: str) -> None:
        model.load_state_dict(read_checkpoint(Path(ckpt_path))[1]["state_dict"])
        try:
            self._to_the_end(run, model, datamodule=datamodule, verbose=False)
        except KeyboardInterrupt:
            fail("stopped before the end: no figure is known", status=130)
        if self.trainer.is_global_zero:
            print(metrics_line(self.trainer.callback_metrics))
            report(checkpoint=ckpt_path)
            for writer in self.trainer.callbacks:
                if isinstance(writer, ReportWriter) and writer.folder:
                    report(report=writer.folder / "report.html")

    @staticmethod
    def _to_the_end(run: Any, *args: Any, **kwargs: Any) -> None:
        """Calls Lightning; where SIGTERM or Ctrl-C stops it, raises KeyboardInterrupt."""
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # Lightning would go on, or end as if done
        try:
            run(*args, **kwargs)
        except SystemExit as end:  # Lightning's own after Ctrl-C
            raise KeyboardInterrupt from end
        finally:
            signal.signal(signal.SIGTERM, before)

    def _resumed_run(self) -> Path | None:
        """The folder of the run that ``fit --ckpt_path last``, or the path of that file, goes on with."""
        options = self.config[self.config.subcommand]
        if self.config.subcommand != "fit" or not options.ckpt_path:
            return None
        path = find_checkpoint(options.ckpt_path, Path(options.trainer.default_root_dir or "", RUNS))
        run = path.parent.parent
        return run if path.name == "last.ckpt" and path.is_file() and (run / "config.yaml").is_file() else None

    def _refuse_what_would_be_ignored(self, given: Namespace, checkpoint: dict[str, Any]) -> None:
        """Refuses options, on the command line or in a file, that differ from the checkpoint's, which win."""
        options = given[self.config.subcommand]
        for group, key in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
            kept = checkpoint.get(key, {})
            for name, value in options[group].as_dict().items() if group in options else ():
                if name in kept and kept[name] != value and (group == "model" or name in SPLIT):
                    asked, wins = json.dumps(value), json.dumps(kept[name])
                    fail(f"--{group}.{name} {asked} would be ignored: the checkpoint's {wins} wins; leave it out")

    def _config_text(self) -> str:
        """The configuration as a file that ``--config`` takes."""
        config = self.config[self.subcommand].clone()
        del config["ckpt_path"]  # it would win over a --ckpt_path given together with the file
        text: str = self._parser(self.subcommand).dump(config, skip_unset=False, skip_validation=True)
        return text


def join_paths(args: list[str]) -> list[str]:
    """Makes one argument of ``--data.images PATH PATH ...``, which jsonargparse would not take."""
    if IMAGES not in args:
        return args
    start = args.index(IMAGES) + 1
    end = next((i for i in range(start, len(args)) if args[i].startswith("--")), len(args))
    if start == end:
        fail(f"{IMAGES} needs a picture, a folder or a pattern")
    return [*args[: start - 1], f"{IMAGES}={json.dumps(args[start:end])}", *args[end:]]


def relative(path: str | Path) -> str:
    """A path as short as it can be said from here."""
    short = os.path.relpath(path)
    return str(path) if short.startswith("..") else short


def plural(count: int, name: str) -> str:
    """A number of things, in words."""
    return f"{count} {name}{'s' * (count != 1)}"


def report(**lines: str | Path) -> None:
    """Prints what is where, in two columns."""
    for name, value in lines.items():
        print(f"{name:12}{relative(value) if isinstance(value, Path) else value}")


def fail(message: str, status: int = 2) -> NoReturn:
    """Says in one line on stderr what was wrong, and ends with the exit status of a user's mistake."""
    print("error:", " ".join(message.split()), file=sys.stderr)
    raise SystemExit(status)


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: Arguments, such as ``["fit", "--trainer.max_epochs", "1"]``; by default the command line's.

    Raises:
        SystemExit: With status 2 for a user's mistake, after one line on stderr.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # device lists and adverts
    # Lightning has torch look for a driver by NVML, and the optimizer asks anew in each step.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1" if torch.cuda.is_available() else "0"
    # TensorBoard's own thread meets a full disk first, and the main thread hears of it.
    threading.excepthook = lambda args: None if args.exc_type is OSError else threading.__excepthook__(args)
    with warnings.catch_warnings():
        for category, message in QUIET:
            warnings.filterwarnings("ignore", message, category)
        try:
            DigitRNNCLI(
                DigitRNN,
                MNISTDataModule,
                args=join_paths(sys.argv[1:] if args is None else args),
                parser_class=OneLineParser,
                parser_kwargs={
                    "prog": PROGRAM,
                    "description": DESCRIPTION,
                    "formatter_class": HelpFormatter,
                    **{
                        name: {"description": text + RULE, "usage": f"{PROGRAM} {name} [options]"}
                        for name, text in SUBCOMMANDS.items()
                    },
                },
                save_config_callback=None,
                seed_everything_default=0,
                auto_configure_optimizers=False,
            )
        except (CheckpointError, DataError, MisconfigurationException) as error:
            fail(str(error))
        except OSError as error:
            place = f" ({error.filename})" if error.filename else ""
            fail(f"{error.strerror or error}{place}: stopped; what was written before is still there")
