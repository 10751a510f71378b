"""A pandera schema's verdict: columns, checks and counts, and no value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pandera.pandas as pandera
import pytest

from secure_hfl import mock_context
from secure_hfl.errors import ConfigurationError
from secure_hfl.tables import SchemaChecker

SCHEMA = pandera.DataFrameSchema(
    {
        "pid": pandera.Column(str, pandera.Check.str_length(3), unique=True),
        "age": pandera.Column(float, pandera.Check.in_range(0, 120), nullable=True),
        "smokes": pandera.Column(bool),
        "seen": pandera.Column("datetime64[us]"),
        "visits": pandera.Column(int),
    },
    strict=True,
)
GOOD = "pid;age;smokes;seen;visits\n007;31,5;yes;3.5.2024;1\n008;;No;31.12.2023;2\n"


def verdict(data: Any, schema: Any = SCHEMA) -> tuple[bool, str]:
    """Of a check without a task."""
    with mock_context():
        return SchemaChecker("TASK_ID", schema, data).verify_data()


def test_a_good_table_passes_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "lab.csv"
    path.write_text(GOOD)
    assert verdict(path) == (True, f"{path}: 2 rows of 5 columns, as in the schema")
    frame = pandas.DataFrame(
        {
            "pid": ["007", "008"],
            "age": [31.5, None],
            "smokes": [True, False],
            "seen": pandas.to_datetime(["2024-05-03", "2023-12-31"]),
            "visits": [1, 2],
        }
    )
    frame.to_parquet(tmp_path / "lab.parquet")
    assert verdict(frame)[0]
    assert verdict(tmp_path / "lab.parquet")[0]


def test_what_fails_is_said_by_column_and_count(tmp_path: Path) -> None:
    path = tmp_path / "lab.csv"
    path.write_text(
        "pid;age;smokes;seen;Zanzibar\n007;131,5;yes;3.5.2024;1\n007;-4;No;31.12.2023;2\n9999;5;No;31.12.2023;2\n"
    )
    passed, said = verdict(path)
    assert not passed
    for words in (
        "column 'age': 2 fail in_range",
        "column 'pid': 2 fail field_uniqueness",
        "column 'pid': 1 fail str_length",
        "column 'visits' is not in the table",
        "column 'Zanzibar' is not in the schema",
    ):
        assert words in said, said
    for value in ("131", "9999", "007", "-4"):
        assert value not in said.replace(str(path), "")


def test_cells_that_cannot_be_converted_stay_unsaid(tmp_path: Path) -> None:
    path = tmp_path / "lab.csv"
    path.write_text("pid;age;smokes;seen;visits\n007;old;yes;3.5.2024;1\n008;12;No;31.12.2023;many\n")
    passed, said = verdict(path)
    assert not passed
    assert "column 'age'" in said
    assert "column 'visits'" in said
    assert "old" not in said
    assert "many" not in said


def test_another_library_s_schema_is_refused(tmp_path: Path) -> None:
    with mock_context(), pytest.raises(ConfigurationError, match=r"of pandera\.pandas"):
        SchemaChecker("TASK_ID", {"age": float}, tmp_path / "lab.csv")
