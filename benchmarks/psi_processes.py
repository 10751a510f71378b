"""PSI as a task runs it: two processes, gRPC with mutual TLS, worker processes over the cores.

    python -m benchmarks.psi_processes [--ids 25000 1000000] [--json FILE]

Seconds and bytes are the host's own count for the PSI phase; memory is each process's peak over the whole run, with
torch (some 380 MB) and the list of ids. Worker processes are counted apart by the operating system.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from secure_hfl.examples.catalogue import Script
from secure_hfl.local_parties import LocalParties, RunSettings

SCRIPTS = Path(__file__).parent / "scripts"


def run(ids: int) -> dict[str, Any]:
    """One task with this many ids a side, half of them in common."""
    os.environ["SECURE_HFL_PSI_IDS"] = str(ids)
    with tempfile.TemporaryDirectory() as directory:
        scripts = [Script(SCRIPTS / f"psi_{role}.py") for role in ("host", "collaborator")]
        demo = LocalParties(scripts, RunSettings("plain"), Path(directory) / "run")
        demo.directory.mkdir(mode=0o700)
        demo.prepare()
        for _ in demo.run():
            pass
        host, collaborator = (party.metrics for party in demo.parties)
        psi = host["psi"]
        return {
            "ids": ids,
            "intersection": psi["intersection"],
            "seconds": psi["seconds"],
            "megabytes": (psi["bytes_sent"] + psi["bytes_received"]) / 1e6,
            "host_peak_mb": host["peak_rss_mb"],
            "collaborator_peak_mb": collaborator["peak_rss_mb"],
        }


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ids", type=int, nargs="*", default=[25_000, 100_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = [run(ids) for ids in options.ids]
    table = Table(title="PSI between two processes")
    for name in lines[0]:
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in line.values()))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "lines": lines}, indent=1))


if __name__ == "__main__":
    main()
