"""Runs on more than one process: each image counts once, whatever Trainer is used."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.helpers import Array, line

pytestmark = pytest.mark.slow

FIT = """
import json, sys
import torch
from lightning.pytorch import Trainer, seed_everything
from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.data.images import Images

class Watching(DigitRNN):
    seen = 0

    def validation_step(self, batch, batch_idx):
        self.seen += len(batch[1])
        return super().validation_step(batch, batch_idx)

seed_everything(0, verbose=False)
root, size, sanity = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model, data = Watching(hidden_size=16, learning_rate=1e-9), MNISTDataModule(root)
data.prepare_data()
data.setup("fit")
data.val_set = Images(data.val_set.images[:size], data.val_set.labels[:size])
trainer = Trainer(max_epochs=1, limit_train_batches=2, accelerator="cpu", devices=int(sys.argv[4]), logger=False,
                  strategy="ddp" if sys.argv[4] != "1" else "auto", num_sanity_val_steps=sanity,
                  enable_progress_bar=False, enable_checkpointing=False)  # all else as Lightning has it
trainer.fit(model, data)
seen = trainer.strategy.reduce(torch.tensor(float(model.seen)), reduce_op="sum")
if trainer.is_global_zero:
    figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val")}
    confidence = {name: float(value.sum()) for name, value in model.confidence.state_dict().items()}
    print(json.dumps({"seen": float(seen), **figures, **confidence}))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()  # or PyTorch may abort as Python ends (pytorch/pytorch issue 190489)
"""

SIZES = """
import json, sys
import torch
from lightning.pytorch import Trainer, seed_everything
from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.data.images import Images

root, checkpoint, devices = sys.argv[1:]
model, figures = DigitRNN.load_from_checkpoint(checkpoint), []
trainer = Trainer(accelerator="cpu", devices=int(devices), strategy="ddp" if devices != "1" else "auto", logger=False,
                  enable_progress_bar=False, enable_checkpointing=False)
for size in (10000, 9999, 667, 7):
    data = MNISTDataModule(root, eval_batch_size=333)
    data.setup("test")
    data.test_set = Images(data.test_set.images[:size], data.test_set.labels[:size])
    trainer.test(model, data, verbose=False)
    figures.append({name: float(value) for name, value in trainer.callback_metrics.items()})
if trainer.is_global_zero:
    print(json.dumps(figures))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()  # or PyTorch may abort as Python ends (pytorch/pytorch issue 190489)
"""


def run_script(text: str, folder: Path, *args: object) -> Any:
    """Runs a program in processes of its own; gives what its last line says."""
    script = folder / "script.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *map(str, args)],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "size",
    # In the second, one process has a batch more than the other.
    [6000, 2001],
)
def test_lightnings_default_trainer_counts_each_validation_image_once(size: int, tmp_path: Path, root: Path) -> None:
    two = run_script(FIT, tmp_path, root, size, 0, 2)
    assert two["seen"] == size
    one = run_script(FIT, tmp_path, root, size, 0, 1)
    assert one["seen"] == size
    assert two == pytest.approx(one, rel=1e-4)


def test_two_processes_count_sizes_that_do_not_divide(trained: Path, root: Path, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoints/best.ckpt"
    for one, two in zip(*(run_script(SIZES, tmp_path, root, checkpoint, n) for n in (1, 2)), strict=True):
        assert one["test_accuracy"] > 0.9
        assert two == pytest.approx(one, abs=1e-6)


def test_two_processes_report_as_one_does(trained: Path, root: Path, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    words = [sys.executable, "-m", "digit_rnn", "test", f"--ckpt_path={checkpoint}", f"--data.root={root}"]
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", "--data.eval_batch_size=333"]
    results = [
        subprocess.run([*words, *more], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
        for more in ([], two)
    ]
    assert [done.returncode for done in results] == [0, 0]
    assert results[0].stdout.splitlines()[0] == results[1].stdout.splitlines()[0]
    tables = [path.read_bytes() for path in sorted(tmp_path.glob("reports/*/digits.csv"))]
    assert len(tables) == 2
    digests = {hashlib.sha256(table).hexdigest() for table in tables}
    assert len(digests) == 1


DDP = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]


def start_command(folder: Path, subcommand: str, trained: Path, *words: str) -> "subprocess.Popen[str]":
    """The command in a group of processes of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "digit_rnn", subcommand, f"--ckpt_path={trained}/checkpoints/best.ckpt", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


def finished(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def make_pictures(folder: Path, count: int, mnist: tuple[Array, Array]) -> None:
    """Some pictures of one to four digits; the name of one is in no encoding."""
    folder.mkdir()
    for index in range(count):
        Image.fromarray(line(mnist[0][4 * index : 4 * index + 1 + index % 4])).save(folder / f"{index:03} ü.png")
    (folder / "005 ü.png").rename(folder / os.fsdecode(b"005 caf\xe9\n.png"))


@pytest.mark.parametrize("pictures", ["folder", "one", "none"])
def test_two_processes_write_the_table_of_one(
    pictures: str, trained: Path, root: Path, tmp_path: Path, mnist: tuple[Array, Array]
) -> None:
    make_pictures(tmp_path / "scans", 12, mnist)
    (tmp_path / "scans" / "007 bad.png").write_bytes(b"")
    words = {
        "folder": ["--data.pictures", "scans"],
        "one": ["--data.pictures", "scans/001 ü.png"],
        "none": ["--data.eval_batch_size=4000"],  # three batches: one process has two of them
    }[pictures]
    words.append(f"--data.root={root}")
    results = [finished(start_command(tmp_path, "predict", trained, *words, *more)) for more in ([], DDP)]
    assert results[0][0] == (1 if pictures == "folder" else 0)
    folders = [tmp_path / "predictions" / f"version_{number}" for number in (0, 1)]
    assert (results[1][0], results[1][2]) == (results[0][0], results[0][2])
    assert results[1][1].replace("predictions/version_1", "predictions/version_0") == results[0][1]
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == sorted(path.name for path in folders[1].iterdir())
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    if pictures == "folder":
        assert "13 pictures, " in results[0][1]
        assert len((folders[0] / "predictions.jsonl").read_text().splitlines()) == 13
    elif pictures == "none":
        assert len((folders[0] / "predictions.csv").read_text().splitlines()) == 10_001


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_processes_leave_what_they_have_read(
    how: signal.Signals, trained: Path, tmp_path: Path, mnist: tuple[Array, Array]
) -> None:
    make_pictures(tmp_path / "scans", 400, mnist)
    process = start_command(tmp_path, "predict", trained, "--data.pictures", "scans", *DDP)
    folder = tmp_path / "predictions" / "version_0"
    parts = [folder / f"predictions.{rank}.jsonl" for rank in (0, 1)]
    while not all(part.is_file() and part.read_bytes().count(b"\n") >= 12 for part in parts):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, how)
    status, out, err = finished(process)  # which waits for all that hold its output
    assert (status, out) == ((-9, "") if how == signal.SIGKILL else (130, ""))
    if how == signal.SIGINT:
        assert err == "error: stopped: what was read until then is in predictions/version_0, a part a process\n"
    for part in parts:
        lines = part.read_text(encoding="utf-8").splitlines()
        assert 12 <= len(lines) < 200
        assert all(json.loads(text)["rows"] for text in lines[:12])
        assert part.with_suffix(".csv").read_text(encoding="utf-8").startswith("file,row,position,")


def test_two_processes_test_pictures_as_one_does(trained: Path, tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    (tmp_path / "scans").mkdir()
    texts = []
    for index in range(7):
        Image.fromarray(line(mnist[0][2 * index : 2 * index + 2])).save(tmp_path / "scans" / f"{index}.png")
        texts.append("".join(map(str, mnist[1][2 * index : 2 * index + 2])))
    texts[3] = "99999"
    rows = [f"{index}.png,{text}" for index, text in enumerate(texts)]
    (tmp_path / "scans" / "labels.csv").write_text("\n".join(["file,text", *rows]))
    results = [
        finished(start_command(tmp_path, "test", trained, "--data.pictures", "scans", *more)) for more in ([], DDP)
    ]
    assert [(status, err) for status, _, err in results] == [(0, "")] * 2
    assert results[1][1].replace("reports/version_1", "reports/version_0") == results[0][1]
    for name in ("mistakes.csv", "mistakes.png", "report.html"):
        one, two = ((tmp_path / "reports" / f"version_{number}" / name).read_bytes() for number in (0, 1))
        assert one == two
