"""Handwritten digit recognition with a small recurrent network, in PyTorch Lightning."""

from typing import TYPE_CHECKING, Any

from digit_rnn.data import MNISTDataModule
from digit_rnn.model import DigitRNN

if TYPE_CHECKING:
    from digit_rnn.reading import read

__version__ = "0.1.0"
__all__ = ["DigitRNN", "MNISTDataModule", "__version__", "read"]


def __getattr__(name: str) -> Any:
    if name == "read":  # brings OpenCV, which training does not need
        from digit_rnn.reading import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
