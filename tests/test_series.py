"""A task that hangs, or takes its process with it, fails alone; and limits grow with the load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import limits
from benchmarks.harness.limits import Limit
from benchmarks.harness.parties import Parties, Running
from benchmarks.harness.series import Broken, run_series

SCRIPT = """
import json, os, sys, time
from pathlib import Path
printed = Path(__file__).with_suffix(".printed")
for row in json.loads(os.environ["ROWS"]):
    if row == {"does": "hang"}:
        time.sleep(1000)
    if row == {"does": "die"}:
        while len(printed.read_text()) < 2:  # as parties are in step
            time.sleep(0.01)
        sys.exit("dead")
    print(json.dumps(row), flush=True)
    with printed.open("a") as file:
        file.write(".")
"""


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    """Two homes, and a script that does what it is told."""
    (tmp_path / "script.py").write_text(SCRIPT)
    made = Parties(tmp_path)
    yield made
    made.stop()


def run(parties: Parties, host: list[str], other: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What both print of each task; why, of a broken one."""
    monkeypatch.setattr("benchmarks.harness.series.START", 5.0)

    def start(who: str, rows: Sequence[Mapping[str, Any]]) -> Running:
        script = str(parties.directory / "script.py")
        return parties.start(who, script, environment={"ROWS": json.dumps(list(rows))}, with_python=True)

    rows = {who: [{"does": word} for word in words] for who, words in zip(parties.names, (host, other), strict=True)}
    tasks = run_series(rows, start, quiet=0.5).tasks
    return [task.why if isinstance(task, Broken) else [task[who]["does"] for who in parties.names] for task in tasks]


def test_what_all_printed_is_put_together(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(parties, ["a", "b"], ["c", "d"], monkeypatch) == [["a", "c"], ["b", "d"]]


def test_a_task_that_hangs_at_one_party_fails_alone(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third, last = run(parties, ["a", "b", "c", "d"], ["a", "hang", "c", "hang"], monkeypatch)
    assert (first, third) == (["a", "a"], ["c", "c"])
    assert second.startswith("not over at party1 after ")
    assert last.startswith("not over at party1 after ")


def test_a_task_that_ends_its_process_fails_alone(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = run(parties, ["a", "die", "c"], ["a", "b", "c"], monkeypatch)
    assert (first, third) == (["a", "a"], ["c", "c"])
    assert second.startswith("the process of party0 ended with code 1\n")
    assert "dead" in second


def test_load_that_comes_later_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    load = iter([1.0, 1.0, 1000.0])
    monkeypatch.setattr(limits, "_measured", [])
    monkeypatch.setattr(limits, "measure", lambda: next(load))
    limit = Limit(0.01)
    time.sleep(0.02)
    assert limit.left() == 0.0, "the machine is as quiet as it was"
    assert limit.left() > 5.0
