"""Tables that cannot be trained on as they are: what is said, that no value is, and that nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from secure_hfl.errors import TableError
from secure_hfl.tables.inspection import Wishes, inspect
from secure_hfl.tables.sources import open_source

VALUE = "Zanzibar"
"""Stands in cells that a message must not show."""


def csv_rows(count: int = 40, **columns: Callable[[int], object]) -> str:
    """A table of an id, a number and these columns."""
    lines = [",".join(["pid", "x", *columns])]
    for row in range(count):
        lines.append(",".join([f"p{row:03d}", str(row * 1.5), *(str(make(row)) for make in columns.values())]))
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Bad:
    """A table, and what is said of it: words of the message, and the columns that it names."""

    name: str
    data: str | bytes | Any
    says: tuple[str, ...]
    wishes: dict[str, Any] = field(default_factory=dict)


def label(row: int) -> object:
    """Two classes."""
    return "ill" if row % 3 else "well"


HOST = {"label": "outcome"}

BAD = [
    Bad("nothing", "", ("is empty",)),
    Bad("header only", "pid,x\n", ("has no rows",)),
    Bad("no such file", Path("/nowhere/lab.csv"), ("/nowhere/lab.csv cannot be read", "No such file")),
    Bad("one column", "pid\np1\np2\n", ("one column only", "--delimiter")),
    Bad("workbook", b"PK\x03\x04" + bytes(100), ("an Excel workbook", "save it as 'CSV UTF-8'")),
    Bad("code page", "pid,x\np1,Ärztin\np2,b\n".encode("cp1252"), ("not in utf-8 (first in line 2)", "--encoding")),
    Bad(
        "code page, late",
        (csv_rows(40_000, note=lambda row: "abcdefghijklmnopqrst") + "p9,1,").encode() + "Ä\n".encode("cp1252"),
        ("not in utf-8", "--encoding"),
    ),
    Bad("UTF-16", "pid,x\np1,2\n".encode("utf-16"), ("in UTF-16", "--encoding utf-16")),
    Bad("no such encoding", csv_rows(), ("no encoding 'latin-99'",), {"encoding": "latin-99"}),
    Bad("no id column", csv_rows(), ("column 'patient'", "names the columns pid, x"), {"id": "patient"}),
    Bad("id misspelt", csv_rows(), ("column 'PID'", "did you mean 'pid'?"), {"id": "PID"}),
    Bad("ids twice", "pid,x\np1,2\np2,3\np1,4\np1,5\n", ("column 'pid': 2 rows repeat the id",)),
    Bad("ids twice in Unicode", "pid,x\nÅ1,2\nA\u030a1,3\n", ("column 'pid': 1 row repeats the id",)),
    Bad("no ids", "pid,x\n,2\nNA,3\np1,4\n", ("column 'pid': 2 rows have no id",)),
    Bad("ids with fractions", pandas.DataFrame({"pid": [1.0, None], "x": [1, 2]}), ("column 'pid'", "double", "dtype")),
    Bad("ragged", "pid,x\np1,2\np2\np3,4,5\n", ("2 rows have more or fewer cells than the header's 2", "line 3")),
    Bad("name twice", "pid,x,x\np1,2,3\n", ("column 'x': 2 columns have this name",)),
    Bad("name twice in pandas", pandas.DataFrame([["a", 1, 2]], columns=["pid", "x", "x"]), ("2 columns have this",)),
    Bad("no name", "pid,x,\np1,2,9\np2,3,8\n", ("column '(column 3)': it has values and no name",)),
    Bad("10,000 columns", "pid," + ",".join(f"c{n}" for n in range(9_999)) + "\n", ("has 10,000 columns", "4,096")),
    Bad("mixed", csv_rows(80, v=lambda row: row / 7 if row % 20 else VALUE),
        ("column 'v': 76 cells are numbers and 4 not", "--missing", "--type 'v=category'")),
    Bad("mixed in pandas", pandas.DataFrame({"pid": ["a", "b"], "v": [1, VALUE]}), ("column 'v'", "several types")),
    Bad("dates and text", csv_rows(40, d=lambda row: f"2024-01-{row % 28 + 1:02d}" if row % 20 else VALUE),
        ("column 'd': 38 cells are dates and 2 not",)),
    Bad("which is the day", csv_rows(12, d=lambda row: f"{row % 12 + 1}/3/2024"),
        ("column 'd': nothing tells its days from its months", "date:dmy")),
    Bad("two ways of dates", csv_rows(d=lambda row: "2024-05-03" if row % 2 else "3.5.2024"),
        ("column 'd': its dates are written in several ways",)),
    Bad("formulas", csv_rows(note=lambda row: ("a", "a", f"={VALUE}", f"@{VALUE}")[min(row, 3)] if row < 4 else "b"),
        ("column 'note': 2 cells begin with =, +, - or @",)),
    Bad("marks between thousands", csv_rows(v=lambda row: f'"{row + 1},250.5"'),
        ("column 'v': 40 cells have marks between thousands", "format cells")),
    Bad("errors of a spreadsheet", csv_rows(60, v=lambda row: "#DIV/0!" if row % 20 == 0 else row / 7),
        ("57 cells are numbers and 3 not (3 of them a spreadsheet's errors", "--missing")),
    Bad("infinite", csv_rows(v=lambda row: "inf" if row == 3 else "1e999" if row == 4 else row),
        ("column 'v': 2 cells are infinite",)),
    Bad("infinite in Parquet", pyarrow.table({"pid": ["a", "b"], "v": [1.0, float("inf")]}), ("1 cell is infinite",)),
    Bad("huge", csv_rows(v=lambda row: 10**17 + row), ("column 'v': 40 cells are beyond 2^53",)),
    Bad("comma and point", csv_rows(v=lambda row: '"1,5"' if row % 2 else "1.5"),
        ("column 'v': 20 cells have a decimal comma and 20 a decimal point",)),
    Bad("comma among digits", csv_rows(v=lambda row: f'"{row + 1},250"'),
        ("column 'v': 40 cells have a comma", "--decimal")),
    Bad("label at the Collaborator", csv_rows(outcome=label),
        ("column 'outcome': it is called as a label is", "--drop")),
    Bad("y at the Collaborator", "pid,v,y\np1,2,1\np2,3,0\n", ("column 'y': it is called as a label is",)),
    Bad("no such label", csv_rows(), ("column 'outcome': there is none",), HOST),
    Bad("label missing", csv_rows(outcome=lambda row: "" if row < 3 else label(row)),
        ("column 'outcome': 3 cells have no label, of 40", "--with-unlabelled"), HOST),
    Bad("one class", csv_rows(outcome=lambda row: VALUE), ("column 'outcome': all its labels are the same",), HOST),
    Bad("too many classes", csv_rows(500, outcome=lambda row: f"{VALUE}{row}"), ("have 500 values",), HOST),
    Bad("no numbers to regress", csv_rows(outcome=label),
        ("40 cells are no numbers",), {**HOST, "label_kind": "regression"}),
    Bad("label is the id", csv_rows(), ("both the id and the label",), {"label": "pid"}),
    Bad("nothing left", "pid,x\np1,2\np2,2\n", ("no column is left to learn from: 'x' (the same value in every row)",)),
    Bad("no such type", csv_rows(), ("no type 'number'",), {"types": {"x": "number"}}),
    Bad("not Parquet", Path("lab.parquet"), ("no Parquet file",)),
    Bad("several at once", csv_rows(a=lambda row: f"{row}e999", b=lambda row: f"={row}"),
        ("column 'a'", "Also column 'b'")),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_table_gets_a_clear_error_and_changes_nothing(
    bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = bad.data
    if isinstance(data, (str, bytes)):
        data = tmp_path / "lab.csv"
        data.write_bytes(bad.data if isinstance(bad.data, bytes) else bad.data.encode())
    elif isinstance(data, Path) and data.suffix == ".parquet":
        data.write_bytes(b"nothing of the kind")
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    wishes = Wishes(**{"id": "pid", **bad.wishes})
    with pytest.raises(TableError) as caught:
        inspect(open_source(data, None, wishes.delimiter, wishes.encoding), wishes)
    said = str(caught.value)
    assert [words for words in bad.says if words not in said] == [], said
    assert VALUE not in said
    assert "\n" not in said
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


def test_what_is_odd_and_no_reason_to_stop_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "lab.csv"
    columns: dict[str, Callable[[int], object]] = {
        "same": lambda row: 7, "empty": lambda row: "", "story": lambda row: f"text {row}", "wanted": lambda row: row,
        "dose": lambda row: f"{row} mg",
    }  # fmt: skip
    path.write_text(csv_rows(60, **columns))
    found = inspect(open_source(path), Wishes("pid", drop=("wanted",)))
    assert {each.name: each.why for each in found.spec.dropped} == {
        "same": "the same value in every row",
        "empty": "only missing values",
        "story": "text with 60 values in 60 rows",
        "dose": "text with 60 values in 60 rows; numbers with a unit? leave the unit out of the cells",
        "wanted": "as you said",
    }
    assert [each.name for each in found.spec.columns] == ["x"]


def test_what_the_user_says_of_a_column_counts(tmp_path: Path) -> None:
    path = tmp_path / "lab.csv"
    rows = csv_rows(outcome=label, rule=lambda row: f"={row % 3}", day=lambda row: f"{row % 12 + 1}/3/2024")
    path.write_text(rows)
    types = {"outcome": "category", "rule": "category", "day": "date:mdy"}
    found = inspect(open_source(path), Wishes("pid", types=types)).spec.columns
    assert [(each.name, each.kind.value) for each in found] == [
        ("x", "numeric"), ("outcome", "category"), ("rule", "category"), ("day", "date"),
    ]  # fmt: skip
    assert found[3].date_order is not None
    assert found[3].date_order.value == "month first"
