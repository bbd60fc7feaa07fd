"""Times digit_rnn beside three other ways to train the same network on MNIST, in alternation, on this machine.

    pip install -e ".[benchmark]"
    python scripts/benchmark.py                                            everything, about 10 minutes on 2 cores
    python scripts/benchmark.py --repeats 1 --epochs 1 --contenders keras digit_rnn      under a minute

Each contender is a process of its own that trains the original recipe (tanh, Adam at 1e-3, batches of 64) on 54,000
images and writes a checkpoint; one_epoch is digit_rnn's default recipe with a single epoch. Results go to
``benchmark/``: ``runs.csv``, ``summary.csv`` and ``benchmark.png``.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from contenders import BATCH_SIZE, DATA, OTHERS, Clock

ORIGINAL = Path(__file__).parents[1] / "configs" / "original.yaml"

DESCRIPTIONS = {
    "keras": "the original: Keras on TensorFlow",
    "bare": "a bare PyTorch loop, nn.RNN's own kernel",
    "digit_rnn": "fit --config configs/original.yaml",
    "naive": "a plain Lightning port",
    "one_epoch": "fit --trainer.max_epochs 1",
}
OURS = ("digit_rnn", "one_epoch")


def run_other(name: str, epochs: int, seed: int, folder: Path) -> None:
    """The inside of a contender's process: trains, then says what it measured, as JSON in a file."""
    clock = Clock()
    test = OTHERS[name](epochs, seed, folder, clock)
    saved_at = time.time()
    result = {"step_ms": clock.step_ms, "epoch_s": clock.epoch_s, "saved_at": saved_at, "test_accuracy": test()}
    (folder / "result.json").write_text(json.dumps(result))


def watch(command: list[str], folder: Path) -> tuple[float, float]:
    """Runs a process; returns the time at which it started and its peak memory in MB."""
    started = time.time()
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)  # type: ignore[attr-defined, unused-ignore]
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()[-2000:]}")
    return started, usage.ru_maxrss / (2**20 if platform.system() == "Darwin" else 2**10)


def measure(name: str, epochs: int, seed: int, folder: Path) -> dict[str, float]:
    """One run of one contender."""
    if name in OTHERS:
        inside = ["--inside", name, "--epochs", str(epochs), "--seed", str(seed), "--folder", str(folder)]
        started, memory = watch([sys.executable, __file__, *inside], folder)
        result = json.loads((folder / "result.json").read_text())
    else:
        digit_rnn = [sys.executable, "-m", "digit_rnn"]
        recipe = (
            ["--trainer.max_epochs=1"]
            if name == "one_epoch"
            else [f"--config={ORIGINAL}", f"--trainer.max_epochs={epochs}"]
        )
        places = [f"--data.root={DATA}", f"--trainer.default_root_dir={folder}", f"--seed_everything={seed}"]
        started, memory = watch([*digit_rnn, "fit", *recipe, *places], folder)
        result = {"saved_at": time.time(), **from_log(folder / "runs" / "version_0")}
        lines = (folder / "output.txt").read_text().splitlines()
        result["epoch_s"] = [float(line.split()[-2]) for line in lines if line.startswith("epoch ")]
        watch([*digit_rnn, "test", "--ckpt_path=last", *places], folder)
        result["test_accuracy"] = float((folder / "output.txt").read_text().split("test_accuracy")[1].split()[0])
    return {
        "process_s": result["saved_at"] - started,
        "epoch_s": statistics.median(result["epoch_s"]),
        "step_ms": statistics.median(result["step_ms"]),
        "memory_mb": memory,
        "test_accuracy": result["test_accuracy"],
    }


def from_log(run: Path) -> dict[str, list[float]]:
    """Step times from the clock in the TensorBoard log, which has an entry each 50 steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    losses = events.Scalars("train_loss_step")
    steps_an_epoch = -(-54_000 // BATCH_SIZE)
    inside = [(a, b) for a, b in pairwise(losses) if a.step // steps_an_epoch == b.step // steps_an_epoch]
    return {"step_ms": [(b.wall_time - a.wall_time) / (b.step - a.step) * 1000 for a, b in inside]}


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the repeats, and ratios to Keras and to the bare loop where those took part."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    columns = ["process_s", "epoch_s", "step_ms", "memory_mb", "test_accuracy"]
    summary = []
    for name in names:
        mine = [row for row in rows if row["contender"] == name]
        summary.append({"contender": name} | {c: statistics.median(row[c] for row in mine) for c in columns})
    for reference, column in (("keras", "process_s"), ("bare", "step_ms")):
        base = next((row[column] for row in summary if row["contender"] == reference), None)
        for row in summary:
            row[f"{column}_by_{reference}"] = row[column] / base if base else ""
    return summary


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """A list of rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows({key: f"{v:.4f}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)


def draw(summary: list[dict[str, Any]], path: Path, epochs: int, repeats: int) -> None:
    """Whole processes and single steps, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.5 * len(summary) + 1.3), layout="constrained")
    whole, step = figure.subplots(1, 2, sharey=True)
    names = [DESCRIPTIONS[row["contender"]] for row in summary]
    colors = ["#0072b2" if row["contender"] in OURS else "#bbbbbb" for row in summary]
    for axis, column, label in ((whole, "process_s", "whole process, s"), (step, "step_ms", "training step, ms")):
        bars = axis.barh(names, [row[column] for row in summary], color=colors)
        labels = [f"{row[column]:.1f}" for row in summary]
        if axis is whole:
            labels = [f"{label}  (test {row['test_accuracy']:.1%})" for label, row in zip(labels, summary, strict=True)]
        axis.bar_label(bars, labels, padding=3, fontsize=9)
        axis.set_xlabel(label)
        axis.margins(x=0.7 if axis is whole else 0.15)
        axis.spines[["top", "right"]].set_visible(False)
    whole.invert_yaxis()
    figure.suptitle(f"{epochs} epochs of MNIST on {os.cpu_count()} CPU cores, median of {repeats}", fontsize=11)
    figure.savefig(path, dpi=130)


def machine(with_keras: bool) -> str:
    """Where this runs, and with which versions."""
    processor = platform.processor() or platform.machine()
    tensorflow = "tensorflow_cpu" if (platform.machine(), sys.platform) == ("x86_64", "linux") else "tensorflow"
    versions = [f"{name} {version(name)}" for name in ("torch", "lightning", *(tensorflow, "keras") * with_keras)]
    return ", ".join([processor, f"{os.cpu_count()} cores", f"Python {platform.python_version()}", *versions])


def main() -> None:
    """Runs the contenders in turn, as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender (default 3)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each run (default 5)")
    parser.add_argument("--contenders", nargs="+", choices=DESCRIPTIONS, default=list(DESCRIPTIONS), metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path("benchmark"), help="folder of the results")
    for hidden in ("--inside", "--seed", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_other(options.inside, options.epochs, int(options.seed), Path(options.folder))
        return

    from digit_rnn import MNISTDataModule

    sys.modules["tensorboard.compat.notf"] = ModuleType("notf")  # TensorBoard shall not load TensorFlow for the log
    MNISTDataModule(str(DATA)).prepare_data()
    print(machine("keras" in options.contenders), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for repeat in range(options.repeats):
        for name in options.contenders:
            print(f"{repeat + 1}/{options.repeats} {name:10}", end="", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                rows.append({"contender": name, "repeat": repeat} | measure(name, options.epochs, repeat, Path(folder)))
            print("  ".join(f"{key} {value:.4g}" for key, value in list(rows[-1].items())[2:]), flush=True)
            write(options.output / "runs.csv", rows)
    summary = summarise(rows)
    write(options.output / "summary.csv", summary)
    draw(summary, options.output / "benchmark.png", options.epochs, options.repeats)
    print(f"\n{'median':12}" + "".join(f"{name:>22}" for name in list(summary[0])[1:]))
    for row in summary:
        cells = [f"{value:.4g}" if isinstance(value, float) else value for value in list(row.values())[1:]]
        print(f"{row['contender']:12}" + "".join(f"{cell:>22}" for cell in cells))
    print(f"\nresults in {options.output}")


if __name__ == "__main__":
    main()
