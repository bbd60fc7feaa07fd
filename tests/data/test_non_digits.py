"""Made-up images of what is no digit."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from digit_rnn import DigitRNN, MNISTDataModule
from digit_rnn.data.non_digits import KINDS, MIRRORED, NON_DIGIT, Maker, make_non_digits, redraw
from digit_rnn.data.pens import image_of
from digit_rnn.errors import OptionError
from digit_rnn.finding import pretrained_finder
from digit_rnn.finding.recogniser import BELIEVED
from tests.conftest import Command
from tests.helpers import Array, assert_refused


def test_they_follow_from_the_seed(mnist: tuple[Array, Array]) -> None:
    first, again, other = (make_non_digits(60, *mnist, seed) for seed in (1, 1, 2))
    assert first.shape == (60, 28, 28)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any(axis=(1, 2)).mean() > 0.9
    assert len(make_non_digits(0, *mnist, 1)) == 0


def test_the_shares_of_the_kinds_are_whole() -> None:
    assert sum(KINDS.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.__name__)
def test_each_kind_draws_ink_of_its_own(kind: object, mnist: tuple[Array, Array]) -> None:
    maker = Maker(*mnist, np.random.default_rng(0))
    drawn = [kind(maker) for _ in range(20)]  # type: ignore[operator]
    assert all(ink.min() >= 0 and 0.9 < ink.max() <= 1 for ink in drawn)
    assert len({ink.tobytes() for ink in drawn}) == 20


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.__name__)
def test_few_are_digits(kind: object, mnist: tuple[Array, Array]) -> None:
    maker = Maker(*mnist, np.random.default_rng(0))
    drawn = [image_of(kind(maker)).astype(np.float32) / 255 for _ in range(250)]  # type: ignore[operator]
    assert (pretrained_finder().recogniser.see(drawn).belief > BELIEVED).mean() < 0.1


@pytest.mark.parametrize("label", MIRRORED)
def test_a_mirrored_digit_is_no_other_digit(label: int, mnist: tuple[Array, Array]) -> None:
    images = mnist[0][mnist[1] == label][:250, :, ::-1].astype(np.float32) / 255
    assert (pretrained_finder().recogniser.see(list(images)).belief > BELIEVED).mean() < 0.15  # of 5s, half


def test_a_scribble_is_wider_than_a_1(mnist: tuple[Array, Array]) -> None:
    maker = Maker(*mnist, np.random.default_rng(0))
    for _ in range(200):
        (_, sides, _) = cv2.minAreaRect(cv2.findNonZero((maker.scribble() > 0.5).astype(np.uint8)))
        assert min(sides) >= 0.3 * max(sides)


def test_redrawn_digits_are_still_read_right(mnist: tuple[Array, Array], network: DigitRNN) -> None:
    images, labels = mnist[0][:400], mnist[1][:400]
    with torch.inference_mode():
        read = network(torch.from_numpy(redraw(images, 0)).float() / 255).argmax(1).numpy()
        before = network(torch.from_numpy(images).float() / 255).argmax(1).numpy()
    assert (read == labels).mean() > (before == labels).mean() - 0.04


def test_they_stand_beside_the_training_digits_alone(root: str) -> None:
    data = MNISTDataModule(str(root), validation_fraction=0.98, non_digits=0.25)
    data.setup("fit")
    digits = data.train_set.labels[data.train_set.labels != NON_DIGIT]
    assert len(digits) == 1200
    assert len(data.train_set) == 1500
    assert (data.val_set.labels < NON_DIGIT).all()


@pytest.mark.parametrize(("output", "share"), [(True, 0.0), (False, 0.3)])
def test_network_and_data_have_to_agree(output: bool, share: float, root: str, tmp_path: str) -> None:
    from lightning.pytorch import Trainer

    data = MNISTDataModule(str(root), validation_fraction=0.99, non_digits=share)
    trainer = Trainer(max_epochs=1, default_root_dir=tmp_path, logger=False, enable_checkpointing=False)
    with pytest.raises(OptionError, match=r"non_digit_output .*non_digits .*do not go together"):
        trainer.fit(DigitRNN(non_digit_output=output), data)


@pytest.mark.parametrize("options", [["--data.non_digits=0.3"], ["--model.non_digit_output=true"]])
def test_a_run_in_which_they_do_not_is_refused_before_anything_is_written(
    options: list[str], command: Command, tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("*"))
    result = command("fit", "--data.root", tmp_path / "data", *options)
    assert_refused(result, tmp_path, before, "non_digit_output", "non_digits", "use both or neither")


@pytest.mark.slow
def test_an_eleventh_output_is_learnt_and_the_ten_stay(root: str, tmp_path: str, mnist: tuple[Array, Array]) -> None:
    from lightning.pytorch import Trainer

    data = MNISTDataModule(str(root), validation_fraction=0.7, non_digits=0.5, augmentations={})
    model = DigitRNN(cell="gru", hidden_size=48, non_digit_output=True, learning_rate=5e-3)
    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(names, False)
    Trainer(max_epochs=2, default_root_dir=tmp_path, num_sanity_val_steps=0, gradient_clip_val=1.0, **quiet).fit(
        model, data
    )
    model.eval()
    others = torch.from_numpy(make_non_digits(500, *mnist, seed=9)).float() / 255
    digits = torch.from_numpy(mnist[0][:1000]).float() / 255
    with torch.inference_mode():
        assert model(digits).shape == (1000, 10)
        assert (model(digits).argmax(1).numpy() == mnist[1][:1000]).mean() > 0.9
        of_digits, of_others = (model.predict_step((images, None), 0)[1].float().mean() for images in (digits, others))
    assert of_digits < 0.05
    assert of_others > 0.5
