import json
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from digit_rnn import MNISTDataModule
from digit_rnn.data import augmentation
from digit_rnn.data.augmentation import augment, random_upstroke
from tests.conftest import REPOSITORY, Command

CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


def changed(images: Tensor, seed: int = 0, **amounts: float) -> Tensor:
    labels = torch.zeros(len(images), dtype=torch.long)
    return augment(images, labels, amounts, torch.Generator().manual_seed(seed))


def test_translation_moves_whole_pixels(images_and_labels: tuple[Tensor, Tensor]) -> None:
    images = images_and_labels[0][:200]
    moved = changed(images, translation=1)
    padded = F.pad(images, (1, 1, 1, 1))
    shifts = {(y, x): padded[:, 1 - y : 29 - y, 1 - x : 29 - x] for y in (-1, 0, 1) for x in (-1, 0, 1)}
    found = Counter[tuple[int, int]]()
    for index, image in enumerate(moved):
        found.update(key for key, shifted in shifts.items() if torch.equal(shifted[index], image))
    assert found.total() == 200
    assert len(found) == 9


def test_rotation_shear_and_scale_stay_within_their_bounds() -> None:
    bar = torch.zeros(500, 28, 28)
    bar[:, 4:24, 13:15] = 1
    rows, columns = torch.meshgrid(torch.arange(28) - 13.5, torch.arange(28) - 13.5, indexing="ij")

    def moments(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The bar's slope (columns a row) and its length in rows."""
        height = (images * rows**2).sum((1, 2))
        slope = (images * rows * columns).sum((1, 2)) / height
        return slope, (12 * height / images.sum((1, 2))).sqrt()

    for name, tangent in (("rotation", 10.0), ("shear", 10.0)):
        slope, _ = moments(changed(bar, **{name: tangent}))
        degrees = slope.atan().rad2deg()
        assert degrees.abs().max().item() == pytest.approx(10, abs=0.5)
        assert degrees.mean().item() == pytest.approx(0, abs=1)
    _, length = moments(changed(bar, scale=0.1))
    assert length.min().item() == pytest.approx(18, abs=0.4)
    assert length.max().item() == pytest.approx(22, abs=0.4)


def test_upstroke_is_drawn_on_some_ones_and_nothing_else(root: Path) -> None:
    data = MNISTDataModule(str(root))
    data.setup("fit")
    images, labels = data.train_set.images[:4000].float() / 255, data.train_set.labels[:4000]
    ones = labels == 1
    drawn = random_upstroke(images, labels, 0.3, torch.Generator().manual_seed(0))
    differs = (drawn != images).any(2).any(1)
    assert torch.equal(drawn[~ones], images[~ones])
    assert differs[ones].float().mean().item() == pytest.approx(0.3, abs=0.06)
    assert drawn.max() <= 1
    again = random_upstroke(images, labels, 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_upstroke_rises_from_the_left_and_the_digit_is_centred_anew(root: Path) -> None:
    data = MNISTDataModule(str(root))
    data.setup("fit")
    ones = data.train_set.labels == 1
    images = data.train_set.images[ones][:300].float() / 255
    drawn = random_upstroke(images, torch.ones(300, dtype=torch.int64), 1, torch.Generator().manual_seed(0))

    def centre(image: torch.Tensor) -> torch.Tensor:
        return torch.stack([(image.sum(1 - axis) * torch.arange(28.0)).sum() / image.sum() for axis in (0, 1)])

    from_the_foot = 0
    for before, after in zip(images, drawn, strict=True):
        assert (centre(after) - centre(before)).abs().max() <= 0.51
        shifts = [(down, left) for down in range(-8, 9) for left in range(-8, 9)]
        added = max((after.roll(shift, (0, 1)) - before for shift in shifts), key=lambda new: int((new >= 0).sum()))
        assert (added < 0).sum() <= 8  # of 784: the frame's edge may cut off a serif
        top = int((before > 0.5).any(1).nonzero()[0])
        assert (added.sum(0) * torch.arange(28.0)).sum() / added.sum() < before[top].argmax() + 2
        rows, columns = (added > 0.5).nonzero(as_tuple=True)
        bottom = int((before > 0.5).any(1).nonzero()[-1])
        from_the_foot += bool(len(rows)) and int(rows[columns.argmin()]) - top > 0.8 * (bottom - top)
    assert 0.1 < from_the_foot / 300 < 0.5


def test_distortion_follows_the_generator(images_and_labels: tuple[Tensor, Tensor]) -> None:
    images = images_and_labels[0][:8]
    amounts = {"rotation": 10.0, "scale": 0.1, "shear": 10.0, "translation": 2}
    assert torch.equal(changed(images, 1, **amounts), changed(images, 1, **amounts))
    assert not torch.equal(changed(images, 1, **amounts), changed(images, 2, **amounts))
    assert torch.equal(changed(images), images)
    assert torch.equal(changed(images, **dict.fromkeys(amounts, 0)), images)  # no amount, no change


def test_upstroke_reaches_ones_alone_among_other_changes(images_and_labels: tuple[Tensor, Tensor]) -> None:
    images, labels = (column[:500] for column in images_and_labels)
    ones = labels == 1
    drawn, plain = (
        augment(images, labels, {"upstroke": share}, torch.Generator().manual_seed(0)) for share in (1.0, 0.0)
    )
    assert torch.equal(plain, images)
    assert torch.equal(drawn[~ones], images[~ones])
    assert (drawn[ones] != images[ones]).flatten(1).any(1).all()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(None, id="default"),
        *(pytest.param(path, marks=pytest.mark.slow, id=path.stem) for path in CONFIGS),
    ],
)
def test_upstroke_is_drawn_only_where_it_is_named(
    config: Path | None, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []

    def upstroke(images: Tensor, labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
        shares.append(share)
        return images

    monkeypatch.setitem(augmentation.CHANGES, "upstroke", upstroke)
    amounts = {"translation": 1, "upstroke": 0.5}
    words = ["fit", "--trainer.fast_dev_run=true", "--data.validation_fraction=0.97"]
    if config:
        amounts = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]["augmentations"]
        words += ["--config", str(config)]
    named = [amounts["upstroke"]] if "upstroke" in amounts else []

    def drawn(*more: str) -> list[float]:
        shares.clear()
        assert command(*words, *more).status == 0
        return [*shares]  # of the one batch

    assert drawn() == named
    assert drawn("--data.augmentations.rotation=3") == named
    others = {name: amount for name, amount in amounts.items() if name != "upstroke"}
    assert drawn(f"--data.augmentations={json.dumps(others)}") == []
    assert drawn("--data.augmentations={}") == []
    assert drawn("--data.augmentations={}", "--data.augmentations.upstroke=0.25") == [0.25]
