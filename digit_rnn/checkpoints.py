"""Checkpoints: found, read without running any code in them, and checked before anything is built from them."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.cli import instantiate_module

from digit_rnn.data import MNISTDataModule
from digit_rnn.model import DigitRNN

INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"  # what LightningCLI notes in a checkpoint


class CheckpointError(Exception):
    """A checkpoint is missing, damaged or not this program's; the message names it and says why."""


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, so that a half-written one never has its name."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Saves to ``path``; what stood there stays until the new one is whole."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        content = io.BytesIO()  # torch itself would not say why a file cannot be written
        torch.save(checkpoint, content)
        try:
            with draft.open("wb") as file:
                file.write(content.getbuffer())
                os.fsync(file.fileno())
            os.replace(draft, path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            reason = f"cannot write {path}: {error.strerror}"
            raise CheckpointError(f"{reason}; what was saved before is still there") from error


def find_checkpoint(name: str, runs: Path) -> Path:
    """The file that ``--ckpt_path`` means: ``best`` and ``last`` are those of the newest run that has one."""
    if name not in ("best", "last"):
        return Path(name)
    found = runs.glob(f"version_*/checkpoints/{name}.ckpt")
    numbered = [path for path in found if path.parts[-3][8:].isdecimal()]
    if not numbered:
        raise CheckpointError(
            f"no run in {runs.absolute()} has a checkpoint called {name}: run fit first, or name a file"
        )
    return max(numbered, key=lambda path: int(path.parts[-3][8:]))


def read_checkpoint(path: Path) -> tuple[DigitRNN, dict[str, Any]]:
    """The network in a checkpoint, and all that the checkpoint holds.

    Raises:
        CheckpointError: It is missing, damaged, or not from this program.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: name a file, or best or last for the newest run's")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        if isinstance(error, OSError) and error.strerror:
            raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
        reason = f"({type(error).__name__}): the file is damaged or something else"
        raise CheckpointError(f"cannot read {path} as a checkpoint {reason}") from error
    try:
        if not isinstance(checkpoint, dict):
            raise TypeError(f"it holds a {type(checkpoint).__name__}")
        hyperparameters = dict(checkpoint["hyper_parameters"])
        # Lightning would import and call whatever stands here.
        if hyperparameters.pop("_instantiator", INSTANTIATOR) != INSTANTIATOR:
            raise ValueError("_instantiator names unknown code")
        model = instantiate_module(DigitRNN, hyperparameters)  # checks each as if it were an argument
        split = dict(checkpoint.get("datamodule_hyper_parameters", {}))
        split.pop("_instantiator", None)
        instantiate_module(MNISTDataModule, split)
        model.load_state_dict(checkpoint["state_dict"])
    except (ArgumentError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = f"({type(error).__name__}: {str(error).replace('module.', '')})"
        raise CheckpointError(f"{path} is not a checkpoint of this program, or was changed {reason}") from error
    return model, checkpoint
