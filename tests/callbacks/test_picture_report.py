import csv
import os
import re
from pathlib import Path

from PIL import Image

from tests.conftest import Command
from tests.helpers import Array, line


def mistakes(folder: Path) -> list[list[str]]:
    with (folder / "mistakes.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "expected", "read", "check"]
    return rows


def test_pictures_are_compared_with_their_labels(
    command: Command, trained: Path, tmp_path: Path, mnist: tuple[Array, Array]
) -> None:
    ours = tmp_path / "ours <b>"
    ours.mkdir()
    texts = ["".join(map(str, mnist[1][start : start + 3])) for start in (0, 3)]  # 721 041
    for name, start in (("right.png", 0), ("wrong $_$.png", 3)):
        Image.fromarray(line(mnist[0][start : start + 3])).save(ours / name)
    Image.new("L", (60, 60), 255).save(ours / "blank.png")
    (ours / "bad.png").write_bytes(b"")
    wrong = "99" + texts[1][2]
    rows = [f"right.png,{texts[0]}", f"wrong $_$.png,{wrong} / 5", "blank.png,", "bad.png,42"]
    (ours / "labels.csv").write_text("\n".join(["file,text", *rows]))
    words = ["--ckpt_path", trained / "checkpoints" / "best.ckpt", "--data.pictures", "ours <b>"]
    result = command("test", *words, "--data.root", tmp_path / "no MNIST")
    assert (result.status, result.err) == (1, "error: cannot read 1 of 4 pictures: see the column check\n")
    # 9 digits: 2 exchanged, 1 missing, 2 unreadable; wrong are one picture, and the unreadable one.
    figures, _, *where = result.out.splitlines()
    assert figures.startswith("digits right 0.4444  pictures right 0.5000  wrong and not flagged ")
    assert where == ["report      reports/version_0/report.html", "mistakes    reports/version_0/mistakes.csv"]
    assert not (tmp_path / "no MNIST").exists()
    folder = tmp_path / "reports" / "version_0"
    first, second = mistakes(folder)
    assert first[:3] == ["ours <b>/wrong $_$.png", f"{wrong} / 5", texts[1]]
    assert figures.endswith("flagged 1") == (first[3] == "")
    assert second[:3] == ["ours <b>/bad.png", "42", ""]
    assert second[3]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "ours &lt;b&gt;/wrong $_$.png" in page
    assert page.count("data:image/png") == 1
    numbers = dict(re.findall(r"<tr><td>([a-z, ]+)</td><td>(\d+)</td></tr>", page))
    assert numbers["pictures"] == "4"
    assert numbers["pictures read wrong"] == "2"
    assert numbers["unreadable pictures"] == "1"
    assert numbers["digits"] == "9"
    assert numbers["digits missing, too many or others"] == "5"


def test_sub_folders_are_labels(command: Command, trained: Path, tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    for index in range(4):  # 7 2 1 0
        place = tmp_path / "ours" / ("8" if index == 1 else str(mnist[1][index]))
        place.mkdir(parents=True)
        Image.fromarray(255 - mnist[0][index]).save(place / f"{index}.png")
    latin = tmp_path / "ours" / "7" / os.fsdecode(b"caf\xe9.png")
    (tmp_path / "ours" / "7" / "0.png").rename(latin)
    words = ["--ckpt_path", trained / "checkpoints" / "best.ckpt", "--data.pictures", "ours"]
    result = command("test", *words)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("digits right 0.7500  pictures right 0.7500  wrong and not flagged ")
    folder = tmp_path / "reports" / "version_0"
    (row,) = mistakes(folder)
    assert row[:3] == ["ours/8/1.png", "8", "2"]
    latin.rename(tmp_path / "ours" / "8" / os.fsdecode(b"caf\xe9.png"))
    result = command("test", *words, "--trainer.limit_test_batches=4")
    assert result.out.startswith("digits right 0.5000  ")
    assert [row[0] for row in mistakes(tmp_path / "reports" / "version_1")] == ["ours/8/1.png", r"ours/8/caf\udce9.png"]


def test_pictures_are_for_reading_alone(command: Command, trained: Path, tmp_path: Path) -> None:
    for subcommand in ("fit", "validate"):
        words = [] if subcommand == "fit" else ["--ckpt_path", trained / "checkpoints" / "best.ckpt"]
        result = command(subcommand, *words, "--data.pictures", "ours")
        assert (result.status, result.out) == (2, "")
        assert "pictures are for predict and test" in result.err
    result = command("test", "--ckpt_path=x", "--data.pictures", "ours", "--trainer.strategy=ddp_spawn")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert not list(tmp_path.rglob("*"))
