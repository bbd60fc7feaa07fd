"""The command's edge: whatever goes wrong ends in one line, and what has not begun leaves nothing."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import digit_rnn.cli
import digit_rnn.reporting.report
from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.errors import DataError, DigitRNNError, OptionError
from tests.conftest import REPOSITORY, Command

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1")

# What types do not say, with the exit status: 2 where the program knows what is wrong, 1 where the net caught it.
MISTAKES: list[tuple[str, int]] = [
    ("--model.hidden_size=1000000", 2),
    ("--model.hidden_size=1e30", 2),
    ("--model.num_layers=1000000", 2),
    ("--model.num_layers=100000000000000000000000000", 2),
    ("--model.dropout_seed=-3", 2),
    ("--data.batch_size=99999999999999999999", 2),
    ("--data.train_seed=-3", 2),
    ("--data.split_seed=99999999999999999999999", 2),
    ("--data.augmentations.blur=3", 2),
    ("--data.augmentations.rotation=nan", 2),
    ("--data.augmentations.rotation=-5", 2),
    ("--data.augmentations.scale=1.5", 2),
    ("--data.augmentations.translation=0.5", 2),
    ("--data.augmentations=7", 2),
    ("--data.pictures=a.png", 2),
    ("--data.root=a\0b", 1),
    ("--seed_everything=true", 2),
    ("--seed_everything=99999999999", 2),
    ("--trainer.devices=many", 2),
    ("--trainer.devices=-7", 2),
    ("--trainer.accelerator=tpu", 2),
    ("--trainer.strategy=magic", 2),
    ("--trainer.accumulate_grad_batches=0", 2),
    ("--trainer.val_check_interval=0", 2),
    ("--trainer.val_check_interval=7", 1),
    ("--trainer.check_val_every_n_epoch=0", 2),
    ("--trainer.gradient_clip_algorithm=magic", 2),
    ("--trainer.limit_train_batches=1.5", 2),
    ("--trainer.callbacks=Missing", 2),
    ("--trainer.logger=Missing", 2),
    ("--trainer.max_time=soon", 2),
    ("--trainer.fast_dev_run=-1", 2),
    ("--trainer.profiler=magic", 2),
    ("--ckpt_path=a\0b", 2),
    ("--ckpt_path=", 2),
    ("--config=a\0b", 2),
]


@pytest.mark.parametrize(("word", "status"), MISTAKES, ids=lambda v: str(v).replace("\0", "NUL"))
def test_a_mistake_is_one_line_and_leaves_nothing(word: str, status: int, command: Command, tmp_path: Path) -> None:
    result = command("fit", *SHORT, *word.split("=", 1))
    assert (result.status, result.out, result.err.count("\n")) == (status, "", 1), result.err
    assert result.err.startswith("error: ")
    assert ("DIGIT_RNN_TRACEBACK=1" in result.err) == (status == 1)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "content",
    ["[" * 5000, "{a: " * 3000, "a: &x [*x]\n" * 20, "model:\n\t- x", "\ud800", "model: !!python/object:os.system {}"],
    ids=["deep list", "deep map", "alias", "tab", "surrogate", "code"],
)
def test_config_that_is_no_configuration(content: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content, encoding="utf-8", errors="surrogatepass")
    result = command("fit", "--config", "config.yaml")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1), result.err
    (tmp_path / "config.yaml").write_text("model: {}", encoding="utf-16")
    assert command("fit", "-c", "config.yaml").status == 2
    assert not (tmp_path / "runs").exists()


def test_subcommand_is_found_wherever_it_stands(command: Command, tmp_path: Path) -> None:
    (tmp_path / "fit").write_text("fit: {model: {hidden_size: 24}}")
    for words in (["--config", "fit", "fit"], ["-c", "fit", "fit"], ["--config=fit", "fit"]):
        result = command(*words, "--data.root=x", "--print_config")
        assert (result.status, result.err) == (0, "")
        assert yaml.safe_load(result.out)["model"]["hidden_size"] == 24
    (tmp_path / "fit.yaml").write_text("{hidden_size: 24}")
    assert command("-c", "fit", "train").status == 2


def test_what_is_given_before_the_subcommand_wins_over_the_resumed_run(command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT)
    (tmp_path / "more.yaml").write_text("fit: {trainer: {max_epochs: 2}}")
    result = command("--config", "more.yaml", "fit", "--ckpt_path", "last", "--data.root", tmp_path / "data")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("epoch 2/2")


def test_other_subcommands_stand_in_one_table(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    def fail(words: list[str]) -> None:
        given.append(words)
        raise DataError("nothing to export")

    monkeypatch.setitem(digit_rnn.cli.OTHER_COMMANDS, "export", fail)
    result = command("export", "--output", "x.onnx")
    assert (result.status, result.err) == (2, "error: nothing to export\n")
    assert given == [["--output", "x.onnx"]]


def test_every_error_has_one_base() -> None:
    with pytest.raises(DigitRNNError, match="blur"):
        MNISTDataModule(augmentations={"blur": 1})
    with pytest.raises(OptionError, match="names no picture"):
        MNISTDataModule(pictures=[])


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


def test_pictures_in_a_configuration_do_not_switch_off_the_check_of_the_data(tmp_path: Path, root: Path) -> None:
    """From Python too, where nobody refuses pictures for training."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"damaged")
    data = MNISTDataModule(str(tmp_path), pictures=["a.png"])
    data.prepare_data()
    whole = root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    assert (raw / "train-labels-idx1-ubyte").read_bytes() == whole.read_bytes()


def test_pictures_named_in_parts_and_in_any_script(command: Command, trained: Path, tmp_path: Path) -> None:
    names = ["a.png", "b.png", "😀.png", os.fsdecode(b"caf\xe9.png"), "c d.png", "[1].png"]
    for name in names:
        image = Image.new("L", (60, 60), 255)
        image.paste(0, (28, 10, 33, 50))
        image.save(tmp_path / "x.png")
        (tmp_path / "x.png").rename(tmp_path / name)
    words = [f"--data.pictures={names[0]}", "--data.pictures", *names[1:4], "--trainer.accelerator=cpu"]
    words += ["--data.pictures", *names[4:]]
    result = command("predict", *words, "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert (result.status, result.err) == (0, "")
    assert "6 pictures, 6 digits" in result.out
    with (tmp_path / "predictions/version_0/predictions.csv").open(encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [
            name.encode(errors="backslashreplace").decode() for name in names
        ]
    (tmp_path / "pictures.yaml").write_text("data: {pictures: []}")
    result = command("predict", "--config=pictures.yaml", "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "names no picture" in result.err


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


def test_ctrl_c_while_a_report_is_drawn_leaves_no_part_of_it(
    command: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = digit_rnn.reporting.report.figures.Figure.savefig

    def interrupted(self: object, path: Path, **options: object) -> None:
        if Path(path).name == "confusion.png":
            signal.raise_signal(signal.SIGINT)
        save(self, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(digit_rnn.reporting.report.figures.Figure, "savefig", interrupted)
    result = command("test", "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert (result.status, result.out) == (130, "")
    assert result.err == "error: stopped before the end: no figure is known\n"
    assert not list(tmp_path.glob("reports/*"))


def test_a_network_that_was_never_validated_is_sure_of_nothing() -> None:
    probabilities, is_outlier = DigitRNN().eval().predict_step((torch.rand(5, 28, 28), None), 0)
    assert is_outlier.all()
    assert probabilities.sum(1).allclose(torch.ones(5))


def test_no_argument_is_one_line(command: Command) -> None:
    result = command()
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "subcommand" in result.err


def test_folder_that_leads_nowhere(command: Command, tmp_path: Path) -> None:
    """As where a disk is not mounted."""
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted" / "runs")
    result = command("fit", *SHORT)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "cannot make the folder runs" in result.err


def test_sanity_check_before_training(command: Command) -> None:
    result = command("fit", *SHORT, "--trainer.num_sanity_val_steps=2")
    assert (result.status, result.err) == (0, "")


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


def test_one_image_can_be_tested(command: Command, trained: Path) -> None:
    words = ("--data.eval_batch_size=1", "--trainer.limit_test_batches=1")
    result = command("test", "--ckpt_path", trained / "checkpoints" / "best.ckpt", *words)
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize("text", ["model: {hidden_size: [", "", "- 1", "\x00"])
def test_run_whose_configuration_is_damaged(text: str, command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT)
    (tmp_path / "runs/version_0/config.yaml").write_text(text)
    result = command("fit", "--ckpt_path=last", "--trainer.max_epochs=2")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "cannot read runs/version_0/config.yaml" in result.err


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
