"""Several tasks one after another in the same processes, because starting PyTorch takes longer than any of them.

Every task has a limit of its own, and a task that fails in a way that its processes do not survive fails alone: they
are started again for the tasks after it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks.harness.limits import START, TASK, Limit
from benchmarks.harness.parties import Ended, Parties, Running

LOOK_SECONDS = 0.02

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""By party, the same number of tasks in the same order."""


@dataclass(frozen=True)
class Broken:
    """What came of a task that did not end at every party."""

    why: str


Printed = dict[str, dict[str, Any]]
"""By party, what its process printed of one task."""


@dataclass(frozen=True)
class Series:
    """What came of all tasks.

    Attributes:
        tasks: in the order of the rows.
        ended: of the processes that ran the last ones.
    """

    tasks: list[Printed | Broken]
    ended: dict[str, Ended]


def run_series(rows: Rows, start: Callable[[str, Sequence[Mapping[str, Any]]], Running], quiet: float = TASK) -> Series:
    """Run all tasks.

    Args:
        start: starts a party's process for some rows; it prints one JSON object a row.
        quiet: seconds of a quiet machine that one task may take.
    """
    count = max(map(len, rows.values()))
    tasks: list[Printed | Broken] = []
    ended: dict[str, Ended] = {}
    while len(tasks) < count:
        left = {who: own[len(tasks) :] for who, own in rows.items()}
        running = {who: start(who, own) for who, own in left.items()}
        problem = follow(running, count - len(tasks), quiet)
        ended = {who: party.ended() for who, party in running.items()}
        lines = {who: party.lines() for who, party in running.items()}
        over = min(map(len, lines.values()))
        tasks += [{who: json.loads(own[at]) for who, own in lines.items()} for at in range(over)]
        if len(tasks) < count:
            errors = "\n".join(f"{who}: {end.err[-3000:]}" for who, end in ended.items())
            tasks.append(Broken(f"{problem}\n{errors}"))
        else:
            failed = [end.err[-3000:] for end in ended.values() if end.code]
            assert not failed, f"all tasks were over, and then: {problem} {failed[0]}"
    return Series(tasks, ended)


def run_tiny_series(parties: Parties, rows: Rows, is_real: bool = False) -> Series:
    """Run tiny tasks, rows of {task, case} and perhaps {seed, scheme}, in processes that are `is_real` or forked."""

    def start(who: str, own: Sequence[Mapping[str, Any]]) -> Running:
        environment = {"TINY_SERIES": json.dumps(own)}
        return parties.start(who, "tiny_series.py", environment=environment, with_python=True, is_real=is_real)

    return run_series(rows, start)


def whole(task: Printed | Broken) -> Printed:
    """What was printed of a task; the test fails if that is not all."""
    if isinstance(task, Broken):
        pytest.fail(task.why)
    return task


def follow(running: Mapping[str, Running], count: int, quiet: float) -> str:
    """Wait until every process has printed so many lines and ended; otherwise, what went wrong, and none runs on.

    Args:
        quiet: seconds of a quiet machine between two lines.
    """
    problem = _wait_for_all(running, count, quiet)
    if problem:
        for party in running.values():
            party.kill()
    return problem


def _wait_for_all(running: Mapping[str, Running], count: int, quiet: float) -> str:
    done, limit = 0, Limit(START + quiet)
    while True:
        codes = {who: party.process.poll() for who, party in running.items()}
        lines = {who: len(party.lines()) for who, party in running.items()}
        broken = [who for who, code in codes.items() if code is not None and lines[who] < count]
        if broken:
            return f"the process of {broken[0]} ended with code {codes[broken[0]]}"
        if None not in codes.values():
            return ""
        if min(lines.values()) > done:
            done, limit = min(lines.values()), Limit(quiet)
        if not limit.left():
            late = [who for who, printed in lines.items() if printed == done]
            return f"not over at {', '.join(late) or 'any'} after {limit.seconds:.0f} s"
        time.sleep(LOOK_SECONDS)
