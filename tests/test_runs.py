"""Runs off the beaten path: stopped, averaged, without a bar, with loggers of others, with damaged configurations."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from digit_rnn import DigitRNN, MNISTDataModule
from tests.conftest import REPOSITORY, Command
from tests.helpers import assert_refused

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1")


@pytest.mark.parametrize("bar", ["true", "false"])
def test_loss_that_is_not_finite_is_noticed_with_and_without_the_bar(
    bar: str, command: Command, tmp_path: Path
) -> None:
    words = ("--model.learning_rate=1e30", "--model.warmup=0", "--trainer.gradient_clip_val=null")
    for validation in ("1", "0"):
        result = command(
            "fit", *SHORT, *words, f"--trainer.enable_progress_bar={bar}", f"--trainer.limit_val_batches={validation}"
        )
        assert (result.status, result.err.count("\n")) == (2, 1)
        assert "is not finite: epoch 1; try a lower --model.learning_rate" in result.err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_averaged_weights_have_a_configuration_that_can_be_read_back(command: Command, tmp_path: Path) -> None:
    words = ("--trainer.callbacks=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01", "--model.warmup=0")
    result = command("fit", *SHORT, *words, "--model.schedule=constant")
    assert result.status == 0
    assert "serialize" not in result.err
    again = command("fit", "--config", "runs/version_0/config.yaml")
    assert again.status == 0
    first, second = ((tmp_path / "runs" / f"version_{n}" / "config.yaml").read_text() for n in (0, 1))
    assert first == second


def test_run_with_a_number_of_steps_is_not_resumed(command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT, "--trainer.max_steps=3")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for words in ([], ["--trainer.max_steps=9"]):
        result = command("fit", "--ckpt_path=last", "--trainer.max_epochs=3", *words)
        assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
        assert "cannot be resumed exactly" in result.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_tables_of_a_stopped_run_end_where_it_goes_on(command: Command, tmp_path: Path) -> None:
    words = ("--trainer.logger=CSVLogger", "--trainer.logger.save_dir=logs", "--trainer.log_every_n_steps=1")
    command("fit", *SHORT, *words, "--model.hidden_size=8")
    tables = tmp_path / "logs" / "lightning_logs"
    with (tables / "version_0" / "metrics.csv").open("a") as file:  # as of a run that was stopped in its next epoch
        header = (tables / "version_0" / "metrics.csv").read_text().splitlines()[0].split(",")
        file.write(",".join({"step": "3", "epoch": "1"}.get(name, "") for name in header) + "\n")
    assert command("fit", "--ckpt_path=last", "--trainer.max_epochs=2").status == 0
    steps = []
    for number in (0, 1):
        with (tables / f"version_{number}" / "metrics.csv").open() as file:
            steps.append({int(row["step"]) for row in csv.DictReader(file)})
    assert steps == [{0, 1, 2}, {3, 4, 5}]


KILLED = """
import os, signal, sys
from pathlib import Path
from lightning.pytorch import Trainer
from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.callbacks.run import RunCheckpoint, RunFolder
from digit_rnn.checkpoints import AtomicCheckpointIO

class Killed(AtomicCheckpointIO):
    def save_checkpoint(self, checkpoint, path, storage_options=None):
        super().save_checkpoint(checkpoint, path, storage_options)
        if checkpoint["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)

run = RunFolder(Path("runs"), "", tensorboard=True)
last = RunCheckpoint(False, filename="last", save_on_train_epoch_end=True)
trainer = Trainer(max_epochs=3, limit_train_batches=20, limit_val_batches=1, accelerator="cpu", log_every_n_steps=5,
                  logger=False, callbacks=[run, last], plugins=[Killed()], enable_progress_bar=False)
trainer.fit(DigitRNN(hidden_size=8), MNISTDataModule(sys.argv[1]))
"""


@pytest.mark.slow
def test_curves_are_whole_up_to_a_checkpoint_after_which_the_run_is_killed(tmp_path: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-W", "ignore", "-c", KILLED, str(root)]
    done = subprocess.run(words, cwd=tmp_path, env=environment, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    run = tmp_path / "runs" / "version_0"
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
    events = EventAccumulator(str(run))
    events.Reload()
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert [event.step for event in events.Scalars(name)] == [19, 39]
    assert [event.step for event in events.Scalars("train_loss_step")] == [4, 9, 14, 19, 24, 29, 34, 39]


def test_a_network_that_was_never_validated_is_sure_of_nothing() -> None:
    probabilities, is_outlier = DigitRNN().eval().predict_step((torch.rand(5, 28, 28), None), 0)
    assert is_outlier.all()
    assert probabilities.sum(1).allclose(torch.ones(5))


def test_sanity_check_before_training(command: Command) -> None:
    result = command("fit", *SHORT, "--trainer.num_sanity_val_steps=2")
    assert (result.status, result.err) == (0, "")


@pytest.mark.slow
def test_time_that_is_over_leaves_the_last_whole_epoch(command: Command, tmp_path: Path) -> None:
    words = ("--trainer.limit_train_batches=100", "--trainer.limit_val_batches=1", "--model.hidden_size=8")
    result = command("fit", *words, "--trainer.max_epochs=1000", "--trainer.max_time=00:00:00:03")
    assert (result.status, result.err) == (0, "")
    last = torch.load(tmp_path / "runs/version_0/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 100 * (last["epoch"] + 1)
    result = command(
        "fit", "--ckpt_path=last", "--trainer.max_time=00:01:00:00", f"--trainer.max_epochs={last['epoch'] + 2}"
    )
    assert (result.status, result.err) == (0, "")


def test_what_was_interrupted_is_not_counted_again(root: Path) -> None:
    class Stop(Callback):
        def on_test_batch_end(self, trainer: Trainer, *args: object) -> None:
            raise RuntimeError("stopped")

        def on_validation_batch_end(self, trainer: Trainer, *args: object) -> None:
            raise RuntimeError("stopped")

    options: dict[str, Any] = {
        "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False,
        "enable_model_summary": False, "limit_train_batches": 2, "max_epochs": 1,
    }  # fmt: skip
    model, data = DigitRNN(hidden_size=16), MNISTDataModule(str(root))
    for stopped in (lambda trainer: trainer.test(model, data), lambda trainer: trainer.fit(model, data)):
        with pytest.raises(RuntimeError, match="stopped"):
            stopped(Trainer(callbacks=[Stop()], **options))
    Trainer(**options).test(model, data, verbose=False)
    assert model.test_metrics.count == 10_000
    Trainer(**options).fit(model.train(), data)
    assert model.val_metrics.count == 6_000
    assert len(model.val_outputs.columns()[2]) == 6_000


@pytest.mark.parametrize("text", ["model: {hidden_size: [", "", "- 1", "\x00"])
def test_run_whose_configuration_is_damaged(text: str, command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT)
    (tmp_path / "runs/version_0/config.yaml").write_text(text)
    result = command("fit", "--ckpt_path=last", "--trainer.max_epochs=2")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "cannot read runs/version_0/config.yaml" in result.err


def test_seeds_of_a_run_that_goes_on(command: Command) -> None:
    """Its own file is no other seed than its own; another seed is refused, as it would be ignored."""
    command("fit", *SHORT, "--model.dropout_seed=3")
    more = "--ckpt_path=last", "--trainer.max_epochs=2"
    for option, wins in (("--data.train_seed", 0), ("--model.dropout_seed", 3)):
        result = command("fit", *more, option, 7)
        assert (result.status, result.err.count("\n")) == (2, 1)
        assert f"{option} 7 would be ignored: the checkpoint's {wins} wins" in result.err
    assert command("fit", "--config=runs/version_0/config.yaml", *more).status == 0


@pytest.mark.slow
def test_seeds_follow_the_commands_unless_they_are_given(command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT, "--seed_everything=5")
    command("fit", *SHORT, "--seed_everything=5", "--data.train_seed=6")
    kept = []
    for number in (0, 1):
        checkpoint = torch.load(tmp_path / f"runs/version_{number}/checkpoints/last.ckpt", weights_only=True)
        seeds = checkpoint["hyper_parameters"]["dropout_seed"], checkpoint["datamodule_hyper_parameters"]["train_seed"]
        kept.append((seeds, checkpoint["state_dict"]["network.head.bias"]))
    assert [seeds for seeds, _ in kept] == [(5, 5), (5, 6)]
    assert not torch.equal(kept[0][1], kept[1][1])
    result = command("fit", "--ckpt_path=last", "--trainer.max_epochs=2", "--seed_everything=9")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "--seed_everything 9 would be ignored: the checkpoint's 5 wins" in result.err
    assert command("test", "--ckpt_path=last", "--seed_everything=9", "--trainer.limit_test_batches=1").status == 0


def test_options_with_which_a_run_goes_on_are_kept(command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT, "--trainer.max_epochs=2")
    before = (tmp_path / "runs/version_0/config.yaml").read_text()
    last = "runs/version_0/checkpoints/last.ckpt"
    assert command("fit", "--ckpt_path", last, "--trainer.max_epochs=3", "--data.batch_size=50").status == 0
    after = (tmp_path / "runs/version_0/config.yaml").read_text()
    assert after == before.replace("max_epochs: 2", "max_epochs: 3").replace("\n  batch_size: 64", "\n  batch_size: 50")
    result = command("fit", "--ckpt_path", "last")
    assert (result.status, "has its 3 epochs: for more, raise --trainer.max_epochs" in result.err) == (2, True)
    assert (tmp_path / "runs/version_0/config.yaml").read_text() == after


def test_a_run_goes_on_from_within_its_folder(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("fit", *SHORT, "--model.hidden_size=20")
    monkeypatch.chdir(tmp_path / "runs/version_0/checkpoints")
    result = command("fit", "--ckpt_path=last.ckpt", "--trainer.max_epochs=2")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("epoch 2/2")
    (tmp_path / "runs/version_0/config.yaml").unlink()
    before = set(tmp_path.rglob("*"))
    result = command("fit", "--ckpt_path=last.ckpt", "--trainer.max_epochs=3")
    assert_refused(result, tmp_path, before, "no config.yaml in ")


def test_home_and_variables_in_a_folder(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STUDY", "first")
    assert command("fit", *SHORT, "--trainer.default_root_dir=~/$STUDY").status == 0
    run = tmp_path / "home" / "first" / "runs" / "version_0"
    assert {path.name.split(".")[0] for path in run.iterdir()} == {"checkpoints", "config", "events", "hparams"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
