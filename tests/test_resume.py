"""A run that is stopped goes on where it was, and ends as if it had never been."""

import random
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator, ScalarEvent

from tests.conftest import Command
from tests.helpers import start, wait_for

pytestmark = pytest.mark.slow

EPOCHS = 4
SHORT = (f"--trainer.max_epochs={EPOCHS}", "--trainer.limit_train_batches=100", "--model.hidden_size=32")
RANDOM = (
    *SHORT, "--model.num_layers=2", "--model.dropout=0.3", "--data.augmentations.rotation=10",
    "--trainer.log_every_n_steps=20",
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


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
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
    worse = (
        "--data.batch_size=1", "--data.augmentations.rotation=180", "--trainer.gradient_clip_val=null",
        "--trainer.max_epochs=4",
    )  # fmt: skip
    place = folder if way == "absolute path" else folder.name
    result = command("fit", "--ckpt_path", f"{place}/runs/version_0/checkpoints/last.ckpt", *worse)
    assert (result.status, result.err) == (0, "")
    assert f"best val_accuracy {score:.4f}" in result.out
    assert (folder / "runs" / "version_0" / "checkpoints" / "best.ckpt").read_bytes() == best
    assert len(scalars(folder, "val_accuracy")) == 4


def test_training_goes_on_from_the_end_of_an_epoch_alone(command: Command, tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        result = command("fit", "--ckpt_path=last", *words)
        assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return result.err

    command("fit", *SHORT, "--trainer.max_steps=150")
    for words in ([], ["--trainer.max_steps=300"]):
        assert "cannot be resumed exactly" in refused(*words)
    assert "was saved within an epoch" in refused("--trainer.max_steps=-1")
    command("fit", *SHORT, "--trainer.max_steps=100")  # an epoch's end
    for words in ([], ["--trainer.max_steps=100"], ["--trainer.max_steps=200"]):
        assert "cannot be resumed exactly" in refused(*words)


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
