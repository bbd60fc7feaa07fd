"""What several tests share: MNIST unpacked once, the command called in-process, and one trained network."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from digit_rnn import MNISTDataModule
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
