"""One host process under load: many tasks at once, and one task with many collaborators.

    python -m benchmarks.load [--json FILE] [--tasks 1 2 4 ...] [--collaborators 1 2 4 ...]

Two processes over mutual TLS on loopback, torch with one thread each: the host's, which is measured, and one whose
threads are all the collaborators (a process for each would measure two cores shared by twenty interpreters). The clock
starts when both have imported everything and made their runs: joining, private set intersection, training and results
are in the figures. Memory is the host process's peak, in MB of 10^6 bytes; `before` is what it was when the clock
started.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler
from secure_hfl.bench.machine import machine
from secure_hfl.engine.supervisor import run_together
from secure_hfl.home import HOME_VARIABLE
from secure_hfl.identity import Identity
from secure_hfl.local_parties import free_port
from secure_hfl.log import ensure_visible
from secure_hfl.metrics import peak_rss_mb
from secure_hfl.tasks import TaskStore, create_task, join_task

IDS, BATCH, WIDTH, ROUNDS = 1024, 64, 8, 2
TIMEOUT = 300.0
HOST = "host"


# A party's process ---------------------------------------------------------------------------------------------------


class Small:
    """A linear bottom model over 1024 ids, all of which everybody has; a quarter is for testing."""

    def load_local_ids(self) -> list[str]:
        return [str(i) for i in range(IDS)]

    def split_dataset(self, id_intersection: set[str]) -> tuple[list[str], list[str]]:
        ids = sorted(id_intersection)
        return ids[IDS // 4 :], ids[: IDS // 4]

    def build_feature_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=0.1)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: list[str]) -> Iterator[Any]:
        for start in range(0, len(train_ids), BATCH):
            rows = torch.tensor([float(i) for i in train_ids[start : start + BATCH]])
            yield self.batch(rows, feature_model(torch.sin(rows[:, None] * torch.arange(1, WIDTH + 1))))

    iterate_test_feature = iterate_train_feature

    def batch(self, rows: torch.Tensor, features: torch.Tensor) -> Any:
        return features


class SmallHost(Small, HeteroNNHostScheduler):
    """The label is whether the id is odd."""

    def batch(self, rows: torch.Tensor, features: torch.Tensor) -> Any:
        return features, rows.long() % 2

    def build_infer_model(self) -> nn.Module:
        return nn.LazyLinear(2)

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        infer_model(torch.zeros(1, WIDTH * self.parties))
        return torch.optim.SGD(infer_model.parameters(), lr=0.1)

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        fused = torch.cat([feature_projection[key] for key in sorted(feature_projection)], 1)
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.infer_model(fused), labels).backward()
        self.optimizer.step()

    def test(self, batched_feature_projections: Any, batched_labels: Any) -> None:
        """Nothing."""


class SmallCollaborator(Small, HeteroNNCollaboratorScheduler):
    """Features only."""


class Sampler(threading.Thread):
    """The largest number of threads that the operating system has seen in this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.most = 0

    def run(self) -> None:
        while not self.over.wait(0.05):
            status = Path("/proc/self/status").read_text()
            count = int(status.split("Threads:")[1].split()[0]) - 1  # without this one
            self.most = max(self.most, count)


def party(plan: list[dict[str, Any]]) -> dict[str, float]:
    """Make the runs of a plan, wait for a line, run them together, and say what it took."""
    runs = {}
    for number, entry in enumerate(plan):
        os.environ[HOME_VARIABLE] = entry["home"]
        key = entry["key"]
        if key == HOST:
            scheduler: Any = SmallHost(
                key, max_rounds=ROUNDS, calculation_timeout=TIMEOUT, schedule_timeout=TIMEOUT, log_rounds=ROUNDS
            )
            scheduler.parties = entry["parties"]
        else:
            scheduler = SmallCollaborator(key, schedule_timeout=TIMEOUT)
        runs[f"{number}"] = run = scheduler._make_run(entry["task"])
        scheduler._run = run.view
    ensure_visible()
    sampler = Sampler()
    print("ready", flush=True)
    sys.stdin.readline()
    before = peak_rss_mb()
    started, cpu = time.perf_counter(), time.process_time()
    sampler.start()
    run_together(runs)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    sampler.over.set()
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": peak_rss_mb(),
        "peak_mb_before": before,
        "threads": sampler.most,
    }


# The measurements ----------------------------------------------------------------------------------------------------


def measure(scheme: str, tasks: int, collaborators: int) -> dict[str, Any]:
    """One host process with so many tasks of so many collaborators each."""
    with tempfile.TemporaryDirectory() as directory:
        names = [HOST, *(f"collaborator{number}" for number in range(collaborators))]
        homes = {name: Path(directory) / name for name in names}
        for home in homes.values():
            home.mkdir(mode=0o700)
        identities = {name: Identity.load_or_create(home, name) for name, home in homes.items()}
        stores = {name: TaskStore(home) for name, home in homes.items()}
        pems = {name: identities[name].certificate_pem for name in names[1:]}
        address = f"127.0.0.1:{free_port()}"
        plan: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for number in range(tasks):
            record, invite = create_task(stores[HOST], identities[HOST], f"load{number}", address, scheme, pems, HOST)
            for name in names:
                if name != HOST:
                    join_task(stores[name], identities[name], invite, scheme)
                plan[name].append(
                    {"home": str(homes[name]), "key": name, "task": record.task_id, "parties": len(names)}
                )
        host = _start(plan[HOST])
        others = _start([entry for name in names[1:] for entry in plan[name]])
        for process in (host, others):
            _expect(process, "ready")
        _say(host, "go")
        for _ in range(tasks):
            _wait_for(host, "Waiting at")
        _say(others, "go")
        figures: dict[str, Any] = json.loads(_expect(host, "{"))
        _expect(others, "{")
        for process in (host, others):
            process.communicate(timeout=TIMEOUT)
    return {"scheme": scheme, "tasks": tasks, "collaborators": collaborators, **figures}


def _start(plan: list[dict[str, Any]]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load", "--party"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    _say(process, json.dumps(plan))
    return process


def _say(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(line + "\n")
        process.stdin.flush()


def _wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Until its log says so."""
    while process.stderr is not None and (line := process.stderr.readline()):
        if text in line:
            return
    raise SystemExit(f"a party ended before it said {text!r}")


def _expect(process: subprocess.Popen[str], beginning: str) -> str:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line.startswith(beginning):
        log = process.stderr.read() if process.stderr is not None else ""
        raise SystemExit(f"a party failed: {log or line}")
    return line


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="*", default=[1, 2, 4, 8, 16, 20])
    parser.add_argument("--task-schemes", nargs="*", default=["plain", "bfv"])
    parser.add_argument("--collaborators", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument("--schemes", nargs="*", default=["plain", "masked", "bfv"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--party", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.party:
        print(json.dumps(party(json.loads(sys.stdin.readline()))), flush=True)
        return
    cases = [(scheme, count, 1) for scheme in options.task_schemes for count in options.tasks]
    cases += [(scheme, 1, count) for scheme in options.schemes for count in options.collaborators]
    about = machine()
    console, lines = Console(), []
    for case in cases:
        lines.append(measure(*case))
        console.print(
            " ".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in lines[-1].values())
        )
    table = Table(title="One host process")
    for name in lines[0]:
        table.add_column(name.replace("_", " "), justify="left" if name == "scheme" else "right")
    for line in lines:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in line.values()))
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "lines": lines}, indent=1))


if __name__ == "__main__":
    main()
