"""The command ``page``."""

import json
import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from digit_rnn.page.server import PageServer
from tests.conftest import Command
from tests.helpers import assert_refused


def start(folder: Path, trained: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "digit_rnn", "page", f"--ckpt_path={trained}/checkpoints/best.ckpt", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "host"), [(signal.SIGINT, "127.0.0.1"), (signal.SIGTERM, "0.0.0.0")])
def test_command(number: signal.Signals, host: str, tmp_path: Path, trained: Path, slip: bytes) -> None:
    """It prints its address, answers, writes nothing, and ends with one line."""
    (tmp_path / "tmp").mkdir()
    process = start(tmp_path, trained, "--port=0", f"--host={host}")
    assert process.stdout
    first = process.stdout.readline()
    assert first.startswith("open http://")
    if host == "0.0.0.0":
        assert process.stdout.readline() == "anyone on the network can use the page\n"
    connection = HTTPConnection("127.0.0.1", int(first.rstrip("/\n").rpartition(":")[2]), timeout=30)
    connection.request("POST", "/read", slip, {"Content-Type": "image/png"})
    assert json.loads(connection.getresponse().read())["rows"] == ["721"]
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "error: stopped\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]


def test_mistakes(command: Command, tmp_path: Path, trained: Path, server: PageServer) -> None:
    checkpoint = f"--ckpt_path={trained}/checkpoints/best.ckpt"
    for words, fragments in (
        ([checkpoint, f"--port={server.port}"], ["in use", str(server.port), "--port"]),
        ([checkpoint, "--port=70000"], ["70000"]),
        ([checkpoint, "--port=x"], ["--port", "int", "x"]),
        ([checkpoint, "--host=256.1.1.1"], ["256.1.1.1"]),
        (["--ckpt_path=missing.ckpt"], ["missing.ckpt"]),
        (["--prot=1"], ["--prot"]),
    ):
        assert_refused(command("page", *words), tmp_path, set(), *fragments)


def test_help(command: Command) -> None:
    result = command("page", "--help")
    assert (result.status, result.err) == (0, "")
    assert all(word in " ".join(result.out.split()) for word in ("--ckpt_path", "--host", "--port", "on the network"))
    assert "python -m digit_rnn page" in command("--help").out


@pytest.mark.slow
def test_nothing_of_the_page_is_imported_by_others(tmp_path: Path) -> None:
    text = (
        "import sys, digit_rnn.cli; assert not [n for n in sys.modules if n.startswith(('werkzeug', 'digit_rnn.page'))]"
    )
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, check=True)
