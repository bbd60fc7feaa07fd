import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digit_rnn.data.pictures import Pictures, picture_files, picture_loader
from digit_rnn.errors import DataError
from tests.conftest import Command
from tests.helpers import BAD_FILES, Array, line, make_bad_files, read_table


def test_files_come_sorted_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "deeper/c.tif", "notes.txt"):
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / name).touch()
    (tmp_path / "scans" / "folder.png").mkdir()
    whole = [os.path.join("scans", "a.JPG"), os.path.join("scans", "b.png"), os.path.join("scans", "deeper", "c.tif")]
    assert picture_files(["scans"]) == whole
    assert picture_files(["scans/b.png", "scans", "scans/*.png"]) == [whole[1], whole[0], whole[2]]
    assert picture_files(["scans/**/*.tif"]) == whole[2:]
    assert picture_files(["scans/notes.txt"]) == ["scans/notes.txt"]  # named, it is tried


def test_linked_folders_and_each_name_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scans/a.jfif", "scans/b.HEIC", "elsewhere/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "scans" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scans" / "round").symlink_to(tmp_path / "scans")
    whole = [os.path.join("scans", *each) for each in (["a.jfif"], ["b.HEIC"], ["linked", "c.png"])]
    assert picture_files(["scans"]) == whole
    assert picture_files(["./scans/", "scans/a.jfif", "./scans/*.jfif"]) == whole


@pytest.mark.parametrize("place", ["nowhere", "empty", "*.gif", "a\0b"])
def test_place_without_a_picture_is_refused(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture at"):
        picture_files([place])


def test_batch_holds_the_digits_of_its_pictures(tmp_path: Path, mnist: tuple[Array, Array]) -> None:
    make_bad_files(tmp_path, mnist)
    Image.fromarray(line(mnist[0][:3])).save(tmp_path / "three.png")
    files = [str(tmp_path / name) for name in [*BAD_FILES, "three.png"]]
    batches = list(picture_loader(files, "auto"))
    assert [len(images) for images, _ in batches] == [0] * len(BAD_FILES) + [3]
    images, pictures = batches[-1][0], [picture for _, batch in batches for picture in batch]
    assert [picture.file for picture in pictures] == files
    assert [len(picture.digits) for picture in pictures] == [0] * len(BAD_FILES) + [3]
    assert [bool(picture.error) for picture in pictures] == [True] * len(BAD_FILES) + [False]
    for image, digit in zip(images, pictures[-1].digits, strict=True):
        np.testing.assert_array_equal(image, digit.image)
    ((none, _),) = picture_loader(files[:1], "auto")
    assert none.shape == (0, 28, 28)
    assert len(Pictures(files, "digit")[len(BAD_FILES)].digits) == 1


@pytest.mark.parametrize(("count", "processes"), [(13, 1), (13, 2), (1, 3), (700, 3)])
def test_processes_share_pictures_batch_by_batch(count: int, processes: int) -> None:
    files = [f"{index}.png" for index in range(count)]
    alone = [[picture.file for picture in batch] for _, batch in picture_loader(files, "auto")]
    assert [file for batch in alone for file in batch] == files
    for rank in range(processes):
        loader = picture_loader(files, "auto", processes, rank)
        assert [[picture.file for picture in batch] for _, batch in loader] == alone[rank::processes]
        assert len(loader) == len(alone[rank::processes])


def test_pictures_are_opened_in_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    sizes = {1: 0, 2: 1, 9: 2, 40: 8, 5000: 8}
    assert {n: picture_loader(["x.png"] * n, "auto").num_workers for n in sizes} == sizes
    assert picture_loader(["x.png"] * 80, "auto", 4, 0, processes_here=4).num_workers == 2
    assert picture_loader(["x.png"], "auto", 2, 1).num_workers == 0


@pytest.mark.slow
def test_20_000_files_in_a_folder(command: Command, tmp_path: Path, trained: Path, mnist: tuple[Array, Array]) -> None:
    (tmp_path / "many").mkdir()
    for index in range(20_000):
        Image.fromarray(255 - mnist[0][index % 10_000]).save(tmp_path / "many" / f"{index:05}.png")
    result = command("predict", "--ckpt_path", trained / "checkpoints" / "best.ckpt", "--data.pictures", "many")
    assert (result.status, result.err) == (0, "")
    rows = read_table(tmp_path / "predictions" / "version_0")
    single = {row["file"]: row["digit"] for row in rows if row["position"] == "0"}
    assert list(single) == [f"many/{index:05}.png" for index in range(20_000)]
    right = sum(digit == str(mnist[1][index % 10_000]) for index, digit in enumerate(single.values()))
    assert right > 0.94 * 20_000
