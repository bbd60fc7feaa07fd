"""The command: ``python -m digit_rnn {fit,validate,test,predict,page,export}``."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from jsonargparse.typing import register_type
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar as AnyProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from digit_rnn import messages, process
from digit_rnn.callbacks.commands import evaluation_callbacks, fit_callbacks, trainer_overrides
from digit_rnn.callbacks.progress import ProgressBar
from digit_rnn.callbacks.run import ReadyToSave, RunFolder
from digit_rnn.checkpoints import RUNS, AtomicCheckpointIO, check_resumable, find_checkpoint, read_checkpoint, run_of
from digit_rnn.data.labels import labelled_pictures
from digit_rnn.data.mnist import MNISTDataModule
from digit_rnn.errors import OptionError, StoppedError, one_line_errors, option_errors
from digit_rnn.models.classifier import DigitRNN, check_non_digits
from digit_rnn.options import (
    PROGRAM,
    SEEDS,
    SPLIT,
    TRAINER_DEFAULTS,
    OneLineParser,
    check_options,
    order_number_types,
    parsed,
    parser_options,
    read_config,
    refuse_ignored,
    run_function,
    take_pictures,
)


def _page(args: list[str]) -> None:
    from digit_rnn.page.command import serve  # OpenCV, and a server

    description = "Draw digits in the browser and see how the network reads them; Ctrl-C ends it."
    run_function("page", serve, description, args)


def _export(args: list[str]) -> None:
    from digit_rnn.export import export  # no other command needs it

    description = "Write a trained network as an ONNX file: images in, probabilities and outliers out."
    run_function("export", export, description, args)


OTHER_COMMANDS: dict[str, Callable[[list[str]], None]] = {"page": _page, "export": _export}
"""Subcommands that are no method of Lightning's Trainer: each is called with the arguments after its name."""


class DigitRNNCLI(LightningCLI):
    """LightningCLI with a folder for each run, checkpoints checked before use, and a short report at the end."""

    trainer: Any
    resumed: Path | None = None  # the folder of the run that is resumed
    step: int | None = None  # from which
    state: dict[str, Any]  # of the checkpoint that is measured or reads

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Leaves out the options that this program decides: reports are its own, and checkpoints never run code."""
        own = {"weights_only", "verbose", "return_predictions"}
        return {name: skip | own for name, skip in LightningCLI.subcommands().items()}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Puts the model and the data, which users turn most, before the trainer's long list."""
        parser.add_lightning_class_args(DigitRNN, "model")
        parser.add_lightning_class_args(MNISTDataModule, "data")
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
        order_number_types(parser)
        register_type(torch.device, fail_already_registered=False)  # else a configuration with one cannot be written

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, then checks what types cannot say, and the checkpoint, before anything is built or written."""
        args, pictures = take_pictures(args)
        self.config = parsed(parser, args)
        subcommand: str = self.config.subcommand
        runs = Path(self.config[subcommand].trainer.default_root_dir or "", RUNS)
        name = self.config[subcommand].ckpt_path
        if not name and subcommand != "fit":
            raise OptionError(f"{subcommand} needs a trained network: add --ckpt_path best, last or a file")
        path = find_checkpoint(name, runs) if name else None
        if path and subcommand == "fit" and (folder := run_of(path)):
            self.resumed = Path(messages.relative(folder))  # with its own options, unless others are given
            kept = {subcommand: read_config(self.resumed / "config.yaml")}
            self.config = parsed(parser, [f"--config={json.dumps(kept)}", *args])
        options = self.config[subcommand]
        if pictures:
            options.data.pictures = pictures
        check_options(options, subcommand)
        if path:
            self._check_checkpoint(path, options, parser, args)
        else:
            check_non_digits(options.model.non_digit_output, options.data.non_digits)

    def _check_checkpoint(self, path: Path, options: Namespace, parser: LightningArgumentParser, args: Any) -> None:
        model, checkpoint = read_checkpoint(path)
        given = parser.parse_args(args, defaults=False)[self.config.subcommand]
        refuse_ignored(given, checkpoint, fit=self.config.subcommand == "fit")
        self.state = checkpoint["state_dict"]
        split = checkpoint.get("datamodule_hyper_parameters", {})
        if self.config.subcommand == "fit":
            check_resumable(path, model, checkpoint, options.trainer.max_steps, options.trainer.max_epochs or -1)
            self.step = checkpoint["global_step"] if self.resumed else None
            options.data.train_seed = split.get("train_seed")
        # Validation images must not be ones that the network was trained on: the split belongs to the checkpoint.
        for name in SPLIT:
            options.data[name] = split.get(name, options.data[name])
        options.ckpt_path = str(path)

    def before_instantiate_classes(self) -> None:
        """Keeps the options as a file that ``--config`` takes, then lets those seeds follow that were not given."""
        config = self.config[self.subcommand]
        kept = config.clone()
        del kept["ckpt_path"]  # it would win over a --ckpt_path given together with the file
        for name in SEEDS:
            if self.resumed and kept[name] == kept.seed_everything:
                kept[name] = None  # the checkpoint's; it follows again where the run is repeated with another
        self.config_text = self._parser(self.subcommand).dump(kept, skip_unset=False, skip_validation=True)
        for name in SEEDS:
            if config[name] is None:
                config[name] = config.seed_everything

    def instantiate_classes(self) -> None:
        """Makes model, data and trainer of the options."""
        with option_errors(f"{PROGRAM} {self.subcommand} --help"):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds what the subcommand needs around its run."""
        options = self.config_init[self.subcommand]
        callbacks: list[Any] = [ReadyToSave(), *evaluation_callbacks(self.subcommand, options)]
        theirs = _as_list(options.trainer.callbacks)
        if options.trainer.enable_progress_bar is not False and not any(isinstance(c, AnyProgressBar) for c in theirs):
            callbacks.append(ProgressBar())
        kwargs.update(trainer_overrides(self.subcommand, options.trainer))
        if self.subcommand == "fit" and not options.trainer.fast_dev_run:
            runs, log = Path(options.trainer.default_root_dir or "", RUNS), options.trainer.logger in (None, True)
            folder = RunFolder(runs, self.config_text, log, self.resumed, self.step)
            callbacks += fit_callbacks(folder, options.trainer.enable_checkpointing is not False)
            kwargs["plugins"] = [*_as_list(options.trainer.plugins), AtomicCheckpointIO()]
            if log:
                kwargs["logger"] = False  # the run's folder brings it
        self.trainer_defaults = {"callbacks": callbacks}
        return super().instantiate_trainer(**kwargs)

    def fit(self, model: DigitRNN, datamodule: MNISTDataModule, ckpt_path: str | None) -> None:
        """Trains, and says where everything is."""
        try:
            self.trainer.fit(model, datamodule, ckpt_path=ckpt_path)
            interrupted = self.trainer.received_sigterm
        except (SystemExit, KeyboardInterrupt):  # Lightning's end after Ctrl-C
            interrupted = True
        run = next((c for c in self.trainer.callbacks if isinstance(c, RunFolder)), None)
        if interrupted and not self.trainer.is_global_zero:
            raise SystemExit(StoppedError.status)  # one line for all processes
        if interrupted:
            raise StoppedError(messages.stopped_fit(self.trainer, run))
        if run and self.trainer.is_global_zero:
            messages.print_run(self.trainer, run)

    def validate(self, **kwargs: Any) -> None:
        """Prints loss and accuracy on the validation images."""
        self._evaluate(self.trainer.validate, **kwargs)

    def test(self, model: DigitRNN, datamodule: MNISTDataModule, ckpt_path: str) -> None:
        """Prints loss and accuracy on the test images, or how well labelled pictures are read."""
        if not datamodule.pictures:
            self._evaluate(self.trainer.test, model, datamodule, ckpt_path)
            return
        datamodule.labels = labelled_pictures(datamodule.pictures)
        self._run(self.trainer.predict, model, datamodule, return_predictions=False)
        if self.trainer.is_global_zero:
            messages.print_picture_report(self.trainer, ckpt_path)

    def predict(self, model: DigitRNN, datamodule: MNISTDataModule, ckpt_path: str) -> None:
        """Writes the predictions and says where they are."""
        from digit_rnn.callbacks.predictions import TableWriter  # OpenCV

        writer = next(c for c in self.trainer.callbacks if isinstance(c, TableWriter))
        # Predictions go to the disk batch by batch: kept in memory, they would grow with the number of images.
        self._run(self.trainer.predict, model, datamodule, writer, return_predictions=False)
        if self.trainer.is_global_zero:
            messages.print_predictions(writer, ckpt_path)

    def _evaluate(self, run: Any, model: DigitRNN, datamodule: MNISTDataModule, ckpt_path: str) -> None:
        self._run(run, model, datamodule, verbose=False)
        if self.trainer.is_global_zero:
            messages.print_evaluation(self.trainer, ckpt_path)

    def _run(self, run: Any, model: DigitRNN, data: MNISTDataModule, writer: Any = None, **options: Any) -> None:
        model.load_state_dict(self.state)
        try:
            with process.stoppable():
                run(model, datamodule=data, **options)
        except KeyboardInterrupt:
            if not self.trainer.is_global_zero:
                raise SystemExit from None  # status 0: at another, Lightning kills the first before its last words
            raise StoppedError(messages.stopped_run(writer)) from None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: Arguments, such as ``["fit", "--trainer.max_epochs", "1"]``; by default the command line's.

    Raises:
        SystemExit: After one line on stderr, with status 2 for a user's mistake, 130 where the command was stopped, and
            1 for what nobody foresaw.
    """
    words = list(sys.argv[1:] if args is None else args)
    with one_line_errors(), process.quiet():
        if words and words[0] in OTHER_COMMANDS:
            OTHER_COMMANDS[words[0]](words[1:])
            return
        try:
            DigitRNNCLI(
                DigitRNN,
                MNISTDataModule,
                args=words,
                parser_class=OneLineParser,
                parser_kwargs=parser_options(),
                save_config_callback=None,
                seed_everything_default=0,
                auto_configure_optimizers=False,
            )
        except MisconfigurationException as error:  # Lightning's word for an option that does not fit
            raise OptionError(str(error)) from error
