"""MNIST, unpacked from the archives in this package and fed in whole batches from memory."""

import gzip
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, OpenUnitInterval, PositiveInt
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

if TYPE_CHECKING:
    from digit_rnn.images import Digit

Batch = tuple[Tensor, Tensor]

ARCHIVES = Path(__file__).parent / "mnist"

# SHA-256 of each archive and of what it holds.
SHA256 = {
    "train-images-idx3-ubyte": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")  # what a folder is searched for


class DataError(Exception):
    """The images cannot be provided; the message says which file or folder is at fault and what to do."""


class MNISTDataModule(LightningDataModule):
    """MNIST: 60,000 training and 10,000 test images of handwritten digits (LeCun et al. 1998).

    A batch is ``(images, labels)``: float32 (B, 28, 28) in [0, 1], ink 1 on ground 0, and int64 (B,) in 0…9. The images
    lie in memory as bytes, cross to the device as bytes, and are scaled (and, in training, distorted) there.

    Args:
        root: Folder of the unpacked files, ``ROOT/MNIST/raw`` (55 MB). Made from the package's archives where it is
            missing or damaged; the network is never used.
        batch_size: Images in a training step, on each device.
        eval_batch_size: Images in a batch of validation, test and prediction.
        validation_fraction: Share of the 60,000 training images that is kept for validation.
        split_seed: Draws the validation images at random with this seed; null takes the last ones.
        rotation: Training images are turned by up to this many degrees to either side.
        scale: Training images grow or shrink, in height and width apart, by up to this share of their size.
        shear: Training images are slanted by up to this many degrees to either side.
        translation: Training images are moved by up to this many whole pixels in each direction.
        upstroke: Share of the training images of a 1 that get the long upstroke with which much of the world writes it;
            MNIST's writers were American.
        images: What ``predict`` reads instead of the test images: pictures, folders of them (searched through), or
            patterns such as "scans/*.png".
        layout: What each picture holds: one digit, digits in rows, or auto, which finds out.
    """

    def __init__(
        self,
        root: str = "data",
        batch_size: PositiveInt = 64,
        eval_batch_size: PositiveInt = 1000,
        validation_fraction: OpenUnitInterval = 0.1,
        split_seed: NonNegativeInt | None = None,
        rotation: NonNegativeFloat = 0.0,
        scale: ClosedUnitInterval = 0.0,
        shear: NonNegativeFloat = 0.0,
        translation: NonNegativeInt = 1,
        upstroke: ClosedUnitInterval = 0.5,
        images: list[str] | str | None = None,
        layout: Literal["auto", "digit", "digits"] = "auto",
    ) -> None:
        super().__init__()
        # Places on one machine do not belong in a checkpoint.
        self.save_hyperparameters(ignore=["root", "images", "layout"])
        self.root = root
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.validation_fraction = validation_fraction
        self.split_seed = split_seed
        self.upstroke = upstroke
        self.images = [images] if isinstance(images, str) else images
        self.layout = layout
        self.distortion = {"rotation": rotation, "scale": scale, "shear": shear, "translation": translation}

    def prepare_data(self) -> None:
        """Makes sure that the four unpacked files are there and intact; pictures to read need none of them.

        Raises:
            DataError: The folder cannot be written, or an archive of the package is damaged.
        """
        raw = Path(self.root, "MNIST", "raw")
        if self.images:
            return
        try:
            for name, (packed, unpacked) in SHA256.items():
                if _sha256(raw / name) != unpacked:
                    archive = ARCHIVES / f"{name}.gz"
                    if _sha256(archive) != packed:
                        raise DataError(f"{archive} is missing or damaged; install digit_rnn again")
                    _unpack(archive, raw)
        except OSError as error:
            raise DataError(f"cannot unpack MNIST into {raw}: {error.strerror}; choose --data.root") from error

    def setup(self, stage: str) -> None:
        """Reads the images that ``stage`` needs into memory, once."""
        if stage in ("fit", "validate") and not hasattr(self, "train_set"):
            images, labels = self._read("train")
            order = torch.arange(len(images))
            if self.split_seed is not None:
                order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.split_seed))
            train, validation = order.tensor_split([len(images) - round(len(images) * self.validation_fraction)])
            if not len(train) or not len(validation):
                raise DataError(f"validation_fraction {self.validation_fraction} leaves no image on one side")
            self.train_set = Images(images[train], labels[train])
            self.val_set = Images(images[validation], labels[validation])
        if stage == "predict" and self.images:
            self.pictures = Pictures(picture_files(self.images), self.layout)
        elif stage in ("test", "predict") and not hasattr(self, "test_set"):
            self.test_set = Images(*self._read("t10k"))

    def train_dataloader(self) -> DataLoader[Batch]:
        """The training images, in an order that depends on seed and epoch alone, so that a run can be resumed."""
        sampler: DistributedSampler[int] = DistributedSampler(
            self.train_set, *self._processes(), seed=torch.initial_seed()
        )
        return _loader(self.train_set, self.batch_size, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation images, in their own order."""
        return self._eval_loader(self.val_set)

    def test_dataloader(self) -> DataLoader[Batch]:
        """MNIST's own 10,000 test images, in their own order."""
        return self._eval_loader(self.test_set)

    def predict_dataloader(self) -> DataLoader[Any]:
        """The pictures that were named, or else the test images once more."""
        if not self.images:
            return self.test_dataloader()
        workers = min(os.cpu_count() or 1, len(self.pictures) // 100)  # below some hundred, starting them takes longer
        return DataLoader(self.pictures, batch_size=32, num_workers=workers, collate_fn=gather)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves the images and, if there are, the labels; what is known of pictures stays."""
        images, rest = batch
        return images.to(device), rest.to(device) if isinstance(rest, Tensor) else rest

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turns bytes into float32 in [0, 1] on the device; in training, distorts the images."""
        images, labels = batch
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        if self.trainer and self.trainer.training and (self.upstroke or any(self.distortion.values())):
            generator = torch.Generator(images.device).manual_seed(step_seed(self.trainer))
            images = random_upstroke(images, labels == 1, generator, self.upstroke)
            images = random_affine(images, generator, **self.distortion)
        return images, labels

    def _processes(self) -> tuple[int, int]:
        """How many processes share the images, and which of them this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _eval_loader(self, images: "Images") -> DataLoader[Batch]:
        # Lightning's own sampler would give some images twice, so that each process has as many.
        count, rank = self._processes()
        return _loader(images, self.eval_batch_size, range(rank, len(images), count))

    def _read(self, part: str) -> Batch:
        from torchvision.datasets.mnist import read_image_file, read_label_file  # slow to import: not for --help

        raw = Path(self.root, "MNIST", "raw")
        return read_image_file(str(raw / f"{part}-images-idx3-ubyte")), read_label_file(
            str(raw / f"{part}-labels-idx1-ubyte")
        )


class Images(Dataset[Batch]):
    """Images and labels in memory, gathered by the batch.

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

    def __init__(self, files: Sequence[str], layout: Literal["auto", "digit", "digits"]) -> None:
        self.files = files
        self.layout = layout

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Picture:
        from digit_rnn.images import PictureError, digits  # OpenCV, only where pictures are read

        file = self.files[index]
        try:
            return Picture(file, digits(file, self.layout), "")
        except PictureError as error:
            return Picture(file, [], str(error))


def gather(pictures: list[Picture]) -> tuple[Tensor, list[Picture]]:
    """The digits of several pictures as one batch float32 (N, 28, 28), and the pictures."""
    images = [torch.from_numpy(digit.image) for picture in pictures for digit in picture.digits]
    return torch.stack(images) if images else torch.zeros(0, 28, 28), pictures


def picture_files(places: Sequence[str]) -> list[str]:
    """The files meant by paths, folders and patterns: those of a folder sorted, none twice.

    Raises:
        DataError: A place holds no picture.
    """
    found: dict[str, None] = {}
    for place in places:
        if os.path.isdir(place):
            inside = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
            files = sorted(file for file in inside if file.lower().endswith(PICTURES) and os.path.isfile(file))
        else:
            files = [place] if os.path.isfile(place) else sorted(filter(os.path.isfile, glob(place, recursive=True)))
        if not files:
            raise DataError(f"no picture at {place}: name a file, a folder with pictures, or a pattern")
        found.update(dict.fromkeys(files))
    return list(found)


def step_seed(trainer: Any) -> int:
    """A seed for each training step and process: a run that goes on draws what it would have drawn."""
    return hash((torch.initial_seed(), trainer.fit_loop.total_batch_idx, trainer.global_rank)) % 2**63


def gather_rows(columns: list[Tensor], trainer: Any) -> list[Tensor]:
    """The rows of all processes, of each of some tensors with as many rows, on the CPU."""
    columns = [column.cpu() for column in columns]
    shares: list[Any] = [columns] * trainer.world_size
    if trainer.world_size > 1:
        torch.distributed.all_gather_object(shares, columns)
    return [torch.cat(column) for column in zip(*shares, strict=True)]


def random_upstroke(images: Tensor, ones: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """Draws an upstroke, from the lower left to the top of the digit, on some images of a 1.

    Args:
        images: float32 (B, H, W) in [0, 1].
        ones: bool (B,), which of them show a 1.
        generator: Source of choice, length and angle, on the device of the images.
        share: Share of the ones that are changed.

    Returns:
        float32 (B, H, W) in [0, 1].
    """
    draws = torch.rand(3, len(images), generator=generator, device=images.device)
    chosen = (ones & (draws[0] < share)).nonzero()[:, 0]
    picked, (_, reach, slope) = images[chosen], draws[:, chosen]
    length, angle = 4 + 10 * reach, (30 + 35 * slope).deg2rad()  # pixels; degrees below the horizontal
    along_x, along_y = -angle.cos()[:, None, None], angle.sin()[:, None, None]
    rows, columns = (torch.arange(n, device=images.device, dtype=images.dtype) for n in images.shape[1:])
    inked = picked > 0.5
    top = inked.any(2).to(torch.uint8).argmax(1)  # the first row with ink; the stroke ends in the middle of its ink
    first = inked[torch.arange(len(chosen), device=images.device), top].to(images.dtype)
    middle = (first * columns).sum(1) / first.sum(1).clamp(min=1)
    x, y = (columns - middle[:, None])[:, None, :], (rows - top[:, None] - 0.5)[:, :, None]
    place = (x * along_x + y * along_y).clamp(min=0).minimum(length[:, None, None])  # nearest point of the stroke
    distance = ((x - place * along_x) ** 2 + (y - place * along_y) ** 2).sqrt()
    return images.index_copy(0, chosen, picked.maximum((1.7 - distance).clamp(0, 1)))


def random_affine(
    images: Tensor, generator: torch.Generator, *, rotation: float, scale: float, shear: float, translation: int
) -> Tensor:
    """Turns, scales, slants and moves each image of a batch by amounts of its own, drawn uniformly.

    Args:
        images: float32 (B, H, W).
        generator: Source of the amounts, on the device of the images.
        rotation: Largest angle, in degrees.
        scale: Largest change of height and of width, as a share.
        shear: Largest slant, in degrees.
        translation: Largest shift, in pixels; shifts are whole, so that they don't blur.

    Returns:
        float32 (B, H, W).
    """
    size, (height, width) = len(images), images.shape[1:]
    amounts = torch.rand(4, size, generator=generator, device=images.device) * 2 - 1
    angle = amounts[0] * math.radians(rotation)
    slant = (amounts[1] * math.radians(shear)).tan()
    grow_x, grow_y = 1 + amounts[2] * scale, 1 + amounts[3] * scale
    shift = torch.randint(
        -translation, translation + 1, (2, size), generator=generator, device=images.device
    )  # affine_grid measures in half images
    cos, sin = angle.cos(), angle.sin()
    x = torch.stack([cos / grow_x, (cos * slant - sin) / grow_x, shift[0] * 2 / width], dim=1)
    y = torch.stack([sin / grow_y, (sin * slant + cos) / grow_y, shift[1] * 2 / height], dim=1)
    grid = F.affine_grid(torch.stack([x, y], dim=1), [size, 1, height, width], align_corners=False)
    return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def _loader(images: Images, batch_size: int, sampler: Iterable[int]) -> DataLoader[Batch]:
    # __getitems__ has gathered the batch already; no worker processes, since there is nothing to wait for.
    return DataLoader(images, batch_size=batch_size, sampler=sampler, collate_fn=tuple)


def _sha256(path: Path) -> str:
    """The file's digest, or nothing where there is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacks beside the target and renames, so that no run, not even one that starts just now, finds half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as workspace:
        draft = Path(workspace, archive.stem)
        with gzip.open(archive) as source, draft.open("wb") as target:
            shutil.copyfileobj(source, target)
        os.replace(draft, folder / archive.stem)
