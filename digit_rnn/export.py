"""The command ``export``: a trained network as an ONNX file, which runs without PyTorch and this program."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import digit_rnn
from digit_rnn import messages, process
from digit_rnn.checkpoints import find_checkpoint, read_checkpoint
from digit_rnn.errors import OptionError, OutputError
from digit_rnn.models.confidence import CONFIDENCE_THRESHOLD
from digit_rnn.models.network import NUM_CLASSES
from digit_rnn.models.onnx_graph import onnx_model

DRAWING = (
    "float32 in [0, 1], ink bright on 0, drawn as MNIST's: the digit fitted into a box of 20 x 20 pixels, its centre "
    "of mass in the middle of 28 x 28; the Python function digit_rnn.vision.normalise does so"
)


def export(ckpt_path: str = "pretrained", output: str = "digit_rnn.onnx") -> None:
    """Writes a trained network as an ONNX file.

    Args:
        ckpt_path: The trained network: pretrained, which comes with the package, best, last or a file.
        output: The new file; one that exists is left as it is.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        OptionError: The file's name cannot be used, onnx is not installed, or ONNX has no word for the network.
        OutputError: The file cannot be written.
    """
    file = Path(output)
    if file.suffix != ".onnx":
        raise OptionError(f"--output {output}: expected a name that ends in .onnx")
    if not file.parent.is_dir():
        raise OutputError(f"no folder {file.parent}: make it first, or choose another --output")
    checkpoint_path = find_checkpoint(ckpt_path)
    model, checkpoint = read_checkpoint(checkpoint_path)
    metadata = {
        "class_names": json.dumps([str(digit) for digit in range(NUM_CLASSES)]),
        "confidence_threshold": str(CONFIDENCE_THRESHOLD),
        "digit_rnn_version": digit_rnn.__version__,
        "images": DRAWING,
    }
    if (accuracy := _val_accuracy(checkpoint_path, checkpoint)) is not None:
        metadata["val_accuracy"] = f"{accuracy:.4f}"
    content = onnx_model(model, metadata).SerializeToString()
    process.early_stop.end()
    _write(file, content)
    messages.print_export(file)


def _val_accuracy(path: Path, checkpoint: dict[str, Any]) -> float | None:
    """What the network reached on its validation images, where the checkpoint knows it."""
    with suppress(AttributeError, LookupError, RuntimeError, TypeError, ValueError):  # anything may stand there
        if "val_accuracy" in checkpoint:
            return float(checkpoint["val_accuracy"])
        for state in checkpoint["callbacks"].values():
            # last.ckpt holds the score of best.ckpt, too.
            if state.get("monitor") == "val_accuracy" and Path(state["best_model_path"]).name == path.name:
                return float(state["best_model_score"])
    return None


def _write(file: Path, content: bytes) -> None:
    """Writes a whole file or none, and never over another."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as stream:
            stream.write(content)
            os.fsync(stream.fileno())
        try:
            os.link(draft, file)  # fails where a file has appeared meanwhile, unlike a renaming
        except OSError:  # one has; or it is a file system without links, such as a memory card's
            file.touch(exist_ok=False)
            os.replace(draft, file)
    except FileExistsError as error:
        raise OutputError(f"{file} exists already: remove it, or choose another --output") from error
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror}; choose another --output") from error
    finally:
        with suppress(OSError):
            draft.unlink()
