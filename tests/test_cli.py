import csv
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from lightning.pytorch import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from digit_rnn import DigitRNN, MNISTDataModule
from tests.conftest import REPOSITORY, Command

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=20", "--trainer.limit_val_batches=1")


def figures(text: str) -> dict[str, float]:
    """Reads the metrics off their line."""
    words = text.splitlines()[0].split()
    return {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def test_images(root: Path) -> tuple[Tensor, Tensor]:
    data = MNISTDataModule(str(root))
    data.setup("test")
    return data.test_set.images.float() / 255, data.test_set.labels


test_images.__test__ = False  # type: ignore[attr-defined]


def weights(run: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


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


def test_seed_decides_the_weights(command: Command, tmp_path: Path) -> None:
    for seed in (0, 0, 1):
        command("fit", *SHORT, f"--seed_everything={seed}", "--data.rotation=5", "--model.dropout=0.1")
    first, again, other = (weights(tmp_path / "runs" / f"version_{number}") for number in range(3))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_two_fits_have_a_folder_each_and_nothing_is_overwritten(command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT)
    first = {path: path.read_bytes() for path in (tmp_path / "runs" / "version_0").rglob("*") if path.is_file()}
    command("fit", *SHORT, "--model.hidden_size=32")
    assert all(path.read_bytes() == content for path, content in first.items())
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["version_0", "version_1"]


def test_best_and_last_are_the_newest_runs(command: Command) -> None:
    for _ in range(2):
        command("fit", *SHORT)
    for name in ("best", "last"):
        assert f"runs/version_1/checkpoints/{name}.ckpt" in command("validate", "--ckpt_path", name).out


def test_reload_gives_the_accuracy_in_memory(command: Command, root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, data = DigitRNN(hidden_size=48, num_layers=2), MNISTDataModule(str(root))
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, limit_train_batches=100, limit_val_batches=0, accelerator="cpu", **options)  # type: ignore[arg-type]
    trainer.fit(model, data)
    in_memory = trainer.test(model, data, verbose=False)[0]
    file = tmp_path / "some.ckpt"
    trainer.save_checkpoint(file)
    assert (
        Trainer(accelerator="cpu", **options).test(DigitRNN.load_from_checkpoint(file), data, verbose=False)[0]
        == in_memory
    )  # type: ignore[arg-type]
    result = command("test", "--ckpt_path", file)  # with no word of its size
    assert figures(result.out) == {name: round(value, 4) for name, value in in_memory.items()}


def test_test_counts_right(command: Command, trained: Path, root: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    result = command("test", "--ckpt_path", checkpoint)
    assert (result.status, result.err) == (0, "")
    images, labels = test_images(root)
    with torch.no_grad():
        logits = DigitRNN.load_from_checkpoint(checkpoint).eval()(images)
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    assert accuracy > 0.95
    assert figures(result.out)["test_accuracy"] == round(accuracy, 4)
    assert figures(result.out)["test_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), abs=6e-5)


def test_validate_gives_the_runs_figure_on_the_checkpoints_own_split(command: Command) -> None:
    fitted = command("fit", *SHORT[:2], "--data.split_seed=3", "--data.validation_fraction=0.02")
    best = next(line for line in fitted.out.splitlines() if line.startswith("best")).split()[-1]
    result = command("validate", "--ckpt_path", "best")
    assert figures(result.out)["val_accuracy"] == float(best)


@pytest.mark.parametrize("batch_size", [1000, 333])
def test_predict_writes_table_and_picture(
    batch_size: int, command: Command, trained: Path, root: Path, tmp_path: Path
) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    result = command("predict", "--ckpt_path", checkpoint, f"--data.eval_batch_size={batch_size}")
    assert (result.status, result.err) == (0, "")
    folder = tmp_path / "predictions" / "version_0"
    assert "predictions/version_0/predictions.csv" in result.out
    assert "predictions/version_0/predictions.png" in result.out
    images, labels = test_images(root)
    with torch.no_grad():
        network = DigitRNN.load_from_checkpoint(trained / "checkpoints" / "best.ckpt").eval()
        confidence, predicted = network.probabilities(images).max(1)
    with (folder / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["index", "true_label", "predicted_label", "confidence"]
    expected = [range(10_000), labels.tolist(), predicted.tolist()]
    for column, values in enumerate(expected):
        assert [int(row[column]) for row in rows] == list(values)
    assert torch.allclose(torch.tensor([float(row[3]) for row in rows]), confidence, atol=1e-4)
    assert (folder / "predictions.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["limit_predict_batches", "limit_train_batches", "overfit_batches"])
def test_one_batch_is_not_all_of_them(option: str, command: Command) -> None:
    """As it would be where typing.Union[float, int] was said before Union[int, float]: then 1 would be read as 1.0."""
    result = command("fit", f"--trainer.{option}=1", "--print_config")
    assert f"\n  {option}: 1\n" in result.out
    assert f"\n  {option}: 0.5\n" in command("fit", f"--trainer.{option}=0.5", "--print_config").out


def test_few_predictions_have_a_picture_too(command: Command, trained: Path, tmp_path: Path) -> None:
    words = ("--trainer.limit_predict_batches=1", "--data.eval_batch_size=10")
    assert command("predict", "--ckpt_path", trained / "checkpoints" / "best.ckpt", *words).status == 0
    folder = tmp_path / "predictions" / "version_0"
    assert len((folder / "predictions.csv").read_text().splitlines()) == 11
    assert (folder / "predictions.png").is_file()


def test_lines_and_checkpoints_tell_of_this_epochs_validation(command: Command, tmp_path: Path) -> None:
    result = command("fit", *SHORT, "--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2")
    assert ["val_accuracy" in line for line in result.out.splitlines()[:3]] == [False, True, False]
    result = command("fit", *SHORT, "--trainer.limit_val_batches=0")
    assert (result.status, result.err) == (0, "")
    assert "checkpoint  runs/version_1/checkpoints/last.ckpt" in result.out
    theirs = ("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.monitor=val_loss")
    result = command("fit", *SHORT, *theirs, "--trainer.callbacks.filename=theirs", "--trainer.logger=false")
    assert "checkpoint  runs/version_2/checkpoints/best.ckpt" in result.out
    assert "tensorboard" not in result.out
    assert (tmp_path / "runs" / "version_2" / "checkpoints" / "theirs.ckpt").is_file()


def test_picture_follows_the_seed(command: Command, trained: Path, tmp_path: Path) -> None:
    for seed in (1, 1, 2):
        command("predict", "--ckpt_path", trained / "checkpoints" / "best.ckpt", f"--seed_everything={seed}")
    one, again, other = (tmp_path / "predictions" / f"version_{number}" for number in range(3))
    assert (one / "predictions.png").read_bytes() == (again / "predictions.png").read_bytes()
    assert (one / "predictions.png").read_bytes() != (other / "predictions.png").read_bytes()
    assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()


def test_event_file_holds_curves_graph_and_hyperparameters(trained: Path) -> None:
    events = EventAccumulator(str(trained))
    events.Reload()
    tags = events.Tags()
    steps = {"train_loss_step": 16, "learning_rate": 16} | {  # every 50 of 844 steps
        f"{stage}_{name}": 1 for stage in ("train", "val") for name in ("loss", "accuracy")
    }
    for name, count in steps.items():
        assert len(events.Scalars(name)) == count
    best = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"]
    score = next(float(state["best_model_score"]) for state in best.values() if state.get("monitor") == "val_accuracy")
    assert events.Scalars("val_accuracy")[0].value == pytest.approx(score)
    assert events.Scalars("best_val_accuracy")[0].value == pytest.approx(score)
    assert max(event.value for event in events.Scalars("learning_rate")) == pytest.approx(2e-3, rel=0.05)
    assert tags["graph"]
    session = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"learning_rate" in session
    assert b"translation" in session


def test_works_from_another_directory(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-m", "digit_rnn", "fit", *SHORT, f"--data.root={root}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "runs" / "version_0" / "checkpoints" / "best.ckpt").is_file()


def test_bar_on_a_terminal_shows_loss_and_accuracy(tmp_path: Path, root: Path) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    words = [
        sys.executable,
        "-m",
        "digit_rnn",
        "fit",
        *SHORT[::2],
        "--trainer.limit_train_batches=60",
        f"--data.root={root}",
    ]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    while process.poll() is None or select.select([master], [], [], 0)[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait() == 0
    assert re.search(rb"epoch 1:.*40/60.*loss=\d\.\d{4}, accuracy=0\.\d{4}", shown)


def test_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("digit-rnn")
    done = subprocess.run([script, "test", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "10,000 test images" in done.stdout


@pytest.mark.parametrize("config", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_config_runs(command: Command, config: Path, tmp_path: Path) -> None:
    result = command("fit", "--config", config, "--trainer.fast_dev_run=true")
    assert (result.status, result.err) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_original_config_is_the_original(command: Command, root: Path, tmp_path: Path) -> None:
    command("fit", "--config", REPOSITORY / "configs" / "original.yaml", *SHORT)
    checkpoint = torch.load(tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    group = checkpoint["optimizer_states"][0]["param_groups"][0]
    assert {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-7, "weight_decay": 0.0,
    }  # fmt: skip
    weights = [tensor for name, tensor in checkpoint["state_dict"].items() if name.startswith(("rnn.", "head."))]
    assert sum(tensor.numel() for tensor in weights) == 21_514
    config = yaml.safe_load((tmp_path / "runs" / "version_0" / "config.yaml").read_text())
    assert config["trainer"]["gradient_clip_val"] is None
    assert (config["model"]["nonlinearity"], config["data"]["batch_size"]) == ("tanh", 64)
    assert not any(config["data"][name] for name in ("rotation", "scale", "shear", "translation", "upstroke"))


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.logger=false"],
        ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=logs"],
        ["--trainer.enable_checkpointing=false"],
        ["--trainer.enable_progress_bar=false"],
        ["--trainer.precision=bf16-mixed"],
        ["--trainer.accumulate_grad_batches=4"],
        ["--model.cell=lstm", "--model.bidirectional=true", "--model.num_layers=2", "--model.dropout=0.3"],
    ],
    ids=lambda options: options[0],
)
def test_lightnings_own_options_work(command: Command, options: list[str]) -> None:
    result = command("fit", *SHORT, *options)
    assert (result.status, result.err) == (0, "")
    assert ("best val_accuracy" in result.out) == ("--trainer.enable_checkpointing=false" not in options)


@pytest.mark.slow
def test_wheel_works_outside_the_clone(tmp_path: Path) -> None:
    run = {"cwd": tmp_path, "check": True, "capture_output": True, "text": True}
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", str(REPOSITORY)], **run)  # type: ignore[call-overload]
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", "env"], **run)  # type: ignore[call-overload]
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", str(wheel)], **run)  # type: ignore[call-overload]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-packages" in path)}
    run["env"] = environment
    where = subprocess.run([python, "-P", "-c", "import digit_rnn; print(digit_rnn.__file__)"], **run)  # type: ignore[call-overload]
    assert str(REPOSITORY) not in where.stdout
    subprocess.run([python, "-m", "digit_rnn", "fit", *SHORT], **run)  # type: ignore[call-overload]
    done = subprocess.run([python, "-m", "digit_rnn", "test", "--ckpt_path", "best"], **run)  # type: ignore[call-overload]
    assert figures(done.stdout)["test_accuracy"] > 0.2


@pytest.mark.slow
def test_default_recipe_reads_98_percent(command: Command) -> None:
    assert command("fit").status == 0
    assert figures(command("test", "--ckpt_path", "best").out)["test_accuracy"] >= 0.980
