"""A run that is stopped goes on where it was, and ends as if it had never been."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator, ScalarEvent

from digit_rnn.data import SHA256
from tests.conftest import REPOSITORY, Command

EPOCHS = 4
SHORT = (f"--trainer.max_epochs={EPOCHS}", "--trainer.limit_train_batches=100", "--model.hidden_size=32")
RANDOM = (*SHORT, "--model.num_layers=2", "--model.dropout=0.3", "--data.rotation=10", "--trainer.log_every_n_steps=20")


def start(folder: Path, root: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "digit_rnn", "fit", f"--data.root={root}", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


class End(NamedTuple):
    """What a run leaves."""

    checkpoint: dict[str, Any]
    curves: dict[str, list[tuple[int, float]]]


def end(folder: Path) -> End:
    run = folder / "runs" / "version_0"
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == EPOCHS - 1
    events = EventAccumulator(str(run), size_guidance={SCALARS: 0})
    events.Reload()
    names = events.Tags()[SCALARS]
    curves = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}
    return End({key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}, curves)


def scalars(folder: Path, name: str) -> list[ScalarEvent]:
    events = EventAccumulator(str(folder / "runs" / "version_0"))
    events.Reload()
    return events.Scalars(name)


def assert_same(one: End, other: End) -> None:
    assert one.curves == other.curves
    torch.testing.assert_close(one.checkpoint, other.checkpoint, rtol=0, atol=0)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, root: Path) -> End:
    """What a run leaves that nobody stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    process = start(folder, root, *RANDOM)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return end(folder)


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(path)


@pytest.mark.parametrize(
    ("how", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow), (signal.SIGKILL, -9)],
)
def test_stopped_run_goes_on_and_ends_the_same(
    how: signal.Signals, status: int, tmp_path: Path, root: Path, unbroken: End
) -> None:
    process = start(tmp_path, root, *RANDOM)
    wait_for(tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt")
    time.sleep(0.5)  # into the next epoch, of which some steps are logged
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
    assert_same(end(tmp_path), unbroken)
    assert [step for step, _ in unbroken.curves["val_accuracy"]] == [99, 199, 299, 399]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["version_0"]


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path, root: Path, unbroken: End) -> None:
    moments = random.Random(0)
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(folder, root, *RANDOM)
        time.sleep(moments.uniform(1, 12))
        process.kill()
        process.communicate()
        last = folder / "runs" / "version_0" / "checkpoints" / "last.ckpt"
        words = ["--ckpt_path=last"] if last.exists() else [*RANDOM, f"--trainer.default_root_dir={folder / 'anew'}"]
        if last.exists() and torch.load(last, weights_only=True)["epoch"] == EPOCHS - 1:
            continue  # it had ended
        resumed = start(folder, root, *words)
        _, err = resumed.communicate(timeout=120)
        assert (resumed.returncode, err) == (0, "")
        assert_same(end(folder if last.exists() else folder / "anew"), unbroken)


@pytest.mark.parametrize("way", ["absolute path", "moved"])
def test_run_goes_on_from_anywhere(way: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its best checkpoint, its score and its curves, though the next epoch is worse."""
    command("fit", *SHORT, "--trainer.max_epochs=3", "--trainer.default_root_dir", tmp_path / "here")
    folder = tmp_path / "here"
    if way == "moved":
        folder = folder.rename(tmp_path / "there")
    best = (folder / "runs" / "version_0" / "checkpoints" / "best.ckpt").read_bytes()
    score = max(event.value for event in scalars(folder, "val_accuracy"))
    monkeypatch.chdir("/" if way == "absolute path" else tmp_path)
    worse = ("--data.batch_size=1", "--data.rotation=180", "--trainer.gradient_clip_val=null", "--trainer.max_epochs=4")
    place = folder if way == "absolute path" else folder.name
    result = command("fit", "--ckpt_path", f"{place}/runs/version_0/checkpoints/last.ckpt", *worse)
    assert (result.status, result.err) == (0, "")
    assert f"best val_accuracy {score:.4f}" in result.out
    assert (folder / "runs" / "version_0" / "checkpoints" / "best.ckpt").read_bytes() == best
    assert len(scalars(folder, "val_accuracy")) == 4


def test_training_goes_on_from_the_end_of_an_epoch_alone(command: Command) -> None:
    command("fit", *SHORT, "--trainer.max_steps=150")
    result = command("fit", "--ckpt_path=last", "--trainer.max_steps=300")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "was saved within an epoch" in result.err
    command("fit", *SHORT, "--trainer.max_steps=100")
    result = command("fit", "--ckpt_path=last")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "raise --trainer.max_steps" in result.err


def test_dropout_leaves_the_order_of_the_images_alone(command: Command, tmp_path: Path) -> None:
    """Loaders made anew in each epoch go on from the run's seed, which dropout does not touch."""
    words = (*RANDOM, "--model.schedule=constant", "--model.warmup=0", "--trainer.reload_dataloaders_every_n_epochs=1")
    last = tmp_path / "parts" / "runs" / "version_0" / "checkpoints" / "last.ckpt"
    command("fit", *words, "--trainer.max_epochs=2", "--trainer.default_root_dir", tmp_path / "whole")
    command("fit", *words, "--trainer.max_epochs=1", "--trainer.default_root_dir", tmp_path / "parts")
    command("fit", "--ckpt_path", last, "--trainer.max_epochs=2")
    whole, parts = (
        [(event.step, event.value) for event in scalars(tmp_path / folder, "train_loss")]
        for folder in ("whole", "parts")
    )
    assert len(whole) == 2
    assert whole == parts


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


SIZES = """
import json, sys
from lightning.pytorch import Trainer
from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.data import Images

root, checkpoint, devices = sys.argv[1:]
model, figures = DigitRNN.load_from_checkpoint(checkpoint), []
trainer = Trainer(accelerator="cpu", devices=int(devices), strategy="ddp" if devices != "1" else "auto", logger=False,
                  enable_progress_bar=False, enable_checkpointing=False, use_distributed_sampler=False)
for size in (10000, 9999, 7):
    data = MNISTDataModule(root, eval_batch_size=333)
    data.setup("test")
    data.test_set = Images(data.test_set.images[:size], data.test_set.labels[:size])
    trainer.test(model, data, verbose=False)
    figures.append({name: float(value) for name, value in trainer.callback_metrics.items()})
if trainer.is_global_zero:
    print(json.dumps(figures))
"""


@pytest.mark.slow
def test_two_processes_count_sizes_that_do_not_divide(trained: Path, root: Path, tmp_path: Path) -> None:
    script = tmp_path / "sizes.py"
    script.write_text(SIZES)
    results = []
    for devices in ("1", "2"):
        words = [
            sys.executable,
            "-W",
            "ignore",
            str(script),
            str(root),
            str(trained / "checkpoints/best.ckpt"),
            devices,
        ]
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout.splitlines()[-1]))
    for one, two in zip(*results, strict=True):
        assert one["test_accuracy"] > 0.9
        assert two == pytest.approx(one, abs=1e-6)


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
    for name, (_, digest) in SHA256.items():
        assert hashlib.sha256((tmp_path / "data" / "MNIST" / "raw" / name).read_bytes()).hexdigest() == digest
    assert len(list((tmp_path / "data" / "MNIST" / "raw").iterdir())) == 4


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the moment is read off Linux's /proc")
def test_stopped_while_it_is_being_imported(tmp_path: Path, root: Path) -> None:
    process = start(tmp_path, root)
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtorch" not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "error: stopped\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_prediction_keeps_what_it_had(how: signal.Signals, trained: Path, root: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "digit_rnn", "predict", f"--ckpt_path={trained}/checkpoints/best.ckpt"]
    process = subprocess.Popen(
        [*words, f"--data.root={root}", "--data.eval_batch_size=1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    table = tmp_path / "predictions" / "version_0" / "predictions.csv"
    wait_for(table)
    while len(table.read_text().splitlines()) < 100:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "error: stopped: what was read until then is in predictions/version_0\n"
    rows = table.read_text().splitlines()
    assert 100 <= len(rows) < 10_001
    assert all(row.count(",") == 3 for row in rows)


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
