"""Runs a plan: every run is real processes over loopback gRPC with mutual TLS, or one PyTorch process as a baseline.

All cases take turns: the first run of each, then the second of each, and so on, so that whatever the machine does
meanwhile falls on all. Homes, logs and results of a run are removed behind it; of one that failed they stay.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from secure_hfl.bench.model import ONE_PROCESS, Case, MessageCount, RoundSample, Sample
from secure_hfl.bench.plan import Job, Plan
from secure_hfl.cli.output import one_line
from secure_hfl.errors import LocalRunFailed
from secure_hfl.examples.mnist import DATA_VARIABLE
from secure_hfl.local_parties import HOST, LocalParties, Party, RunSettings

REFUSAL = "InvalidInput"
"""How a scheme says, while it is set up, that it cannot do a shape."""

Listener = Callable[[str, dict[str, Any]], None]
"""Told of every progress event: the party, and the event."""


Events = Generator[tuple[str, dict[str, Any]], None, None]


FROZEN = (
    "A bottom model is frozen: its features cross in the first epoch alone, and later ones take less time and fewer "
    "bytes. With --rounds, figures are medians over all epochs."
)


class Refused(Exception):
    """A scheme cannot run at this point. The text says why."""


class Measurement:
    """A plan under way.

    Args:
        plan: what to measure.
        rounds: of training, in every run at the standard point; a series has one.
        seed: all runs', not secret.
    """

    def __init__(self, plan: Plan, rounds: int, seed: int) -> None:
        self.plan, self.rounds, self.seed = plan, rounds, seed
        self._samples: list[list[Sample]] = [[] for _ in plan.jobs]
        self._refused: dict[int, str] = {}

    def run(
        self, directory: Path, listen: Listener, begin: Callable[[Job], None]
    ) -> Iterator[tuple[Job, Sample | str]]:
        """One run of every case; yields each case's sample, or why there is none.

        Args:
            directory: a private one, for all runs.
            listen: hears all progress events.
            begin: hears of each case before it is run.

        Raises:
            LocalRunFailed: a party failed; says why, and where what it printed is.
        """
        for at, job in enumerate(self.plan.jobs):
            if at in self._refused or (self._samples[at] and not job.is_repeated):
                continue
            begin(job)
            try:
                sample = self._measure(job, directory, listen)
            except Refused as error:
                self._refused[at] = str(error)
                yield job, str(error)
            else:
                self._samples[at].append(sample)
                yield job, sample

    def cases(self) -> Iterator[Case]:
        """What has been measured so far."""
        for at, job in enumerate(self.plan.jobs):
            if self._samples[at] or at in self._refused:
                for sweep in job.sweeps:
                    yield Case(
                        sweep=sweep,
                        scheme=job.scheme,
                        point=job.point,
                        samples=tuple(self._samples[at]),
                        refused=self._refused.get(at, ""),
                        batches=job.batches,
                    )

    def notes(self) -> tuple[str, ...]:
        """The plan's, and what the runs have shown."""
        return (*self.plan.notes, *([FROZEN] if any(case.has_frozen_model for case in self.cases()) else []))

    def _measure(self, job: Job, directory: Path, listen: Listener) -> Sample:
        rounds = job.rounds or (self.rounds if job.is_repeated else 1)
        environment = {DATA_VARIABLE: os.environ.get(DATA_VARIABLE, str(directory / "data"))}
        if job.scheme == ONE_PROCESS:
            return one_process(rounds, self.seed, job.batches, environment)
        projection = True if job.asks_for_projection else None
        settings = RunSettings(job.registered, rounds, job.batches, self.seed, projection)
        return measure(job, settings, directory / "run", environment, listen)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A private directory for all runs. If a party fails, its homes stay there."""
    directory = Path(tempfile.mkdtemp(prefix="secure-hfl-bench-"))
    try:
        yield directory
    except LocalRunFailed:
        shutil.rmtree(directory / "data", ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    shutil.rmtree(directory, ignore_errors=True)


def measure(
    job: Job, settings: RunSettings, directory: Path, environment: Mapping[str, str], listen: Listener
) -> Sample:
    """One run between real parties.

    Args:
        directory: does not exist yet, and is removed unless a party fails.

    Raises:
        Refused: the scheme cannot do this shape.
        LocalRunFailed: a party failed.
    """
    directory.mkdir(mode=0o700)
    times = EventTimes()
    with ExitStack() as stack:
        run = LocalParties(job.scripts, settings, directory, _relay(job, stack), environment)
        run.prepare()
        try:
            with closing(cast(Events, run.run())) as events:
                for name, event in events:
                    times.take(name, event)
                    listen(name, event)
        except LocalRunFailed:
            refusal = _refusal(run.parties) if times.ended_in_setup else ""
            if not refusal:
                raise LocalRunFailed(_failure(job, run.parties)) from None
            shutil.rmtree(directory)
            raise Refused(refusal) from None
    shutil.rmtree(directory)
    return sample_of(run.parties, times)


def _relay(job: Job, stack: ExitStack) -> Callable[[int], int] | None:
    """A proxy for each collaborator, where the point's link is a shaped one."""
    link = job.point.link
    if not link.is_shaped:
        return None
    from secure_hfl.bench.link import ShapedLink

    return lambda port: stack.enter_context(ShapedLink(port, link)).port


def _refusal(parties: list[Party]) -> str:
    """Why a scheme would not be set up, or "" if something else went wrong. Each party knows its own detail."""
    if not any(party.reason.endswith(f": {REFUSAL}") for party in parties):
        return ""
    details = [_last_line(party).partition(f"{REFUSAL} (")[2].removesuffix(")") for party in parties]
    return next((detail for detail in details if detail), REFUSAL)


def _failure(job: Job, parties: list[Party]) -> str:
    """What the party that failed says at the end, with the detail that only it knows; peers' reasons lack it."""
    said = [(party, _last_line(party)) for party in parties if party.process and party.process.returncode]
    party, line = max(said, key=lambda each: len(each[1]))
    where = f"its output: {party.output}, the others' beside it"
    return f"{job.scheme}, {party.name}: {line or party.reason or 'no output'} ({where})"


def _last_line(party: Party) -> str:
    lines = party.output.read_text(errors="replace").strip().splitlines()
    return one_line(lines[-1].removeprefix("error: ")) if lines else ""


class EventTimes:
    """When the host's events came."""

    def __init__(self) -> None:
        self.phases: dict[tuple[str, int], float] = {}
        self.batches: dict[int, list[float]] = {}
        self.train_bytes: dict[int, int] = {}

    def take(self, name: str, event: Mapping[str, Any]) -> None:
        """Keep what a sample needs of it."""
        if name != HOST:
            return
        now = time.perf_counter()
        if event["event"] == "phase":
            place = (event["phase"], event["round"])
            self.phases.setdefault(place, now)
            if event["phase"] == "train":
                self.batches.setdefault(event["round"], [now])
        elif event["event"] == "batch":
            self.batches[event["round"]].append(now)
        elif event["event"] == "round":
            # The first such event of a round comes before its test.
            self.train_bytes.setdefault(event["round"], event["bytes_sent"] + event["bytes_received"])

    def batch_seconds(self, number: int) -> tuple[float, ...]:
        """From batch to batch of a round."""
        return tuple(round(after - before, 6) for before, after in pairwise(self.batches[number]))

    @property
    def ended_in_setup(self) -> bool:
        """Whether the host came as far as setting up the scheme, and no further."""
        return ("setup", 0) in self.phases and ("train", 1) not in self.phases

    @property
    def before_training(self) -> float:
        """From the start of the run, its processes being there, to the first round."""
        return self.phases["train", 1] - self.phases["join", 0]


def sample_of(parties: list[Party], times: EventTimes) -> Sample:
    """What a run that is over has measured, as its parties reported it."""
    host = parties[0].metrics
    psi = host["psi"]["seconds"]
    return Sample(
        rounds=tuple(_round(parties, at, times) for at in range(len(host["rounds"]))),
        batch_losses=tuple(host["batch_losses"]),
        messages=tuple(
            MessageCount(
                type=name,
                sent=counts.get("sent_messages", 0),
                sent_bytes=counts.get("sent_bytes", 0),
                received=counts.get("received_messages", 0),
                received_bytes=counts.get("received_bytes", 0),
            )
            for name, counts in host["messages"].items()
        ),
        # Parties make triples together: a sum would count them for each.
        offline_seconds=max(party.metrics["offline_seconds"] for party in parties),
        setup_seconds=max(0.0, times.before_training - psi),
        psi_seconds=psi,
        seconds=host["seconds"],
        peak_mb={party.name: party.metrics["peak_rss_mb"] for party in parties},
    )


def _round(parties: list[Party], at: int, times: EventTimes) -> RoundSample:
    each = parties[0].metrics["rounds"][at]
    number, batches = each["round"], each["batches"]
    return RoundSample(
        batches=batches,
        train_seconds=each["train_seconds"],
        test_seconds=each["test_seconds"],
        accuracy=each["accuracy"],
        loss=each["average_loss"],
        bytes_sent=each["bytes_sent"],
        bytes_received=each["bytes_received"],
        train_bytes=times.train_bytes[number],
        batch_seconds=times.batch_seconds(number),
        round_trips_per_batch=each["round_trips"] / max(1, batches),
        work={party.name: party.metrics["rounds"][at]["work"] for party in parties},
    )


def one_process(rounds: int, seed: int, batches: int | None, environment: Mapping[str, str]) -> Sample:
    """The tutorial's models in one PyTorch process on all cores."""
    arguments = [str(rounds), str(seed), *([] if batches is None else [str(batches)])]
    command = [sys.executable, "-m", "secure_hfl.examples.mnist.one_process", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})  # noqa: S603
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise LocalRunFailed(f"one process: {last[0]}")
    result = json.loads(done.stdout.splitlines()[-1])
    names = ("batches", "train_seconds", "test_seconds", "accuracy")
    kept = [
        RoundSample(
            bytes_sent=0,
            bytes_received=0,
            batch_seconds=tuple(round(value, 6) for value in each["batch_seconds"]),
            **{name: each[name] for name in names},
        )
        for each in result["rounds"]
    ]
    return Sample(rounds=tuple(kept), batch_losses=tuple(result["batch_losses"]))
