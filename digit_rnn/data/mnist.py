"""MNIST, unpacked from the archives in this package and fed in whole batches from memory."""

import gzip
import hashlib
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torchvision
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, OpenUnitInterval, PositiveInt
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler

from digit_rnn.data.augmentation import augment, checked_augmentations
from digit_rnn.data.images import Batch, EvalSampler, Images, batch_loader
from digit_rnn.data.pictures import picture_files, picture_loader
from digit_rnn.errors import DataError, OptionError
from digit_rnn.seeds import mixed_seed


class MNIST(torchvision.datasets.MNIST):  # type: ignore[misc]
    """torchvision's MNIST, from the archives in this package instead of the network.

    Another data set in MNIST's format is a subclass with ``archives`` and ``digests`` of its own, named as
    ``MNISTDataModule.dataset_class``; its files are unpacked to ``ROOT/<name of the class>/raw``.
    """

    archives = Path(__file__).parents[1] / "mnist"
    # SHA-256 of each unpacked file; the archive has its name and ".gz".
    digests: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }

    @property
    def processed_folder(self) -> str:
        """A place that holds nothing: torchvision prefers tensors that its old versions kept there, unchecked."""
        return os.devnull

    def download(self) -> None:
        """Unpacks each file that is missing or damaged.

        Raises:
            DataError: The folder cannot be written, or an archive of the package is damaged.
        """
        raw = Path(self.raw_folder)
        try:
            for name, digest in self.digests.items():
                if not (raw / name).is_file() or _sha256((raw / name).read_bytes()) != digest:
                    self._unpack(name, digest, raw)
        except OSError as error:
            raise DataError(f"cannot unpack into {raw}: {error.strerror}; choose another --data.root") from error

    def _unpack(self, name: str, digest: str, raw: Path) -> None:
        archive = self.archives / f"{name}.gz"
        try:
            content = gzip.decompress(archive.read_bytes())
        except (OSError, EOFError, zlib.error):
            content = b""
        if _sha256(content) != digest:
            raise DataError(f"{archive} is missing or damaged; install digit_rnn again")
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=raw) as workspace:
            draft = Path(workspace, name)
            draft.write_bytes(content)
            os.replace(draft, raw / name)  # no run, not even one that starts just now, finds half a file


class MNISTDataModule(LightningDataModule):
    """MNIST: 60,000 training and 10,000 test images of handwritten digits (LeCun et al. 1998).

    A batch is ``(images, labels)``: float32 (B, 28, 28) in [0, 1], ink 1 on ground 0, and int64 (B,) in 0…9. The images
    lie in memory as bytes, cross to the device as bytes, and are scaled (and, in training, changed at random) there.

    Args:
        root: Folder of the unpacked files, ``ROOT/MNIST/raw`` (55 MB). Made from the package's archives where it is
            missing or damaged; the network is never used.
        batch_size: Images in a training step, on each device.
        eval_batch_size: Images in a batch of validation, test and prediction.
        validation_fraction: Share of the 60,000 training images that is kept for validation.
        split_seed: Draws the validation images at random with this seed; null takes the last ones.
        train_seed: Decides the order of the training images and their random changes. null is the command's
            ``--seed_everything``, and from Python 0.
        augmentations: How much the training images are changed at random, by name: rotation and shear (up to so many
            degrees to either side), scale (up to this share of width and of height), translation (up to so many whole
            pixels), elastic (strokes bent by so many pixels, as a standard deviation), upstroke (share of the 1s that
            get the long upstroke with which much of the world writes them).
            ``--data.augmentations.rotation 10`` adds one; ``--data.augmentations {}`` leaves the images as they are.
        non_digits: Made-up images of what is no digit (halves of digits, several digits, letters, scribbles), as a
            share of the training images, for a network with ``--model.non_digit_output true``. Some digits are then
            drawn anew as well, as those found in pictures are, so that the drawing does not tell the two apart.
        pictures: What ``predict`` reads instead of the test images: pictures, folders of them (searched through), or
            patterns such as "scans/*.png". What ``test`` measures instead: folders with a sub-folder a digit, 0 to 9,
            or with a table labels.csv of the columns file and text (rows separated by "/"; none for no digit).
        layout: What each picture holds: one digit, digits in rows, or auto, which finds out.

    Raises:
        OptionError: A value cannot be used.
    """

    dataset_class: type[MNIST] = MNIST
    labels: dict[str, list[str]] | None = None
    """Of labelled pictures, the rows of digits by file: where they are set, these files are read."""

    def __init__(
        self,
        root: str = "data",
        batch_size: PositiveInt = 64,
        eval_batch_size: PositiveInt = 1000,
        validation_fraction: OpenUnitInterval = 0.1,
        split_seed: NonNegativeInt | None = None,
        train_seed: NonNegativeInt | None = None,
        augmentations: dict[str, float] = {"translation": 1, "upstroke": 0.5},  # noqa: B006 (never changed; --help shows it)
        non_digits: ClosedUnitInterval = 0.0,
        pictures: list[str] | str | None = None,
        layout: Literal["auto", "digit", "digits"] = "auto",
    ) -> None:
        super().__init__()
        # Places on one machine do not belong in a checkpoint.
        self.save_hyperparameters(ignore=["root", "pictures", "layout"])
        self.root = root
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.validation_fraction = validation_fraction
        self.split_seed = split_seed
        self.train_seed = int(train_seed or 0)
        self.augmentations = checked_augmentations(augmentations)
        self.non_digits = non_digits
        self.pictures = [pictures] if isinstance(pictures, str) else pictures
        self.layout = layout
        self._seeded_for: tuple[Any, int] | None = None  # a trainer and its epoch
        if self.pictures == []:
            raise OptionError("pictures [] names no picture: give paths, folders or patterns, or leave it out")

    def prepare_data(self) -> None:
        """Makes sure that the four unpacked files are there and intact; pictures to read need none of them.

        Raises:
            DataError: The folder cannot be written, or an archive of the package is damaged.
        """
        if not (self.pictures and self.trainer and self.trainer.predicting):
            self.dataset_class(self.root, download=True)

    def setup(self, stage: str) -> None:
        """Reads the images that ``stage`` needs into memory, once.

        Raises:
            DataError: The split leaves no image on one side, or no picture is found.
        """
        if stage in ("fit", "validate") and not hasattr(self, "train_set"):
            whole = self.dataset_class(self.root)
            order = torch.arange(len(whole))
            if self.split_seed is not None:
                order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(self.split_seed))
            train, validation = order.tensor_split([len(whole) - round(len(whole) * self.validation_fraction)])
            if not len(train) or not len(validation):
                raise DataError(f"validation_fraction {self.validation_fraction} leaves no image on one side")
            self.train_set, self.val_set = (Images(whole.data[p], whole.targets[p]) for p in (train, validation))
            if self.non_digits:
                from digit_rnn.data.non_digits import with_non_digits  # OpenCV, only where images are drawn

                self.train_set = with_non_digits(self.train_set, self.non_digits)
        self.allow_zero_length_dataloader_with_multiple_devices = stage == "predict"  # fewer pictures than processes
        if stage == "predict" and self.pictures:
            self.picture_files = picture_files(self.pictures) if self.labels is None else list(self.labels)
        elif stage in ("test", "predict") and not hasattr(self, "test_set"):
            test = self.dataset_class(self.root, train=False)
            self.test_set = Images(test.data, test.targets)

    def train_dataloader(self) -> DataLoader[Batch]:
        """The training images, in an order that depends on seed and epoch alone, so that a run can be resumed."""
        sampler: DistributedSampler[int] = DistributedSampler(self.train_set, *self._processes(), seed=self.train_seed)
        return batch_loader(self.train_set, self.batch_size, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation images, in their own order."""
        return batch_loader(self.val_set, self.eval_batch_size, EvalSampler(self.val_set, *self._processes()))

    def test_dataloader(self) -> DataLoader[Batch]:
        """MNIST's own 10,000 test images, in their own order."""
        return batch_loader(self.test_set, self.eval_batch_size, EvalSampler(self.test_set, *self._processes()))

    def predict_dataloader(self) -> DataLoader[Any]:
        """The pictures that were named, or else the test images once more."""
        processes = self._processes()
        if self.pictures:
            here = self.trainer.num_devices if self.trainer else 1
            return picture_loader(self.picture_files, self.layout, *processes, here)
        sampler = EvalSampler(self.test_set, *processes, block=self.eval_batch_size)
        return batch_loader(self.test_set, self.eval_batch_size, sampler)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Makes a tensor of the digits that a worker found in pictures."""
        images, labels = batch
        return torch.as_tensor(images), labels

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turns bytes into float32 in [0, 1] on the device; in training, changes the images at random."""
        images, labels = batch
        if images.dtype == torch.uint8:
            images = images.float() / 255
        if self.trainer and self.trainer.training and self.augmentations:
            images = augment(images, labels, self.augmentations, self._generator(images.device))
        return images, labels

    def _generator(self, device: torch.device) -> torch.Generator:
        """Draws that depend on seed, epoch and process alone: seeded anew in the first batch of each epoch."""
        trainer: Any = self.trainer
        if self._seeded_for != (trainer, trainer.current_epoch):
            self._seeded_for = (trainer, trainer.current_epoch)
            seed = mixed_seed(self.train_seed, trainer.current_epoch, trainer.global_rank)
            self._epoch_generator = torch.Generator(device).manual_seed(seed)
        return self._epoch_generator

    def _processes(self) -> tuple[int, int]:
        """How many processes share the images, and which of them this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
