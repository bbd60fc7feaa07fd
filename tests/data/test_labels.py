import os
from pathlib import Path

import pytest

from digit_rnn.data.labels import labelled_pictures
from digit_rnn.errors import DataError
from tests.conftest import Command
from tests.helpers import assert_refused


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write_table(folder: Path, *rows: str, header: str = "file,text") -> None:
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_sub_folder_is_the_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "ours", "7/b é.PNG", "7/deeper/a.jpg", "0/x.png", "0/notes.txt", "read me.txt")
    (tmp_path / "ours" / "3").mkdir()
    labels = labelled_pictures(["ours"])
    assert list(labels.items()) == [("ours/0/x.png", ["0"]), ("ours/7/b é.PNG", ["7"]), ("ours/7/deeper/a.jpg", ["7"])]


def test_table_holds_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "ours", "a b.png", "数字.png", "x,y.png", "deeper/c.png", "empty.png", "scan.raw")
    os.symlink(tmp_path / "ours" / "a b.png", tmp_path / "ours" / "link.png")
    rows = ["a b.png,note,12 / 3 4", "数字.png,,007/", '"x,y.png",, 5', "./deeper/c.png,,1//2", "empty.png,, "]
    text = "\r\n".join(["\ufefffile,by,text", *rows, "scan.raw,,8", "", "link.png,,1234", ""])
    (tmp_path / "ours" / "labels.csv").write_bytes(text.encode())
    expected = {
        "ours/a b.png": ["12", "34"],
        "ours/数字.png": ["007"],
        "ours/x,y.png": ["5"],
        "ours/deeper/c.png": ["1", "2"],
        "ours/empty.png": [],
        "ours/scan.raw": ["8"],
        "ours/link.png": ["1234"],
    }
    assert list(labelled_pictures(["ours"]).items()) == list(expected.items())


def test_several_folders_are_one(tmp_path: Path) -> None:
    make(tmp_path, "one/3/a.png", "two/a.png")
    write_table(tmp_path / "two", "a.png,44")
    labels = labelled_pictures([f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/one"])
    assert list(labels.values()) == [["3"], ["44"]]
    write_table(tmp_path / "one" / "3", "a.png,5")
    with pytest.raises(DataError, match="two labels, 3 and 5"):
        labelled_pictures([f"{tmp_path}/one", f"{tmp_path}/one/3"])


# What stands in labels.csv beside the pictures a.png and b.png, and what is said of it.
TABLES: list[tuple[bytes, str]] = [
    (b"", "expected a first line file,text, found ''"),
    (b"file;text\na.png;1\n", "found 'file;text'"),
    (b"name,text\na.png,1\n", "found 'name,text'"),
    (b"file,text,text\na.png,1,2\n", "found 'file,text,text'"),
    (b"a.png,1\nb.png,2\n", "found 'a.png,1'"),
    (b"file,text\na.png,1\n", "no label for ours/b.png"),
    (b"file,text\n", "no label for ours/a.png (and 1 more)"),
    (b"file,text\na.png,1\nb.png,2\nc.png,3\n", "line 4: no picture 'c.png'"),
    (b"file,text\na.png,1\nb.png,2\n,3\n", "line 4: no picture ''"),
    (b"file,text\na.png,1\nb.png,2\na\0.png,3\n", "labels.csv"),
    (b"file,text\na.png,1\nb.png,2\n./a.png,1\n", "line 4: './a.png' has a label already"),
    (b"file,text\na.png,1\nb.png,12b\n", "line 3: 'b' in '12b' is no digit"),
    ("file,text\na.png,1\nb.png,٣\n".encode(), "is no digit"),
    (b"file,text\na.png,-1\nb.png,2\n", "line 2: '-' in '-1' is no digit"),
    (b"file,text\na.png\nb.png,2\n", "line 2: expected 2 values"),
    (b"file,text\na.png,1,5\nb.png,2\n", "line 2: expected 2 values"),
    ("file,text\na.png,1\nb.png,2 é\n".encode("latin-1"), "no UTF-8 text"),
    ("file,text\na.png,1\n".encode("utf-16"), "no UTF-8 text"),
    (b'file,text\na.png,"1\nb.png,2\n', "labels.csv"),
]


@pytest.mark.parametrize(("content", "said"), TABLES, ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_table_is_one_line_and_leaves_nothing(
    content: bytes, said: str, command: Command, trained: Path, tmp_path: Path
) -> None:
    make(tmp_path / "ours", "a.png", "b.png")
    (tmp_path / "ours" / "labels.csv").write_bytes(content)
    before = set(tmp_path.rglob("*"))
    result = command("test", "--ckpt_path", trained / "checkpoints" / "best.ckpt", "--data.pictures", "ours")
    assert_refused(result, tmp_path, before, said)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.png"], "no labels in ours"),
        (["ten/a.png"], "no labels in ours"),
        (["3/a.png", "b.png"], "no label for ours/b.png: move it"),
        (["3/a.png", "10/b.png"], "no label for ours/10/b.png"),
        (["3/notes.txt"], "no picture at ours"),
        ([], "no folder at 'ours'"),
        (["labels.csv/x", "a.png"], "cannot read ours/labels.csv"),
    ],
)
def test_wrong_folders_are_one_line_and_leave_nothing(
    names: list[str], said: str, command: Command, trained: Path, tmp_path: Path
) -> None:
    make(tmp_path / "ours", *names)
    before = set(tmp_path.rglob("*"))
    result = command("test", "--ckpt_path", trained / "checkpoints" / "best.ckpt", "--data.pictures", "ours")
    assert_refused(result, tmp_path, before, said)
