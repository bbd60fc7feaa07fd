"""What a newcomer would add first, each in its one place."""

import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.callbacks.predictions import column_names, flat
from digit_rnn.data import augmentation
from digit_rnn.data.mnist import MNIST
from digit_rnn.models import network
from digit_rnn.reading import Reading
from digit_rnn.vision import Box


def test_a_data_set_in_mnists_format_is_a_subclass(tmp_path: Path, root: Path) -> None:
    """Here MNIST's test images turned over, 1,000 to train on and 200 to test."""
    whole = MNIST(str(root), train=False)
    contents = {}
    for part, images, labels in (
        ("train", whole.data[:1000].flip(1), whole.targets[:1000]),
        ("t10k", whole.data[1000:1200].flip(1), whole.targets[1000:1200]),
    ):
        sizes = [len(images), 28, 28]
        for name, numbers, tensor in (("images-idx3", sizes, images), ("labels-idx1", sizes[:1], labels)):
            header = bytes([0, 0, 8, len(numbers)]) + b"".join(number.to_bytes(4, "big") for number in numbers)
            contents[f"{part}-{name}-ubyte"] = header + tensor.to(torch.uint8).contiguous().numpy().tobytes()
    for name, content in contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))

    class Turned(MNIST):
        archives = tmp_path
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}  # noqa: RUF012

    class TurnedDataModule(MNISTDataModule):
        dataset_class = Turned

    data = TurnedDataModule(str(tmp_path / "data"), augmentations={})
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model := DigitRNN(), data)
    assert trainer.test(model, data, verbose=False)[0]["test_accuracy"] > 0.4
    assert torch.equal(data.test_set.images, whole.data[1000:1200].flip(1))
    assert (len(data.train_set), len(data.val_set)) == (900, 100)
    assert sorted(path.name for path in (tmp_path / "data" / "Turned" / "raw").iterdir()) == sorted(contents)


def test_a_cell_is_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Coupled(nn.LSTM):
        """Stands for a cell of somebody's own."""

    monkeypatch.setitem(network.CELLS, "coupled", Coupled)
    model = DigitRNN(cell="coupled", hidden_size=16)
    assert isinstance(model.network.rnn, Coupled)
    assert model(torch.rand(3, 13, 28)).shape == (3, 10)


def test_a_cell_may_have_parameters_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scaled(nn.GRU):
        """Scales what it reads."""

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[call-overload]
            self.norm = nn.LayerNorm(28)

    monkeypatch.setitem(network.CELLS, "scaled", Scaled)
    rnn = network.RowRNN("scaled", hidden_size=40).rnn
    assert (rnn.norm.weight == 1).all()
    assert not rnn.norm.bias.any()


def test_an_augmentation_is_a_function_and_an_entry(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    def fainter(images: Tensor, labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
        return images * (1 - share)

    monkeypatch.setitem(augmentation.CHANGES, "fainter", fainter)
    data = MNISTDataModule(str(root), augmentations={"fainter": 0.25})
    images = torch.rand(4, 28, 28)
    labels = torch.arange(4)
    changed = augmentation.augment(images, labels, data.augmentations, torch.Generator())
    torch.testing.assert_close(changed, images * 0.75)


def test_a_field_of_a_reading_is_a_column_of_the_table() -> None:
    more = NamedTuple("more", [*Reading.__annotations__.items(), ("slant", float)])  # type: ignore[misc]
    assert column_names(more) == [*column_names(Reading), "slant"]
    assert column_names(Reading)[:6] == ["row", "position", "left", "top", "right", "bottom"]
    values = flat(more(0, 1, Box(1, 2, 3, 4), 7, 0.98765, "", 3.0))
    assert list(values) == column_names(more)
    assert (values["bottom"], values["confidence"], values["slant"]) == (4, "0.9877", "3.0000")
