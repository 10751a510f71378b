"""A host and three collaborators, in four processes that run one task after another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case, Method, Split
from benchmarks.harness.series import Broken, Printed, run_tiny_series, whole

PARTIES = 4
# Per task: the cases that differ by party, and what every party says.
TASKS: dict[str, tuple[dict[int, Case], str]] = {
    "three collaborators": ({}, ""),
    "one is frozen": ({2: Case(arguments={"is_feature_trainable": False})}, ""),
    "widths by key": ({0: Case(arguments={"projection": {"party1": 4, "party3": True}})}, ""),
    "one fails": (
        {2: Case(raises=Method.ITERATE_TRAIN_FEATURE_LATER)},
        "^party2 stopped in training round 2, batch 2: UserCodeError$",
    ),
    "one differs": (
        {3: Case(split=Split.FEWER_TO_TRAIN)},
        "^party3: split_dataset differs: the host has 64 training ids, party3 has 48",
    ),
    "two have one key": (
        {3: Case(arguments={"feature_key": "party1"})},
        "^feature_key: party3 calls itself party1, .* sets feature_key=.party3.$",
    ),
    "one has no common ids": ({1: Case(ids=["a"])}, "^no id is held by all .* party1 1, party2 128, party3 128$"),
    "host fails": (
        {0: Case(raises=Method.TRAIN_A_BATCH)},
        "^party0 stopped in training round 1, batch 1: UserCodeError$",
    ),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Parties, dict[str, Printed | Broken]]]:
    """Every task's end at every party."""
    parties = Parties(tmp_path_factory.mktemp("many"), PARTIES)
    ids = {name: parties.new_task(name) for name in TASKS}
    rows = {
        who: [{"task": ids[name], "case": parties.values(who, cases.get(index))} for name, (cases, _) in TASKS.items()]
        for index, who in enumerate(parties.names)
    }
    yield parties, dict(zip(TASKS, run_tiny_series(parties, rows).tasks))
    parties.stop()


@pytest.mark.parametrize("name", TASKS)
def test_all_say_the_same(ends: tuple[Parties, dict[str, Printed | Broken]], name: str) -> None:
    printed = whole(ends[1][name])
    reasons = {end["reason"] for end in printed.values()}
    assert len(reasons) == 1, reasons
    assert re.search(TASKS[name][1], reasons.pop())
    assert all(end["ok"] == (not TASKS[name][1]) for end in printed.values())


@pytest.mark.parametrize(("name", "frozen"), [("three collaborators", ()), ("one is frozen", (2,))])
def test_losses_are_those_of_one_process(
    ends: tuple[Parties, dict[str, Printed | Broken]], name: str, frozen: tuple[int, ...]
) -> None:
    parties = ends[0]
    whole(ends[1][name])
    record = parties.store("party0").get(name)
    path = parties.homes["party0"] / "tasks" / record.task_id / "results" / "metrics.json"
    expected, _ = tiny.train_in_one_process(PARTIES, 2, frozen)
    assert json.loads(path.read_text())["batch_losses"] == expected
