"""A user's mistake: one line on stderr that names it, exit status 2, nothing written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import Command, Result
from tests.helpers import assert_refused

ARGUMENTS = [
    ([], "subcommand"),
    (["train"], "train"),
    (["fit", "extra"], "extra"),
    (["fit", "--hidden_size=3"], "--hidden_size"),
    (["nonsense"], "nonsense", "fit", "page or export"),
    (["--seed_everything=1", "export"], "export", "as the first word"),
    (["fit", "--model.hiden_size=3"], "--model.hiden_size"),
    (["fit", "--model.hidden_size=0"], "model.hidden_size", "0"),
    (["fit", "--model.hidden_size=1.5"], "model.hidden_size", "1.5"),
    (["fit", "--model.hidden_size="], "model.hidden_size"),
    (["fit", "--model.num_layers=-1"], "model.num_layers", "-1"),
    (["fit", "--model.cell=transformer"], "model.cell", "transformer", "gru"),
    (["fit", "--model.nonlinearity=sigmoid"], "model.nonlinearity", "sigmoid", "tanh"),
    (["fit", "--model.bidirectional=maybe"], "model.bidirectional", "maybe"),
    (["fit", "--model.dropout=1.1"], "model.dropout", "1.1"),
    (["fit", "--model.learning_rate=0"], "model.learning_rate", "0"),
    (["fit", "--model.learning_rate=-1e-3"], "model.learning_rate", "-1e-3"),
    (["fit", "--model.learning_rate=nan"], "model.learning_rate", "nan"),
    (["fit", "--model.learning_rate=fast"], "model.learning_rate", "fast"),
    (["fit", "--model.schedule=linear"], "model.schedule", "linear", "cosine"),
    (["fit", "--model.warmup=2"], "model.warmup", "2"),
    (["fit", "--model.weight_decay=-0.1"], "model.weight_decay", "-0.1"),
    (["fit", "--model.label_smoothing=-0.1"], "model.label_smoothing", "-0.1"),
    (["fit", "--model.epsilon=0"], "model.epsilon", "0"),
    (["fit", "--data.batch_size=0"], "data.batch_size", "0"),
    (["fit", "--data.batch_size=-1"], "data.batch_size", "-1"),
    (["fit", "--data.batch_size=abc"], "data.batch_size", "abc"),
    (["fit", "--data.eval_batch_size=0"], "data.eval_batch_size", "0"),
    (["fit", "--data.validation_fraction=0"], "data.validation_fraction", "0"),
    (["fit", "--data.validation_fraction=1"], "data.validation_fraction", "1"),
    (["fit", "--data.split_seed=-3"], "data.split_seed", "-3"),
    (["fit", "--data.augmentations.rotation=-5"], "data.augmentations.rotation", "-5"),
    (["fit", "--data.augmentations.scale=1.5"], "data.augmentations.scale", "1.5"),
    (["fit", "--data.augmentations.translation=0.5"], "data.augmentations.translation", "0.5"),
    (["fit", "--data.augmentations.shear=nan"], "data.augmentations", "nan"),
    (["fit", "--data.augmentations.upstroke=1.1"], "augmentations.upstroke", "1.1"),
    (["fit", "--data.augmentations.blur=1"], "blur", "rotation"),
    (["fit", "--data.augmentations.rotation=much"], "data.augmentations", "much"),
    (["fit", "--data.augmentations=3"], "data.augmentations", "3"),
    (["fit", "--trainer.max_epochs=five"], "trainer.max_epochs", "five"),
    (["fit", "--trainer.max_epochs=-1"], "max_epochs"),
    (["fit", "--trainer.accelerator=abacus"], "abacus"),
    (["fit", "--trainer.devices=0"], "devices"),
    (["fit", "--trainer.precision=7"], "trainer.precision", "7"),
    (["fit", "--trainer.precision=bf16-true"], "trainer.precision", "bf16-true", "bf16-mixed"),
    (["test", "--ckpt_path=missing.ckpt", "--trainer.limit_test_batches=0"], "limit_test_batches"),
    (["predict", "--ckpt_path=missing.ckpt", "--trainer.limit_predict_batches=0"], "limit_predict_batches"),
    (["fit", "--trainer.limit_train_batches=-1"], "limit_train_batches"),
    (["fit", "--trainer.gradient_clip_val=much"], "gradient_clip_val", "much"),
    (["fit", "--seed_everything=-1"], "-1"),
    (["fit", "--config=missing.yaml"], "missing.yaml"),
    (["fit", "--ckpt_path=best"], "run fit first"),
    (["test"], "--ckpt_path"),
    (["validate"], "--ckpt_path"),
    (["predict"], "--ckpt_path"),
    (["test", "--ckpt_path=best"], "run fit first"),
    (["test", "--ckpt_path=last"], "run fit first"),
    (["test", "--ckpt_path=missing.ckpt"], "missing.ckpt"),
    (["test", "--ckpt_path=."], "no checkpoint at '.'"),
]


@pytest.mark.parametrize(
    ("words", "fragments"), [(row[0], row[1:]) for row in ARGUMENTS], ids=lambda v: " ".join(v)[:40]
)
def test_bad_arguments(command: Command, tmp_path: Path, words: list[str], fragments: list[str]) -> None:
    assert_refused(command(*words), tmp_path, set(), *fragments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there(command: Command, tmp_path: Path) -> None:
    assert_refused(command("fit", "--trainer.accelerator=gpu"), tmp_path, set(), "gpu")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("model: {hidden_size: [", "config"),
        ("model: {hidden_sizes: 3}", "hidden_sizes"),
        ("model: {hidden_size: many}", "many"),
        ("model: 3", "model"),
        ("- 1\n- 2\n", "config"),
        ("models: {hidden_size: 3}", "models"),
        ("\x00\x01", "config"),
    ],
)
def test_bad_config_files(command: Command, tmp_path: Path, text: str, fragment: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert_refused(command("fit", "--config", file), tmp_path, {file}, fragment)


@pytest.mark.parametrize("place", ["data", "runs", "predictions"])
def test_folder_that_cannot_be_made(command: Command, tmp_path: Path, trained: Path, place: str) -> None:
    """A file stands where the folder should be; unlike missing permission, this stops even root."""
    (tmp_path / "file").touch()
    before = set(tmp_path.rglob("*"))
    words: dict[str, list[object]] = {
        "data": ["fit", "--data.root", "file/data"],
        "runs": ["fit", "--trainer.default_root_dir", "file/runs"],
        "predictions": [
            "predict",
            "--ckpt_path",
            trained / "checkpoints/best.ckpt",
            "--trainer.default_root_dir=file/x",
        ],
    }
    assert_refused(command(*words[place]), tmp_path, before, "file")


@pytest.mark.parametrize(
    ("words", "environment", "fragment"),
    [
        pytest.param(["--data.batch_size=0"], {}, "data.batch_size", marks=pytest.mark.slow),
        ([], {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train"}, "--ntasks=4"),
    ],
)
def test_the_real_process_says_one_line_too(
    words: list[str], environment: dict[str, str], fragment: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "digit_rnn", "fit", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert_refused(Result(done.returncode, done.stdout, done.stderr), tmp_path, set(), fragment)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("setpriv"), reason="takes away root's right to read and write everything")
@pytest.mark.parametrize(
    ("words", "locked"),
    [
        (["fit", "--data.root=locked"], "locked"),
        (["fit", "--trainer.default_root_dir=locked"], "locked"),
        (["test", "--trainer.default_root_dir=locked"], "locked"),
        (["predict", "--trainer.default_root_dir=locked"], "locked"),
        (["fit", "--config=file"], "file"),
        (["test", "--ckpt_path=file"], "file"),
        (["predict", "--data.pictures", "locked"], "locked"),
    ],
)
def test_missing_permission(words: list[str], locked: str, trained: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    (tmp_path / "file").touch(mode=0o000)
    before = set(tmp_path.rglob("*"))
    defaults = {"--data.root": root, "--ckpt_path": trained / "checkpoints" / "best.ckpt"}
    if words[0] == "fit":
        del defaults["--ckpt_path"]
    words += [f"{name}={value}" for name, value in defaults.items() if not any(word.startswith(name) for word in words)]
    limits = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*limits, sys.executable, "-m", "digit_rnn", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert_refused(Result(done.returncode, done.stdout, done.stderr), tmp_path, before, locked)
