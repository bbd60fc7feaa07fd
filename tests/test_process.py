"""What the command does to its own process, and leaves alone in a caller's."""

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import Command

pytestmark = pytest.mark.slow

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1")

STATE = """
import json, os, signal, sys, threading
import cv2, torch
def state():
    return [sorted(os.environ), str(threading.excepthook), str(sys.excepthook), str(signal.getsignal(signal.SIGINT)),
            str(signal.getsignal(signal.SIGTERM)), torch.get_num_threads(), cv2.getNumThreads(), torch.initial_seed(),
            torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist(),
            "tensorboard.compat.notf" in sys.modules]
"""


def python(text: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_importing_changes_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    text = f"""{STATE}
import lightning.pytorch  # sets a variable of its own
before = state()
import digit_rnn
from digit_rnn import DigitReader, DigitRNN, MNISTDataModule, read
import digit_rnn.cli, digit_rnn.callbacks.predictions, digit_rnn.reporting.report, digit_rnn.vision
after = state()
assert before == after, (before, after)
"""
    done = python(text, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_opencv_is_loaded_where_pictures_are_read_alone(tmp_path: Path) -> None:
    text = "import sys, digit_rnn.cli, digit_rnn.callbacks.commands; print('cv2' in sys.modules)"
    assert python(text, tmp_path).stdout == "False\n"


def test_main_from_python_leaves_hooks_and_levels_as_they_were(command: Command) -> None:
    def state() -> tuple[object, ...]:
        levels = [logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")]
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        draws = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
        hooks = threading.excepthook, sys.excepthook, torch.is_deterministic_algorithms_warn_only_enabled()
        return hooks, list(warnings.filters), levels, handlers, {**os.environ, "PYTEST_CURRENT_TEST": ""}, draws

    torch.use_deterministic_algorithms(False, warn_only=True)
    try:
        before = state()
        assert command("fit", *SHORT, "--model.dropout=0.1").status == 0
        assert command("fit", "--model.hidden_size=0").status == 2
        assert state() == before
    finally:
        torch.use_deterministic_algorithms(False)


def test_reading_a_picture_leaves_opencvs_threads_alone(tmp_path: Path, trained: Path) -> None:
    text = f"""{STATE}
import numpy as np, digit_rnn
cv2.setNumThreads(2)
page = np.full((60, 60), 255, np.uint8); page[10:50, 28:32] = 0
before = state()
import digit_rnn.reading, digit_rnn.data.mnist, lightning.pytorch
before = state()
assert len(digit_rnn.read(page, {str(trained / "checkpoints" / "best.ckpt")!r})) == 1
assert state() == before
"""
    done = python(text, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), (["nonsense"], 2)])
@pytest.mark.parametrize("first", [True, False])
def test_exit_handlers_of_others_run_and_the_status_is_the_commands(
    words: list[str], status: int, first: bool, tmp_path: Path
) -> None:
    """A third party's, registered before the command is imported (as coverage's is) or while it runs."""
    text = f"""
import atexit, sys
handler = lambda: open("handled", "w").write("yes")
if {first}: atexit.register(handler)
sys.argv = ["digit_rnn", *{words!r}]
from digit_rnn.__main__ import run
from digit_rnn.process import fast_exit
if not {first}:
    fast_exit.register()
    atexit.register(handler)
run()
"""
    done = python(text, tmp_path)
    assert done.returncode == status
    assert (tmp_path / "handled").read_text() == "yes"
    assert (done.stdout == "") == (status != 0)


@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_closed_stdout(subcommand: str, tmp_path: Path, root: Path, trained: Path) -> None:
    options = " ".join(SHORT) if subcommand == "fit" else f"--ckpt_path={trained}/checkpoints/best.ckpt"
    script = f"{sys.executable} -m digit_rnn {subcommand} --data.root={root} {options} >&-"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("environment", "fragment"), [({"RANK": "first"}, "first"), ({"MASTER_PORT": "abc"}, "abc")])
def test_environment_that_is_no_number(environment: dict[str, str], fragment: str, tmp_path: Path, root: Path) -> None:
    several = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu")
    words = [sys.executable, "-m", "digit_rnn", "fit", f"--data.root={root}", *SHORT, *several]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: ")
    assert fragment in done.stderr
    assert done.stderr.endswith("; DIGIT_RNN_TRACEBACK=1 shows where\n")
    assert not list(tmp_path.iterdir())


def test_traceback_on_request(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "digit_rnn", "fit", "--model.hidden_size=0"]
    environment = {**os.environ, "DIGIT_RNN_TRACEBACK": "1"}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the moment is read off Linux's /proc")
def test_ctrl_c_while_another_process_is_being_imported(tmp_path: Path, root: Path) -> None:
    several = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu")
    process = subprocess.Popen(
        [sys.executable, "-m", "digit_rnn", "fit", f"--data.root={root}", *SHORT, *several],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text().strip():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(1)  # the first process waits for the second, which imports torch
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "error: stopped\n")
    assert not list(tmp_path.iterdir())
