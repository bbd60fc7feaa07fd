"""The exported file answers as the network does, and an export that cannot be done leaves everything as it was."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import digit_rnn
from digit_rnn import DigitRNN
from digit_rnn.models import network as networks
from digit_rnn.models import onnx_graph
from digit_rnn.models.onnx_graph import onnx_model
from tests.conftest import Command
from tests.helpers import assert_refused

onnx: Any = pytest.importorskip("onnx")
onnxruntime: Any = pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]

KINDS = [("rnn", "tanh"), ("rnn", "relu"), ("gru", "tanh"), ("lstm", "tanh")]


@pytest.fixture
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "best.ckpt"


def session(source: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def answers(running: Any, images: Tensor) -> tuple[Array, Array]:
    probabilities, is_outlier = running.run(["probabilities", "is_outlier"], {"images": images.numpy()})
    return probabilities, is_outlier


@torch.no_grad()
def expected(model: DigitRNN, images: Tensor) -> tuple[Array, Array, Array]:
    """Probabilities, outliers, and by how much of the threshold a score differs from it."""
    features = model.network.features(images)
    logits = model.network.classify(features)
    confidence = model.confidence
    margin = (confidence.outlier_score(features, logits) / confidence.outlier_threshold - 1).abs()
    return confidence.probabilities(logits).numpy(), confidence.is_outlier(features, logits).numpy(), margin.numpy()


@torch.no_grad()
def calibrated(cell: str, nonlinearity: str, depth: int, both: bool, eleventh: bool) -> DigitRNN:
    """A network in which no two numbers are the same, whose confidence has learnt from some images."""
    torch.manual_seed(0)
    options: Any = {"cell": cell, "nonlinearity": nonlinearity, "num_layers": depth, "bidirectional": both}
    model = DigitRNN(**options, hidden_size=24, dropout=0.5, non_digit_output=eleventh).eval()
    for name, parameter in model.named_parameters():
        if "bias" in name:
            nn.init.uniform_(parameter, -0.3, 0.3)
        elif "weight_hh" in name:
            # A relu's identity never forgets: after 60 rows, float32 itself is off by 1e-5 in logits of hundreds.
            nn.init.uniform_(parameter, -0.2, 0.2)
    images = torch.rand(500, 28, 28)
    features = model.network.features(images)
    model.confidence.fit(features, model.network.classify(features), torch.randint(10, (500,)))
    assert model.confidence.temperature != 1
    return model


@pytest.mark.parametrize(("cell", "nonlinearity"), KINDS)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("eleventh", [False, True])
def test_the_file_answers_as_the_network(
    cell: str, nonlinearity: str, depth: int, both: bool, eleventh: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    model = calibrated(cell, nonlinearity, depth, both, eleventh)
    written = onnx_model(model, {})
    kinds = [node.op_type for node in written.graph.node]
    assert kinds.count(cell.upper()) == depth
    running = session(written.SerializeToString())
    outliers = []
    for rows in (1, 13, 28, 60):
        for batch in (1, 7, 300):
            images = torch.rand(batch, rows, 28)
            wanted, is_outlier, margin = expected(model, images)
            probabilities, found = answers(running, images)
            assert (probabilities.dtype, probabilities.shape) == (np.float32, (batch, 10))
            assert (found.dtype, found.shape) == (np.bool_, (batch,))
            np.testing.assert_allclose(probabilities, wanted, rtol=0, atol=1e-5)
            clear = margin > 1e-4
            assert clear.mean() > 0.9
            assert found[clear].tolist() == is_outlier[clear].tolist()
            outliers += found.tolist()
    assert 0 < sum(outliers) < len(outliers)
    assert capfd.readouterr().err == ""  # the runtime has nothing to complain about


@pytest.mark.parametrize(("cell", "nonlinearity"), KINDS)
@pytest.mark.parametrize("eleventh", [False, True])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_an_outlier(cell: str, nonlinearity: str, eleventh: bool, number: float) -> None:
    """The runtime's cells would make a digit of it."""
    model = calibrated(cell, nonlinearity, 1, False, eleventh)
    images = torch.rand(40, 28, 28)
    before = answers(session(onnx_model(model, {}).SerializeToString()), images)
    images[3, 5, 7] = number
    probabilities, is_outlier = answers(session(onnx_model(model, {}).SerializeToString()), images)
    assert is_outlier[3]
    assert np.isnan(probabilities[3]).all()
    others = np.arange(40) != 3
    np.testing.assert_allclose(probabilities[others], before[0][others], atol=1e-6)
    assert is_outlier[others].tolist() == before[1][others].tolist()


def test_before_it_learns_confidence_finds_every_image_odd() -> None:
    for eleventh in (False, True):
        model = DigitRNN(non_digit_output=eleventh).eval()
        assert answers(session(onnx_model(model, {}).SerializeToString()), torch.rand(5, 28, 28))[1].all()


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
