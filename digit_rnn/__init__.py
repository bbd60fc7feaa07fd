"""Handwritten digit recognition with a small recurrent network, in PyTorch Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digit_rnn.data import MNISTDataModule
    from digit_rnn.model import DigitRNN
    from digit_rnn.reading import read

__version__ = "0.1.0"
__all__ = ["DigitRNN", "MNISTDataModule", "__version__", "read"]

_HOMES = {"DigitRNN": "model", "MNISTDataModule": "data", "read": "reading"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: Lightning takes seconds, and ``read`` alone needs OpenCV."""
    if name in _HOMES:
        return getattr(import_module(f"digit_rnn.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
