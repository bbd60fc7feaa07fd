"""What is counted over the batches of an epoch, on any number of processes."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from digit_rnn.errors import TrainingError


class LossAndAccuracy(Metric):
    """Mean loss and accuracy over images: running sums, which processes add up."""

    loss: Tensor
    correct: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("loss", "correct", "count"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Counts a batch: its mean loss (), logits (B, C) and labels (B,)."""
        self.loss += loss * len(labels)
        self.correct += (logits.argmax(1) == labels).sum()
        self.count += len(labels)

    def compute(self) -> dict[str, Tensor]:
        """Loss and accuracy, of all processes together."""
        return self.so_far()

    def so_far(self) -> dict[str, Tensor]:
        """Loss and accuracy of what this process has counted."""
        return {"loss": self.loss / self.count, "accuracy": self.correct / self.count}


class Rows(Metric):
    """Tensors with a row an image, each batch's after the other's, then each process's.

    Args:
        names: What they are called, in the order in which ``update`` takes and ``columns`` gives them.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        for name in names:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, *columns: Tensor) -> None:
        """Keeps a batch: tensors (B, …)."""
        for name, column in zip(self.names, columns, strict=True):
            getattr(self, name).append(column)

    def compute(self) -> list[Tensor]:
        """The tensors of all processes, on the CPU; torchmetrics squeezes those of one element."""
        return [dim_zero_cat(getattr(self, name)).cpu() for name in self.names]

    def columns(self) -> list[Tensor]:
        """The tensors (N, …) of all processes, on the CPU."""
        shapes = [getattr(self, name)[0].shape[1:] for name in self.names]
        return [column.reshape(-1, *shape) for column, shape in zip(self.compute(), shapes, strict=True)]


class MeasuredModule(LightningModule):
    """Logs, at each epoch's end, the loss and accuracy of the images that its steps have counted.

    Attributes:
        train_metrics: Counts the training images; logged as ``train_loss`` and ``train_accuracy``.
        val_metrics: Counts the validation images.
        test_metrics: Counts the test images.
    """

    def __init__(self) -> None:
        super().__init__()
        self.train_metrics, self.val_metrics, self.test_metrics = (LossAndAccuracy() for _ in range(3))

    @property
    def is_fitting(self) -> bool:
        """Whether this is ``fit``, past the sanity check."""
        return self.trainer.state.fn == "fit" and not self.trainer.sanity_checking

    def on_train_epoch_start(self) -> None:
        """Begins to count anew."""
        self.train_metrics.reset()

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's mean training loss and accuracy."""
        values = self._mean("train", self.train_metrics)
        self.log_dict(values, logger=False, sync_dist=True)
        figures = {name: float(value) for name, value in values.items()} | {"epoch": self.current_epoch}
        for logger in self.loggers:  # now: Lightning would do so only after the checkpoint is written
            logger.log_metrics(figures, self.global_step - 1)

    def on_validation_epoch_start(self) -> None:
        """Begins to count anew."""
        self.val_metrics.reset()

    def on_validation_epoch_end(self) -> None:
        """Logs the mean validation loss and accuracy."""
        self.log_dict(self._mean("val", self.val_metrics), sync_dist=True)

    def on_test_epoch_start(self) -> None:
        """Begins to count anew."""
        self.test_metrics.reset()

    def on_test_epoch_end(self) -> None:
        """Logs the mean test loss and accuracy."""
        self.log_dict(self._mean("test", self.test_metrics), sync_dist=True)

    def _mean(self, stage: str, metrics: LossAndAccuracy) -> dict[str, Tensor]:
        """Loss and accuracy of the images that all processes have counted.

        Raises:
            TrainingError: The loss is not finite.
        """
        values = metrics.compute()
        if not values["loss"].isfinite():
            advice = f"epoch {self.current_epoch + 1}; try a lower --model.learning_rate"
            raise TrainingError(f"the {stage}_loss is not finite: {advice if self.is_fitting else 'train anew'}")
        return {f"{stage}_{name}": value for name, value in values.items()}
