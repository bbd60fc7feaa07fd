"""Checkpoints: found by name, read without running any code in them, checked before use, written atomically."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import torch
from jsonargparse import ArgumentError
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.cli import instantiate_module

from digit_rnn.data.mnist import MNISTDataModule
from digit_rnn.errors import CheckpointError, DigitRNNError
from digit_rnn.models.classifier import DigitRNN

RUNS = Path("runs")  # where the folders of the runs lie
PRETRAINED = Path(__file__).parent / "weights" / "pretrained.ckpt"  # its card lies beside it
PRETRAINED_SHA256 = "88bd41d91581cb981c9e3c8934e13f045be08b5a6ca0ce1a27bc3b57e12ee40c"
T = TypeVar("T", DigitRNN, MNISTDataModule)
INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"  # what LightningCLI notes in a checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Saves to ``path``; what stood there stays until the new one is whole.

        Raises:
            CheckpointError: It cannot be written.
        """
        path = Path(path)
        content = io.BytesIO()  # torch itself would not say why a file cannot be written
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content.getbuffer())
        except OSError as error:
            reason = f"cannot write {path}: {error.strerror}"
            raise CheckpointError(f"{reason}; what was saved before is still there") from error


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Writes a file beside its place and renames it, so that a half-written one never has its name."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def find_checkpoint(name: str, runs: Path = RUNS) -> Path:
    """The file that ``--ckpt_path`` means.

    ``pretrained`` is the network that comes with the package, ``best`` and ``last`` are those of the newest run that
    has one.

    Raises:
        CheckpointError: No run has one.
    """
    if name == "pretrained":
        return PRETRAINED
    if name not in ("best", "last"):
        return Path(name)
    found = runs.glob(f"version_*/checkpoints/{name}.ckpt")
    numbered = [path for path in found if path.parts[-3][8:].isdecimal()]
    if not numbered:
        raise CheckpointError(
            f"no run in {runs.absolute()} has a checkpoint called {name}: run fit first, or name a file"
        )
    return max(numbered, key=lambda path: int(path.parts[-3][8:]))


def run_of(path: Path) -> Path | None:
    """The folder of the run that goes on from a checkpoint, ``last.ckpt`` in a run's folder; others begin a new one.

    Raises:
        CheckpointError: The run's configuration is not there.
    """
    checkpoints = path.absolute().parent
    folder = checkpoints.parent
    if path.name != "last.ckpt" or not path.is_file():
        return None
    if (folder / "config.yaml").is_file():
        return folder
    if checkpoints.name == "checkpoints":
        raise CheckpointError(f"no config.yaml in {folder}: the options with which {path} was trained are not known")
    return None


def read_checkpoint(path: Path) -> tuple[DigitRNN, dict[str, Any]]:
    """The network in a checkpoint, and all that the checkpoint holds.

    Raises:
        CheckpointError: It is missing, damaged, from an older version, or not from this program.
    """
    checkpoint = _unpickled(path)
    if path == PRETRAINED and hashlib.sha256(path.read_bytes()).hexdigest() != PRETRAINED_SHA256:
        raise CheckpointError(f"{path} is damaged or was changed; install digit_rnn again")
    try:
        if {"rnn.weight_ih_l0", "confidence.distance_threshold"} & set(checkpoint["state_dict"]):
            raise CheckpointError(f"{path} is of an older version of digit_rnn: train anew with fit")
        with torch.random.fork_rng([]):  # the initial weights are drawn in vain
            model = _instantiated(DigitRNN, checkpoint["hyper_parameters"])
        _instantiated(MNISTDataModule, checkpoint.get("datamodule_hyper_parameters", {}))
        model.load_state_dict(checkpoint["state_dict"])
        for name, tensor in model.state_dict().items():
            if not tensor.isfinite().all():
                raise ValueError(f"{name} holds what is no finite number")
        if not model.confidence.temperature > 0:
            raise ValueError("its temperature is out of range")
    except CheckpointError:
        raise
    except (ArgumentError, AttributeError, DigitRNNError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = f"({type(error).__name__}: {str(error).replace('module.', '')[:300]})"
        raise CheckpointError(f"{path} is not a checkpoint of this program, or was changed {reason}") from error
    return model, checkpoint


def _instantiated(kind: type[T], hyperparameters: dict[str, Any]) -> T:
    """Makes a module of what a checkpoint holds, each checked as if it were an argument.

    Raises:
        ValueError: It names code, which Lightning would import and call.
    """
    options = dict(hyperparameters)
    if options.pop("_instantiator", INSTANTIATOR) != INSTANTIATOR or "_class_path" in options:
        raise ValueError("its options name unknown code")
    return instantiate_module(kind, options)


def check_resumable(path: Path, model: DigitRNN, checkpoint: dict[str, Any], max_steps: int, max_epochs: int) -> None:
    """Makes sure that training goes on exactly from a checkpoint, and has something left to do.

    Args:
        path: The checkpoint's file.
        model: The network in it.
        checkpoint: All that it holds.
        max_steps: Of the run that goes on; -1 for no limit.
        max_epochs: The same.

    Raises:
        CheckpointError: It does not.
    """
    if "optimizer_states" not in checkpoint or "loops" not in checkpoint:
        raise CheckpointError(f"{path} holds weights only: training cannot go on from it")
    if max_steps >= 0:  # Lightning takes such a run up as if within an epoch, and skips the start of the next one
        raise CheckpointError(
            f"a run with --trainer.max_steps {max_steps} cannot be resumed exactly: train with --trainer.max_epochs"
        )
    try:
        whole = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]
        done = checkpoint["epoch"] + 1
        (optimizer,) = checkpoint["optimizer_states"]
        shapes = [state["exp_avg_sq"].shape for _, state in sorted(optimizer["state"].items())]
        if shapes != [parameter.shape for parameter in model.parameters()]:
            raise ValueError("the optimizer's state is not this network's")
        for state in optimizer["state"].values():
            if not all(tensor.isfinite().all() for tensor in state.values()):
                raise ValueError("the optimizer's state holds what is no finite number")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} was changed: training cannot go on from it ({error})") from error
    if not whole:
        raise CheckpointError(f"{path} was saved within an epoch: training goes on exactly only from an epoch's end")
    if 0 <= max_epochs <= done:
        raise CheckpointError(f"{path} has its {done} epochs: for more, raise --trainer.max_epochs")


def _unpickled(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {str(path)!r}: name a file, pretrained, or best or last for the newest run's"
        )
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load takes damaged bytes for weights, as it checks no CRC
            if damaged := archive.testzip():
                raise CheckpointError(f"cannot read {path}: its member {damaged} is damaged")
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
        if "data.pkl" not in names or "constants.pkl" in names:
            raise CheckpointError(f"{path} is not a checkpoint of this program (no saved weights)")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        if isinstance(error, OSError) and error.strerror:
            raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
        reason = f"({type(error).__name__}): the file is damaged or something else"
        raise CheckpointError(f"cannot read {path} as a checkpoint {reason}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} is not a checkpoint of this program (it holds a {type(checkpoint).__name__})")
    return checkpoint
