"""Each command of the README runs as it stands there, only shorter."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
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
    assert LINES[1] == 'pip install -e ".[dev]" && python -m pytest'


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


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
    result = command(*arguments, *([] if "--help" in arguments else SHORTER[arguments[0]]))
    if "gpu" in arguments and not torch.cuda.is_available():
        assert (result.status, result.err.count("\n")) == (2, 1)
    else:
        assert (result.status, result.err) == (0, "")
        assert result.out
