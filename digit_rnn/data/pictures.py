"""Files and folders of pictures as a data set that any number of them fits into."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset

from digit_rnn.data.images import EvalSampler
from digit_rnn.errors import DataError, PictureError

if TYPE_CHECKING:
    from digit_rnn.vision import Digit, Layout

# For which a folder is searched; some are not read everywhere, and so reported.
PICTURE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".avif", ".jp2", ".heic",
)  # fmt: skip


class Picture(NamedTuple):
    """What was found in one file."""

    file: str
    digits: "list[Digit]"
    error: str  # why it cannot be read, or nothing


class Pictures(Dataset[Picture]):
    """Pictures, opened and searched for digits a batch at a time, so that any number of them takes no memory.

    Args:
        files: Their paths.
        layout: digit, digits or auto.
    """

    def __init__(self, files: Sequence[str], layout: "Layout") -> None:
        self.files = files
        self.layout = layout

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Picture:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Picture]:
        """Those of a batch, since the network looks at small pictures together."""
        from digit_rnn.finding import pretrained_finder  # OpenCV and a network, only where pictures are read

        files = [self.files[index] for index in indices]
        there = [file for file in files if os.path.isfile(file)]
        found = dict(zip(there, pretrained_finder().find_each(there, self.layout), strict=True))
        return [_picture(file, found.get(file, "is no file, or leads to none")) for file in files]


def _picture(file: str, found: "list[Digit] | PictureError | str") -> Picture:
    return Picture(file, found, "") if isinstance(found, list) else Picture(file, [], str(found))


def picture_loader(
    files: Sequence[str], layout: "Layout", processes: int = 1, rank: int = 0, processes_here: int = 1
) -> DataLoader[Any]:
    """Batches of ``(images, pictures)``: the digits of some pictures, float32 (N, 28, 28), and the pictures.

    Args:
        files: The pictures' paths.
        layout: digit, digits or auto.
        processes: How many share the pictures.
        rank: Which of them this is.
        processes_here: How many of them share this machine.
    """
    # Of a few, each is a batch, so that they spread over many processes; and the size depends on nothing else.
    batch_size = max(1, min(32, len(files) // 64))
    sampler = EvalSampler(files, processes, rank, block=batch_size)
    workers = min(_cores() // processes_here, len(sampler) // 4)
    return DataLoader(
        Pictures(files, layout),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=max(workers, min(len(sampler) - 1, 1)),  # a single picture is read while a worker would start
        collate_fn=_gather,
        worker_init_fn=_prepare_worker,
    )


def _cores() -> int:
    """How many cores this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def picture_files(places: Sequence[str]) -> list[str]:
    """The files meant by paths, folders and patterns: those of a folder sorted, none twice.

    Raises:
        DataError: A place holds no picture.
    """
    found: dict[str, None] = {}
    for place in places:
        if "\0" in place:
            raise DataError(f"no picture at {place!r}: a name cannot hold a NUL")
        if os.path.isdir(place):
            files = sorted(file for file in _files_in(place) if file.lower().endswith(PICTURE_SUFFIXES))
        else:
            files = [place] if os.path.isfile(place) else sorted(filter(os.path.isfile, glob(place, recursive=True)))
        if not files:
            raise DataError(f"no picture at {place}: name a file, a folder with pictures, or a pattern")
        found.update((str(Path(file)), None) for file in files)  # ./a is a
    return list(found)


def _files_in(folder: str) -> Iterator[str]:
    """All files in a folder and in those that are in it or linked there, each folder once."""
    seen = {os.path.realpath(folder)}
    for here, folders, names in os.walk(folder, followlinks=True):
        inside = {name: os.path.realpath(os.path.join(here, name)) for name in sorted(folders)}
        folders[:] = [name for name, real in inside.items() if real not in seen]
        seen.update(inside.values())
        yield from (os.path.join(here, name) for name in names)


def _gather(pictures: list[Picture]) -> tuple[npt.NDArray[np.float32], list[Picture]]:
    images = [digit.image for picture in pictures for digit in picture.digits]
    # No tensors: they pass between processes through open files and a thread that ends with a traceback at Ctrl-C.
    return np.stack(images) if images else np.zeros((0, 28, 28), np.float32), pictures


def _prepare_worker(worker: int) -> None:
    import cv2

    # The work is spread over processes. Not 1: that waits for threads which the fork has not taken along.
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started the worker ends it
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # without a word from PyTorch
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends a worker whose process was killed: it would wait for ever to hand over what it has found."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
