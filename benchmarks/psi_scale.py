"""PSI of large sets between two real processes: seconds, memory and bytes, and the training that follows.

    python -m benchmarks.psi_scale --json benchmarks/results/psi_scale.json           about 8 minutes on two quiet cores
    python -m benchmarks.psi_scale --sizes 1000000 2000000 1000x2000000       smaller
    python -m benchmarks.psi_scale --sizes 10000000 --spu 10000000            spu's PSI behind ours, in the same run

A size is the ids of both parties, or those of the host and of the collaborator; half of the smaller set is in common.
A line is one task: PSI, then a round of 20 batches over the ids in common. Memory is each process's own peak, of PSI
and of the whole run, with Python and torch; the curve is sampled from outside. What 10^8 ids would take is computed
from the seconds of a bucket and of an id in the largest line, and marked as such.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.cases import Entry, PsiPoint, WrongResult
from benchmarks.peers.driver import Driver, WorkerFailed
from benchmarks.peers.environments import Environments, NoEnvironment, default_directory
from benchmarks.step_timings import write_json
from protocols.psi.buckets import bucket_count, padded_size
from secure_hfl.bench.machine import machine
from secure_hfl.examples.catalogue import Script
from secure_hfl.local_parties import LocalParties, RunSettings

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).parent / "scripts"
SIZES = ["1000000", "10000000", "1000x10000000"]
EXTRAPOLATED = 10**8
PAGE = os.sysconf("SC_PAGE_SIZE")
POINTS = 120
"""Of a memory curve that is kept."""


@dataclass
class Watch:
    """Samples the memory of processes twice a second, and notes when buckets are done.

    Attributes:
        curve: seconds since the start, and MB of each process.
        buckets: by party, when each was done.
        phases: when the host began each.
    """

    processes: dict[str, int] = field(default_factory=dict)
    curve: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    buckets: dict[str, list[float]] = field(default_factory=dict)
    phases: list[tuple[str, float]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    over: threading.Event = field(default_factory=threading.Event)

    def sample(self) -> None:
        """Until it is over."""
        while not self.over.wait(0.5):
            found = {}
            for name, pid in list(self.processes.items()):
                try:
                    found[name] = int(Path("/proc", str(pid), "statm").read_text().split()[1]) * PAGE / 1e6
                except (OSError, IndexError):
                    continue
            if found:
                self.curve.append((self.now, found))

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    def see(self, name: str, event: dict[str, Any]) -> None:
        """An event of a party."""
        if event["event"] == "psi_bucket":
            self.buckets.setdefault(name, []).append(self.now)
        elif event["event"] == "phase" and name == "host":
            self.phases.append((event["phase"], self.now))


def run(host: int, collaborator: int) -> dict[str, Any]:
    """One task over so many ids."""
    common = min(host, collaborator) // 2
    with tempfile.TemporaryDirectory() as directory:
        reports = Path(directory) / "reports"
        reports.mkdir()
        environment = {
            "SECURE_HFL_SCALE": f"{host},{collaborator},{common}",
            "SECURE_HFL_SCALE_REPORT": str(reports),
            "SECURE_HFL_LIMITS": f"ids={max(host, collaborator)}",
            "PYTHONPATH": str(ROOT),
        }
        scripts = [Script(SCRIPTS / f"scale_{role}.py") for role in ("host", "collaborator")]
        parties = LocalParties(scripts, RunSettings("plain"), Path(directory) / "run", environment=environment)
        parties.directory.mkdir(mode=0o700)
        parties.prepare()
        watch = Watch()
        sampler = threading.Thread(target=watch.sample, daemon=True)
        sampler.start()
        for name, event in parties.run():
            watch.processes.update({each.name: each.process.pid for each in parties.parties if each.process})
            watch.see(name, event)
        watch.over.set()
        sampler.join()
        metrics = [party.metrics for party in parties.parties]
        return {"host_ids": host, "collaborator_ids": collaborator, **_measured(metrics, reports, watch)}


def _measured(metrics: list[dict[str, Any]], reports: Path, watch: Watch) -> dict[str, Any]:
    host = metrics[0]["psi"]
    psi = [json.loads((reports / f"psi-{party}").read_text()) for party in (0, 1)]
    trained = [json.loads((reports / f"round-{party}").read_text()) for party in (0, 1)]
    common = host["intersection"]
    done = watch.buckets.get("host", [])
    apart = [later - earlier for earlier, later in pairwise(done)]
    return {
        "common": common,
        "buckets": len(done) or 1,
        "seconds": max(each["psi"]["seconds"] for each in metrics),
        "cpu_seconds": [each["cpu_seconds"] for each in psi],
        "seconds_a_bucket": statistics.median(apart) if apart else None,
        "megabytes": (host["bytes_sent"] + host["bytes_received"]) / 1e6,
        "psi_peak_mb": [each["peak_mb"] for each in psi],
        "psi_ru_maxrss_mb": [each["ru_maxrss_mb"] for each in psi],
        "run_peak_mb": [each["peak_rss_mb"] for each in metrics],
        "after_round_mb": [each["current_mb"] for each in trained],
        "id_bytes_a_row": [each["ids_bytes"] and each["ids_bytes"] / common for each in psi],
        "curve": _thinned(watch.curve),
        "phases": watch.phases,
    }


def _thinned(curve: list[tuple[float, dict[str, float]]]) -> list[list[float]]:
    """[seconds, MB of the host, MB of the collaborator], so many as a plot needs."""
    names = ("host", "collaborator")
    whole = [(at, [found.get(name, 0) for name in names]) for at, found in curve]
    alive = [(at, each) for at, each in whole if min(each) > 0]
    return [[round(at, 1), *(round(value, 1) for value in each)] for at, each in alive[:: max(1, len(alive) // POINTS)]]


def extrapolated(line: dict[str, Any], ids: int = EXTRAPOLATED) -> dict[str, Any] | None:
    """What so many ids a side would take, from a line whose sets were cut: buckets are of the same size whatever n."""
    if not line["seconds_a_bucket"] or line["host_ids"] != line["collaborator_ids"]:
        return None
    measured, buckets = line["host_ids"], bucket_count(ids)
    points = padded_size(measured, line["buckets"])
    in_buckets = line["seconds_a_bucket"] * line["buckets"]
    ratio = padded_size(ids, buckets) / points
    return {
        "is_extrapolated": True,
        "ids": ids,
        "buckets": buckets,
        "seconds": line["seconds_a_bucket"] * ratio * buckets + (line["seconds"] - in_buckets) * ids / measured,
        "megabytes": line["megabytes"] * ids / measured,
        "from": f"{line['buckets']} buckets of {measured} ids, measured, and the rest in proportion",
    }


def spu_at(ids: int) -> dict[str, Any]:
    """spu's PSI of so many ids a side, once; or why there is none."""
    driver = Driver(Environments(default_directory()), runs=1)
    try:
        found, _ = driver.measure(PsiPoint("psi", (), ids), Entry("spu", "curve25519"))
    except (NoEnvironment, WorkerFailed, WrongResult) as error:
        return {"ids": ids, "failed": str(error)}
    return {"ids": ids, **found.model_dump(mode="json")}


def _sizes(text: str) -> tuple[int, int]:
    host, _, collaborator = text.partition("x")
    return int(host), int(collaborator or host)


def _show(lines: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="PSI of large sets, two processes on one machine")
    for name in ("host", "collaborator", "buckets", "s", "MB sent", "peak MB of PSI", "peak MB of the run"):
        table.add_column(name, justify="right")
    for line in lines:
        peaks = (" / ".join(f"{each:.0f}" for each in line[name]) for name in ("psi_peak_mb", "run_peak_mb"))
        sizes = (f"{line[name]:,}" for name in ("host_ids", "collaborator_ids", "buckets"))
        table.add_row(*sizes, f"{line['seconds']:.1f}", f"{line['megabytes']:.0f}", *peaks)
    console.print(table)


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.psi_scale", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", default=SIZES, help="ids of both, or HOSTxCOLLABORATOR")
    parser.add_argument("--spu", type=int, help="run spu's PSI of so many ids behind ours")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    about, console = machine(), Console()
    found: dict[str, Any] = {"lines": [], "extrapolated": None, "spu": None}
    for size in map(_sizes, options.sizes):
        line = run(*size)
        found["lines"].append(line)
        found["extrapolated"] = extrapolated(line) or found["extrapolated"]
        _show(found["lines"], console)
        if options.json:
            write_json(options.json, parser.prog, about, found)
    if options.spu:
        found["spu"] = spu_at(options.spu)
        console.print(found["spu"])
        if options.json:
            write_json(options.json, parser.prog, about, found)


if __name__ == "__main__":
    main()
