"""What a network makes of images: which digit, or that it is none."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from digit_rnn.models.classifier import DigitRNN
from digit_rnn.models.network import NUM_CLASSES
from digit_rnn.vision import Array
from digit_rnn.vision.normalise import mapped

BELIEVED = 0.5  # probability from which ink is taken for a digit
LIKELY = 0.75  # the same, with some doubt
STRONG = 0.9  # and with little
PERHAPS_NONE = 0.01  # probability of being no digit from which an image is looked at anew, turned or leaning:
CHANGES = np.array([[[0.98, -0.2], [0.2, 0.98]], [[1, 0.4], [0, 1]]])  # by 12 degrees; to the left
UNSTEADY = 0.1  # and the mean of these, above which it may be none: so are 0.4 % of MNIST's validation images


class Seen(NamedTuple):
    """What the network makes of images."""

    digit: Array  # int (N,), the likeliest digit
    belief: Array  # (N,), probability that it is this digit
    no_digit: Array  # (N,), probability that it is none

    @property
    def is_clear(self) -> Array:
        """What is surely a digit, and no stroke, which might be anything: bool (N,)."""
        clear: Array = (self.belief > STRONG) & (self.digit != 1)
        return clear


class Recogniser:
    """Looks at images with a network.

    Args:
        model: Has learnt what is no digit (``non_digit_output``).

    Attributes:
        odd: Probability of being no digit from which a person should look, as few true digits have it.
    """

    def __init__(self, model: DigitRNN) -> None:
        self.model = model
        self.odd = float(model.confidence.outlier_threshold.sigmoid())

    def see(self, images: Sequence[Array]) -> Seen:
        """What the network makes of float32 images (28, 28)."""
        if not images:
            return Seen(np.zeros(0, int), np.zeros(0), np.zeros(0))
        network = self.model.network
        with torch.inference_mode():
            logits = network.classify(network.features(torch.from_numpy(np.stack(images))))
        probabilities = logits.softmax(1).numpy()
        digits = probabilities[:, :NUM_CLASSES]
        return Seen(digits.argmax(1), digits.max(1), probabilities[:, NUM_CLASSES])

    def is_unsteady(self, image: Array) -> bool:
        """Whether an image looks like no digit when it is turned or slanted a little, as letters do before digits."""
        return bool(self.see([mapped(image, change) for change in CHANGES]).no_digit.mean() > UNSTEADY)
