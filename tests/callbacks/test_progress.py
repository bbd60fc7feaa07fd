import os
import re
import select
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.helpers import SHORT


def test_bar_on_a_terminal_shows_loss_and_accuracy(tmp_path: Path, root: Path) -> None:
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))  # not on every system
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    words = [
        sys.executable, "-m", "digit_rnn", "fit", *SHORT[::2], "--trainer.limit_train_batches=60",
        f"--data.root={root}",
    ]  # fmt: skip
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
    assert b"Validation" not in shown


def test_lines_tell_of_this_epochs_validation(command: Command) -> None:
    result = command("fit", *SHORT, "--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2")
    assert ["val_accuracy" in line for line in result.out.splitlines()[:3]] == [False, True, False]
