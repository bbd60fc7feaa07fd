"""The command's edge: whatever goes wrong ends in one line, and what has not begun leaves nothing."""

import csv
import os
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from PIL import Image

import digit_rnn.cli
import digit_rnn.reporting.report
from digit_rnn import MNISTDataModule
from digit_rnn.errors import DataError, DigitRNNError, OptionError
from tests.conftest import Command

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1")

# What types do not say, with the exit status: 2 where the program knows what is wrong, 1 where the net caught it.
MISTAKES: list[tuple[str, int]] = [
    ("--model.hidden_size=1000000", 2),
    ("--model.hidden_size=1e30", 2),
    ("--model.num_layers=1000000", 2),
    ("--model.num_layers=100000000000000000000000000", 2),
    ("--model.dropout_seed=-3", 2),
    ("--data.batch_size=99999999999999999999", 2),
    ("--data.train_seed=-3", 2),
    ("--data.split_seed=99999999999999999999999", 2),
    ("--data.train_seed=99999999999999999999999", 2),
    ("--data.augmentations.blur=3", 2),
    ("--data.augmentations.rotation=nan", 2),
    ("--data.augmentations.rotation=-5", 2),
    ("--data.augmentations.scale=1.5", 2),
    ("--data.augmentations.translation=0.5", 2),
    ("--data.augmentations=7", 2),
    ("--data.pictures=a.png", 2),
    ("--data.root=a\0b", 1),
    ("--seed_everything=true", 2),
    ("--seed_everything=99999999999", 2),
    ("--trainer.devices=many", 2),
    ("--trainer.devices=-7", 2),
    ("--trainer.accelerator=tpu", 2),
    ("--trainer.strategy=magic", 2),
    ("--trainer.accumulate_grad_batches=0", 2),
    ("--trainer.val_check_interval=0", 2),
    ("--trainer.val_check_interval=7", 1),
    ("--trainer.check_val_every_n_epoch=0", 2),
    ("--trainer.gradient_clip_algorithm=magic", 2),
    ("--trainer.limit_train_batches=1.5", 2),
    ("--trainer.callbacks=Missing", 2),
    ("--trainer.logger=Missing", 2),
    ("--trainer.max_time=soon", 2),
    ("--trainer.fast_dev_run=-1", 2),
    ("--trainer.profiler=magic", 2),
    ("--ckpt_path=a\0b", 2),
    ("--ckpt_path=", 2),
    ("--config=a\0b", 2),
]


@pytest.mark.parametrize(("word", "status"), MISTAKES, ids=lambda v: str(v).replace("\0", "NUL"))
def test_a_mistake_is_one_line_and_leaves_nothing(word: str, status: int, command: Command, tmp_path: Path) -> None:
    result = command("fit", *SHORT, *word.split("=", 1))
    assert (result.status, result.out, result.err.count("\n")) == (status, "", 1), result.err
    assert result.err.startswith("error: ")
    assert ("DIGIT_RNN_TRACEBACK=1" in result.err) == (status == 1)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "content",
    ["[" * 5000, "{a: " * 3000, "a: &x [*x]\n" * 20, "model:\n\t- x", "\ud800", "model: !!python/object:os.system {}"],
    ids=["deep list", "deep map", "alias", "tab", "surrogate", "code"],
)
def test_config_that_is_no_configuration(content: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content, encoding="utf-8", errors="surrogatepass")
    result = command("fit", "--config", "config.yaml")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1), result.err
    (tmp_path / "config.yaml").write_text("model: {}", encoding="utf-16")
    assert command("fit", "-c", "config.yaml").status == 2
    assert not (tmp_path / "runs").exists()


def test_subcommand_is_found_wherever_it_stands(command: Command, tmp_path: Path) -> None:
    (tmp_path / "fit").write_text("fit: {model: {hidden_size: 24}}")
    for words in (["--config", "fit", "fit"], ["-c", "fit", "fit"], ["--config=fit", "fit"]):
        result = command(*words, "--data.root=x", "--print_config")
        assert (result.status, result.err) == (0, "")
        assert yaml.safe_load(result.out)["model"]["hidden_size"] == 24
    (tmp_path / "fit.yaml").write_text("{hidden_size: 24}")
    assert command("-c", "fit", "train").status == 2


def test_what_is_given_before_the_subcommand_wins_over_the_resumed_run(command: Command, tmp_path: Path) -> None:
    command("fit", *SHORT)
    (tmp_path / "more.yaml").write_text("fit: {trainer: {max_epochs: 2}}")
    result = command("--config", "more.yaml", "fit", "--ckpt_path", "last", "--data.root", tmp_path / "data")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("epoch 2/2")


def test_other_subcommands_stand_in_one_table(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    def fail(words: list[str]) -> None:
        given.append(words)
        raise DataError("nothing to export")

    monkeypatch.setitem(digit_rnn.cli.OTHER_COMMANDS, "export", fail)
    result = command("export", "--output", "x.onnx")
    assert (result.status, result.err) == (2, "error: nothing to export\n")
    assert given == [["--output", "x.onnx"]]


def test_every_error_has_one_base() -> None:
    with pytest.raises(DigitRNNError, match="blur"):
        MNISTDataModule(augmentations={"blur": 1})
    with pytest.raises(OptionError, match="names no picture"):
        MNISTDataModule(pictures=[])


def test_pictures_in_a_configuration_do_not_switch_off_the_check_of_the_data(tmp_path: Path, root: Path) -> None:
    """From Python too, where nobody refuses pictures for training."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"damaged")
    data = MNISTDataModule(str(tmp_path), pictures=["a.png"])
    data.prepare_data()
    whole = root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    assert (raw / "train-labels-idx1-ubyte").read_bytes() == whole.read_bytes()


def test_pictures_named_in_parts_and_in_any_script(command: Command, trained: Path, tmp_path: Path) -> None:
    names = ["a.png", "b.png", "😀.png", os.fsdecode(b"caf\xe9.png"), "c d.png", "[1].png"]
    for name in names:
        image = Image.new("L", (60, 60), 255)
        image.paste(0, (28, 10, 33, 50))
        image.save(tmp_path / "x.png")
        (tmp_path / "x.png").rename(tmp_path / name)
    words = [f"--data.pictures={names[0]}", "--data.pictures", *names[1:4], "--trainer.accelerator=cpu"]
    words += ["--data.pictures", *names[4:]]
    result = command("predict", *words, "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert (result.status, result.err) == (0, "")
    assert "6 pictures, 6 digits" in result.out
    with (tmp_path / "predictions/version_0/predictions.csv").open(encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [
            name.encode(errors="backslashreplace").decode() for name in names
        ]
    (tmp_path / "pictures.yaml").write_text("data: {pictures: []}")
    result = command("predict", "--config=pictures.yaml", "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "names no picture" in result.err


def test_ctrl_c_while_a_report_is_drawn_leaves_no_part_of_it(
    command: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = digit_rnn.reporting.report.figures.Figure.savefig

    def interrupted(self: object, path: Path, **options: object) -> None:
        if Path(path).name == "confusion.png":
            signal.raise_signal(signal.SIGINT)
        save(self, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(digit_rnn.reporting.report.figures.Figure, "savefig", interrupted)
    result = command("test", "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert (result.status, result.out) == (130, "")
    assert result.err == "error: stopped before the end: no figure is known\n"
    assert not list(tmp_path.glob("reports/*"))


@pytest.mark.parametrize("text", ["trainer: 3", "trainer:\nseed_everything: 1"])
def test_file_in_which_a_group_holds_no_options(text: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    result = command("fit", "--config=own.yaml")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "trainer" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


def test_checkpoint_whose_name_is_in_no_encoding(command: Command, trained: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.ckpt")
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / name)
    result = command("test", "--ckpt_path", name, "--trainer.limit_test_batches=1")
    assert (result.status, result.err) == (0, "")
    assert "caf\\udce9.ckpt" in result.out
    assert "caf\\udce9.ckpt" in (tmp_path / "reports/version_0/report.html").read_text(encoding="utf-8")


def test_no_argument_is_one_line(command: Command) -> None:
    result = command()
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "subcommand" in result.err


def test_folder_that_leads_nowhere(command: Command, tmp_path: Path) -> None:
    """As where a disk is not mounted."""
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted" / "runs")
    result = command("fit", *SHORT)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "cannot make the folder runs" in result.err


def test_one_image_can_be_tested(command: Command, trained: Path) -> None:
    words = ("--data.eval_batch_size=1", "--trainer.limit_test_batches=1")
    result = command("test", "--ckpt_path", trained / "checkpoints" / "best.ckpt", *words)
    assert (result.status, result.err) == (0, "")
