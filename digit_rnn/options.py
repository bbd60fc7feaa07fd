"""The command's options: their help, their defaults, and what types cannot say of them."""

import json
import os
import re
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, NoReturn, get_args

from jsonargparse import DefaultHelpFormatter, Namespace, get_loader
from lightning.pytorch.cli import LightningArgumentParser

from digit_rnn.errors import DigitRNNError, OptionError

PROGRAM = "python -m digit_rnn"
PICTURES = "--data.pictures"
SPLIT = ("validation_fraction", "split_seed")  # options of the data that are the checkpoint's
SEEDS = ("model.dropout_seed", "data.train_seed")  # those that are not given are seed_everything

DESCRIPTION = """Recognises handwritten digits with a small recurrent network.

  python -m digit_rnn fit                        trains on MNIST
  python -m digit_rnn test --ckpt_path best      measures the newest run's best checkpoint
  python -m digit_rnn predict --ckpt_path best   reads the test images, or your pictures with --data.pictures PATH
  python -m digit_rnn page                       opens a page in which to draw digits and see how they are read
  python -m digit_rnn export --ckpt_path best    writes an ONNX file, which runs without PyTorch"""

SUBCOMMANDS = {
    "fit": "Train the network; everything a run makes goes to a folder of its own, runs/version_N.",
    "validate": "Measure a checkpoint on the validation images of its own split.",
    "test": "Measure a checkpoint on MNIST's 10,000 test images, or on labelled pictures (--data.pictures FOLDER).",
    "predict": "Read pictures (--data.pictures) or MNIST's test images; results go to predictions/version_N.\n"
    "On one device, unless --trainer.devices says how many.",
}

HELP_ENDING = """

Options can be given here or in a file (--config); a run's own are in its config.yaml. With --ckpt_path, the network's
options (--model) and the split of the data are those of the checkpoint.
"""

TRAINER_DEFAULTS = {
    "max_epochs": 5,
    "gradient_clip_val": 1.0,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,  # the data is known, and validation comes within seconds
}

PRECISIONS = ("None", "32", "32-true", "16", "16-mixed", "bf16", "bf16-mixed")  # of which the weights are 32-bit


class Rule(NamedTuple):
    """What must hold of an option's value beside its type."""

    option: str
    holds: Callable[[Any], bool]
    expected: str
    subcommands: Sequence[str] = tuple(SUBCOMMANDS)


def _positive(value: Any) -> bool:
    return not isinstance(value, int | float) or value > 0


def _starts_programs(strategy: Any) -> bool:
    """Whether processes are whole programs, not functions that return to one."""
    return not str(strategy).endswith(("_spawn", "_fork", "_notebook"))


RULES = [
    Rule("seed_everything", lambda v: type(v) is int and 0 <= v < 2**32, f"a number from 0 to {2**32 - 1}"),
    Rule("model.hidden_size", lambda v: v <= 2**14, "at most 16384"),
    Rule("model.num_layers", lambda v: v <= 100, "at most 100"),
    Rule("data.batch_size", lambda v: v <= 60_000, "at most 60000"),
    Rule("data.eval_batch_size", lambda v: v <= 60_000, "at most 60000"),
    Rule("data.split_seed", lambda v: v is None or v < 2**63, f"at most {2**63 - 1}"),
    Rule("data.train_seed", lambda v: v is None or v < 2**63, f"at most {2**63 - 1}"),
    Rule("ckpt_path", lambda v: v != "", "best, last or a file"),
    Rule("trainer.precision", lambda v: str(v) in PRECISIONS, "32-true, 16-mixed or bf16-mixed"),
    Rule("trainer.accumulate_grad_batches", _positive, "at least 1"),
    Rule("trainer.val_check_interval", _positive, "more than 0"),
    Rule("trainer.check_val_every_n_epoch", _positive, "at least 1"),
    Rule("trainer.limit_val_batches", lambda v: v != 0, "more than 0: else nothing is left", ["validate"]),
    Rule("trainer.limit_test_batches", lambda v: v != 0, "more than 0: else nothing is left", ["test"]),
    Rule("trainer.limit_predict_batches", lambda v: v != 0, "more than 0: else nothing is left", ["predict"]),
    Rule("trainer.strategy", _starts_programs, "ddp: what other processes did would be lost"),
    Rule("data.pictures", lambda v: v is None, "nothing: pictures are for predict and test", ["fit", "validate"]),
]


def _check_groups(options: Namespace) -> None:
    """Checks that ``model``, ``data`` and ``trainer`` hold options, which jsonargparse does not.

    Raises:
        OptionError: One does not, as an empty one in a file.
    """
    for name in ("model", "data", "trainer"):
        if not isinstance(options[name], Namespace):
            raise OptionError(f"{name}: expected options by name, found {options[name]!r}")


def check_options(options: Namespace, subcommand: str) -> None:
    """Checks parsed options by the ``RULES``.

    Raises:
        OptionError: One does not hold.
    """
    for option, holds, expected, subcommands in RULES:
        if subcommand in subcommands and not holds(options[option]):
            raise OptionError(f"--{option} {options[option]}: expected {expected}")


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Leaves the lines of descriptions as they are."""


class OneLineParser(LightningArgumentParser):
    """A parser that reports a mistake in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Says what was wrong.

        Raises:
            OptionError: Always.
        """
        message = re.sub(r'Parser key "(\S+?)":', r"--\1:", message)
        message = re.sub(r"Expected an? <class '(\w+)'>\. Got value: ", r"expected \1, found ", message)
        # "… any of the Union subtypes … Subtypes: [<class 'int'>, …] Errors: … Given value: x" becomes "expected int …"
        if union := re.search(r"Does not validate.*?Subtypes: \[(.*?)\]\s.*Given value: (.*)", message, re.DOTALL):
            types = re.sub(r"<class '(\S+?)'>", r"\1", union[1]).replace("NoneType", "null").replace(", ", " or ")
            types = re.sub(r"(jsonargparse\.)?typing\.", "", types)
            message = f"{message[: union.start()]}expected {types}, found {union[2]}"
        message = re.sub(r"(argument subcommand: .*)", r"\1, or page or export as the first word", message)
        raise OptionError(message)

    def format_help(self, *args: Any) -> str:
        """The help; the subcommands stand in the description already, in this program's words."""
        return super().format_help(*args).split("\n\nsubcommands:")[0].rstrip() + "\n"


def parser_options() -> dict[str, Any]:
    """What LightningCLI hands to its parsers."""
    texts = {
        name: {"description": text + HELP_ENDING, "usage": f"{PROGRAM} {name} [options]"}
        for name, text in SUBCOMMANDS.items()
    }
    return {"prog": PROGRAM, "description": DESCRIPTION, "formatter_class": HelpFormatter, **texts}


def order_number_types(parser: LightningArgumentParser) -> None:
    """Has ``--trainer.limit_val_batches 1`` read as one batch, not as 1.0, all of them.

    ``typing`` caches unions: where any library has said ``Union[float, int]`` first, Lightning's ``Union[int, float]``
    is that one, and the first type that fits wins. jsonargparse has no public way to set an argument's type anew.
    """
    for action in parser._actions:
        if set(get_args(kind := getattr(action, "_typehint", None))) - {NoneType} == {int, float}:
            action._typehint = int | float | None if NoneType in get_args(kind) else int | float  # type: ignore[attr-defined]


def take_pictures(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes ``--data.pictures PATH PATH …``, as often as it is given, out of the arguments.

    jsonargparse would take one path only, and could not read names that are in no encoding.

    Returns:
        The other arguments, and the paths.

    Raises:
        OptionError: No path is given.
    """
    others: list[str] = []
    paths: list[str] = []
    place = others
    for word, following in pairwise([*args, "-"]):
        if word == PICTURES and following.startswith("-"):
            raise OptionError(f"{PICTURES} needs a picture, a folder or a pattern")
        if word == PICTURES:
            place = paths
        elif word.startswith(f"{PICTURES}="):
            paths.append(word.removeprefix(f"{PICTURES}="))
            place = others
        else:
            place = others if word.startswith("-") else place
            place.append(word)
    if "" in paths:
        raise OptionError(f"{PICTURES} '' names no picture")
    return others, paths


def parsed(parser: LightningArgumentParser, args: list[str]) -> Namespace:
    """Parses; whatever goes wrong then, as in a file that is no text, is the user's mistake."""
    try:
        options = parser.parse_args(args)
        if subcommand := options.get("subcommand"):
            _check_groups(options[subcommand])
            if root := (trainer := options[subcommand].trainer).default_root_dir:
                trainer.default_root_dir = os.path.expandvars(os.path.expanduser(root))  # as TensorBoard's logger does
        return options
    except DigitRNNError:
        raise
    except Exception as error:
        raise OptionError(f"cannot read the options ({type(error).__name__}: {str(error)[:300]})") from error


def run_function(name: str, function: Callable[..., None], description: str, args: list[str]) -> None:
    """Runs a subcommand that is a function: its arguments are the options."""
    program = f"{PROGRAM} {name}"
    parser = OneLineParser(
        prog=program, usage=f"{program} [options]", formatter_class=HelpFormatter, description=description
    )
    parser.add_function_arguments(function)
    function(**parsed(parser, args).as_dict())


def read_config(file: Path) -> Any:
    """The options in a run's configuration.

    Raises:
        OptionError: It cannot be read.
    """
    try:
        options = get_loader("yaml")(file.read_text(encoding="utf-8"))
        if not isinstance(options, dict):
            raise TypeError("it holds no options by name")
        return options
    except Exception as error:  # whatever the damaged text leads to
        raise OptionError(f"cannot read {file} ({type(error).__name__}): name other options and start anew") from error


def refuse_ignored(given: Namespace, checkpoint: dict[str, Any], fit: bool) -> None:
    """Refuses options, on the command line or in a file, that differ from the checkpoint's, which win.

    Args:
        given: What was given, without defaults.
        checkpoint: All that the checkpoint holds.
        fit: Whether training goes on from it, with the draws of its own seed.

    Raises:
        OptionError: One differs.
    """
    kept = {f"model.{name}": value for name, value in checkpoint["hyper_parameters"].items()}
    data = checkpoint.get("datamodule_hyper_parameters", {})
    kept |= {f"data.{name}": data[name] for name in (*SPLIT, *["train_seed"] * fit) if name in data}
    if fit and (follow := [seed for seed in SEEDS if seed in kept and given.get(seed) is None]):
        kept["seed_everything"] = kept[follow[0]]
    for option, wins in kept.items():
        value = given.get(option)
        if value is not None and value != wins:
            asked, wins = json.dumps(value), json.dumps(wins)
            raise OptionError(f"--{option} {asked} would be ignored: the checkpoint's {wins} wins; leave it out")
