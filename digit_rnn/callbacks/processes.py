"""What the processes of a run write together, and what they tell each other."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from lightning.pytorch import Trainer

from digit_rnn.errors import DigitRNNError

T = TypeVar("T")


class Processes:
    """The processes of a run, of which some may be done long before others.

    Args:
        trainer: Once it has started them all.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.count, self.rank = trainer.world_size, trainer.global_rank
        # A group of their own, since those of Lightning end the run where one process waits for another for long.
        self.group: Any = dist.new_group(backend="gloo", timeout=timedelta(days=365)) if self.count > 1 else None

    def each(self, act: Callable[[], T]) -> list[T]:
        """Has each process do something; gives the results of all.

        Raises:
            DigitRNNError: One of them could not do it; all of them raise this.
            OSError: As well.
        """
        if self.count == 1:
            return [act()]
        result: Any = None
        error: Exception | None = None
        try:
            result = act()
        except (DigitRNNError, OSError) as caught:
            error = caught
        outcomes: list[Any] = [None] * self.count
        dist.all_gather_object(outcomes, (result, error), self.group)
        for _, error in outcomes:
            if error:
                raise error
        return [result for result, _ in outcomes]

    def gather(self, value: T) -> list[T]:
        """Waits until all processes have come to their end; gives their values to the first, in their order."""
        if self.count == 1:
            return [value]
        arrival = dist.barrier(self.group, async_op=True)
        while not arrival.is_completed():
            time.sleep(0.05)  # not in C++, where Ctrl-C would not be heard
        arrival.wait()
        values: Any = [None] * self.count if self.rank == 0 else None
        dist.gather_object(value, values, dst=0, group=self.group)
        dist.destroy_process_group(self.group)  # its threads, while Python can still wait for them
        return values or []


class SharedFile:
    """A text file to which processes write batches in turn: the first one the first batch, the second one the second.

    What is written before the first ``end_batch`` is its header, with which each part begins, too.

    A process that is alone writes the file itself. Each of several writes a part, ``name.RANK.suffix``; the parts are
    joined in the end, and are there to be read if it never comes.

    Args:
        folder: Where it lies; the same for all processes.
        name: Its name.
        processes: Who writes it.
    """

    def __init__(self, folder: Path, name: str, processes: Processes) -> None:
        self.path = folder / name
        part = self.path if processes.count == 1 else part_path(self.path, processes.rank)
        self.text = part.open("x", encoding="utf-8", errors="backslashreplace", newline="")  # for names in no encoding
        self.ends: list[int] = []  # of the header, which may be empty, and of each batch

    def end_batch(self) -> None:
        """Hands what was written to the system: it stays if the run is stopped."""
        self.text.flush()
        self.ends.append(os.fstat(self.text.fileno()).st_size)


def part_path(path: Path, rank: int) -> Path:
    """What a process writes of a file."""
    return path.with_name(f"{path.stem}.{rank}{path.suffix}")


def join_parts(path: Path, ends: Sequence[Sequence[int]]) -> None:
    """Makes a file of its parts, batch by batch, and removes them.

    Args:
        path: The file.
        ends: Where, in each process's part, its header and its batches end.
    """
    if len(ends) == 1:
        return
    parts = [part_path(path, rank) for rank in range(len(ends))]
    draft = path.with_name(f"{path.name}.draft")
    with ExitStack() as stack:
        stack.callback(draft.unlink, missing_ok=True)
        opened = [stack.enter_context(part.open("rb")) for part in parts]
        whole = stack.enter_context(draft.open("wb"))
        whole.write(opened[0].read(ends[0][0]))
        for part, (header, *_) in zip(opened, ends, strict=True):
            part.seek(header)
        for batch in range(1, len(ends[0])):  # the first process has as many as any other
            for part, places in zip(opened, ends, strict=True):
                if batch < len(places):
                    whole.write(part.read(places[batch] - places[batch - 1]))
        whole.close()
        os.replace(draft, path)
    for part_file in parts:
        part_file.unlink()
