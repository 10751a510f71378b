"""The story of a run: recorded ones of both roles, an interruption, an estimate, and a file that is being written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from secure_hfl.live.reader import StoryReader, story_of
from secure_hfl.live.story import STEPS, RunStory

RECORDED = Path(__file__).parent / "recorded"
START = {"event": "start", "at": 1000.0, "run": "5f1c", "party": "bank", "role": "host", "scheme": "bfv"}
PLAN = {"event": "plan", "at": 1002.0, "rounds": 4, "batches": 10, "train": 100, "test": 20, "peers": ["clinic"]}


def batch(number: int, at: int, **more: Any) -> dict[str, Any]:
    """A second a batch."""
    when = 1000.0 + 10 * number + at
    crossed = {"sent": 100 * at, "received": 200 * at, "work": {"wait": 0.1 * at}}
    return {"event": "batch", "at": when, "round": number, "batch": at, "loss": 1.0 / (number + at), **crossed, **more}


def trained(number: int) -> dict[str, Any]:
    """A round that took ten seconds, and two for its test."""
    figures = {"accuracy": 0.5 + number / 10, "average_loss": 0.1, "bytes_sent": 1000, "bytes_received": 2000}
    seconds = {"train_seconds": 10.0, "test_seconds": 2.0, "work": {"wait": 4.0, "encrypt": 6.0}}
    return {"event": "round", "at": 1010.0 + 10 * number, "round": number, "batches": 10, **figures, **seconds}


def phase(name: str, number: int = 0) -> dict[str, Any]:
    """Of the engine."""
    return {"event": "phase", "at": 1001.0, "phase": name, "round": number}


def told(*events: dict[str, Any]) -> RunStory:
    """The story of these."""
    story = RunStory()
    for event in events:
        story.take(event)
    return story


def test_a_recorded_run_of_the_host() -> None:
    story = story_of(RECORDED / "host.jsonl")
    assert (story.role, story.scheme, story.ended, story.done) == ("host", "bfv", "ok", 1.0)
    assert (story.rounds, story.round, story.batches, story.intersection) == (3, 3, 25, 12000)
    assert list(story.by_round) == [1, 2, 3]
    assert [point.batches for point in story.by_round.values()] == [25] * 3
    assert story.accuracy is not None
    assert len(story.losses) == 75
    assert [point.x for point in story.losses] == sorted(point.x for point in story.losses)
    assert story.losses[-1].x == 3.0
    trained = sum(point.train_seconds for point in story.by_round.values())
    assert sum(story.total_work().values()) == pytest.approx(trained, rel=1e-2)
    assert min(story.crossed) > sum(point.sent for point in story.by_round.values()) * 0.5
    assert story.remaining() is None
    assert list(story.present) == ["collaborator"]


def test_a_collaborator_learns_no_loss_and_no_accuracy() -> None:
    story = story_of(RECORDED / "collaborator.jsonl")
    assert (story.role, story.ended, story.losses, story.accuracy) == ("collaborator", "ok", [], None)
    assert (story.rounds, story.round, story.batch) == (3, 3, 25)


def test_the_steps_of_the_tutorial() -> None:
    story, seen = RunStory(), []
    for name in ("join", "psi", "align", "setup", "train", "test", "finish"):
        story.take(phase(name, 1 if name in ("train", "test") else 0))
        seen.append(story.step)
    assert seen == ["wait", "intersect", "intersect", "intersect", "train", "train", "finish"]
    assert set(seen) < set(STEPS)


def test_who_is_here_is_known_until_the_line_breaks() -> None:
    come = {"event": "peer", "at": 1001.0, "name": "clinic", "is_here": True}
    story = told(START, phase("join"), come)
    assert story.present == {"clinic": True}
    story.take({"event": "interrupted", "at": 1002.0, "reason": "the connection broke"})
    assert (story.present, story.interrupted) == ({"clinic": False}, "the connection broke")
    story.take(come)
    story.take({"event": "resumed", "at": 1003.0, "from": "round 1", "seconds": 1.0})
    assert (story.present, story.interrupted, story.resumes) == ({"clinic": True}, "", 1)


def test_what_is_done_again_is_told_once_and_bytes_add_up() -> None:
    first = [START, PLAN, phase("train", 1), *(batch(1, at) for at in range(1, 6))]
    story = told(*first, {**START, "at": 2000.0, "run": "77aa"}, phase("train", 1))
    assert story.crossed == (500, 1000), "those of the conversation that broke"
    for at in (4, 5, 6):
        story.take(batch(1, at, loss=0.5))
    assert [point.batch for point in story.losses] == [1, 2, 3, 4, 5, 6]
    assert [point.loss for point in story.losses][-3:] == [0.5] * 3
    assert story.crossed == (1100, 2200)
    assert story.seconds == 15.0, "not those between the two processes"
    assert story.run == "5f1c"


def test_the_estimate_is_of_what_is_left() -> None:
    story = told(START, PLAN, phase("train", 1), batch(1, 1), batch(1, 2))
    assert story.remaining() is None, "too early"
    story.take(batch(1, 4))
    assert story.remaining() == pytest.approx(36.0)
    assert story.done == 0.1
    for event in (trained(1), phase("train", 2), batch(2, 5)):
        story.take(event)
    assert story.remaining() == pytest.approx(25 * 1.2), "tests are counted as soon as there was one"
    story.take({"event": "end", "at": 1100.0, "ok": False, "reason": "the clinic left"})
    assert (story.remaining(), story.ended, story.reason) == (None, "failed", "the clinic left")


def test_a_run_without_a_known_end_has_no_estimate() -> None:
    story = told(START, {**PLAN, "rounds": None}, phase("train", 1), *(batch(1, at) for at in range(1, 9)))
    assert (story.remaining(), story.done) == (None, None)


def test_events_that_are_odd_change_nothing() -> None:
    story = told(START, PLAN, phase("train", 1), batch(1, 1))
    before = str(story)
    for event in (
        {"event": "batch", "at": 1.0, "round": "x"},
        {"event": "of a newer version"},
        {"event": "plan"},
        {"event": "begin_conversation"},
        {"event": "batch", "round": 1},
    ):
        story.take(event)
    assert str(story) == before
    story.take(batch(1, 2, loss=float("nan")))
    assert story.loss == 0.5, "no number is no point of the curve"


def test_a_file_is_followed_line_by_line_and_across_runs(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    reader = StoryReader(path)
    assert not reader.update()
    lines = [json.dumps(event).encode() + b"\n" for event in (START, PLAN, phase("train", 1), batch(1, 1), batch(1, 2))]
    path.write_bytes(b"".join(lines[:4]) + lines[4][:10])
    assert reader.update()
    assert (reader.story.batch, reader.position) == (1, f"5f1c-{sum(map(len, lines[:4]))}")
    assert not reader.update()
    with path.open("ab") as file:
        file.write(lines[4][10:])
    assert reader.update()
    assert reader.story.batch == 2
    path.unlink()
    assert not reader.update()
    other = json.dumps({**START, "run": "9999"}).encode() + b"\n"
    path.write_bytes(other + b"".join(lines[1:]) * 3)
    assert reader.update()
    assert (reader.story.run, len(reader.story.losses)) == ("9999", 2)
