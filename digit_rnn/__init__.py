"""Handwritten digit recognition with a small recurrent network, in PyTorch Lightning."""

from digit_rnn.data import MNISTDataModule
from digit_rnn.model import DigitRNN

__version__ = "0.1.0"
__all__ = ["DigitRNN", "MNISTDataModule", "__version__"]
