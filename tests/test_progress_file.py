"""A run's progress on disk: whole lines, thinned, appended to by who goes on, and written by runs of both roles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from secure_hfl import progress_file
from secure_hfl.progress_file import ALL_KEPT, KEPT_OF_A_RUN, LEAST_INTERVAL, ProgressFile, events_in
from secure_hfl.run_options import RunOptions
from tests.engine.memory_channel import cut_off
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

ABOUT = {"party": "bank", "role": "host", "scheme": "plain"}


class Clock:
    """Tells the time that it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def read(path: Path) -> list[dict[str, Any]]:
    """All events."""
    return list(events_in(path.read_bytes()))


def named(path: Path, *kinds: str) -> list[dict[str, Any]]:
    """Those of some kinds."""
    return [event for event in read(path) if event["event"] in kinds]


def test_of_many_batches_the_last_of_each_interval_is_kept(tmp_path: Path) -> None:
    path, clock = tmp_path / "progress.jsonl", Clock()
    file = ProgressFile(path, False, ABOUT, clock)
    for batch in range(1, ALL_KEPT + 101):
        clock.now += LEAST_INTERVAL / 10
        file.emit("batch", round=1, batch=batch)
    file.emit("round", round=1, metrics={"batch_losses": [0.5] * 1000})
    assert "batch_losses" not in path.read_text()
    kept = [event["batch"] for event in named(path, "batch")]
    assert kept[:ALL_KEPT] == list(range(1, ALL_KEPT + 1)), "the curve of a short run is whole"
    assert 10 <= len(kept) - ALL_KEPT <= 12
    assert kept[-1] == ALL_KEPT + 100, "what came last before something rare is kept"
    assert [event["event"] for event in read(path)][-2:] == ["batch", "round"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_run_of_any_length_leaves_a_file_that_is_read_at_once(tmp_path: Path) -> None:
    path, clock = tmp_path / "progress.jsonl", Clock()
    file = ProgressFile(path, False, ABOUT, clock)
    week = 7 * 86400
    for batch in range(50_000):
        clock.now += week / 50_000
        file.emit("batch", round=1, batch=batch)
    bound = KEPT_OF_A_RUN * (1 + math.log(week / (KEPT_OF_A_RUN * LEAST_INTERVAL)))
    assert len(named(path, "batch")) <= ALL_KEPT + bound + 1


def test_a_run_that_goes_on_appends_and_another_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    first = ProgressFile(path, False, ABOUT)
    first.emit("phase", phase="train", round=1)
    first.close()
    with path.open("ab") as file:
        file.write(b'{"event": "rou')  # the power failed
    second = ProgressFile(path, True, ABOUT)
    second.close()
    starts = named(path, "start")
    assert [event["is_resuming"] for event in starts] == [False, True]
    assert starts[0]["run"] != starts[1]["run"]
    assert [event["event"] for event in read(path)] == ["start", "phase", "start"]
    ProgressFile(path, False, ABOUT).close()
    assert len(read(path)) == 1


def test_a_full_disk_ends_the_record_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress.jsonl"
    file = ProgressFile(path, False, ABOUT)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(progress_file.os, "write", full)
        file.emit("phase", phase="psi", round=0)
    file.emit("phase", phase="train", round=1)
    file.close()
    assert [event["event"] for event in read(path)] == ["start"]
    nowhere = ProgressFile(tmp_path / "missing" / "progress.jsonl", False, ABOUT)
    nowhere.emit("phase", phase="psi", round=0)
    nowhere.close()


def test_both_roles_leave_the_whole_story_of_an_interrupted_run(tmp_path: Path) -> None:
    parties = MemoryParties(
        tmp_path,
        options=RunOptions(checkpoint_every=1, rounds=2),
        cases={HOST: {"arguments": {"log_rounds": 1}}},
    )
    cuts = [1]

    def react(event: str, values: dict[str, Any]) -> None:
        if event == "batch" and values["round"] == 2 and cuts:
            cuts.pop()
            cut_off(*parties.channels)

    parties.heard[HOST].react = react
    parties.execute()
    assert not parties.errors
    for name in (HOST, COLLABORATOR):
        path = parties.runs[name].bench.assignment.directory / progress_file.NAME
        events = read(path)
        assert events[0]["event"] == "start"
        assert events[-1]["event"] == "end"
        assert events[-1]["ok"]
        plans = named(path, "plan")
        assert [(plan["rounds"], plan["batches"]) for plan in plans] == [(2, 2), (2, 2)]
        assert plans[0]["train"] + plans[0]["test"] == 96
        assert named(path, "interrupted")
        assert named(path, "resumed")
        batch = named(path, "batch")[-1]
        assert sum(batch["work"].values()) > 0
        assert batch["sent"] > 0
    assert [event["name"] for event in named(path, "peer")] == [HOST, HOST], "the collaborator sees who it reached"
