"""One table in many forms is the same table: what Excel writes, Parquet, SQL, frames."""

from __future__ import annotations

import datetime
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

from protocols.core.errors import MissingExtra
from secure_hfl.errors import TableError
from secure_hfl.tables import sources
from secure_hfl.tables.cells import Dates
from secure_hfl.tables.inspection import Wishes, inspect
from secure_hfl.tables.rows import TableRows
from secure_hfl.tables.sources import open_source, without_password
from secure_hfl.tables.spec import DateOrder, Kind, LabelKind, TableSpec

IDS = ["007", "7", " 8", "9Ä"]
AGE = [31.5, None, -4.25, 1200.0]
SEX = ["f", "m", None, "f"]
SMOKES = [True, False, None, True]
SEEN = ["2024-02-29", "1969-12-31", None, "2024-03-01"]
SECONDS = [1709164800.0, -86400.0, np.nan, 1709251200.0]

PLAIN = "pid,age,sex,smokes,seen\n" + "".join(
    f"{pid},{'' if age is None else age},{sex or 'NA'},{ {None: '', True: 'yes', False: 'No'}[smokes] },{seen or ''}\n"
    for pid, age, sex, smokes, seen in zip(IDS, AGE, SEX, SMOKES, SEEN)
)
GERMAN = "\n".join(
    ["sep=;", "pid;age;sex;smokes;seen;;"]
    + [
        f"{pid};{'' if age is None else str(age).replace('.', ',')};{sex or ''};"
        f"{'' if smokes is None else str(smokes)};{'.'.join(reversed(seen.split('-'))) if seen else ''};;"
        for pid, age, sex, smokes, seen in zip(IDS, AGE, SEX, SMOKES, SEEN)
    ]
    + [";;;;;;"] * 3
)


def rows_of(data: Any, query: str | None = None, **wishes: Any) -> TableRows:
    """A table, as found and read."""
    asked = Wishes("pid", **wishes)
    source = open_source(data, query, asked.delimiter, asked.encoding)
    return TableRows(source, inspect(source, asked).spec)


def written(directory: Path, name: str, text: str, encoding: str) -> Path:
    """A file of this text."""
    path = directory / name
    path.write_bytes(text.encode(encoding))
    return path


def columns() -> dict[str, list[Any]]:
    """Typed."""
    seen = [None if each is None else datetime.date.fromisoformat(each) for each in SEEN]
    return {"pid": IDS, "age": AGE, "sex": SEX, "smokes": SMOKES, "seen": seen}


def in_sqlite(directory: Path) -> str:
    """The URL of a database that has the table."""
    path = directory / "lab.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("create table lab (pid text, age real, sex text, smokes integer, seen text)")
        database.executemany("insert into lab values (?, ?, ?, ?, ?)", list(zip(IDS, AGE, SEX, SMOKES, SEEN)))
    return f"sqlite:///{path}"


def in_adbc(directory: Path) -> str:
    """The same for its ADBC driver."""
    pytest.importorskip("adbc_driver_sqlite")
    return f"{sources.ADBC}{in_sqlite(directory)}"


def test_a_query_through_adbc_gives_the_rows_of_one_through_sqlalchemy(tmp_path: Path) -> None:
    query = "select * from lab order by pid desc"
    url = in_adbc(tmp_path)
    of_adbc = rows_of(url, query, types={"smokes": "boolean"})
    other = rows_of(url.removeprefix(sources.ADBC), query, types={"smokes": "boolean"})
    assert of_adbc.ids == other.ids
    assert of_adbc.spec == other.spec
    for name, values in other.columns.items():
        assert np.array_equal(of_adbc.columns[name], values, equal_nan=values.dtype.kind == "f"), name


def test_what_adbc_cannot_do_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match="the query failed: ProgrammingError"):
        rows_of(in_adbc(tmp_path), "select * from nothing")
    with pytest.raises(MissingExtra, match="pip install adbc-driver-nowhere"):
        rows_of("adbc+nowhere://me@db/x", "select 1")
    monkeypatch.setenv(sources.SQL_PASSWORD, "before")
    assert without_password("adbc+postgresql://me:geh%40im@db:5432/x?a=b") == "adbc+postgresql://me@db:5432/x?a=b"
    assert sources.os.environ[sources.SQL_PASSWORD] == "geh@im"
    assert without_password("adbc+sqlite:///lab.sqlite") == "adbc+sqlite:///lab.sqlite"
    with pytest.raises(TableError, match="not behind") as refused:
        without_password("adbc+postgresql://me@db/x?password=hunter2")
    assert "hunter2" not in str(refused.value)
    assert sources.with_password("postgresql://me@db:5432/x") == "postgresql://me:geh%40im@db:5432/x"
    assert sources.with_password("lab.sqlite") == "lab.sqlite"


def test_all_forms_give_the_same_rows(tmp_path: Path) -> None:
    table = pyarrow.table(columns())
    pyarrow.parquet.write_table(table, tmp_path / "lab.parquet")
    dictionary = table.set_column(2, "sex", table["sex"].dictionary_encode())
    forms: dict[str, TableRows] = {
        "csv": rows_of(written(tmp_path, "a.csv", PLAIN, "utf-8")),
        "byte order mark, CRLF": rows_of(written(tmp_path, "b.csv", PLAIN.replace("\n", "\r\n"), "utf-8-sig")),
        "Excel, German": rows_of(written(tmp_path, "c.csv", GERMAN, "utf-8-sig")),
        "code page": rows_of(written(tmp_path, "d.csv", GERMAN, "cp1252"), encoding="cp1252"),
        "UTF-16, tabs": rows_of(written(tmp_path, "e.csv", PLAIN.replace(",", "\t"), "utf-16"), encoding="utf-16"),
        "parquet": rows_of(tmp_path / "lab.parquet"),
        "pyarrow": rows_of(table),
        "dictionary": rows_of(dictionary),
        "pandas": rows_of(pandas.DataFrame(columns())),
        "polars": rows_of(polars.from_arrow(table)),
        "sql": rows_of(in_sqlite(tmp_path), "select * from lab order by pid desc", types={"smokes": "boolean"}),
    }
    for name, found in forms.items():
        order = [found.ids.index(each) for each in IDS]
        assert sorted(found.ids) == sorted(IDS), name
        assert [each.kind for each in found.spec.columns] == [
            Kind.NUMERIC, Kind.CATEGORY, Kind.BOOLEAN, Kind.DATE,
        ], name  # fmt: skip
        assert np.array_equal(found.columns["age"][order], np.array(AGE, float), equal_nan=True), name
        assert np.array_equal(found.columns["smokes"][order], [1, 0, np.nan, 1], equal_nan=True), name
        assert np.array_equal(found.columns["seen"][order], SECONDS, equal_nan=True), name
        texts = (*found.categories["sex"], None)
        assert [texts[code] for code in found.columns["sex"][order]] == SEX, name


def test_dates_are_read_as_they_are_written() -> None:
    for text, order, wanted in (
        ("2024-05-03", "year first", "2024-05-03T00:00"),
        ("2024/5/3 7:05", "year first", "2024-05-03T07:05"),
        ("2024-05-03T07:05:09.25Z", "year first", "2024-05-03T07:05:09"),
        ("3.5.2024 17:05", "day first", "2024-05-03T17:05"),
        ("5/3/2024 12:05 AM", "month first", "2024-05-03T00:05"),
        ("5/3/2024 12:05 pm", "month first", "2024-05-03T12:05"),
        ("5/3/2024 5:05 PM", "month first", "2024-05-03T17:05"),
        ("31.4.2024", "day first", None),
        ("2024-13-01", "year first", None),
        ("1.1.2024 25:00", "day first", None),
    ):
        (found,) = Dates(pyarrow.array([text])).seconds(DateOrder(order)).tolist()
        seconds = None if wanted is None else np.datetime64(wanted, "s").astype(float)
        assert (None if np.isnan(found) else found) == seconds, text


def test_ids_that_are_whole_numbers_become_their_digits() -> None:
    assert rows_of(pandas.DataFrame({"pid": [12, 7], "x": [0.5, 1.5]})).ids == ["12", "7"]


def test_a_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Categories keep their codes, and kinds are found over all pieces."""
    monkeypatch.setattr(sources, "BATCH_ROWS", 7)
    names = [f"p{row}" for row in range(50)]
    table = pyarrow.table(
        {"pid": names, "x": [float(row) for row in range(50)], "c": [f"k{row % 9}" for row in range(50)]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "lab.parquet", row_group_size=11)
    found = rows_of(tmp_path / "lab.parquet")
    assert found.columns["x"].tolist() == list(range(50))
    assert [found.categories["c"][code] for code in found.columns["c"]] == [f"k{row % 9}" for row in range(50)]


def test_labels() -> None:
    frame = pandas.DataFrame({"pid": list("abcdef"), "x": range(6)})
    for values, kind, classes, numbers in (
        (["no", "yes"] * 3, LabelKind.BINARY, ("no", "yes"), [0, 1] * 3),
        ([10, 2, 2, 10, 2, 2], LabelKind.BINARY, ("2", "10"), [1, 0, 0, 1, 0, 0]),
        ([1.0, 0.0, 2.0, 1.0, 0.0, 2.0], LabelKind.CLASSES, ("0", "1", "2"), [1, 0, 2, 1, 0, 2]),
        ([True, False] * 3, LabelKind.BINARY, ("false", "true"), [1, 0] * 3),
        ([1.5, 2, 3, 4, 5, 6], LabelKind.REGRESSION, (), [1.5, 2, 3, 4, 5, 6]),
    ):
        table = rows_of(frame.assign(outcome=values), label="outcome")
        assert table.spec.label is not None
        assert table.labels is not None
        assert (table.spec.label.kind, table.spec.label.classes) == (kind, classes)
        assert table.labels.tolist() == numbers


def test_rows_without_a_label_are_only_predicted() -> None:
    frame = pandas.DataFrame({"pid": list("abcd"), "x": range(4), "outcome": ["n", None, "y", "n"]})
    table = rows_of(frame, label="outcome", with_unlabelled=True)
    assert (table.ids, table.labelled_ids) == (list("abcd"), list("acd"))
    later = TableRows(open_source(frame.drop(columns="outcome")), table.spec)
    assert (later.ids, later.labelled_ids) == (list("abcd"), [])


def test_a_table_that_no_longer_fits_its_spec_is_refused(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"pid": list("abc"), "x": [1.0, 2.0, 3.5], "outcome": ["n", "y", "n"]})
    spec = rows_of(frame, label="outcome").spec
    path = tmp_path / "spec.json"
    path.write_text(spec.text())
    assert TableSpec.load(path) == spec
    for other, says in (
        (frame.drop(columns="x"), "column 'x': the spec has it and the table has not"),
        (frame.assign(x=["1", "2", "Zanzibar"]), "column 'x': 1 cell cannot be read as numeric"),
        (frame.assign(outcome=["n", "y", "Zanzibar"]), "column 'outcome': 1 cell is of a class"),
        (frame.assign(pid=["a", "a", "b"]), "1 row repeats the id"),
    ):
        with pytest.raises(TableError, match=says) as caught:
            TableRows(open_source(other), spec)
        assert "Zanzibar" not in str(caught.value)
    path.write_text(spec.text().replace('"id"', '"identity"'))
    with pytest.raises(TableError, match=r"spec\.json: (id|identity)"):
        TableSpec.load(path)


def test_a_query_that_fails_says_so_and_its_password_is_in_no_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TableError, match="the query failed: OperationalError"):
        rows_of(in_sqlite(tmp_path), "select * from nothing")
    with pytest.raises(TableError, match="no database that SQLAlchemy knows"):
        rows_of("nonsense://x", "select 1")
    monkeypatch.setenv(sources.SQL_PASSWORD, "before")
    assert without_password("postgresql://me:geheim@db/x") == "postgresql://me@db/x"
    assert sources.os.environ[sources.SQL_PASSWORD] == "geheim"
