"""The story of a run at one party: what its progress events (secure_hfl/progress_file.py) come to so far.

A run that was interrupted and goes on has one story. What it did after its last checkpoint, and does again, is told
once: as it went the last time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

STEPS = ("check", "wait", "intersect", "train", "finish")
"""Of a task, as in the tutorial: data check, waiting for the parties, intersection, training, finished."""

_STEP_OF_PHASE = {
    "join": "wait",
    "psi": "intersect",
    "align": "intersect",
    "setup": "intersect",
    "train": "train",
    "test": "train",
    "finish": "finish",
}
_RECENT_ROUNDS = 3
_ENOUGH_BATCHES = 3


@dataclass(frozen=True)
class LossPoint:
    """A batch's loss. `x`: rounds of training before it, in fractions."""

    x: float
    round: int
    batch: int
    loss: float


@dataclass(frozen=True)
class RoundPoint:
    """A round that was trained. Figures of a test are None where there was none, or this party does not learn them."""

    round: int
    batches: int
    train_seconds: float
    test_seconds: float | None
    accuracy: float | None
    average_loss: float | None
    sent: int
    received: int
    work: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """With its test."""
        return self.train_seconds + (self.test_seconds or 0.0)


@dataclass
class RunStory:
    """What is known so far.

    Attributes:
        run: of the file's first line.
        party, role, scheme, script: of it; the script is "" where nobody knows.
        began_at, last_at: seconds since 1970.
        phase: the engine's; "" before the first.
        round, batch: the latest of training; 0 before there is one.
        rounds, batches: how many there will be, and in a round; None: not known.
        train, test: how many samples.
        psi: pieces of the intersection that are done, and of how many; what it is at.
        intersection: ids in common.
        present: who has come and not gone, by name.
        losses: of the batches that were kept.
        by_round: what was measured of each round.
        work: where the time of the round under way has gone.
        interrupted: why, while the run waits for the others to come back.
        resumes: how often it has gone on.
        ended: None, "ok", or "failed".
        reason: of that.
        code: the `AbortCode` of that, or of the interruption; "": unknown.
    """

    run: str = ""
    party: str = ""
    role: str = ""
    scheme: str = ""
    script: str = ""
    began_at: float = 0.0
    last_at: float = 0.0
    phase: str = ""
    round: int = 0
    batch: int = 0
    rounds: int | None = None
    batches: int | None = None
    train: int | None = None
    test: int | None = None
    psi: tuple[int, int, str] = (0, 0, "")
    intersection: int | None = None
    present: dict[str, bool] = field(default_factory=dict)
    losses: list[LossPoint] = field(default_factory=list)
    by_round: dict[int, RoundPoint] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    interrupted: str = ""
    resumes: int = 0
    ended: str | None = None
    reason: str = ""
    code: str = ""
    _seconds_before: float = 0.0
    """Of processes that have ended."""

    _process_began_at: float = 0.0
    _counted: tuple[int, int] = (0, 0)
    _now: tuple[int, int] = (0, 0)
    _first_batch: tuple[float, int] | None = None
    """Of the round under way, as far as this conversation has it: when, and which."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one event. One of a kind that is not known, or with fields that are not, changes nothing."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is None:
            return
        try:
            handler(event)
        except (KeyError, TypeError, ValueError):
            return
        self.last_at = max(self.last_at, float(event.get("at", 0.0)))

    # Events ----------------------------------------------------------------------------------------------------------

    def _on_start(self, event: Mapping[str, Any]) -> None:
        self.run = self.run or str(event["run"])
        self.party, self.role, self.scheme = str(event["party"]), str(event["role"]), str(event["scheme"])
        self.script = str(event.get("script", ""))
        if self._process_began_at:
            self._seconds_before += self.last_at - self._process_began_at
        self._process_began_at = float(event["at"])
        self.began_at = self.began_at or self._process_began_at
        self.ended, self.reason, self.phase, self.code = None, "", "", ""
        self._begin_conversation()

    def _on_phase(self, event: Mapping[str, Any]) -> None:
        phase = str(event["phase"])
        if phase == "train" and self.phase != "train":
            self._first_batch, self.work = None, {}
        self.phase, self.interrupted = phase, ""
        self.round = int(event["round"]) or self.round
        if phase == "train":
            self.batch = 0

    def _on_peer(self, event: Mapping[str, Any]) -> None:
        self.present[str(event["name"])] = bool(event["is_here"])

    def _on_psi(self, event: Mapping[str, Any]) -> None:
        self.psi = int(event["done"]), int(event["total"]), str(event["step"])

    def _on_psi_done(self, event: Mapping[str, Any]) -> None:
        self.intersection = int(event["intersection"])

    def _on_plan(self, event: Mapping[str, Any]) -> None:
        rounds, batches = event["rounds"], event["batches"]
        self.rounds = int(rounds) if rounds else None
        self.batches = int(batches) if batches else None
        self.train, self.test = int(event["train"]), int(event["test"])
        if self.intersection is None:
            self.intersection = self.train + self.test

    def _on_batch(self, event: Mapping[str, Any]) -> None:
        self._now = int(event["sent"]), int(event["received"])
        if self.phase != "train":
            return
        number, batch, loss = int(event["round"]), int(event["batch"]), event.get("loss")
        self.round, self.batch = number, batch
        self.work = {str(name): float(seconds) for name, seconds in event.get("work", {}).items()}
        if event.get("batches"):
            self.batches = int(event["batches"])
        if self._first_batch is None:
            self._first_batch = float(event["at"]), batch
        while self.losses and (self.losses[-1].round, self.losses[-1].batch) >= (number, batch):
            self.losses.pop()  # that was before an interruption, and is done again
        if loss is not None and isfinite(loss):
            x = number - 1 + min(1.0, batch / (self.batches or batch))
            self.losses.append(LossPoint(x, number, batch, float(loss)))

    def _on_round(self, event: Mapping[str, Any]) -> None:
        number = int(event["round"])
        self.by_round = {key: value for key, value in self.by_round.items() if key < number}
        self.by_round[number] = RoundPoint(
            round=number,
            batches=int(event["batches"]),
            train_seconds=float(event["train_seconds"]),
            test_seconds=_number(event["test_seconds"]),
            accuracy=_number(event["accuracy"]),
            average_loss=_number(event["average_loss"]),
            sent=int(event["bytes_sent"]),
            received=int(event["bytes_received"]),
            work={str(name): float(seconds) for name, seconds in event["work"].items()},
        )
        if self.batches is None or number == 1:
            self.batches = int(event["batches"])
        self.work = {}

    def _on_interrupted(self, event: Mapping[str, Any]) -> None:
        self.interrupted, self.code = str(event["reason"]) or "?", str(event.get("code", ""))
        self._begin_conversation()

    def _on_resumed(self, event: Mapping[str, Any]) -> None:
        del event
        self.interrupted = ""
        self.resumes += 1

    def _on_end(self, event: Mapping[str, Any]) -> None:
        self.ended, self.reason = ("ok" if event["ok"] else "failed"), str(event["reason"])
        self.interrupted, self.code = "", str(event.get("code", ""))
        self._begin_conversation()

    def _begin_conversation(self) -> None:
        """Nobody is here any more, and channels count from 0 again."""
        self.present = dict.fromkeys(self.present, False)
        self._counted = self.crossed
        self._now = (0, 0)
        self._first_batch = None

    # What it comes to ------------------------------------------------------------------------------------------------

    @property
    def step(self) -> str:
        """Of `STEPS`; "" before the run has begun."""
        return _STEP_OF_PHASE.get(self.phase, "")

    @property
    def crossed(self) -> tuple[int, int]:
        """Bytes sent and received in training so far, over all conversations."""
        return self._counted[0] + self._now[0], self._counted[1] + self._now[1]

    @property
    def seconds(self) -> float:
        """That the run has taken, without those in which no process ran."""
        return self._seconds_before + max(0.0, self.last_at - (self._process_began_at or self.began_at))

    @property
    def accuracy(self) -> float | None:
        """Of the last test."""
        known = [point.accuracy for point in self.by_round.values() if point.accuracy is not None]
        return known[-1] if known else None

    @property
    def loss(self) -> float | None:
        """Of the last batch that was kept."""
        return self.losses[-1].loss if self.losses else None

    @property
    def done(self) -> float | None:
        """Which part of the training is done; None: nobody knows how long it is."""
        if self.ended == "ok":
            return 1.0
        if self.rounds is None or not self.batches:
            return None
        return min(1.0, self._batches_done() / (self.rounds * self.batches))

    def total_work(self) -> dict[str, float]:
        """Where the time of all rounds has gone, in seconds, the most first."""
        total: dict[str, float] = {}
        for seconds in (*(point.work for point in self.by_round.values()), self.work):
            for name, value in seconds.items():
                total[name] = total.get(name, 0.0) + value
        return dict(sorted(((name, value) for name, value in total.items() if value > 0), key=lambda each: -each[1]))

    def remaining(self) -> float | None:
        """Seconds from the last event to the estimated end; None: it cannot be known yet."""
        if self.ended or self.interrupted or self.rounds is None or not self.batches or self.step not in ("train",):
            return None
        left = self.rounds * self.batches - self._batches_done()
        finished = list(self.by_round.values())[-_RECENT_ROUNDS:]
        if finished and sum(point.batches for point in finished):
            pace = sum(point.seconds for point in finished) / sum(point.batches for point in finished)
            return max(0.0, left * pace)
        if self._first_batch is None or self.batch - self._first_batch[1] < _ENOUGH_BATCHES:
            return None
        pace = (self.last_at - self._first_batch[0]) / (self.batch - self._first_batch[1])
        return max(0.0, left * pace)

    def _batches_done(self) -> int:
        if not self.round:
            return 0
        batches = self.batches or 0
        is_over = self.round in self.by_round
        return self.round * batches if is_over else (self.round - 1) * batches + min(self.batch, batches)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and isfinite(value) else None
