"""Tables of predictions, and files of ids."""

from __future__ import annotations

import csv
import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from protocols.core.errors import MissingExtra, SecureHflError
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction.id_files import read_ids
from secure_hfl.prediction.outcome import Predictions, Request

CAFE, COMPOSED = "cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
HAS_PARQUET = importlib.util.find_spec("pyarrow") is not None


def test_a_table_has_the_request_with_reasons(tmp_path: Path) -> None:
    request = Request(["b", "a", "x", "b", CAFE], {"a", "b", COMPOSED}, "host")
    assert request.asked == ["b", "a", COMPOSED]
    found = request.answered(["a", COMPOSED], torch.tensor([[0.5], [2.0]]), {"bank": frozenset({"a", COMPOSED})})
    assert {each: found[each].item() for each in found} == {"a": 0.5, CAFE: 2.0}
    assert (len(found), "a" in found, "b" in found) == (2, True, False)
    found.write(str(tmp_path / "out.csv"))
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
    request = Request(["b", "a"], {"a", "b"}, "host")
    request.answered(["a"], torch.tensor([[1.0, 3.0]]), {}).write(tmp_path / "out.parquet")
    assert read_ids(tmp_path / "out.parquet") == ["b", "a"]


def test_parquet_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"secure-hfl\[parquet\]"):
        Request(["a"], {"a"}, "host").answered(["a"], torch.ones(1, 1), {}).write(tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("ids.txt", "7\n007\n\na b\n", ["7", "007", "a b"]),
        ("ids.csv", "age,id\n30,7\n31,007\n", ["7", "007"]),
        ("ids.csv", "7\n8\n", ["7", "8"]),
        ("IDS.CSV", "\ufeffid;age\r\n7;30\r\n\r\n007;31\r\n", ["7", "007"]),
    ],
    ids=["lines", "a column of its name", "the first column", "as Excel writes them"],
)
def test_files_of_ids(tmp_path: Path, name: str, text: str, ids: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert read_ids(tmp_path / name) == ids


def test_a_file_without_ids_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n\n")
    with pytest.raises(ConfigurationError, match="holds no id"):
        read_ids(tmp_path / "ids.txt")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("ids.csv", "age,id\n30,7\n31\n", "line 3 has no id"),
        ("ids.csv", 'age,id\n30,""\n', "line 2 has no id"),
        ("ids.csv", "patient_id;age\n7;30\n", 'has 2 columns, and none is called "id"'),
        ("ids.parquet", "7\n8\n", "no Parquet file"),
        ("ids.txt", "\udcff\n", "cannot be read as a list of ids"),
    ],
    ids=["a short row", "an empty cell", "no column of that name", "no Parquet", "no UTF-8"],
)
def test_files_that_are_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    if name.endswith("parquet") and not HAS_PARQUET:
        pytest.skip("needs the extra parquet")
    (tmp_path / name).write_text(text, errors="surrogateescape")
    with pytest.raises(SecureHflError, match=said):
        read_ids(tmp_path / name)


@pytest.mark.skipif(not HAS_PARQUET, reason="needs the extra parquet")
def test_ids_of_parquet_are_text_or_whole_numbers_and_there_in_each_row(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = ([7, 70], [7.0, 8.0], ["7", None])
    paths = [tmp_path / name for name in ("whole.PARQUET", "fractions.parquet", "gaps.parquet")]
    for path, column in zip(paths, columns):
        parquet.write_table(pyarrow.table({"age": [1, 2], "id": column}), path)
    assert read_ids(paths[0]) == ["7", "70"]
    with pytest.raises(ConfigurationError, match="column 'id' is double"):
        read_ids(paths[1])
    with pytest.raises(ConfigurationError, match="row 2 has no id"):
        read_ids(paths[2])
    parquet.write_table(pyarrow.table({"age": [1], "patient": [7]}), paths[0])
    with pytest.raises(ConfigurationError, match="none is called"):
        read_ids(paths[0])


def test_what_is_asked_for_is_a_list_of_texts() -> None:
    """A text alone would be asked for letter by letter, and a generator once only."""
    for wrong in ([7], "107000", b"1", 7):
        with pytest.raises(ConfigurationError, match="must be a list of texts"):
            Request(wrong, {"7"}, "host")  # type: ignore[arg-type]
    assert Request((each for each in "ab"), {"a"}, "host").asked == ["a"]


def test_a_host_that_has_labels_only_asks_for_ids_in_the_form_that_all_compare() -> None:
    request = Request([CAFE, COMPOSED, "x"], None, "host")
    assert request.asked == [COMPOSED, "x"]
    assert request.answered([COMPOSED], torch.ones(1, 1), {}).at == {CAFE: 0, COMPOSED: 0}


def test_classes_have_a_name_each_or_two_for_one_logit() -> None:
    def said(*outputs: float, names: tuple[str, ...]) -> Any:
        found = Predictions(("a",), torch.tensor([outputs]), {"a": 0}, {}, classes=names)
        return next(found.rows())[3]

    assert said(1.0, 3.0, names=("well", "ill")) == "ill"
    assert [said(value, names=("well", "ill")) for value in (-0.5, 0.5)] == ["well", "ill"]
    assert said(2.5, names=()) == 2.5
    assert said(-math.inf, 0.0, names=()) == 1
    assert all(math.isnan(said(math.nan, 1.0, names=names)) for names in ((), ("well", "ill")))
    with pytest.raises(ConfigurationError, match="class_names has 2 names, and a prediction 3 outputs"):
        said(1.0, 2.0, 3.0, names=("well", "ill"))
