"""What a network is given: fitted to training rows and nothing else, and the same after it was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from secure_hfl.tables.encoding import Encoding
from secure_hfl.tables.inspection import Wishes, inspect
from secure_hfl.tables.rows import TableRows
from secure_hfl.tables.sources import open_source


def table_of(frame: pandas.DataFrame, **wishes: Any) -> TableRows:
    """Read as a Host's."""
    source = open_source(frame)
    return TableRows(source, inspect(source, Wishes("pid", label="y", **wishes)).spec)


def frame(rows: int = 30) -> pandas.DataFrame:
    """Of all kinds."""
    number = np.arange(rows, dtype=float)
    number[4] = np.nan
    return pandas.DataFrame(
        {
            "pid": [f"p{row}" for row in range(rows)],
            "x": number,
            "flag": [row % 2 == 0 for row in range(rows)],
            "colour": [["red", "blue", "green"][row % 3] if row % 7 else None for row in range(rows)],
            "seen": pandas.date_range("2024-01-01", periods=rows, freq="36h"),
            "y": [["n", "y", "n", "n"][row % 4] for row in range(rows)],
        }
    )


TRAIN = np.arange(20)


def test_only_training_rows_count() -> None:
    changed = frame()
    changed.loc[20:, "x"] = 1e6
    changed.loc[20:, "colour"] = "purple"
    changed.loc[20:, "y"] = "y"
    assert Encoding.fit(table_of(frame()), TRAIN) == Encoding.fit(table_of(changed), TRAIN)


def test_numbers_are_standardised_and_a_missing_one_is_the_mean_and_said() -> None:
    table = table_of(frame())
    x = Encoding.fit(table, TRAIN).columns[0]
    inputs = x.inputs(table.columns["x"][TRAIN])  # type: ignore[call-arg]
    known = np.delete(inputs[:, 0], 4)
    assert inputs.shape == (20, 2)
    assert abs(known.mean()) < 1e-6
    assert abs(known.std() - 1) < 1e-6
    assert inputs[4].tolist() == [0.0, 1.0]
    assert not inputs[:4, 1].any()


def test_rare_categories_share_an_input_and_unknown_ones_have_none() -> None:
    data = frame()
    data.loc[20:, "colour"] = "purple"
    table = table_of(data)
    spec = table.spec.model_copy(update={"most_categories": 2})
    table.spec = spec
    colour = next(each for each in Encoding.fit(table, TRAIN).columns if each.name == "colour")
    assert colour.width == 4  # two frequent ones, the rest, missing
    inputs = colour.inputs(table.columns["colour"], table.categories["colour"])  # type: ignore[call-arg]
    assert inputs[:20].sum(1).tolist() == [1.0] * 20
    assert inputs[0].tolist() == [0, 0, 0, 1]  # missing
    assert inputs[20:, 2].tolist() == [1.0] * 10  # as rare ones are
    no_rare = next(each for each in Encoding.fit(table_of(data), TRAIN).columns if each.name == "colour")
    table = table_of(data)
    assert not no_rare.inputs(table.columns["colour"], table.categories["colour"])[20:].any()  # type: ignore[call-arg]


def test_dates_have_a_day_a_season_and_an_hour() -> None:
    table = table_of(frame())
    seen = next(each for each in Encoding.fit(table, TRAIN).columns if each.name == "seen")
    inputs = seen.inputs(table.columns["seen"][TRAIN])  # type: ignore[call-arg]
    assert inputs.shape == (20, 5)
    assert np.allclose(np.hypot(inputs[:, 1], inputs[:, 2]), 1, atol=1e-6)
    assert np.allclose(inputs[:4, 4], [1, -1, 1, -1], atol=1e-5)  # midnight, noon
    days = frame().assign(seen=pandas.date_range("2024-01-01", periods=30))
    assert Encoding.fit(table_of(days), TRAIN).columns[-1].width == 3


def test_classes_weigh_the_same_in_all_and_a_regression_is_standardised() -> None:
    weights = Encoding.fit(table_of(frame()), TRAIN).class_weights
    assert weights[0] * 15 == pytest.approx(weights[1] * 5)
    numbers = frame().assign(y=np.arange(30) ** 1.5)
    fitted = Encoding.fit(table_of(numbers), TRAIN)
    assert fitted.class_weights == ()
    assert fitted.label_mean == pytest.approx(numbers.y[:20].mean())


def test_what_was_kept_encodes_to_the_same_bits(tmp_path: Path) -> None:
    table = table_of(frame())
    fitted = Encoding.fit(table, TRAIN)
    fitted.save(tmp_path / "encoding.json")
    kept = Encoding.load(tmp_path / "encoding.json")
    assert kept == fitted
    rows = np.arange(30)
    assert fitted.inputs(table, rows).tobytes() == kept.inputs(table, rows).tobytes()
    assert fitted.inputs(table, rows).shape == (30, fitted.width)
    assert not np.isnan(fitted.inputs(table, rows)).any()
