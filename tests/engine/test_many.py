"""A host and three collaborators, in four processes that run one task after another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import Lab
from tests.scripts import tiny

PARTIES = 4
# Per task: the cases that differ by party, and what every party says.
TASKS: dict[str, tuple[dict[int, dict[str, Any]], str]] = {
    "three collaborators": ({}, ""),
    "one is frozen": ({2: {"arguments": {"is_feature_trainable": False}}}, ""),
    "widths by key": ({0: {"arguments": {"projection": {"party1": 4, "party3": True}}}}, ""),
    "one fails": (
        {2: {"raises": "iterate_train_feature later"}},
        "^party2 stopped in training round 2, batch 2: UserCodeError$",
    ),
    "one differs": (
        {3: {"split": "short"}},
        "^party3: split_dataset differs: the host has 64 training ids, party3 has 48",
    ),
    "two have one key": ({3: {"arguments": {"feature_key": "party1"}}}, "^two parties use the same feature_key"),
    "one has no common ids": ({1: {"ids": ["a"]}}, "^no id is held by all .* party1 1, party2 128, party3 128$"),
    "host fails": ({0: {"raises": "train_a_batch"}}, "^party0 stopped in training round 1, batch 1: UserCodeError$"),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, dict[str, dict[str, Any]]]]:
    """Every task's end at every party."""
    lab = Lab(tmp_path_factory.mktemp("many"), PARTIES)
    ids = {name: lab.new_task(name) for name in TASKS}
    running = {}
    for index, who in enumerate(lab.names):
        rows = [
            {"task": ids[name], "case": {"index": index, "parties": PARTIES, **cases.get(index, {})}}
            for name, (cases, _) in TASKS.items()
        ]
        running[who] = lab.start(who, "tiny_table.py", environment={"TINY_TABLE": json.dumps(rows)}, with_python=True)
    lines = {}
    for who, party in running.items():
        ended = party.ended()
        assert ended.code == 0, ended.err
        lines[who] = [json.loads(line) for line in ended.out.splitlines()]
    yield lab, {name: {who: lines[who][at] for who in lab.names} for at, name in enumerate(TASKS)}
    lab.stop()


@pytest.mark.parametrize("name", TASKS)
def test_all_say_the_same(ends: tuple[Lab, dict[str, dict[str, Any]]], name: str) -> None:
    reasons = {end["reason"] for end in ends[1][name].values()}
    assert len(reasons) == 1, reasons
    assert re.search(TASKS[name][1], reasons.pop())
    assert all(end["ok"] == (not TASKS[name][1]) for end in ends[1][name].values())


@pytest.mark.parametrize(("name", "frozen"), [("three collaborators", ()), ("one is frozen", (2,))])
def test_losses_are_those_of_one_process(
    ends: tuple[Lab, dict[str, dict[str, Any]]], name: str, frozen: tuple[int, ...]
) -> None:
    lab = ends[0]
    record = lab.store("party0").get(name)
    path = lab.homes["party0"] / "tasks" / record.task_id / "results" / "metrics.json"
    expected, _ = tiny.train_in_one_process(PARTIES, 2, frozen)
    assert json.loads(path.read_text())["batch_losses"] == expected
