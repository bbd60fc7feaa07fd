"""Files and folders of pictures as a data set that any number of them fits into."""

import os
from collections.abc import Sequence
from glob import glob
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from digit_rnn.errors import DataError, PictureError

if TYPE_CHECKING:
    from digit_rnn.vision import Digit, Layout

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")  # what a folder is searched for


class Picture(NamedTuple):
    """What was found in one file."""

    file: str
    digits: "list[Digit]"
    error: str  # why it cannot be read, or nothing


class Pictures(Dataset[Picture]):
    """Pictures, opened and searched for digits one by one, so that any number of them takes no memory.

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
        from digit_rnn.vision import find_digits  # OpenCV, only where pictures are read

        file = self.files[index]
        if not os.path.isfile(file):
            return Picture(file, [], "is no file, or leads to none")
        try:
            return Picture(file, find_digits(file, self.layout), "")
        except PictureError as error:
            return Picture(file, [], str(error))


def picture_loader(files: Sequence[str], layout: "Layout") -> DataLoader[Any]:
    """Batches of ``(images, pictures)``: the digits of 32 pictures as float32 (N, 28, 28), and the pictures."""
    workers = min(os.cpu_count() or 1, len(files) // 100)  # below some hundred, starting them takes longer
    return DataLoader(
        Pictures(files, layout), batch_size=32, num_workers=workers, collate_fn=_gather, worker_init_fn=_single_threaded
    )


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
            inside = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
            files = sorted(file for file in inside if file.lower().endswith(PICTURE_SUFFIXES))
        else:
            files = [place] if os.path.isfile(place) else sorted(filter(os.path.isfile, glob(place, recursive=True)))
        if not files:
            raise DataError(f"no picture at {place}: name a file, a folder with pictures, or a pattern")
        found.update(dict.fromkeys(files))
    return list(found)


def _gather(pictures: list[Picture]) -> tuple[Tensor, list[Picture]]:
    images = [torch.from_numpy(digit.image) for picture in pictures for digit in picture.digits]
    return torch.stack(images) if images else torch.zeros(0, 28, 28), pictures


def _single_threaded(worker: int) -> None:
    import cv2

    cv2.setNumThreads(1)  # the work is spread over processes, and OpenCV's threads don't survive a fork
