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
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

BATCH_SIZE, WINDOW = 64, 50  # steps are timed in windows, so that a clock read every time costs none of them
DATA = Path("data")
ORIGINAL = Path(__file__).parents[1] / "configs" / "original.yaml"

DESCRIPTIONS = {
    "keras": "the original: Keras on TensorFlow",
    "bare": "a bare PyTorch loop, nn.RNN's own kernel",
    "digit_rnn": "fit --config configs/original.yaml",
    "naive": "a plain Lightning port",
    "one_epoch": "fit --trainer.max_epochs 1",
}
OURS = ("digit_rnn", "one_epoch")


class Clock:
    """Milliseconds a step in each window, and seconds an epoch with its validation."""

    def __init__(self) -> None:
        self.step_ms: list[float] = []
        self.epoch_s: list[float] = []

    def start_epoch(self) -> None:
        self.steps, self.epoch_start = 0, time.perf_counter()
        self.window_start = self.epoch_start

    def step(self) -> None:
        self.steps += 1
        if self.steps % WINDOW == 0:
            now = time.perf_counter()
            self.step_ms.append((now - self.window_start) / WINDOW * 1000)
            self.window_start = now

    def end_epoch(self) -> None:
        self.epoch_s.append(time.perf_counter() - self.epoch_start)


def run_keras(epochs: int, seed: int, folder: Path, clock: Clock) -> Callable[[], float]:
    """The original program."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np

    raw = DATA / "MNIST" / "raw"

    def read(part: str, count: int) -> tuple[Any, Any]:
        images = np.fromfile(raw / f"{part}-images-idx3-ubyte", np.uint8, offset=16).reshape(count, 28, 28)
        return images.astype("float32") / 255, np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8, offset=8)

    class Timer(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            clock.start_epoch()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            clock.step()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            clock.end_epoch()

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((28, 28)), keras.layers.SimpleRNN(128), keras.layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = read("train", 60_000)
    model.fit(images, labels, BATCH_SIZE, epochs, verbose=0, validation_split=0.1, callbacks=[Timer()])
    model.save(folder / "model.keras")
    return lambda: float(model.evaluate(*read("t10k", 10_000), verbose=0)[1])


def run_bare(epochs: int, seed: int, folder: Path, clock: Clock) -> Callable[[], float]:
    """The shortest honest loop: tensors in memory, fused Adam, loss and accuracy counted, a validation each epoch."""
    import torch
    import torch.nn.functional as F
    from torchvision.datasets import MNIST

    torch.manual_seed(seed)
    rnn, head = torch.nn.RNN(28, 128, batch_first=True), torch.nn.Linear(128, 10)
    for parameter in (*rnn.parameters(), *head.parameters()):  # Keras's initial weights
        torch.nn.init.xavier_uniform_(parameter) if parameter.ndim == 2 else torch.nn.init.zeros_(parameter)
    torch.nn.init.orthogonal_(rnn.weight_hh_l0)
    optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], 1e-3, eps=1e-7, fused=True)
    train, test = MNIST(str(DATA)), MNIST(str(DATA), train=False)
    images, labels = train.data.float() / 255, train.targets

    @torch.no_grad()
    def accuracy(images: torch.Tensor, labels: torch.Tensor) -> float:
        return (head(rnn(images)[1][0]).argmax(1) == labels).float().mean().item()

    for _ in range(epochs):
        clock.start_epoch()
        total_loss, correct = torch.zeros(()), torch.zeros(())
        for batch in torch.randperm(54_000).split(BATCH_SIZE):
            logits = head(rnn(images[batch])[1][0])
            loss = F.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total_loss += loss.detach() * len(batch)
            correct += (logits.argmax(1) == labels[batch]).sum()
            clock.step()
        accuracy(images[54_000:], labels[54_000:])
        clock.end_epoch()
    torch.save({"rnn": rnn.state_dict(), "head": head.state_dict()}, folder / "model.pt")
    return lambda: accuracy(test.data.float() / 255, test.targets)


def run_naive(epochs: int, seed: int, folder: Path, clock: Clock) -> Callable[[], float]:
    """What a tutorial would write: per-sample transforms, everything logged in each step, PyTorch's initial weights."""
    import logging
    import warnings

    import torch
    import torch.nn.functional as F
    from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
    from torch.utils.data import DataLoader, Subset
    from torchmetrics.classification import MulticlassAccuracy
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    warnings.simplefilter("ignore")
    logging.getLogger("lightning").setLevel(logging.ERROR)

    class Port(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.RNN(28, 128, batch_first=True)
            self.head = torch.nn.Linear(128, 10)
            self.accuracy = torch.nn.ModuleDict({stage: MulticlassAccuracy(10, average="micro") for stage in "fvt"})

        def shared_step(self, batch: Any, stage: str, name: str) -> torch.Tensor:
            logits = self.head(self.rnn(batch[0].squeeze(1))[1][0])
            loss = F.cross_entropy(logits, batch[1])
            metric = self.accuracy[stage]
            metric(logits, batch[1])
            self.log(f"{name}_loss", loss, prog_bar=True)
            self.log(f"{name}_accuracy", metric, prog_bar=True)  # type: ignore[arg-type]
            return loss

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return self.shared_step(batch, "f", "train")

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.shared_step(batch, "v", "val")

        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.shared_step(batch, "t", "test")

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), 1e-3)

    class Timer(Callback):
        def on_train_epoch_start(self, *args: Any) -> None:
            clock.start_epoch()

        def on_train_batch_end(self, *args: Any) -> None:
            clock.step()

        def on_train_epoch_end(self, *args: Any) -> None:
            clock.end_epoch()

    seed_everything(seed, verbose=False)
    train, test = (MNIST(str(DATA), train=flag, transform=ToTensor()) for flag in (True, False))
    model, options = Port(), {"accelerator": "cpu", "default_root_dir": folder}
    trainer = Trainer(max_epochs=epochs, callbacks=[Timer()], **options)  # type: ignore[arg-type]
    trainer.fit(
        model,
        DataLoader(Subset(train, range(54_000)), BATCH_SIZE, shuffle=True),
        DataLoader(Subset(train, range(54_000, 60_000)), BATCH_SIZE),
    )
    return lambda: trainer.test(model, DataLoader(test, BATCH_SIZE), verbose=False)[0]["test_accuracy"]


OTHERS = {"keras": run_keras, "bare": run_bare, "naive": run_naive}


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
    packages = ["torch", "lightning"] + ["tensorflow_cpu", "keras"] * ("keras" in options.contenders)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},",
        end=" ",
    )
    print(", ".join(f"{name} {version(name)}" for name in packages), flush=True)
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
