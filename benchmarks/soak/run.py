"""One long run of two processes through a proxy that cuts their connection again and again."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.harness.faults.proxy import Break, Kind, Proxy, Way
from benchmarks.harness.vitals import Sampler
from benchmarks.soak.settings import CHECKPOINT_EVERY
from secure_hfl.examples.catalogue import Script
from secure_hfl.local_parties import LocalParties, RunSettings

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "benchmarks" / "scripts"
SAMPLE_SECONDS = 1.0
CUTS = (Kind.RST, Kind.FIN, Kind.TRUNCATE, Kind.DUPLICATE, Kind.CLOSED)
MOST_CUTS = 240
"""A task goes on 256 times at most (secure_hfl/checkpoints/resume_count.py)."""


@dataclass
class Story:
    """What has happened so far. Written by the thread that reads the parties' events.

    Attributes:
        batches: of training, done by the host.
        count: of its events, by name.
        is_training: whether a connection that is cut now is one that trains.
    """

    batches: int = 0
    count: Counter[str] = field(default_factory=Counter)
    is_training: bool = False

    def see(self, name: str, event: Mapping[str, Any]) -> None:
        """An event of a party."""
        if name != "host":
            return
        kind = event["event"]
        self.count[kind] += 1
        self.batches += kind == "batch"
        if kind in ("batch", "interrupted"):
            self.is_training = kind == "batch"


class Cutter:
    """Cuts the connection at random moments of training, by one of several faults.

    Args:
        proxy: what passes through it.
        story: says when there is something to cut.
        gap: seconds between two cuts, on average.
        until: of the monotonic clock; none after it.
        seed: the moments and faults are drawn from it; they are no secret.
    """

    def __init__(self, proxy: Proxy, story: Story, gap: float, until: float, seed: int) -> None:
        self._proxy, self._story, self._gap, self._until = proxy, story, gap, until
        self._random = Random(seed)
        self.done: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cuts", daemon=True)

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._random.uniform(0.2, 1.8) * self._gap):
            if time.monotonic() > self._until or self.done.total() >= MOST_CUTS:
                return
            if self._story.is_training:
                kind = self._random.choice(CUTS)
                amount = {Kind.TRUNCATE: 7.0, Kind.CLOSED: 0.5}.get(kind, 0.0)
                self._proxy.do(Break(kind, way=self._random.choice(list(Way)), amount=amount))
                self.done[kind.value] += 1


def files_below(directory: Path) -> dict[str, float]:
    """How many files there are, and those aside that each conversation adds by design."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    kept = [path for path in files if path.suffix != ".transcript"]
    return {"files": len(kept), "transcripts": len(files) - len(kept)}


def run(scheme: str, seconds: float, gap: float, seed: int) -> dict[str, Any]:
    """Train under a scheme for so long, cutting every `gap` seconds; what was sampled and counted."""
    with tempfile.TemporaryDirectory() as directory:
        parties, proxy = prepared(scheme, Path(directory) / "run", seconds)
        story = Story()
        cutter = Cutter(proxy, story, gap, time.monotonic() + seconds, seed)
        try:
            samples = sampled(parties, story, cutter)
        finally:
            proxy.close()
        metrics = {party.name: party.metrics for party in parties.parties}["host"]
    return {
        "scheme": scheme,
        "cuts": dict(cutter.done),
        "cuts_in_all": cutter.done.total(),
        "checkpoints": story.batches // CHECKPOINT_EVERY + story.count["round"],
        "rounds": len(metrics["rounds"]),
        "batches": len(metrics["batch_losses"]),
        "resumes": metrics["resumes"],
        "recovery_seconds": metrics["recovery_seconds"],
        "samples": samples,
    }


def prepared(scheme: str, directory: Path, seconds: float) -> tuple[LocalParties, Proxy]:
    """Both parties, which stop by themselves after so long, and what is between them."""
    proxies: list[Proxy] = []

    def relay(port: int) -> int:
        proxies.append(Proxy(port))
        return proxies[-1].port

    environment = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "SOAK_UNTIL": str(time.time() + seconds),
        "SECURE_HFL_CHECKPOINT_EVERY": str(CHECKPOINT_EVERY),
    }
    scripts = [Script(SCRIPTS / f"soak_{role}.py") for role in ("host", "collaborator")]
    settings = RunSettings(scheme, rounds=None, projection=True)
    parties = LocalParties(scripts, settings, directory, relay, environment)
    parties.directory.mkdir(mode=0o700)
    parties.prepare()
    return parties, proxies[0]


def sampled(parties: LocalParties, story: Story, cutter: Cutter) -> list[dict[str, Any]]:
    """Run them to their end; what each held every second."""
    pids: dict[str, int] = {}

    def beside() -> dict[str, float]:
        counts = {"batches": story.batches, "rounds": story.count["round"]}
        return {**files_below(parties.directory), **counts}

    with Sampler(pids, SAMPLE_SECONDS, beside) as sampler, cutter:
        for name, event in parties.run():
            pids.update({each.name: each.process.pid for each in parties.parties if each.process})
            story.see(name, event)
    return [
        {"seconds": round(at, 1), **{name: list(each) for name, each in held.items()}, **also}
        for at, held, also in sampler.samples
    ]
