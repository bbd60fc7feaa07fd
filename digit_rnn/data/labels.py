"""What labelled pictures say: a sub-folder a digit, or a table."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from digit_rnn.data.pictures import picture_files
from digit_rnn.errors import DataError

TABLE = "labels.csv"
COLUMNS = ("file", "text")
DIGITS = "0123456789"


def labelled_pictures(folders: Sequence[str]) -> dict[str, list[str]]:
    """The pictures in folders, by path, with the rows of digits that they hold.

    A folder has a table ``labels.csv`` with the columns file and text, in which "/" separates rows, spaces don't
    count, and no text stands for a picture without a digit; or it has sub-folders 0 to 9 of pictures with that digit.

    Raises:
        DataError: A label is missing or wrong, or a picture is missing.
    """
    labels: dict[str, list[str]] = {}
    for folder in folders:
        if not os.path.isdir(folder):
            raise DataError(f"no folder at {folder!r}: test reads folders of labelled pictures")
        pictures = picture_files([folder])
        with_table = os.path.lexists(os.path.join(folder, TABLE))
        found = _from_table(folder) if with_table else _from_sub_folders(folder, pictures)
        if missing := [file for file in pictures if file not in found]:  # else left out without a word
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            advice = f"add it to {TABLE}" if with_table else "move it to its digit's sub-folder, 0 to 9"
            raise DataError(f"no label for {missing[0]}{more}: {advice}")
        for file, rows in found.items():
            if labels.setdefault(file, rows) != rows:
                raise DataError(f"{file} has two labels, {'/'.join(labels[file])} and {'/'.join(rows)}")
    return labels


def _from_sub_folders(folder: str, pictures: Sequence[str]) -> dict[str, list[str]]:
    digits = [digit for digit in DIGITS if os.path.isdir(os.path.join(folder, digit))]
    if not digits:
        raise DataError(f"no labels in {folder}: it needs sub-folders 0 to 9, or a table {TABLE} with file,text")
    first = {file: Path(os.path.relpath(file, folder)).parts[0] for file in pictures}
    return {file: [name] for file, name in first.items() if name in digits}


def _from_table(folder: str) -> dict[str, list[str]]:
    table = os.path.join(folder, TABLE)
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:  # Excel writes a mark at the beginning
            return _rows_of_table(folder, table, csv.DictReader(file, strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is no UTF-8 text: save it as such") from error
    except csv.Error as error:
        raise DataError(f"{table} is no table: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {table}: {error.strerror}") from error


def _rows_of_table(folder: str, table: str, reader: "csv.DictReader[str]") -> dict[str, list[str]]:
    labels: dict[str, list[str]] = {}
    header = list(reader.fieldnames or [])
    if any(header.count(column) != 1 for column in COLUMNS):
        raise DataError(f"{table}: expected a first line file,text, found {','.join(header)!r}")
    for row in reader:
        place = f"{table}, line {reader.line_num}"
        if None in row or None in row.values():
            raise DataError(f"{place}: expected {len(header)} values; one with a comma needs quotes")
        picture = os.path.join(folder, os.path.normpath(row["file"]))
        if not os.path.isfile(picture):
            raise DataError(f"{place}: no picture {row['file']!r} in {folder}")
        if picture in labels:
            raise DataError(f"{place}: {row['file']!r} has a label already")
        labels[picture] = _digit_rows(row["text"], place)
    return labels


def _digit_rows(text: str, place: str) -> list[str]:
    rows = ["".join(row.split()) for row in text.split("/")]
    if strange := next((letter for row in rows for letter in row if letter not in DIGITS), ""):
        raise DataError(f"{place}: {strange!r} in {text!r} is no digit; expected digits, and / between rows")
    return [row for row in rows if row]
