"""Files of ids that somebody asks about: one id a line, or the column "id" of a table."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocols.core.errors import MissingExtra
from secure_hfl.errors import ConfigurationError

COLUMN = "id"
DELIMITERS = ",;\t|"


def is_parquet(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in (".parquet", ".pq")


def check_parquet() -> None:
    """Raise `MissingExtra` unless Parquet files can be written and read here."""
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("Parquet files need pyarrow: pip install 'secure-hfl[parquet]', or use a .csv file")


def read_ids(path: Path) -> list[str]:
    """The ids in a file: the column "id" (or the only one) of a .csv or .parquet file; of others, every line.

    Empty lines are skipped.

    Raises:
        ConfigurationError: it cannot be read, holds no id, has a row without one, or several columns of which none is
            called "id". Names rows, never an id.
        MissingExtra: Parquet needs pyarrow.
    """
    try:
        if is_parquet(path):
            ids = list(_of_parquet(path))
        elif path.suffix.lower() == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                ids = list(_of_csv(file, path))
        else:
            ids = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} cannot be read as a list of ids: {error}") from error
    if not ids:
        raise ConfigurationError(f"{path} holds no id")
    return ids


def _of_csv(file: Any, path: Path) -> Iterator[str]:
    names = file.readline().rstrip("\r\n")
    delimiter = next((each for each in DELIMITERS if COLUMN in next(csv.reader([names], delimiter=each), [])), "")
    at = next(csv.reader([names], delimiter=delimiter)).index(COLUMN) if delimiter else 0
    if not delimiter:
        _check_only_one(path, max(len(next(csv.reader([names], delimiter=each), [])) for each in DELIMITERS))
        file.seek(0)
    reader = csv.reader(file, delimiter=delimiter or ",")
    for row in reader:
        if not row:
            continue
        if len(row) <= at or not row[at]:
            raise _without_id(path, f"line {reader.line_num + bool(delimiter)}")
        yield row[at]


def _of_parquet(path: Path) -> Iterator[str]:
    check_parquet()
    from secure_hfl.tables.ids import texts_of
    from secure_hfl.tables.sources import ParquetSource

    source = ParquetSource(path)
    if not source.names:
        return
    if COLUMN not in source.names:
        _check_only_one(path, len(source.names))
    at = source.names.index(COLUMN) if COLUMN in source.names else 0
    row = 0
    for column in (batch.column(at) for batch in source.batches()):
        texts = texts_of(column)
        if texts is None:
            raise ConfigurationError(
                f"{path}: ids are text or whole numbers, and column {source.names[at]!r} is {column.type} (as pandas "
                "writes a column of numbers with gaps); write them as text"
            )
        for each in texts:
            row += 1
            if not each:
                raise _without_id(path, f"row {row}")
            yield each


def _check_only_one(path: Path, columns: int) -> None:
    """The wrong column would be asked for: that shows it to other parties, and counts against their budgets."""
    if columns > 1:
        raise ConfigurationError(
            f'{path} has {columns} columns, and none is called "{COLUMN}": rename the one with the ids, or give a .txt '
            "file with one id a line"
        )


def _without_id(path: Path, where: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: {where} has no id; give it one, or remove it")
