"""Tasks between a host and a collaborator, in two processes: what is special about each, and how it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.scripts.tiny import MARKER
from benchmarks.harness.series import Broken, Printed, run_tiny_series, whole

HOST, OTHER = "party0", "party1"
FROZEN = {"is_feature_trainable": False}


@dataclass(frozen=True)
class Task:
    """What is special about one task, and how it ends.

    Args:
        host, other: how the host and the collaborator differ from well-behaved ones.
        reason: what the reason must match, at both parties; "" is a success.
        detail: what must stand in the detail that only those of `detail_at` are told.
        host_seed, other_seed, other_scheme: of the command line.
    """

    host: Case = field(default_factory=Case)
    other: Case = field(default_factory=Case)
    reason: str = ""
    detail: str = ""
    detail_at: tuple[str, ...] = ()
    host_seed: int | None = None
    other_seed: int | None = None
    other_scheme: str | None = None


@dataclass
class Finished:
    """All tasks after the run."""

    parties: Parties
    ids: dict[str, str]
    printed: dict[str, Printed | Broken]

    def ends(self, name: str) -> Printed:
        """How a task ended at each party. A test about one that did not fails here."""
        return whole(self.printed[name])

    def results(self, name: str, who: str) -> Path:
        """Where a party's results are."""
        self.ends(name)
        return self.parties.homes[who] / "tasks" / self.ids[name] / "results"

    def metrics(self, name: str, who: str = HOST) -> dict[str, Any]:
        """A party's metrics.json."""
        text = (self.results(name, who) / "metrics.json").read_text()
        values: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
        return values

    def losses(self, name: str) -> list[float]:
        """The host's batch losses."""
        values: list[float] = self.metrics(name)["batch_losses"]
        return values


def run_tasks(parties: Parties, tasks: Mapping[str, Task]) -> Finished:
    """Run every task, one after another."""
    ids = {name: parties.new_task() for name in tasks}
    rows = {
        HOST: [
            {"task": ids[name], "seed": task.host_seed, "case": parties.values(HOST, task.host)}
            for name, task in tasks.items()
        ],
        OTHER: [
            {
                "task": ids[name],
                "seed": task.other_seed,
                "scheme": task.other_scheme,
                "case": parties.values(OTHER, task.other),
            }
            for name, task in tasks.items()
        ],
    }
    # Not forked, so that the parties' sets have orders of their own.
    return Finished(parties, ids, dict(zip(tasks, run_tiny_series(parties, rows, is_real=True).tasks)))


def assert_ended(finished: Finished, name: str, task: Task) -> None:
    """Both parties say the same of a task, and only those who may know more do."""
    ends = finished.ends(name)
    assert ends[HOST]["reason"] == ends[OTHER]["reason"]
    for who in (HOST, OTHER):
        end, record = ends[who], finished.parties.store(who).get(finished.ids[name])
        assert end["ok"] == (not task.reason), end
        assert re.search(task.reason, end["reason"]), end
        assert "\n" not in end["text"]
        assert MARKER not in end["reason"]
        if who in task.detail_at:
            assert re.search(task.detail, end["detail"]), end
        else:
            assert end["detail"] == ""
        assert record.state.value == ("failed" if task.reason else "finished")
        assert record.failure == (end["reason"] or None)
