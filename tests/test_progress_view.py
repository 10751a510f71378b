"""What people see of a run: each party's events in words, on a terminal in place, elsewhere in lines."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

from rich.console import Console

from secure_hfl.bench.model import Point, RoundSample, Sample
from secure_hfl.bench.plan import Job
from secure_hfl.bench.run_progress import RunProgress
from secure_hfl.demo.display import Display
from secure_hfl.progress_view import PartyProgress

BATCH = {"event": "batch", "round": 2, "batch": 3, "batches": 79, "loss": 0.5, "sent": 1000, "received": 2_000_000}
TRAINING = {"event": "phase", "phase": "train", "round": 2}
PSI_PIECE = {"event": "psi", "step": "own points", "done": 3, "total": 7}
TESTED = {"event": "round", "round": 2, "batches": 79, "accuracy": 0.875, "test_seconds": 1.0}
RUN = [
    {"event": "phase", "phase": "psi", "round": 0},
    PSI_PIECE,
    {"event": "psi_done", "intersection": 96, "seconds": 0.25},
    TRAINING,
    BATCH,
    {**TESTED, "accuracy": None, "test_seconds": None},
    {"event": "phase", "phase": "test", "round": 2},
    TESTED,
    {"event": "phase", "phase": "finish", "round": 0},
]
PLAIN = Job("plain", Point(task="digits"), None, (), ("schemes",))


def console(is_terminal: bool) -> tuple[Console, StringIO]:
    """A console and what it has printed."""
    out = StringIO()
    return Console(file=out, force_terminal=is_terminal, width=150, color_system=None), out


def after(*events: dict[str, Any]) -> PartyProgress:
    """A party that has told this."""
    party = PartyProgress()
    for event in events:
        party.take(event)
    return party


def test_a_party_that_trains() -> None:
    party = after(TRAINING, BATCH)
    assert (party.phase, party.doing, party.note) == ("training", "training, round 2", "loss 0.5000")
    assert (party.done, party.total) == (3, 79)
    assert (party.sent, party.received) == (1000, 2_000_000)


def test_a_party_in_private_set_intersection() -> None:
    party = after({"event": "phase", "phase": "psi", "round": 0}, PSI_PIECE)
    assert (party.doing, party.note, party.done, party.total) == ("private set intersection", "own points", 3, 7)


def test_what_a_round_has_shown_stays_until_the_end() -> None:
    party = after(TRAINING, BATCH, TESTED, {"event": "end", "ok": True})
    assert (party.doing, party.round, party.loss, party.accuracy) == ("finished", 2, 0.5, 0.875)


def test_an_interrupted_party_waits_until_it_goes_on() -> None:
    interrupted = [TRAINING, BATCH, {"event": "interrupted", "reason": "the connection broke"}]
    assert after(*interrupted).phase == "interrupted, waiting"
    assert after(*interrupted, {"event": "resumed", "from": "round 2", "seconds": 1.0}, TRAINING).phase == "training"


def test_the_demo_prints_a_line_for_each_step_of_the_host() -> None:
    screen, out = console(is_terminal=False)
    with Display(screen, ["host", "collaborator"], 2, None) as display:
        for event in RUN:
            display.take("host", event)
            display.take("collaborator", event)
    lines = [re.sub(r"^ +[0-9.]+ s  ", "", line) for line in out.getvalue().splitlines()]
    assert lines == [
        "private set intersection",
        "96 ids in common, in 0.25 s",
        "round 2: 79 batches, last loss 0.5000",
        "round 2: accuracy 87.50%",
        "finishing",
    ]


def test_the_demo_draws_every_party_on_a_terminal() -> None:
    screen, out = console(is_terminal=True)
    with Display(screen, ["host", "collaborator"], 2, None) as display:
        for event in (TRAINING, BATCH):
            display.take("host", event)
    shown = out.getvalue()
    for text in ("host", "collaborator", "starting", "training", "0.5000", "1.0 kB", "2.0 MB", "82/158"):
        assert text in shown


def test_the_benchmark_shows_where_it_is_on_a_terminal() -> None:
    screen, out = console(is_terminal=True)
    with RunProgress(screen, 3) as live:
        live.begin_run(1, 3)
        live.begin(PLAIN)
        for event in (TRAINING, BATCH):
            live.heard("host", event)
        live.heard("collaborator", {"event": "phase", "phase": "test", "round": 1})
    assert "run 1 of 3, plain: training, round 2, batch 3 of 79" in out.getvalue()


def test_the_benchmark_prints_a_line_for_each_run_that_is_over() -> None:
    screen, out = console(is_terminal=False)
    measured = RoundSample(batches=79, train_seconds=2.0, bytes_sent=1, bytes_received=1)
    with RunProgress(screen, 3) as live:
        live.begin_run(1, 3)
        live.begin(PLAIN)
        live.heard("host", TRAINING)
        live.take(PLAIN, Sample(rounds=(measured,), batch_losses=()))
        live.take(PLAIN, "too wide\nfor the ring")
    lines = [re.sub(r"^ +[0-9.]+ s  ", "", line) for line in out.getvalue().splitlines()]
    assert lines == [
        "run 1 of 3, plain: 79 batches in 2.00 s",
        "run 1 of 3, plain: refused: too wide for the ring",
    ]
