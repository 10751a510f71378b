"""Tables of predictions, and files of ids."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest
import torch

from protocols.core.errors import MissingExtra
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction.outcome import Request, read_ids, spelled

CAFE, COMPOSED = "cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
HAS_PARQUET = importlib.util.find_spec("pyarrow") is not None


def test_a_table_has_the_request_with_reasons(tmp_path: Path) -> None:
    request = Request(["b", "a", "x", "b", CAFE], spelled(["a", "b", COMPOSED]), "host")
    assert request.asked == ["b", "a", COMPOSED]
    found = request.answered(["a", COMPOSED], torch.tensor([[0.5], [2.0]]), {"bank": frozenset({"a", COMPOSED})})
    found.write(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["id", "status", "reason", "prediction", "output_0"],
        ["b", "missing", "bank does not hold it", "", ""],
        ["a", "predicted", "", "0.5", "0.5"],
        ["x", "missing", "host does not hold it", "", ""],
        ["b", "missing", "bank does not hold it", "", ""],
        [CAFE, "predicted", "", "2.0", "2.0"],
    ]


@pytest.mark.skipif(not HAS_PARQUET, reason="needs the extra parquet")
def test_parquet_tables_are_written_and_read(tmp_path: Path) -> None:
    request = Request(["b", "a"], spelled(["a", "b"]), "host")
    request.answered(["a"], torch.tensor([[1.0, 3.0]]), {}).write(tmp_path / "out.parquet")
    assert read_ids(tmp_path / "out.parquet") == ["b", "a"]


def test_parquet_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"secure-hfl\[parquet\]"):
        Request(["a"], spelled(["a"]), "host").answered(["a"], torch.ones(1, 1), {}).write(tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("ids.txt", "7\n007\n\na b\n", ["7", "007", "a b"]),
        ("ids.csv", "age,id\n30,7\n31,007\n", ["7", "007"]),
        ("ids.csv", "7\n8\n", ["7", "8"]),
    ],
    ids=["lines", "a column of its name", "the first column"],
)
def test_files_of_ids(tmp_path: Path, name: str, text: str, ids: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert read_ids(tmp_path / name) == ids


def test_a_file_without_ids_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n\n")
    with pytest.raises(ConfigurationError, match="holds no id"):
        read_ids(tmp_path / "ids.txt")
    with pytest.raises(ConfigurationError, match="must be a list of texts"):
        Request([7], spelled(["7"]), "host")  # type: ignore[list-item]
