import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

from tests.conftest import Command


def test_event_file_holds_curves_graph_and_hyperparameters(trained: Path) -> None:
    events = EventAccumulator(str(trained))
    events.Reload()
    tags = events.Tags()
    steps = {"train_loss_step": 16, "learning_rate": 16} | {  # every 50 of 844 steps
        f"{stage}_{name}": 1 for stage in ("train", "val") for name in ("loss", "accuracy")
    }
    for name, count in steps.items():
        assert len(events.Scalars(name)) == count
    best = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"]
    score = next(float(state["best_model_score"]) for state in best.values() if state.get("monitor") == "val_accuracy")
    assert events.Scalars("val_accuracy")[0].value == pytest.approx(score)
    assert events.Scalars("best_val_accuracy")[0].value == pytest.approx(score)
    assert max(event.value for event in events.Scalars("learning_rate")) == pytest.approx(2e-3, rel=0.05)
    assert tags["graph"]
    session = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"learning_rate" in session
    assert b"translation" in session


@pytest.mark.parametrize(("parts", "steps"), [((2,), [39]), ((1, 2), [19, 39])])
def test_event_file_holds_pictures_of_each_ends_last_step(
    parts: tuple[int, ...], steps: list[int], command: Command, tmp_path: Path
) -> None:
    command("fit", f"--trainer.max_epochs={parts[0]}", "--trainer.limit_train_batches=20")
    for epochs in parts[1:]:
        assert command("fit", "--ckpt_path=last", f"--trainer.max_epochs={epochs}").status == 0
    events = EventAccumulator(str(tmp_path / "runs" / "version_0"), size_guidance={IMAGES: 0})
    events.Reload()
    assert set(events.Tags()[IMAGES]) == {"confusion_matrix", "validation_digits", "reading"}
    for name in events.Tags()[IMAGES]:
        assert [event.step for event in events.Images(name)] == steps
        for event in events.Images(name):
            with Image.open(io.BytesIO(event.encoded_image_string)) as picture:
                assert picture.size == (event.width, event.height)
                assert min(picture.size) >= 200
                assert len(picture.convert("L").getcolors()) > 20  # something is drawn
