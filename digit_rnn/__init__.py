"""Handwritten digit recognition with a small recurrent network, in PyTorch Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digit_rnn.data.mnist import MNISTDataModule
    from digit_rnn.errors import DigitRNNError
    from digit_rnn.models.classifier import DigitRNN
    from digit_rnn.models.network import RowRNN
    from digit_rnn.reading import DigitReader, Reading, read

__version__ = "0.2.0"
__all__ = ["DigitRNN", "DigitRNNError", "DigitReader", "MNISTDataModule", "Reading", "RowRNN", "__version__", "read"]

_LAZY = {
    "DigitReader": "reading",
    "DigitRNN": "models.classifier",
    "DigitRNNError": "errors",
    "MNISTDataModule": "data.mnist",
    "Reading": "reading",
    "RowRNN": "models.network",
    "read": "reading",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: Lightning takes seconds, and only pictures need OpenCV."""
    if name in _LAZY:
        return getattr(import_module(f"digit_rnn.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
