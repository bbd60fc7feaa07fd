"""On a GPU: training in each precision, resuming, test and predict; skipped where there is none."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.data.augmentation import CHANGES, MAPS, augment
from tests.conftest import Command

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

GPU = ("--trainer.accelerator=gpu", "--trainer.devices=1")


def accuracy(out: str) -> float:
    return float(out.split("test_accuracy ")[1].split()[0])


def test_the_logits_are_the_cpus() -> None:
    for cell in ("rnn", "gru", "lstm"):
        model, images = DigitRNN(cell=cell, num_layers=2, bidirectional=True).eval(), torch.rand(8, 28, 28)
        with torch.no_grad():
            on_cpu = model(images)
            torch.testing.assert_close(model.cuda()(images.cuda()).cpu(), on_cpu, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_fit_learns_and_its_checkpoint_is_read_anywhere(precision: str, command: Command) -> None:
    result = command("fit", *GPU, "--trainer.max_epochs=1", f"--trainer.precision={precision}")
    assert (result.status, result.err) == (0, "")
    on_gpu = command("test", *GPU, "--ckpt_path=best")
    on_cpu = command("test", "--trainer.accelerator=cpu", "--ckpt_path=best")
    assert (on_gpu.err, on_cpu.err) == ("", "")
    assert accuracy(on_gpu.out) > 0.95
    assert accuracy(on_gpu.out) == pytest.approx(accuracy(on_cpu.out), abs=5e-4)


def test_run_is_resumed_and_predicts(command: Command, tmp_path: Path) -> None:
    words = ("--trainer.limit_train_batches=100", "--data.augmentations.rotation=10", "--model.dropout=0.1")
    assert command("fit", *GPU, *words, "--trainer.max_epochs=1").status == 0
    result = command("fit", "--ckpt_path=last", "--trainer.max_epochs=2")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("epoch 2/2")
    result = command("predict", *GPU, "--ckpt_path=best")
    assert (result.status, result.err) == (0, "")
    table = (tmp_path / "predictions" / "version_0" / "predictions.csv").read_text().splitlines()
    assert len(table) == 10_001


def test_no_augmentation_waits_for_the_device() -> None:
    images, labels = torch.rand(64, 28, 28, device="cuda"), torch.randint(10, (64,), device="cuda")
    amounts = {"scale": 0.1, "rotation": 5.0, "shear": 5.0, "upstroke": 0.5, "translation": 2.0}
    assert set(amounts) == {*CHANGES, *MAPS}
    generator = torch.Generator("cuda").manual_seed(0)
    augment(images, labels, amounts, generator)
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment(images, labels, amounts, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_no_training_step_waits_for_the_device(root: Path) -> None:
    class Strict(DigitRNN):
        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
            torch.cuda.set_sync_debug_mode("error")
            try:
                return super().training_step(batch, batch_idx)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    trainer = Trainer(
        max_epochs=1, limit_train_batches=20, limit_val_batches=1, accelerator="gpu", devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(Strict(), MNISTDataModule(str(root)))
    assert trainer.global_step == 20
