"""What is counted over the batches of an epoch, on any number of processes."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class LossAndAccuracy(Metric):
    """Mean loss and accuracy over images: running sums, which processes add up."""

    loss: Tensor
    correct: Tensor
    count: Tensor
    full_state_update = False

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

    full_state_update = False

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
