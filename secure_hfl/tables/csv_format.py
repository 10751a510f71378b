"""How a CSV file is written: encoding, delimiter, header. Read from its first megabyte, and said clearly if it is odd.

Excel writes a byte order mark, a line "sep=;", semicolons where the country has decimal commas, and empty columns at
the end: all accepted. Its older "CSV" is in the machine's code page, "Unicode text" in UTF-16: `--encoding` says so.
"""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from pathlib import Path

from secure_hfl.errors import TableError
from secure_hfl.tables.problems import Problem, refuse

SAMPLE_BYTES = 1 << 20
DELIMITERS = ",;\t|"
MOST_SAMPLED = 200
"""Rows by which the delimiter is found."""

_NOT_TEXT = {b"PK\x03\x04": "an Excel workbook (or another ZIP file)", b"\xd0\xcf\x11\xe0": "an old Excel workbook"}
_NOT_TEXT |= {b"\x1f\x8b": "a gzip file", b"PAR1": "a Parquet file: call it .parquet"}


@dataclass(frozen=True)
class CsvFormat:
    """What pyarrow is told of a file.

    Attributes:
        names: of the columns; one without a name is called by its number.
        header_lines: that come before the first row.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    header_lines: int


def find_format(path: Path, encoding: str | None, delimiter: str | None) -> CsvFormat:
    """That of a file.

    Raises:
        TableError: it is empty, no text, or in another encoding.
    """
    try:
        with path.open("rb") as file:
            sample = file.read(SAMPLE_BYTES)
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from error
    if not sample.strip():
        raise TableError(f"{path} is empty")
    _check_is_text(path, sample, encoding)
    encoding = encoding or "utf-8"
    text = _decoded(path, sample, encoding)
    if text.startswith("\ufeff"):
        text = text[1:]
    lines = text.splitlines(keepends=True)
    said = lines[0].strip() if lines[0].lower().startswith("sep=") else ""
    if said:
        delimiter, text = delimiter or said[4:5], "".join(lines[1:])
    rows = {each: _rows(text, each, len(sample) == SAMPLE_BYTES) for each in (delimiter or DELIMITERS)}
    best = max(rows, key=lambda each: _fit(rows[each]))
    if not rows[best] or len(rows[best][0]) < 2:
        raise TableError(
            f"{path} has one column only, as far as commas, semicolons, tabs and bars tell; an id and a column of data "
            "are needed, and --delimiter says what stands between them"
        )
    return CsvFormat(encoding, best, _names(path, rows[best][0]), 1 + bool(said))


def _check_is_text(path: Path, sample: bytes, encoding: str | None) -> None:
    for start, what in _NOT_TEXT.items():
        if sample.startswith(start):
            raise TableError(f"{path} is {what}, no CSV file; save it as 'CSV UTF-8'")
    if encoding is None and sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise TableError(
            f"{path} is in UTF-16 (Excel's 'Unicode text'): say --encoding utf-16, or save it as 'CSV UTF-8'"
        )
    if encoding is None and b"\0" in sample:
        raise TableError(f"{path} holds zero bytes, so it is no UTF-8 text; save it as 'CSV UTF-8'")


def _decoded(path: Path, sample: bytes, encoding: str) -> str:
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise TableError(
            f"there is no encoding {encoding!r}; Python's names are known: utf-8, cp1252, utf-16"
        ) from None
    try:
        # The last character may be cut in two.
        return decoder.decode(sample, final=len(sample) < SAMPLE_BYTES)
    except UnicodeDecodeError as error:
        raise wrong_encoding(path, encoding, sample.count(b"\n", 0, error.start) + 1) from None


def wrong_encoding(path: Path, encoding: str, line: int | None = None) -> TableError:
    """An error that says what to do. The line's text stays unsaid."""
    where = "" if line is None else f" (first in line {line:,})"
    return TableError(
        f"{path} is not in {encoding}{where}. Excel's plain 'CSV' is in the machine's code page: save it as 'CSV "
        "UTF-8', or say --encoding cp1252 (Western Europe), cp1250 (Central), gb18030 (Chinese)"
    )


def _rows(text: str, delimiter: str, is_cut: bool) -> list[list[str]]:
    lines = text.splitlines(keepends=True)
    if is_cut:
        lines.pop()
    found = []
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if row:
                found.append(row)
            if len(found) > MOST_SAMPLED:
                break
    except csv.Error:  # a cell of more than 128 kB: what is read so far must do
        pass
    return found


def _fit(rows: list[list[str]]) -> tuple[float, int]:
    """How well a delimiter fits: first how many rows have as many cells as the header, then how many cells."""
    width = len(rows[0]) if rows else 0
    if width < 2:
        return (-1.0, 0)
    return (sum(len(row) == width for row in rows) / len(rows), width)


def _names(path: Path, header: list[str]) -> tuple[str, ...]:
    names = [name.strip() or f"(column {at})" for at, name in enumerate(header, start=1)]
    if any("\n" in name for name in names):
        raise TableError(f"{path}: a column's name goes over two lines; write it on one")
    check_names(str(path), names)
    return tuple(names)


def check_names(where: str, names: list[str]) -> None:
    """Raise `TableError` if two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    refuse(
        where,
        *(Problem(name, f"{names.count(name)} columns have this name", "rename all but one") for name in twice),
    )
