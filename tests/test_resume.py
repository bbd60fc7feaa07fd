"""A run that is stopped goes on where it was, and ends as if it had never been."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import Command

EPOCHS = 4
SHORT = (f"--trainer.max_epochs={EPOCHS}", "--trainer.limit_train_batches=100", "--model.hidden_size=32")


def start(folder: Path, root: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "digit_rnn", "fit", f"--data.root={root}", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def end(folder: Path) -> dict[str, torch.Tensor]:
    file = folder / "runs" / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    assert checkpoint["epoch"] == EPOCHS - 1
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, root: Path) -> dict[str, torch.Tensor]:
    """The weights of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    process = start(folder, root, *SHORT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return end(folder)


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(path)


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_stopped_run_goes_on_and_ends_the_same(
    how: signal.Signals, status: int, tmp_path: Path, root: Path, unbroken: dict[str, torch.Tensor]
) -> None:
    process = start(tmp_path, root, *SHORT)
    wait_for(tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt")
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    if status == 130:
        assert err.splitlines()[-1].startswith(
            "error: stopped: go on with python -m digit_rnn fit --ckpt_path runs/version_0/"
        )
        assert "Traceback" not in err
    resumed = start(tmp_path, root, "--ckpt_path=last")  # with the options of the run, unsaid
    _, err = resumed.communicate(timeout=120)
    assert (resumed.returncode, err) == (0, "")
    state = end(tmp_path)
    assert all(torch.equal(state[name], unbroken[name]) for name in unbroken)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["version_0"]
    events = EventAccumulator(str(tmp_path / "runs" / "version_0"))
    events.Reload()
    assert {event.step for event in events.Scalars("val_accuracy")} == {99, 199, 299, 399}


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path, root: Path, unbroken: dict[str, torch.Tensor]) -> None:
    moments = random.Random(0)
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(folder, root, *SHORT)
        time.sleep(moments.uniform(1, 12))
        process.kill()
        process.communicate()
        last = folder / "runs" / "version_0" / "checkpoints" / "last.ckpt"
        words = ["--ckpt_path=last"] if last.exists() else [*SHORT, f"--trainer.default_root_dir={folder / 'anew'}"]
        if last.exists() and torch.load(last, weights_only=True)["epoch"] == EPOCHS - 1:
            continue  # it had ended
        resumed = start(folder, root, *words)
        _, err = resumed.communicate(timeout=120)
        assert (resumed.returncode, err) == (0, "")
        state = end(folder if last.exists() else folder / "anew")
        assert all(torch.equal(state[name], unbroken[name]) for name in unbroken)


def test_finished_run_says_so(command: Command) -> None:
    command("fit", *SHORT, "--trainer.max_epochs=1")
    result = command("fit", "--ckpt_path=last")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "raise --trainer.max_epochs" in result.err
    assert command("fit", "--ckpt_path=last", "--trainer.max_epochs=2").status == 0


def test_loss_that_is_not_finite_stops_the_run(command: Command, tmp_path: Path) -> None:
    result = command(
        "fit", *SHORT, "--model.learning_rate=1e30", "--trainer.gradient_clip_val=null", "--model.warmup=0"
    )
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "is not finite" in result.err
    assert not (tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt").exists()


def test_two_processes_count_as_one_does(command: Command, trained: Path, root: Path, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    alone = command("test", "--ckpt_path", checkpoint).out.splitlines()[0]
    two = ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", "--data.eval_batch_size=333")
    words = [sys.executable, "-m", "digit_rnn", "test", f"--ckpt_path={checkpoint}", f"--data.root={root}", *two]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == alone
    tables = [path.read_text() for path in sorted(tmp_path.glob("reports/*/digits.csv"))]
    assert len(tables) == 2
    assert tables[0] == tables[1]


def test_checkpoint_that_cannot_be_written(tmp_path: Path, root: Path) -> None:
    """No file may grow over 2 MB, as on a disk that is full: one line, and the checkpoint of before is still whole."""
    words = (
        f"fit --data.root={root} --trainer.max_epochs=1 --trainer.limit_train_batches=5 --trainer.limit_val_batches=1"
    )
    command = f"{sys.executable} -m digit_rnn"
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    subprocess.run(["bash", "-c", f"{command} {words} --model.hidden_size=512"], **run)  # type: ignore[call-overload]
    folder = tmp_path / "runs" / "version_0" / "checkpoints"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    more = f"ulimit -f 2048; {command} fit --ckpt_path=last --trainer.max_epochs=2"
    done = subprocess.run(["bash", "-c", more], **run)  # type: ignore[call-overload]
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write runs/version_0/checkpoints/")
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
