import csv
import re
from pathlib import Path

import pytest
from torch import Tensor

from digit_rnn.reporting.report import most_certain_mistakes
from tests.conftest import Command
from tests.helpers import count_by_hand


def test_mistakes_come_with_the_most_certain_first(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    _, labels, probabilities = seen
    chosen = most_certain_mistakes(labels, probabilities, 25).tolist()
    wrong = [index for index in range(10_000) if int(probabilities[index].argmax()) != int(labels[index])]
    expected = sorted(wrong, key=lambda index: -float(probabilities[index].max()))[:25]
    assert [float(probabilities[i].max()) for i in chosen] == [float(probabilities[i].max()) for i in expected]
    assert set(chosen) <= set(wrong)


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
