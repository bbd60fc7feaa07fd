"""Runs on more than one process: each image counts once, whatever Trainer is used."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

FIT = """
import json, sys
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
seen = trainer.strategy.reduce(__import__("torch").tensor(float(model.seen)), reduce_op="sum")
if trainer.is_global_zero:
    figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val")}
    confidence = {name: float(value.sum()) for name, value in model.confidence.state_dict().items()}
    print(json.dumps({"seen": float(seen), **figures, **confidence}))
"""

SIZES = """
import json, sys
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
    [6000, pytest.param(2001, marks=pytest.mark.slow)],
)
def test_lightnings_default_trainer_counts_each_validation_image_once(size: int, tmp_path: Path, root: Path) -> None:
    two = run_script(FIT, tmp_path, root, size, 0, 2)
    assert two["seen"] == size
    one = run_script(FIT, tmp_path, root, size, 0, 1)
    assert one["seen"] == size
    assert two == pytest.approx(one, rel=1e-4)


@pytest.mark.slow
def test_two_processes_count_sizes_that_do_not_divide(trained: Path, root: Path, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoints/best.ckpt"
    for one, two in zip(*(run_script(SIZES, tmp_path, root, checkpoint, n) for n in (1, 2)), strict=True):
        assert one["test_accuracy"] > 0.9
        assert two == pytest.approx(one, abs=1e-6)


@pytest.mark.slow
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
