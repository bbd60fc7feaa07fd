import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digit_rnn import MNISTDataModule
from digit_rnn.data.mnist import MNIST
from digit_rnn.errors import DataError
from tests.conftest import Command

# Numbers of the digits 0…9, known since LeCun et al. 1998
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

# An image's sum of pixels with these weights is exact in 64 bits, and hardly two images have the same.
FINGERPRINT = torch.randint(1, 2**34, (784,), generator=torch.Generator().manual_seed(0)).double()


def prepared(root: Path, **options: Any) -> MNISTDataModule:
    data = MNISTDataModule(str(root), **options)
    data.prepare_data()
    for stage in ("fit", "test"):
        data.setup(stage)
    return data


def test_split_is_the_originals(root: Path) -> None:
    data = prepared(root)
    assert (len(data.train_set), len(data.val_set), len(data.test_set)) == (54_000, 6_000, 10_000)
    pixels = gzip.decompress((MNIST.archives / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    images = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(-1, 28, 28)
    assert torch.equal(data.train_set.images, images[:54_000])
    assert torch.equal(data.val_set.images, images[54_000:])


def test_label_counts(root: Path) -> None:
    data = prepared(root)
    labels = torch.cat([data.train_set.labels, data.val_set.labels])
    assert labels.bincount().tolist() == TRAIN_COUNTS
    assert data.test_set.labels.bincount().tolist() == TEST_COUNTS


@pytest.fixture(scope="module")
def whole(root: Path) -> MNISTDataModule:
    return prepared(root)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(1e-4, 0.9999), seed=st.none() | st.integers(0, 2**32))
def test_split_adds_up_and_repeats(root: Path, whole: MNISTDataModule, fraction: float, seed: int | None) -> None:
    data, again = (MNISTDataModule(str(root), validation_fraction=fraction, split_seed=seed) for _ in range(2))
    data.setup("fit")
    torch.manual_seed(99)  # the split does not follow the global seed
    again.setup("fit")
    assert torch.equal(again.val_set.images, data.val_set.images)
    assert torch.equal(again.val_set.labels, data.val_set.labels)
    assert len(data.val_set) == round(60_000 * fraction)

    # Disjoint and complete: the same images as in any other split, each as often.
    images = [torch.cat([module.train_set.images, module.val_set.images]) for module in (data, whole)]
    prints = [(each.flatten(1).double() @ FINGERPRINT).sort().values for each in images]
    assert torch.equal(*prints)
    assert seed is None or not torch.equal(data.val_set.labels, whole.val_set.labels[: len(data.val_set)])


def test_fraction_that_leaves_no_image_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="validation_fraction 1e-06"):
        prepared(root, validation_fraction=1e-6)


def test_batches_cover_each_image_once_in_an_order_of_seed_and_epoch(root: Path) -> None:
    def order(seed: int, epoch: int) -> torch.Tensor:
        loader = prepared(root, train_seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        return torch.tensor(list(loader.sampler))

    assert torch.equal(order(0, 0).sort().values, torch.arange(54_000))
    first = order(0, 0)
    torch.manual_seed(99)  # the order does not follow the global seed
    assert torch.equal(first, order(0, 0))
    assert not torch.equal(order(0, 0), order(0, 1))
    assert not torch.equal(order(0, 0), order(1, 0))
    sizes = [len(labels) for _, labels in prepared(root).train_dataloader()]
    assert sizes == [64] * 843 + [48]


def test_pixels_reach_the_model_as_fractions_of_255(root: Path) -> None:
    data = prepared(root)
    images, labels = next(iter(data.test_dataloader()))
    assert images.dtype == torch.uint8
    scaled, same = data.on_after_batch_transfer((images, labels), 0)
    assert torch.equal(scaled, images / 255)
    assert torch.equal(same, labels)


@pytest.mark.parametrize("name", MNIST.digests)
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "swapped", "one bit"])
def test_damaged_file_is_put_right(tmp_path: Path, root: Path, name: str, damage: str) -> None:
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(root / "MNIST" / "raw", raw)
    file = raw / name
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "swapped":
        other = name.replace("train", "t10k") if "train" in name else name.replace("t10k", "train")
        shutil.copy(raw / other, file)
    else:
        flipped = whole[:-1] + bytes([whole[-1] ^ 1])
        file.write_bytes({"truncated": whole[:-1], "empty": b"", "one bit": flipped}[damage])
    MNISTDataModule(str(tmp_path)).prepare_data()
    assert file.read_bytes() == whole
    assert sorted(path.name for path in raw.iterdir()) == sorted(MNIST.digests)


def test_intact_files_are_left_alone(root: Path) -> None:
    files = [root / "MNIST" / "raw" / name for name in MNIST.digests]
    before = [file.stat().st_mtime_ns for file in files]
    MNISTDataModule(str(root)).prepare_data()
    assert [file.stat().st_mtime_ns for file in files] == before


@pytest.mark.parametrize(
    "damage", [b"", b"not an archive", gzip.compress(b"other labels")], ids=["empty", "text", "others"]
)
def test_damaged_archive_is_refused_by_name(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    archives = shutil.copytree(MNIST.archives, tmp_path / "archives")
    (archives / "t10k-labels-idx1-ubyte.gz").write_bytes(damage)
    monkeypatch.setattr(MNIST, "archives", archives)
    result = command("fit", "--data.root", tmp_path / "data")
    assert result.status == 2
    assert "t10k-labels-idx1-ubyte.gz is missing or damaged" in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").exists()
