"""Checkpoints that were damaged or changed: refused in one line, never loaded wrong."""

import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from digit_rnn.checkpoints import check_resumable, read_checkpoint
from digit_rnn.errors import CheckpointError
from tests.conftest import Command

Change = Callable[[dict[str, Any]], object]


def test_a_flipped_bit_is_noticed(trained: Path, tmp_path: Path) -> None:
    """Of 300, each is refused or has changed nothing that is read."""
    whole = (trained / "checkpoints" / "last.ckpt").read_bytes()
    _, expected = read_checkpoint(trained / "checkpoints" / "last.ckpt")
    draws, file, refused = random.Random(0), tmp_path / "flipped.ckpt", 0
    for _ in range(300):
        content = bytearray(whole)
        content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
        file.write_bytes(content)
        try:
            _, found = read_checkpoint(file)
        except CheckpointError:
            refused += 1
        else:
            for part in ("state_dict", "optimizer_states"):
                torch.testing.assert_close(found[part], expected[part], rtol=0, atol=0)
            assert str(found) == str(expected)
    assert refused > 250


def set_tensor(name: str, value: float, place: int = 0) -> Change:
    def change(checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"][name].view(-1)[place] = value

    return change


CHANGES: dict[str, Change] = {
    "weight nan": set_tensor("network.rnn.weight_hh_l0", float("nan"), 77),
    "weight inf": set_tensor("network.head.bias", float("inf")),
    "temperature -1": set_tensor("confidence.temperature", -1),
    "temperature 0": set_tensor("confidence.temperature", 0),
    "temperature nan": set_tensor("confidence.temperature", float("nan")),
    "threshold inf": set_tensor("confidence.outlier_threshold", float("inf")),
    "center nan": set_tensor("confidence.centers", float("nan")),
    "weight missing": lambda checkpoint: checkpoint["state_dict"].pop("network.head.bias"),
    "weights empty": lambda checkpoint: checkpoint["state_dict"].clear(),
    "weights None": lambda checkpoint: checkpoint.update(state_dict=None),
    "options None": lambda checkpoint: checkpoint.update(hyper_parameters=None),
    "augmentation unknown": lambda checkpoint: checkpoint["datamodule_hyper_parameters"].update(
        augmentations={"blur": 1.0}
    ),
    "code named": lambda checkpoint: checkpoint["hyper_parameters"].update(_instantiator="os.system"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_changed_checkpoint_is_refused(kind: str, trained: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    CHANGES[kind](checkpoint)
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    with pytest.raises(CheckpointError, match=r"changed\.ckpt"):
        read_checkpoint(tmp_path / "changed.ckpt")


@pytest.mark.parametrize("key", ["_instantiator", "_class_path"])
@pytest.mark.parametrize("part", ["hyper_parameters", "datamodule_hyper_parameters"])
def test_code_that_a_checkpoint_names_is_not_run(
    part: str, key: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint[part][key] = "foreign.Module"
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    with pytest.raises(CheckpointError, match=r"changed\.ckpt"):
        read_checkpoint(tmp_path / "changed.ckpt")


RESUME_CHANGES: dict[str, Change] = {
    "no optimizer": lambda checkpoint: checkpoint.update(optimizer_states=[]),
    "empty optimizer": lambda checkpoint: checkpoint["optimizer_states"][0]["state"].clear(),
    "optimizer nan": lambda checkpoint: checkpoint["optimizer_states"][0]["state"][1]["exp_avg"].fill_(float("nan")),
    "other optimizer": lambda checkpoint: checkpoint["optimizer_states"][0]["state"][1].update(
        exp_avg_sq=torch.zeros(3)
    ),
    "empty loops": lambda checkpoint: checkpoint["loops"].clear(),
    "loops None": lambda checkpoint: checkpoint.update(loops=None),
    "no epoch": lambda checkpoint: checkpoint.pop("epoch"),
    "weights only": lambda checkpoint: checkpoint.pop("optimizer_states"),
}


@pytest.mark.parametrize("kind", RESUME_CHANGES)
def test_training_does_not_go_on_from_a_changed_checkpoint(kind: str, trained: Path, tmp_path: Path) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    model, checkpoint = read_checkpoint(path)
    check_resumable(path, model, checkpoint, max_steps=-1, max_epochs=2)
    RESUME_CHANGES[kind](checkpoint)
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        check_resumable(path, model, checkpoint, max_steps=-1, max_epochs=2)


def test_older_checkpoint_is_called_so(command: Command, trained: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {name.split(".", 1)[1]: tensor for name, tensor in state.items()}
    torch.save(checkpoint, tmp_path / "old.ckpt")
    result = command("test", "--ckpt_path", "old.ckpt")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "older version" in result.err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["script", "pickle", "legacy"])
def test_other_files_of_torch_are_refused_without_its_warnings(kind: str, trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.pt"
    if kind == "script":
        script = f"import torch; torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), {str(file)!r})"
        subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
    elif kind == "pickle":
        file.write_bytes(pickle.dumps({"state_dict": {}}))
    else:
        torch.save({"state_dict": {}}, file, _use_new_zipfile_serialization=False)
    words = [sys.executable, "-m", "digit_rnn", "test", f"--ckpt_path={file}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "other.pt" in done.stderr
