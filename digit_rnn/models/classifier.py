"""The network's training: losses, optimizer, and what its answers are worth."""

import math
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from digit_rnn.errors import OptionError
from digit_rnn.models.confidence import Confidence
from digit_rnn.models.metrics import LossAndAccuracy, MeasuredModule, Rows
from digit_rnn.models.network import NUM_CLASSES, Cell, RowRNN
from digit_rnn.seeds import mixed_seed

Batch = tuple[Tensor, Tensor]


class DigitRNN(MeasuredModule):
    """Trains a ``RowRNN`` to name the digit in an image, and learns how far its answers can be trusted.

    ``model(images)`` takes float32 (B, T, 28) in [0, 1], with any number of rows T ≥ 1, and gives logits (B, 10).
    Trained with cross-entropy and AdamW. The loss and accuracy of training, validation and test are logged as
    ``train_loss``, ``train_accuracy``, ``val_loss`` and so on.

    Args:
        cell: Kind of recurrent layer: rnn (h = f(W x + U h + b)), gru or lstm.
        nonlinearity: f of an rnn. With relu, U starts as the identity (IRNN; Le, Jaitly, Hinton 2015,
            arXiv:1504.00941); with tanh, and in gru and lstm, as a random orthogonal matrix.
        hidden_size: Units of a layer.
        num_layers: Layers, each reading the states of the one before.
        bidirectional: Reads the rows from the bottom as well, with as many units again.
        dropout: Share of a layer's states that is zeroed in training, before the next layer and before the head.
        non_digit_output: Whether an eleventh output learns what is no digit, from the images that
            ``--data.non_digits`` makes up. Where digits are read, it says which are none.
        dropout_seed: Decides what is zeroed: with dropout, torch's generators are seeded at the start of each epoch by
            it, the epoch and the process. null is the command's ``--seed_everything``, and from Python 0.
        learning_rate: The highest learning rate.
        schedule: Course of the learning rate after the warm-up: constant, or down to zero along half a cosine.
        warmup: Share of the training steps in which the learning rate rises linearly to its highest value.
        weight_decay: Decoupled weight decay (Loshchilov, Hutter 2019, arXiv:1711.05101); at 0, AdamW is Adam.
        epsilon: Adam's term against division by zero.
        label_smoothing: Share of the target probability in training that is spread over all digits.
    """

    def __init__(
        self,
        cell: Cell = "rnn",
        nonlinearity: Literal["tanh", "relu"] = "relu",
        hidden_size: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        bidirectional: bool = False,
        dropout: ClosedUnitInterval = 0.0,
        non_digit_output: bool = False,
        dropout_seed: NonNegativeInt | None = None,
        learning_rate: PositiveFloat = 2e-3,
        schedule: Literal["constant", "cosine"] = "cosine",
        warmup: ClosedUnitInterval = 0.3,
        weight_decay: NonNegativeFloat = 0.1,
        epsilon: PositiveFloat = 1e-8,
        label_smoothing: ClosedUnitInterval = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.dropout_seed = int(dropout_seed or 0)
        # float(), since the optimizer's state with the command line's number types would not load with weights_only.
        self.learning_rate = float(learning_rate)
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = float(weight_decay)
        self.epsilon = float(epsilon)
        self.label_smoothing = label_smoothing
        self.network = RowRNN(cell, nonlinearity, hidden_size, num_layers, bidirectional, dropout, non_digit_output)
        self.confidence = Confidence(self.network.head.in_features, NUM_CLASSES)
        self.val_outputs = Rows("features", "logits", "labels")

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, T, 28) in [0, 1] → logits (B, 10)."""
        return self.network(images)  # type: ignore[no-any-return]

    def probabilities(self, images: Tensor) -> Tensor:
        """float32 (B, T, 28) in [0, 1] → probabilities (B, 10) of the digits 0…9, calibrated."""
        return self.confidence.probabilities(self(images))

    def probabilities_by_row(self, images: Tensor) -> Tensor:
        """What the network believes after each row: float32 (B, T, 28) → probabilities (B, T, 10), calibrated."""
        return self.confidence.probabilities(self.network.logits_by_row(images))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch's loss, label smoothing included."""
        images, labels = batch
        logits = self.network.classify(self.network.features(images))
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        self.train_metrics.update(loss.detach(), logits, labels)
        # Lightning's log() takes 15 % of a step: called when its loggers will listen, and not in between.
        interval = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if interval and (self.global_step + 1) % interval == 0:
            self.log("train_loss_step", loss)
            self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts one batch."""
        features, logits = self._evaluate(self.val_metrics, batch)
        if self.is_fitting:
            self.val_outputs.update(features, logits, batch[1])

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Counts one batch; gives probabilities (B, 10), and which images are outliers, bool (B,)."""
        features, logits = self._evaluate(self.test_metrics, batch)
        return {
            "probabilities": self.confidence.probabilities(logits),
            "is_outlier": self.confidence.is_outlier(features, logits),
        }

    def predict_step(self, batch: tuple[Tensor, Any], batch_idx: int) -> tuple[Tensor, Tensor]:
        """Probabilities (B, 10) of the digits 0…9, and which images are outliers, bool (B,)."""
        features = self.network.features(batch[0])
        logits = self.network.classify(features)
        return self.confidence.probabilities(logits), self.confidence.is_outlier(features, logits)

    def on_fit_start(self) -> None:
        """Makes sure that network and data agree on what is no digit: see ``check_non_digits``."""
        share = getattr(self.trainer.datamodule, "non_digits", None)  # type: ignore[attr-defined]
        if share is not None:
            check_non_digits(self.network.head.out_features > NUM_CLASSES, share)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes dropout's draws those of this epoch; what opens the images at its start draws, too."""
        if batch_idx == 0 and self.network.dropout.p:
            torch.manual_seed(mixed_seed(self.dropout_seed, self.current_epoch, self.global_rank, 1))

    def on_validation_epoch_start(self) -> None:
        """Begins to count anew."""
        super().on_validation_epoch_start()
        self.val_outputs.reset()

    def on_validation_epoch_end(self) -> None:
        """Logs the mean validation loss and accuracy; in ``fit``, learns how far to trust the network."""
        super().on_validation_epoch_end()
        if self.is_fitting:
            self.confidence.fit(*self.val_outputs.columns())

    def configure_optimizers(self) -> Any:
        """AdamW, with the learning rate set anew before each step."""
        # Fused is one kernel a step; in mixed precision, Lightning cannot clip the gradients of a fused optimizer.
        options: dict[str, Any] = {
            "eps": self.epsilon,
            "weight_decay": self.weight_decay,
            "fused": "mixed" not in str(self.trainer.precision),
        }
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, **options)
        if not self.warmup and self.schedule == "constant":
            return optimizer
        scheduler = scheduled(optimizer, self.trainer.estimated_stepping_batches, self.warmup, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _evaluate(self, metrics: LossAndAccuracy, batch: Batch) -> tuple[Tensor, Tensor]:
        """Counts one batch; gives features (B, D) and logits (B, 10 or 11)."""
        images, labels = batch
        features = self.network.features(images)
        logits = self.network.classify(features)
        ours = logits[:, :NUM_CLASSES]
        metrics.update(F.cross_entropy(ours, labels), ours, labels)
        return features, logits


def check_non_digits(output: bool, share: float) -> None:
    """Makes sure that there is an eleventh output where, and only where, there are images of what is no digit.

    Raises:
        OptionError: There is one without the other.
    """
    if output != bool(share):
        raise OptionError(
            f"--model.non_digit_output {str(output).lower()} and --data.non_digits {share} do not go together: "
            "use both or neither"
        )


def scheduled(optimizer: Optimizer, steps: float, warmup: float, schedule: str) -> LambdaLR:
    """A learning rate that rises in this share of a run's steps, and is constant or falls along a cosine after that.

    Raises:
        OptionError: The run has no end.
    """
    if math.isinf(steps):
        raise OptionError(
            "an endless run has no room for a schedule: set --trainer.max_epochs, or --model.schedule constant with "
            "--model.warmup 0"
        )
    return LambdaLR(optimizer, partial(_share, steps=steps, rising=warmup * steps, schedule=schedule))


def _share(step: int, steps: float, rising: float, schedule: str) -> float:
    """Of the highest learning rate, in a step; no closure, which could not be pickled."""
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    progress = (step - rising) / max(1.0, steps - rising)
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress))
