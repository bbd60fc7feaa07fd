import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator
from torch import Tensor

from digit_rnn import DigitRNN, MNISTDataModule, figures, thumbnails
from digit_rnn.report import most_certain_mistakes
from tests.conftest import Command


@pytest.fixture(scope="module")
def network(trained: Path) -> DigitRNN:
    return DigitRNN.load_from_checkpoint(trained / "checkpoints" / "best.ckpt").eval()


@pytest.fixture(scope="module")
def seen(root: Path, network: DigitRNN) -> tuple[Tensor, Tensor, Tensor]:
    """Test images, labels and the network's probabilities."""
    data = MNISTDataModule(str(root))
    data.setup("test")
    images = data.test_set.images.float() / 255
    with torch.no_grad():
        return images, data.test_set.labels, network.probabilities(images)


def count_by_hand(labels: Tensor, probabilities: Tensor) -> Tensor:
    matrix = torch.zeros(10, 10, dtype=torch.long)
    for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True):
        matrix[label, row.index(max(row))] += 1
    return matrix


def test_confusion_figure_shows_the_counts(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    matrix = count_by_hand(seen[1], seen[2])
    axis = figures.confusion_figure(matrix).axes[0]
    drawn = torch.zeros(10, 10, dtype=torch.long)
    for text in axis.texts:
        predicted, true = (round(place) for place in text.get_position())
        drawn[true, predicted] = int(text.get_text().split()[0])
    assert torch.equal(drawn, matrix)
    shares = axis.images[0].get_array()
    assert shares is not None
    assert shares[4, 9] == pytest.approx(100 * matrix[4, 9].item() / matrix[4].sum().item(), abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"cell": "lstm"}, {"bidirectional": True, "num_layers": 2}])
def test_beliefs_after_each_row_are_those_of_the_rows_alone(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = DigitRNN(**options).eval()  # type: ignore[arg-type]
    model.temperature.fill_(0.7)
    images = torch.rand(3, 28, 28)
    with torch.no_grad():
        beliefs = model.beliefs(images)
        for rows in (1, 2, 15, 28):
            assert torch.allclose(beliefs[:, rows - 1], model.probabilities(images[:, :rows]), atol=1e-5)


def test_reading_figure_ends_with_the_prediction(seen: tuple[Tensor, Tensor, Tensor], network: DigitRNN) -> None:
    images, _, probabilities = seen
    with torch.no_grad():
        beliefs = network.beliefs(images[:4])
    axes = figures.reading_figure(images[:4], beliefs).axes
    for place in range(4):
        picture, heat = axes[2 * place].images[0].get_array(), axes[2 * place + 1].images[0].get_array()
        assert picture is not None
        assert heat is not None
        np.testing.assert_allclose(picture, images[place])
        np.testing.assert_allclose(heat[-1], probabilities[place], atol=1e-5)
    half = figures.reading_figure(images[:1], beliefs[:1], rows_read=10).axes[1].images[0].get_array()
    assert half is not None
    assert np.ma.count(half[:10]) == 100
    assert np.ma.count(half[10:]) == 0


def test_animation_adds_a_row_a_frame(seen: tuple[Tensor, Tensor, Tensor], network: DigitRNN, tmp_path: Path) -> None:
    with torch.no_grad():
        figures.reading_animation(seen[0][0], network.beliefs(seen[0][:1])[0], tmp_path / "reading.gif")
    with Image.open(tmp_path / "reading.gif") as film:
        assert film.n_frames >= 28  # frames that are alike may be joined
    assert (tmp_path / "reading.gif").stat().st_size < 400_000


def test_mistakes_come_with_the_most_certain_first(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    _, labels, probabilities = seen
    chosen = most_certain_mistakes(labels, probabilities, 25).tolist()
    wrong = [index for index in range(10_000) if int(probabilities[index].argmax()) != int(labels[index])]
    expected = sorted(wrong, key=lambda index: -float(probabilities[index].max()))[:25]
    assert [float(probabilities[i].max()) for i in chosen] == [float(probabilities[i].max()) for i in expected]
    assert set(chosen) <= set(wrong)


def test_reliability_figure_shows_accuracy_by_confidence(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    _, labels, probabilities = seen
    bars = figures.reliability_figure(probabilities, labels, 0.01).axes[0].patches
    confidence, predicted = probabilities.max(1)
    inside = (confidence >= 0.5) & (confidence < 0.6)
    share = (predicted == labels)[inside].float().mean().item()
    assert bars[5].get_height() == pytest.approx(share)  # type: ignore[attr-defined]


def test_temperature_calibrates(seen: tuple[Tensor, Tensor, Tensor], network: DigitRNN) -> None:
    """Label smoothing leaves a network too modest: calibrated, its confidence is what its accuracy is."""
    images, labels, probabilities = seen
    assert network.temperature != 1
    accuracy = (probabilities.argmax(1) == labels).float().mean()
    with torch.no_grad():
        raw = network(images).softmax(1)
    assert abs(probabilities.max(1).values.mean() - accuracy) < 0.01
    assert abs(probabilities.max(1).values.mean() - accuracy) < abs(raw.max(1).values.mean() - accuracy)


def test_thumbnails_show_what_they_should() -> None:
    image = torch.zeros(28, 28)
    image[10:20, 12:15] = 1
    beliefs = torch.zeros(28, 10)
    beliefs[:, 3] = 1
    sheet = thumbnails.reading_sheet(image, beliefs)
    assert (sheet[22 + 8 * 12, 8 * 13] == 255).all()
    assert (sheet[22 + 8 * 12, 8 * 5] == 0).all()
    assert (sheet[50, 8 * 28 + 8 + 24 * 3 + 12] == 255).all()
    right, wrong = (thumbnails.digits_sheet(image[None], torch.tensor([1]), torch.tensor([p])) for p in (1, 7))
    assert (wrong[0, 0] == thumbnails.WRONG).all()
    assert (right[0, 0] != thumbnails.WRONG).any()
    matrix = torch.eye(10, dtype=torch.long) * 95
    matrix[2, 7] = 5
    table = thumbnails.confusion_sheet(matrix)
    cell = thumbnails.CELL
    assert (table[3 * cell + 4, 8 * cell + 4] == thumbnails.WRONG).all()
    assert (table[3 * cell + 4, 3 * cell + 4] == 255).all()


def test_event_file_holds_pictures_of_each_epoch(command: Command, tmp_path: Path) -> None:
    command("fit", "--trainer.max_epochs=2", "--trainer.limit_train_batches=20")
    events = EventAccumulator(str(tmp_path / "runs" / "version_0"), size_guidance={IMAGES: 0})
    events.Reload()
    for name in ("confusion_matrix", "validation_digits", "reading"):
        assert [event.step for event in events.Images(name)] == [19, 39]


def test_test_writes_a_report(
    command: Command, trained: Path, tmp_path: Path, seen: tuple[Tensor, Tensor, Tensor]
) -> None:
    result = command("test", "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert (result.status, result.err) == (0, "")
    assert "reports/version_0/report.html" in result.out
    folder = tmp_path / "reports" / "version_0"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!data:)|https?://|@import", page)
    names = {"reading.png", "rows.png", "confusion.png", "reliability.png", "mistakes.png", "reading.gif"}
    assert names | {"digits.csv", "report.html"} == {path.name for path in folder.iterdir()}
    assert page.count("data:image/") == len(names)
    assert all((folder / name).stat().st_size < 200_000 for name in names if name.endswith("png"))
    with (folder / "digits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    matrix = count_by_hand(seen[1], seen[2])
    for digit, row in enumerate(rows):
        assert int(row["images"]) == matrix[digit].sum()
        assert float(row["recall"]) == pytest.approx((matrix[digit, digit] / matrix[digit].sum()).item(), abs=1e-4)
        assert float(row["precision"]) == pytest.approx(
            (matrix[digit, digit] / matrix[:, digit].sum()).item(), abs=1e-4
        )
    accuracy = matrix.trace().item() / 10_000
    assert f"{accuracy:.2%} of 10,000 test images" in page
    share, wrong, others = re.findall(r"checked by a person are ([\d.]+)%; of the others, (\d+) of ([\d,]+) are", page)[
        0
    ]
    sure = seen[2].amax(1) >= 0.99
    assert int(others.replace(",", "")) <= sure.sum()
    assert float(share) == pytest.approx(100 - int(others.replace(",", "")) / 100, abs=0.06)
    assert int(wrong) <= int((seen[2].argmax(1) != seen[1])[sure].sum())
