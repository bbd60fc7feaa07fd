"""The network that comes with the package: found by its name, checked before use, as good as its card says."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

import digit_rnn
from digit_rnn import checkpoints
from digit_rnn.errors import CheckpointError
from tests.conftest import Command
from tests.helpers import Array, line, read_table

CARD = checkpoints.PRETRAINED.with_name("CARD.md")


def test_a_picture_is_read_without_training(tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    Image.fromarray(line(list(mnist[0][:5]))).save(tmp_path / "slip.png")
    read = digit_rnn.read(tmp_path / "slip.png")
    assert [reading.digit for reading in read] == mnist[1][:5].tolist()
    assert read == digit_rnn.DigitReader().read(tmp_path / "slip.png")


def test_the_command_reads_with_it(command: Command, tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    Image.fromarray(line(list(mnist[0][:5]))).save(tmp_path / "slip.png")
    result = command("predict", "--ckpt_path", "pretrained", "--data.pictures", "slip.png")
    assert (result.status, result.err) == (0, "")
    assert "slip.png  72104" in result.out
    assert [row["digit"] for row in read_table(tmp_path / "predictions" / "version_0")] == list("72104")


@pytest.mark.slow
def test_its_accuracy_is_that_of_its_card(command: Command) -> None:
    result = command("test", "--ckpt_path", "pretrained")
    accuracy = result.out.split("test_accuracy ")[1][:6]
    assert float(accuracy) >= 0.9960
    assert accuracy in CARD.read_text(encoding="utf-8")


def test_training_does_not_go_on_from_it(command: Command) -> None:
    result = command("fit", "--ckpt_path", "pretrained")
    assert result.status == 2
    assert "holds weights only" in result.err
    assert result.err.count("\n") == 1


def test_another_file_in_its_place_is_refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "pretrained.ckpt"
    shutil.copy(trained / "checkpoints" / "best.ckpt", changed)
    monkeypatch.setattr(checkpoints, "PRETRAINED", changed)
    with pytest.raises(CheckpointError, match="damaged or was changed; install digit_rnn again"):
        digit_rnn.DigitReader("pretrained")


def test_the_card_names_what_is_checked() -> None:
    text = CARD.read_text(encoding="utf-8")
    assert checkpoints.PRETRAINED_SHA256 in text
    assert f"{checkpoints.PRETRAINED.stat().st_size:,} bytes" in text
