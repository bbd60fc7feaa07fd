"""Each command of the README runs as it stands there, only shorter."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from PIL import Image

from tests.conftest import REPOSITORY, Command

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
COMMANDS = [part.split("#")[0].strip() for line in LINES for part in line.split("&&") if "python -m digit_rnn" in part]
SHORTER = {
    "fit": ["--trainer.max_epochs=1", "--trainer.limit_train_batches=5", "--trainer.limit_val_batches=1"],
    "validate": ["--trainer.limit_val_batches=1"],
    "test": ["--trainer.limit_test_batches=1"],
    "predict": [],
}


def test_the_two_lines_are_there() -> None:
    assert LINES[0] == "pip install -e . && python -m digit_rnn fit"
    assert 'pip install -e ".[dev]" && python -m pytest -n auto' in LINES


def test_constraints_pin_what_pyproject_asks_for() -> None:
    """Each requirement has one version in configs/constraints.txt, within its bounds."""
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (REPOSITORY / "configs/constraints.txt").read_text(), re.MULTILINE))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[requirement.name]), text
    lightning = next(each for each in map(Requirement, project["dependencies"]) if each.name == "lightning")
    assert not any(lightning.specifier.contains(version) for version in ("2.6.2", "2.6.3"))


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target


@pytest.mark.parametrize("words", COMMANDS)
def test_command(words: str, command: Command, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    for place in ("slip.jpg", "scans/a.png", "forms/b.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(np.pad(np.zeros((40, 8), np.uint8), 20, constant_values=255)).save(tmp_path / place)
    command("fit", *SHORTER["fit"])  # for those that go on from a run
    arguments = shlex.split(words)[3:]
    if arguments[0] == "page":
        arguments.append("--help")  # it would serve until it is stopped: tests/page does
    result = command(*arguments, *([] if "--help" in arguments else SHORTER[arguments[0]]))
    if "gpu" in arguments and not torch.cuda.is_available():
        assert (result.status, result.err.count("\n")) == (2, 1)
    else:
        assert (result.status, result.err) == (0, "")
        assert result.out


@pytest.mark.slow
def test_benchmark(tmp_path: Path, root: Path) -> None:
    (tmp_path / "data").symlink_to(root)
    options = ["--repeats", "1", "--epochs", "1", "--contenders", "bare", "digit_rnn", "naive"]
    command = [sys.executable, str(REPOSITORY / "scripts" / "benchmark.py"), *options]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with (tmp_path / "benchmark" / "summary.csv").open(newline="") as file:
        rows = {row["contender"]: {k: v for k, v in row.items() if k != "contender"} for row in csv.DictReader(file)}
    assert list(rows) == ["bare", "digit_rnn", "naive"]
    assert rows["bare"]["step_ms_by_bare"] == "1.0000"
    for row in rows.values():
        assert 0.5 < float(row["test_accuracy"]) < 1
        assert 0 < float(row["step_ms"]) / 1000 * 844 < 1.5 * float(row["process_s"])
    assert (tmp_path / "benchmark" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
