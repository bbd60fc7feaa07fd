"""Checkpoints that are missing, damaged, foreign, changed or used with other options."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from digit_rnn import DigitRNN
from tests.conftest import REPOSITORY, Command
from tests.helpers import SHORT, assert_refused


class Bomb:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


def save(value: object) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


def spoil(**hyper_parameters: object) -> Callable[[Path], None]:
    """A checkpoint with hyperparameters of its own."""

    def write(path: Path) -> None:
        model = DigitRNN()
        torch.save(
            {
                "state_dict": model.state_dict(),
                "pytorch-lightning_version": "2.6.6",
                "hyper_parameters": {**model.hparams, **hyper_parameters},
            },
            path,
        )

    return write


def spoil_state(name: str, value: float) -> Callable[[Path], None]:
    """A checkpoint with a tensor of its own."""
    state = DigitRNN().state_dict()
    state[name] = torch.full_like(state[name], value)
    return save({"state_dict": state, "hyper_parameters": dict(DigitRNN().hparams)})


CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("weights"),
    "archive": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "code": save({"state_dict": {"network.head.weight": Bomb()}}),
    "tensor": save(torch.zeros(3)),
    "list": save([1, 2]),
    "foreign": save({"state_dict": {"layer.weight": torch.zeros(3)}}),
    "state dict alone": save(DigitRNN().state_dict()),
    "no hyperparameters": save({"state_dict": DigitRNN(hidden_size=8).state_dict()}),
    "other size": spoil(hidden_size=64),
    "unknown hyperparameter": spoil(attention=True),
    "bad hyperparameter": spoil(hidden_size=-1),
    "bad split": lambda path: torch.save(
        {
            "state_dict": DigitRNN().state_dict(),
            "hyper_parameters": dict(DigitRNN().hparams),
            "datamodule_hyper_parameters": {"validation_fraction": 7},
        },
        path,
    ),
    "number for hyperparameters": save({"state_dict": {}, "hyper_parameters": 3}),
    "weight that is no number": spoil_state("network.head.bias", torch.nan),
    "temperature of nothing": spoil_state("confidence.temperature", 0),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("subcommand", ["fit", "test", "predict"])
def test_bad_checkpoints(command: Command, tmp_path: Path, kind: str, subcommand: str) -> None:
    file = tmp_path / "bad.ckpt"
    CHECKPOINTS[kind](file)
    assert_refused(command(subcommand, "--ckpt_path", file), tmp_path, {file}, "bad.ckpt")


@pytest.mark.parametrize("subcommand", ["fit", "test", "predict"])
def test_checkpoint_of_an_older_version(command: Command, tmp_path: Path, subcommand: str) -> None:
    """Its network's weights had other names."""
    file = tmp_path / "old.ckpt"
    state = {name.removeprefix("network."): tensor for name, tensor in DigitRNN().state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": dict(DigitRNN().hparams)}, file)
    assert_refused(command(subcommand, "--ckpt_path", file), tmp_path, {file}, "old.ckpt is of an older version")


def test_truncated_checkpoint(command: Command, tmp_path: Path, trained: Path) -> None:
    file = tmp_path / "bad.ckpt"
    file.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes()[:-1000])
    assert_refused(command("test", "--ckpt_path", file), tmp_path, {file}, "bad.ckpt", "damaged")


def test_best_and_last_are_the_newest_runs(command: Command) -> None:
    for _ in range(2):
        command("fit", *SHORT)
    for name in ("best", "last"):
        assert f"runs/version_1/checkpoints/{name}.ckpt" in command("validate", "--ckpt_path", name).out


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["test", "--model.hidden_size=64"], "--model.hidden_size 64 would be ignored: the checkpoint's 128 wins"),
        (["predict", "--model.cell=gru"], '--model.cell "gru"'),
        (["validate", "--data.split_seed=7"], "--data.split_seed 7 would be ignored: the checkpoint's null wins"),
        (["fit", "--model.learning_rate=1e-4", "--trainer.max_epochs=2"], "--model.learning_rate 0.0001"),
        (["test", "--config", f"{REPOSITORY}/configs/original.yaml"], '--model.nonlinearity "tanh"'),
    ],
)
def test_option_that_the_checkpoint_would_override(
    command: Command, tmp_path: Path, trained: Path, words: list[str], fragment: str
) -> None:
    result = command(*words, "--ckpt_path", trained / "checkpoints" / "last.ckpt")
    assert_refused(result, tmp_path, set(), fragment)


def test_option_that_agrees_with_the_checkpoint(command: Command, trained: Path) -> None:
    words = ("--ckpt_path", trained / "checkpoints" / "best.ckpt", "--config", trained / "config.yaml")
    assert command("validate", *words, "--model.hidden_size=128").status == 0
