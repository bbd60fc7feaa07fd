"""What several tests share: MNIST unpacked once, the command called in-process, and one trained network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.cli import main

torch.set_num_threads(1)  # so that parallel jobs on the machine don't slow each other down

REPOSITORY = Path(__file__).parents[1]


class Result(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MNIST's unpacked files."""
    folder = tmp_path_factory.mktemp("data")
    MNISTDataModule(str(folder)).prepare_data()
    return folder


@pytest.fixture
def command(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Calls the real command in an empty folder; the data is at hand unless another root is named."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Result:
        words = [str(arg) for arg in args]
        if words[:1] and words[0] in ("fit", "validate", "test", "predict") and "--data.root" not in words:
            words += ["--data.root", str(root)]
        capfd.readouterr()
        status = 0
        try:
            main(words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        return Result(status, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which ``fit`` ran for one epoch with its defaults: ``runs/version_0``."""
    folder = tmp_path_factory.mktemp("trained")
    main(["fit", "--data.root", str(root), "--trainer.max_epochs=1", f"--trainer.default_root_dir={folder}"])
    return folder / "runs" / "version_0"


@pytest.fixture(scope="session")
def network(trained: Path) -> DigitRNN:
    """The trained network."""
    return DigitRNN.load_from_checkpoint(trained / "checkpoints" / "best.ckpt").eval()


@pytest.fixture(scope="session")
def images_and_labels(root: Path) -> tuple[Tensor, Tensor]:
    """MNIST's test images, as the network takes them, and their labels."""
    data = MNISTDataModule(str(root))
    data.setup("test")
    return data.test_set.images.float() / 255, data.test_set.labels


@pytest.fixture(scope="session")
def mnist(root: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """MNIST's test images, as bytes, and their labels."""
    data = MNISTDataModule(str(root))
    data.setup("test")
    return data.test_set.images.numpy(), data.test_set.labels.numpy()


@pytest.fixture(scope="session")
def seen(network: DigitRNN, images_and_labels: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Test images, labels and the network's probabilities."""
    with torch.no_grad():
        return *images_and_labels, network.probabilities(images_and_labels[0])
