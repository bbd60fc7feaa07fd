import hashlib
import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import RunningStage

from digit_rnn import DigitRNN
from digit_rnn.callbacks.run import ReadyToSave
from digit_rnn.data.mnist import MNIST
from tests.conftest import Command
from tests.helpers import SHORT, assert_refused, start, weights


def test_fit_leaves_a_whole_run_and_says_where(command: Command, tmp_path: Path) -> None:
    result = command("fit", *SHORT)
    assert (result.status, result.err) == (0, "")
    run = tmp_path / "runs" / "version_0"
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    lines = result.out.splitlines()
    assert lines[0].startswith("epoch 1/1  train_loss ")
    assert [line.split()[0] for line in lines[1:]] == ["best", "checkpoint", "test", "predict", "logs", "curves"]
    assert lines[3].endswith("python -m digit_rnn test --ckpt_path runs/version_0/checkpoints/best.ckpt")


def test_config_of_a_run_repeats_it(command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT, "--model.hidden_size=32", "--seed_everything=7", "--trainer.gradient_clip_val=null")
    config = yaml.safe_load((tmp_path / "runs" / "version_0" / "config.yaml").read_text())
    assert config["model"]["hidden_size"] == 32
    assert config["trainer"]["gradient_clip_val"] is None
    assert command("fit", "--config", "runs/version_0/config.yaml").status == 0
    first, second = (weights(tmp_path / "runs" / f"version_{number}") for number in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_fits_have_a_folder_each_and_nothing_is_overwritten(command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT)
    first = {path: path.read_bytes() for path in (tmp_path / "runs" / "version_0").rglob("*") if path.is_file()}
    command("fit", *SHORT, "--model.hidden_size=32")
    assert all(path.read_bytes() == content for path, content in first.items())
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["version_0", "version_1"]


def test_checkpoint_of_a_run_without_validation_and_one_of_the_users_own(command: Command, tmp_path: Path) -> None:
    result = command("fit", *SHORT, "--trainer.limit_val_batches=0")
    assert (result.status, result.err) == (0, "")
    assert "checkpoint  runs/version_0/checkpoints/last.ckpt" in result.out
    theirs = ("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.monitor=val_loss")
    result = command("fit", *SHORT, *theirs, "--trainer.callbacks.filename=theirs", "--trainer.logger=false")
    assert "checkpoint  runs/version_1/checkpoints/best.ckpt" in result.out
    assert "tensorboard" not in result.out
    assert (tmp_path / "runs" / "version_1" / "own_checkpoints" / "theirs.ckpt").is_file()


def test_a_users_own_checkpoints_leave_the_runs_alone(command: Command, tmp_path: Path) -> None:
    theirs = ("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.filename=best")
    theirs = (*theirs, "--trainer.callbacks.save_last=true")
    assert command("fit", *SHORT, *theirs).status == 0
    assert command("fit", *SHORT, *theirs, "--trainer.callbacks.dirpath=mine").status == 0
    for number, place in enumerate((tmp_path / "runs" / "version_0" / "own_checkpoints", tmp_path / "mine")):
        assert {file.name for file in place.iterdir()} == {"best.ckpt", "last.ckpt"}
        files = (tmp_path / "runs" / f"version_{number}" / "checkpoints").iterdir()
        assert {file.name for file in files} == {"best.ckpt", "last.ckpt"}


def test_a_figure_that_is_not_measured_cannot_be_waited_for(command: Command, tmp_path: Path) -> None:
    stopping = ("--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val_acc")
    result = command("fit", *SHORT, *stopping)
    assert_refused(
        result, tmp_path, set(), "EarlyStopping monitors 'val_acc': expected val_loss, val_accuracy, train_loss"
    )


def test_a_callback_whose_package_is_not_installed(command: Command, tmp_path: Path) -> None:
    if find_spec("rich"):
        pytest.skip("it is installed")
    result = command("fit", *SHORT, "--trainer.callbacks=RichProgressBar")
    assert_refused(result, tmp_path, set(), "'lightning.pytorch.callbacks.RichProgressBar': `RichProgressBar` requires")


def test_what_was_asked_for_is_printed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: printed.append(record.name.rsplit(".", 1)[1]))
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "handlers", [handler])
    command("fit", *SHORT, "--trainer.profiler=simple", "--trainer.enable_model_summary=true")
    assert printed == ["model_summary", "profiler"]
    command("fit", *SHORT)
    assert printed == ["model_summary", "profiler"]


@pytest.mark.slow
def test_two_runs_that_start_at_once(tmp_path: Path) -> None:
    """In one folder, and with one data folder that neither finds: both runs are whole, and so is the data."""
    words = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=5", "--trainer.limit_val_batches=1")
    processes = [start(tmp_path, tmp_path / "data", *words) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    runs = sorted((tmp_path / "runs").iterdir())
    assert [run.name for run in runs] == ["version_0", "version_1"]
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in runs]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    for name, digest in MNIST.digests.items():
        assert hashlib.sha256((tmp_path / "data" / "MNIST" / "raw" / name).read_bytes()).hexdigest() == digest
    assert len(list((tmp_path / "data" / "MNIST" / "raw").iterdir())) == 4


@pytest.mark.slow
def test_disk_that_is_full(tmp_path: Path, root: Path) -> None:
    """No file may grow over so many kB, as on a disk that is full: one line, and what there was is still whole."""
    few = "--trainer.limit_train_batches=5 --trainer.limit_val_batches=1 --model.hidden_size=512"
    new, more = f"--data.root={root} --trainer.max_epochs=1 {few}", "--ckpt_path=last --trainer.max_epochs=2"

    def fit(words: str, limit: int | str = "unlimited") -> subprocess.CompletedProcess[str]:
        script = f"ulimit -f {limit}; {sys.executable} -m digit_rnn fit {words}"
        return subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert fit(new).returncode == 0
    folder = tmp_path / "runs" / "version_0" / "checkpoints"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for words, limit, message in [
        (more, 2048, "error: cannot write runs/version_0/checkpoints/"),  # the curves, but no checkpoint
        (more, 4, "error: File too large: stopped; what was written before is still there"),
        (new, 1, "error: File too large: stopped; what was written before is still there"),
    ]:
        done = fit(words, limit)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith(message)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["version_0"]  # not even an empty one


@pytest.mark.parametrize(("error", "waits"), [(KeyboardInterrupt(), True), (ValueError(), False)])
def test_stopped_processes_that_read_end_by_themselves(error: BaseException, waits: bool, tmp_path: Path) -> None:
    options = {"accelerator": "cpu", "devices": 2, "logger": False, "enable_checkpointing": False}
    trainer = Trainer(strategy="ddp", default_root_dir=tmp_path, enable_progress_bar=False, **options)
    trainer.state.stage = RunningStage.PREDICTING
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"]) as other:
        trainer.strategy.launcher.procs.append(other)
        ReadyToSave().on_exception(trainer, DigitRNN(), error)
        assert (other.returncode == 0) is waits
