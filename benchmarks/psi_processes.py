"""PSI as a task runs it: two processes, gRPC with mutual TLS, worker processes over the cores.

    python -m benchmarks.psi_processes [--ids 25000 1000000] [--json FILE]

Seconds are the PSI phase's at the party that took longer, bytes the host's own count in it, CPU seconds those of both
parties and their workers in it. Memory is the peak of each party's process over the whole run, with torch (some 380 MB)
and the list of ids; and of the workers of one party together, which end with the phase.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.step_timings import write_json
from secure_hfl.bench.machine import machine
from secure_hfl.examples.catalogue import Script
from secure_hfl.local_parties import LocalParties, Party, RunSettings
from secure_hfl.metrics import peak_rss_mb_of

SCRIPTS = Path(__file__).parent / "scripts"
TICKS = os.sysconf("SC_CLK_TCK")


class Meter:
    """What one party uses in its PSI phase, as the operating system counts it."""

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self.workers_mb = 0.0

    def see(self, party: Party, event: dict[str, Any]) -> None:
        """Look at the party when it reports something."""
        if party.process is None:
            return
        process = Path("/proc", str(party.process.pid))
        kind = event["event"]
        if kind == "psi_done":
            self.cpu_seconds += _with_workers(process)
        elif kind == "phase" and event["phase"] == "psi":
            self.cpu_seconds -= _with_workers(process)
        elif kind == "psi":
            workers = sum(peak_rss_mb_of(child) or 0.0 for child in _children(process))  # one may have ended
            self.workers_mb = max(self.workers_mb, workers)


def _with_workers(process: Path) -> float:
    return _cpu_seconds(process) + sum(map(_cpu_seconds, _children(process)))


def _cpu_seconds(process: Path) -> float:
    """Of the process and the children that it has waited for."""
    after_name = (process / "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:15])) / TICKS


def _children(process: Path) -> list[Path]:
    lists = [path.read_text().split() for path in process.glob("task/*/children")]
    return [Path("/proc", child) for children in lists for child in children]


def run(ids: int) -> dict[str, Any]:
    """One task with this many ids a side, half of them in common."""
    os.environ["SECURE_HFL_PSI_IDS"] = str(ids)
    with tempfile.TemporaryDirectory() as directory:
        scripts = [Script(SCRIPTS / f"psi_{role}.py") for role in ("host", "collaborator")]
        demo = LocalParties(scripts, RunSettings("plain"), Path(directory) / "run")
        demo.directory.mkdir(mode=0o700)
        demo.prepare()
        parties = {party.name: (party, Meter()) for party in demo.parties}
        for name, event in demo.run():
            party, meter = parties[name]
            meter.see(party, event)
        host, collaborator = (party.metrics for party in demo.parties)
        meters = [meter for _, meter in parties.values()]
        psi = host["psi"]
        return {
            "ids": ids,
            "intersection": psi["intersection"],
            "seconds": max(psi["seconds"], collaborator["psi"]["seconds"]),
            "cpu_seconds": sum(meter.cpu_seconds for meter in meters),
            "megabytes": (psi["bytes_sent"] + psi["bytes_received"]) / 1e6,
            "host_peak_mb": host["peak_rss_mb"],
            "collaborator_peak_mb": collaborator["peak_rss_mb"],
            "workers_peak_mb": max(meter.workers_mb for meter in meters),
        }


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.psi_processes", description=__doc__.splitlines()[0])
    parser.add_argument("--ids", type=int, nargs="*", default=[25_000, 100_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    about = machine()
    lines = [run(ids) for ids in options.ids]
    table = Table(title="PSI between two processes")
    for name in lines[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for line in lines:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in line.values()))
    Console().print(table)
    if options.json:
        write_json(options.json, parser.prog, about, {"lines": lines})


if __name__ == "__main__":
    main()
