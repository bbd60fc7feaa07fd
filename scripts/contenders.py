"""Three other ways to train the same network on MNIST, which ``benchmark.py`` times beside digit_rnn.

Each trains the original recipe (tanh, Adam at 1e-3, batches of 64) on 54,000 images and writes a checkpoint.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH_SIZE, WINDOW = 64, 50  # steps are timed in windows, so that a clock read every time costs none of them
DATA = Path("data")


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
