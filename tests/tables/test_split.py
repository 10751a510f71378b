"""Both parties split and order alike, from the task and the ids alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from secure_hfl.tables.ids import ids_of_table
from secure_hfl.tables.split import shuffled, split, split_key

IDS = {f"patient-{number}" for number in range(2000)}


def test_where_a_sample_goes_depends_on_itself_and_the_task() -> None:
    key = split_key("task-a")
    train, test = split(key, IDS, 0.2)
    assert train | test == IDS
    assert not train & test
    assert 330 < len(test) < 470  # 400, within four standard deviations
    fewer, few = split(key, sorted(IDS)[:700], 0.2)
    assert (fewer, few) == (train & (fewer | few), test & (fewer | few))
    other = split(split_key("task-b"), IDS, 0.2)[1]
    assert 40 < len(test & other) < 130  # a fifth of a fifth: 80


def test_ids_that_match_are_the_same_ids(tmp_path: Path) -> None:
    """However a table writes its accents: else they would go to different sides of the split."""
    (tmp_path / "a.csv").write_text("id,age\n\u00c5,1\nA\u030ab,2\n", encoding="utf-8")
    assert ids_of_table(str(tmp_path / "a.csv"), "id") == ["\u00c5", "\u00c5b"]


def test_every_round_has_its_order() -> None:
    key = split_key("task")
    first, second = shuffled(key, 1, 500), shuffled(key, 2, 500)
    assert sorted(first.tolist()) == list(range(500))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, shuffled(key, 1, 500))
    assert first[:5].tolist() == [448, 123, 281, 65, 292]  # the same on every machine, for good
