import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from lightning.pytorch import Trainer
from torch import Tensor

from digit_rnn import DigitRNN, MNISTDataModule
from tests.conftest import REPOSITORY, Command
from tests.helpers import SHORT, weights


def figures(text: str) -> dict[str, float]:
    """Reads the metrics off their line."""
    words = text.splitlines()[0].split()
    return {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def test_seed_decides_the_weights(command: Command, tmp_path: Path) -> None:
    for seed in (0, 0, 1):
        command("fit", *SHORT, f"--seed_everything={seed}", "--data.augmentations.rotation=5", "--model.dropout=0.1")
    first, again, other = (weights(tmp_path / "runs" / f"version_{number}") for number in range(3))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["network.head.weight"], other["network.head.weight"])


def test_reload_gives_the_accuracy_in_memory(command: Command, root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, data = DigitRNN(hidden_size=48, num_layers=2), MNISTDataModule(str(root))
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, limit_train_batches=100, limit_val_batches=0, accelerator="cpu", **options)  # type: ignore[arg-type]
    trainer.fit(model, data)
    in_memory = trainer.test(model, data, verbose=False)[0]
    file = tmp_path / "some.ckpt"
    trainer.save_checkpoint(file)
    reloaded = Trainer(accelerator="cpu", **options)  # type: ignore[arg-type]
    assert reloaded.test(DigitRNN.load_from_checkpoint(file), data, verbose=False)[0] == in_memory
    result = command("test", "--ckpt_path", file)  # with no word of its size
    assert figures(result.out) == {name: round(value, 4) for name, value in in_memory.items()}


def test_test_counts_right(command: Command, trained: Path, images_and_labels: tuple[Tensor, Tensor]) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    result = command("test", "--ckpt_path", checkpoint)
    assert (result.status, result.err) == (0, "")
    images, labels = images_and_labels
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


@pytest.mark.parametrize("option", ["limit_predict_batches", "limit_train_batches", "overfit_batches"])
def test_one_batch_is_not_all_of_them(option: str, command: Command) -> None:
    """As it would be where typing.Union[float, int] was said before Union[int, float]: then 1 would be read as 1.0."""
    result = command("fit", f"--trainer.{option}=1", "--print_config")
    assert f"\n  {option}: 1\n" in result.out
    assert f"\n  {option}: 0.5\n" in command("fit", f"--trainer.{option}=0.5", "--print_config").out


@pytest.mark.slow
def test_works_from_another_directory(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-m", "digit_rnn", "fit", *SHORT, f"--data.root={root}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "runs" / "version_0" / "checkpoints" / "best.ckpt").is_file()


def test_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("digit-rnn")
    done = subprocess.run([script, "test", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "10,000 test images" in done.stdout


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(path, marks=[pytest.mark.slow] * (path.stem == "accurate"), id=path.stem)
        for path in sorted((REPOSITORY / "configs").glob("*.yaml"))
    ],
)
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
    weights = [tensor for name, tensor in checkpoint["state_dict"].items() if name.startswith("network.")]
    assert sum(tensor.numel() for tensor in weights) == 21_514
    config = yaml.safe_load((tmp_path / "runs" / "version_0" / "config.yaml").read_text())
    assert config["trainer"]["gradient_clip_val"] is None
    assert (config["model"]["nonlinearity"], config["data"]["batch_size"]) == ("tanh", 64)
    assert config["data"]["augmentations"] == {}


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
def test_default_recipe_reads_985_of_1000(command: Command) -> None:
    assert command("fit").status == 0
    assert figures(command("test", "--ckpt_path", "best").out)["test_accuracy"] >= 0.985
