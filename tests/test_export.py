"""The command export: the file is the network, and an export that cannot be done leaves everything as it was."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import digit_rnn.vision
from digit_rnn import DigitRNN
from digit_rnn.models import network as networks
from digit_rnn.models import onnx_graph
from tests.conftest import Command
from tests.exported import answers, expected, session
from tests.helpers import assert_refused

onnx: Any = pytest.importorskip("onnx")


@pytest.fixture
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "best.ckpt"


def test_accuracy_and_outliers_of_mnist_are_the_networks(
    command: Command,
    tmp_path: Path,
    checkpoint: Path,
    network: DigitRNN,
    images_and_labels: tuple[Tensor, Tensor],
) -> None:
    result = command("export", "--ckpt_path", checkpoint, "--output", "a.onnx")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        "onnx        a.onnx",
        "input       images: float32 (batch, rows, 28) in [0, 1], ink bright",
        "outputs     probabilities: float32 (batch, 10); is_outlier: bool (batch)",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    images, labels = images_and_labels
    probabilities, is_outlier = answers(session(str(tmp_path / "a.onnx")), images)
    wanted, odd, margin = expected(network, images)
    np.testing.assert_allclose(probabilities, wanted, rtol=0, atol=1e-5)
    hits = int((probabilities.argmax(1) == labels.numpy()).sum())
    assert hits == int((wanted.argmax(1) == labels.numpy()).sum())
    assert f"accuracy {hits / 10_000:.4f}" in command("test", "--ckpt_path", checkpoint).out
    assert is_outlier[margin > 1e-5].tolist() == odd[margin > 1e-5].tolist()
    assert 0.005 < is_outlier.mean() < 0.1


def test_the_file_says_what_it_is(command: Command, tmp_path: Path, trained: Path) -> None:
    shutil.copytree(trained, tmp_path / "runs" / "version_0")
    known = {}
    for name in ("best", "last"):
        assert command("export", "--ckpt_path", name, "--output", f"{name}.onnx").status == 0
        model = onnx.load(tmp_path / f"{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        known[name] = {entry.key: entry.value for entry in model.metadata_props}
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
        assert (model.producer_name, model.producer_version) == ("digit_rnn", digit_rnn.__version__)
        assert model.ir_version == 8
    state = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"]
    (score,) = (value["best_model_score"] for value in state.values() if value.get("monitor") == "val_accuracy")
    assert known["best"].pop("val_accuracy") == f"{score:.4f}"
    assert "val_accuracy" not in known["last"]  # what its callbacks hold is that of the best
    assert known["best"] == known["last"]
    assert json.loads(known["best"]["class_names"]) == list("0123456789")
    assert known["best"]["confidence_threshold"] == "0.99"
    assert known["best"]["digit_rnn_version"] == digit_rnn.__version__
    assert "digit_rnn.vision.normalise" in known["best"]["images"]
    assert callable(digit_rnn.vision.normalise)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--output", "a.pt"], ["--output a.pt", ".onnx"]),
        (["--output", ""], [".onnx"]),
        (["--output", "there.onnx"], ["there.onnx exists already"]),
        (["--output", "dangling.onnx"], ["dangling.onnx exists already"]),
        (["--output", "folder.onnx"], ["folder.onnx exists already"]),
        (["--output", "missing/a.onnx"], ["no folder missing"]),
        (["--output", "there.onnx/a.onnx"], ["no folder there.onnx"]),
        (["--output", "a" * 250 + ".onnx"], ["cannot write", "name too long"]),
        (["--output", "a.onnx", "--ckpt_path", "none.ckpt"], ["no checkpoint", "none.ckpt"]),
        (["--output", "a.onnx", "--ckpt_path", "best"], ["no run"]),
        (["--opset", "9"], ["--opset"]),
        (["a.onnx"], ["a.onnx"]),
    ],
)
def test_refusals_leave_everything_as_it_was(
    words: list[str], fragments: list[str], command: Command, tmp_path: Path, checkpoint: Path
) -> None:
    (tmp_path / "there.onnx").write_text("mine")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "dangling.onnx").symlink_to("nowhere")
    before = set(tmp_path.rglob("*"))
    named = [] if "--ckpt_path" in words else ["--ckpt_path", checkpoint]
    result = command("export", *named, *words)
    assert_refused(result, tmp_path, before)
    for fragment in fragments:
        assert fragment.lower() in result.err.lower()
    assert (tmp_path / "there.onnx").read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_left_alone(
    command: Command, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, fsync = tmp_path / "a.onnx", os.fsync

    def meanwhile(number: int) -> None:
        fsync(number)
        file.write_text("mine")

    monkeypatch.setattr(os, "fsync", meanwhile)
    for link in (os.link, no_link):
        monkeypatch.setattr(os, "link", link)
        assert_refused(
            command("export", "--ckpt_path", checkpoint, "--output", file), tmp_path, {file}, "exists already"
        )
        assert file.read_text() == "mine"
        file.unlink()


def no_link(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_file_system_without_links_will_do(
    command: Command, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_link)
    assert command("export", "--ckpt_path", checkpoint, "--output", "a.onnx").status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_half_written_file_is_removed(
    error: BaseException, command: Command, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> Iterator[None]:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    result = command("export", "--ckpt_path", checkpoint, "--output", "a.onnx")
    if isinstance(error, OSError):
        assert_refused(result, tmp_path, set(), "cannot write a.onnx: No space left on device")
    else:
        assert (result.status, result.out, result.err) == (130, "", "error: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_what_to_install(
    command: Command, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = command("export", "--ckpt_path", checkpoint, "--output", "a.onnx")
    assert_refused(result, tmp_path, set(), 'pip install "digit_rnn[onnx]"')
    assert command("export", "--help").status == 0


def test_a_cell_that_onnx_does_not_know_is_refused(
    command: Command, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Coupled(nn.RNN):
        """Stands for a cell of somebody's own, under a name that the checkpoint has."""

    monkeypatch.setitem(networks.CELLS, "rnn", Coupled)
    result = command("export", "--ckpt_path", checkpoint, "--output", "a.onnx")
    assert_refused(result, tmp_path, set(), "this network's is Coupled", "rnn, gru and lstm")


def test_a_network_too_large_for_a_file_is_refused(
    command: Command, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "LARGEST", 1000)
    assert_refused(
        command("export", "--ckpt_path", checkpoint, "--output", "a.onnx"), tmp_path, set(), "holds 2 at most"
    )


def test_help(command: Command) -> None:
    result = command("export", "--help")
    assert (result.status, result.err) == (0, "")
    assert "python -m digit_rnn export [options]" in result.out
    for word in ("--ckpt_path", "pretrained", "--output", "digit_rnn.onnx"):
        assert word in result.out
    assert "python -m digit_rnn export" in command("--help").out
