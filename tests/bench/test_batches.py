"""Whole batches between real parties: what is made of a run's events, and the tables."""

from __future__ import annotations

import os
from typing import Any

import pytest

from benchmarks.batches.__main__ import COLLABORATORS, DEFAULTS, WIDTHS, best_of, cases_of, merged
from benchmarks.batches.measure import Case, Rounds, processor_seconds
from benchmarks.batches.tables import collaborators_table, sustained_table, widths_table


def events(number: int, batches: int) -> list[tuple[str, dict[str, Any]]]:
    """A host's, of one round with its test behind it; and one of another party."""
    done = {"event": "round", "round": number, "batches": batches, "train_seconds": 1.5, "work": {"wait": 0.6}}
    done = {**done, "bytes_sent": 4000, "bytes_received": 2000}
    batch = {"event": "batch", "round": number}
    begin = {"event": "phase", "phase": "train", "round": number}
    return [
        ("host", begin),
        ("collaborator", batch),
        *[("host", batch)] * batches,
        ("host", done),
        ("host", {"event": "phase", "phase": "test", "round": number}),
        ("host", done),
    ]


def test_the_first_two_batches_do_not_count() -> None:
    wall, processor = iter([0.0, 9.0, 18.0, 18.1, 18.3, 18.4]), iter([0.0, 7.0, 8.0, 8.2, 8.4, 8.6])
    rounds = Rounds(lambda: next(processor), lambda: next(wall))
    for name, event in events(1, 5):
        rounds.take(name, event)
    (only,) = rounds.found
    assert (only["batch_milliseconds"], only["processor_milliseconds"]) == (100.0, 200.0)
    assert (only["bytes_a_batch"], only["host_milliseconds"]) == (1200, {"wait": 120.0})


def test_every_round_is_found_once() -> None:
    rounds = Rounds(lambda: 0.0)
    for number in (1, 2):
        for name, event in events(number, 3):
            rounds.take(name, event)
    assert [each["batches"] for each in rounds.found] == [3, 3]


def test_processor_time_of_a_process_and_of_one_that_is_gone() -> None:
    assert processor_seconds(os.getpid()) > 0
    assert processor_seconds(1 << 30) == 0


def test_parts_and_their_cases() -> None:
    assert [case.features for case in cases_of("widths", ["bfv"])] == list(WIDTHS)
    assert [case.collaborators for case in cases_of("collaborators", ["bfv"])] == list(COLLABORATORS)
    assert [(case.scheme, case.rounds) for case in cases_of("sustained", DEFAULTS["sustained"])] == [
        ("plain", 5),
        ("masked", 5),
    ]
    for part in DEFAULTS:
        for case in cases_of(part, ["plain"], is_quick=True):
            assert len(case.example().collaborators) == case.collaborators
    assert len(Case("bfv", features=20, collaborators=8).example().collaborators) == 8


def done(scheme: str, seconds: float, **changes: Any) -> dict[str, Any]:
    """A case's result of two rounds."""
    one = {"batches": 10, "train_seconds": seconds, "batch_milliseconds": 20.0, "processor_milliseconds": 30.0}
    case = {"scheme": scheme, "features": 20, "collaborators": 1, **changes}
    return {**case, "rounds": [{**one, "bytes_a_batch": 1_234_000}] * 2}


def test_results_of_other_schemes_stay_and_the_same_are_replaced() -> None:
    before = [done("plain", 1.0), done("bfv", 9.0)]
    assert merged(before, [done("bfv", 2.0)]) == [done("plain", 1.0), done("bfv", 2.0)]
    runs = [done("bfv", seconds)["rounds"] for seconds in (3.0, 1.0, 2.0)]
    assert best_of(runs) == runs[2]
    assert best_of(runs[:2]) == runs[1]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (widths_table, "| 20 | bfv | 20 | 30 | 1,234 |"),
        (collaborators_table, "| 1 | plain | 20 | 30 | 1,234 |"),
        (sustained_table, "| bfv | 2 2 | 4 | 2 | 0.6 | 1 | 0.15 |"),
    ],
    ids=["widths", "collaborators", "sustained"],
)
def test_tables(make: Any, line: str) -> None:
    lines = make({"cases": [done("bfv", 2.0), done("plain", 1.0)]}).splitlines()
    assert line in lines
    assert "plain" in lines[2], "the plain one comes first"
