"""The benchmark of tables: the networks in one process and gradient boosting, on a small made-up case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

pytest.importorskip("sklearn")

from benchmarks.tables.__main__ import Measured
from benchmarks.tables.cases import Case
from benchmarks.tables.show import markdown


def small(label_kind: str = "") -> Case:
    """Both tables are needed."""
    draws = np.random.RandomState(1)
    a, b = draws.normal(size=400), draws.normal(size=400)
    names = [f"s{row}" for row in range(400)]
    label = 3 * a - 3 * b if label_kind else np.where(a - b > 0, "more", "less")
    host = pandas.DataFrame({"id": names, "a": a, "kind": draws.choice(["x", "y"], 400), "label": label})
    return Case("small", "which is larger", host, pandas.DataFrame({"id": names, "b": b}), label_kind)


@pytest.mark.parametrize(("kind", "figure"), [("", "auc"), ("regression", "r2")])
def test_both_tables_together_are_better_than_one(kind: str, figure: str, tmp_path: Path) -> None:
    measured = Measured(small(kind), tmp_path, rounds=6)
    together = measured.in_one_process("host", "collaborator", seeds=1)["figures"]
    alone = measured.in_one_process("host", seeds=2)
    assert together[figure] > 0.9
    assert alone["figures"][figure] < 0.87
    assert set(alone["deviation"]) == set(together)
    assert measured.boosted("host", "collaborator")[figure] > 0.9
    said = {"figures": together}
    task = {"together": {"bfv": said}, "one_process": alone, "sizes": measured.sizes(), "rounds": 6}
    text = markdown({"tasks": {"small": task}})
    assert f"{together[figure]:.3f}" in text
    assert "| rounds | 6 |" in text
    assert "return split(KEY, ids, self.spec.test_share)" in (tmp_path / "host.py").read_text()
