import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import digit_rnn
from digit_rnn import DigitRNN
from tests.conftest import Command
from tests.helpers import BAD_FILES, Array, line, make_bad_files, read_table, wait_for


@pytest.mark.parametrize("batch_size", [1000, 333])
def test_predict_writes_table_and_picture(
    batch_size: int, command: Command, trained: Path, tmp_path: Path, images_and_labels: tuple[Tensor, Tensor]
) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    result = command("predict", "--ckpt_path", checkpoint, f"--data.eval_batch_size={batch_size}")
    assert (result.status, result.err) == (0, "")
    folder = tmp_path / "predictions" / "version_0"
    assert "predictions/version_0/predictions.csv" in result.out
    assert "predictions/version_0/predictions.png" in result.out
    images, labels = images_and_labels
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


def test_few_predictions_have_a_picture_too(command: Command, trained: Path, tmp_path: Path) -> None:
    words = ("--trainer.limit_predict_batches=1", "--data.eval_batch_size=10")
    assert command("predict", "--ckpt_path", trained / "checkpoints" / "best.ckpt", *words).status == 0
    folder = tmp_path / "predictions" / "version_0"
    assert len((folder / "predictions.csv").read_text().splitlines()) == 11
    assert (folder / "predictions.png").is_file()


@pytest.mark.slow
def test_picture_follows_the_seed(command: Command, trained: Path, tmp_path: Path) -> None:
    for seed in (1, 1, 2):
        command("predict", "--ckpt_path", trained / "checkpoints" / "best.ckpt", f"--seed_everything={seed}")
    one, again, other = (tmp_path / "predictions" / f"version_{number}" for number in range(3))
    assert (one / "predictions.png").read_bytes() == (again / "predictions.png").read_bytes()
    assert (one / "predictions.png").read_bytes() != (other / "predictions.png").read_bytes()
    assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()


def test_predict_reads_a_folder(command: Command, tmp_path: Path, trained: Path, mnist: tuple[Array, Array]) -> None:
    folder = tmp_path / "scans"
    (folder / "deeper").mkdir(parents=True)
    (folder / "x.png").mkdir()
    odd = tmp_path / "old" / os.fsdecode(b"caf\xe9.png")  # Latin-1, as an old disk has it
    odd.parent.mkdir()
    os.symlink(folder, folder / "deeper" / "loop")
    Image.fromarray(line(mnist[0][:4])).save(folder / "b four digits.png")
    Image.fromarray(255 - mnist[0][4]).save(folder / "deeper" / "数字.png")
    Image.new("L", (50, 50), 255).save(folder / "a.png")
    Image.fromarray(255 - mnist[0][0]).save(odd)
    (folder / "notes.txt").write_text("no picture")
    checkpoint = trained / "checkpoints" / "best.ckpt"
    result = command("predict", "--ckpt_path", checkpoint, "--data.pictures", "scans", "scans/*four*", "old")
    assert (result.status, result.err) == (0, "")
    text = "".join(str(label) for label in mnist[1][:4])
    lines = result.out.splitlines()
    assert lines[:2] == ["scans/a.png  no digit found", f"scans/b four digits.png  {text}"]
    assert lines[2].startswith("scans/deeper/数字.png  ")
    assert lines[3] == r"old/caf\udce9.png  7"
    assert lines[4].startswith("4 pictures, 6 digits, ")
    assert lines[4].endswith(" to check, 0 unreadable")
    folder = tmp_path / "predictions" / "version_0"
    rows = read_table(folder)
    assert [row["file"] for row in rows] == ["scans/a.png"] + ["scans/b four digits.png"] * 4 + [
        "scans/deeper/数字.png",
        r"old/caf\udce9.png",
    ]
    assert (rows[0]["digit"], rows[0]["check"]) == ("", "no digit found")
    assert "".join(row["digit"] for row in rows[1:5]) == text
    records = [json.loads(record) for record in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["rows"] for record in records] == [[], [text], [rows[5]["digit"]], ["7"]]
    assert records[1]["digits"][2]["box"] == [int(rows[3][side]) for side in ("left", "top", "right", "bottom")]
    assert (folder / "predictions.png").read_bytes().startswith(b"\x89PNG")

    from_python = digit_rnn.read(tmp_path / "scans" / "b four digits.png", checkpoint)
    assert [(r.row, r.position, list(r.box), r.digit, r.check) for r in from_python] == [
        (d["row"], d["position"], d["box"], d["digit"], d["check"]) for d in records[1]["digits"]
    ]


def test_bad_pictures_are_reported_and_the_others_read(
    command: Command, tmp_path: Path, trained: Path, mnist: tuple[Array, Array]
) -> None:
    make_bad_files(tmp_path, mnist)
    Image.fromarray(255 - mnist[0][0]).save(tmp_path / "good.png")
    files = [*BAD_FILES, "good.png"]
    result = command("predict", "--ckpt_path", trained / "checkpoints" / "best.ckpt", "--data.pictures", *files)
    assert result.status == 1
    assert result.err == "error: cannot read 4 of 5 pictures: see the column check\n"
    assert "5 pictures, 1 digit, " in result.out
    assert ", 4 unreadable\n" in result.out
    rows = read_table(tmp_path / "predictions" / "version_0")
    assert [row["file"] for row in rows] == files
    assert all(row["check"] and not row["digit"] for row in rows[:4])
    assert rows[4]["digit"] == "7"


def test_layout_can_be_said(command: Command, tmp_path: Path, trained: Path, mnist: tuple[Array, Array]) -> None:
    Image.fromarray(line(mnist[0][:2])).save(tmp_path / "two.png")
    checkpoint = trained / "checkpoints" / "best.ckpt"
    for layout, count in (("auto", 2), ("digits", 2), ("digit", 1)):
        command("predict", "--ckpt_path", checkpoint, "--data.pictures", "two.png", "--data.layout", layout)
        newest = max((tmp_path / "predictions").iterdir())
        assert len(read_table(newest)) == count


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_prediction_keeps_what_it_had(how: signal.Signals, trained: Path, root: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "digit_rnn", "predict", f"--ckpt_path={trained}/checkpoints/best.ckpt"]
    process = subprocess.Popen(
        [*words, f"--data.root={root}", "--data.eval_batch_size=1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    table = tmp_path / "predictions" / "version_0" / "predictions.csv"
    wait_for(table)
    while len(table.read_text().splitlines()) < 100:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "error: stopped: what was read until then is in predictions/version_0\n"
    rows = table.read_text().splitlines()
    assert 100 <= len(rows) < 10_001
    assert all(row.count(",") == 3 for row in rows)
