"""A process of many small runs: a host's tasks, or the collaborators of one.

A plan comes in by standard input as a line of JSON: {"turns": [[entry, ...], ...]}, with an entry {"home", "key",
"task", "parties"} for each run. Those of one turn run together. The process says "ready", waits for a line, and then
prints a line of figures after each turn.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any

from benchmarks.harness.scripts.small import SmallCollaborator, SmallHost
from benchmarks.harness.vitals import vitals_of
from secure_hfl.engine.run import Run
from secure_hfl.engine.supervisor import run_together
from secure_hfl.hardening import forbid_core_dumps
from secure_hfl.home import HOME_VARIABLE
from secure_hfl.log import ensure_visible
from secure_hfl.memory import share_arenas
from secure_hfl.metrics import peak_rss_mb
from secure_hfl.run_options import RunOptions, activate

HOST = "host"
ROUNDS = 2
TIMEOUT = 600.0


def scheduler_of(entry: dict[str, Any]) -> SmallHost | SmallCollaborator:
    """One run's."""
    key = entry["key"]
    if key != HOST:
        return SmallCollaborator(key, schedule_timeout=TIMEOUT)
    host = SmallHost(key, max_rounds=ROUNDS, calculation_timeout=TIMEOUT, schedule_timeout=TIMEOUT, log_rounds=ROUNDS)
    host.parties = entry["parties"]
    return host


def runs_of(turn: list[dict[str, Any]], kept: list[Any]) -> dict[str, Run]:
    """Their runs; the schedulers are kept, as a user's variables would keep them."""
    runs = {}
    for number, entry in enumerate(turn):
        os.environ[HOME_VARIABLE] = entry["home"]
        scheduler = scheduler_of(entry)
        runs[str(number)] = run = scheduler._make_run(entry["task"])
        scheduler._run = run.view
        kept.append(scheduler)
    return runs


def main() -> None:
    """Do as the plan says."""
    turns = json.loads(sys.stdin.readline())["turns"]
    kept: list[Any] = []
    forbid_core_dumps()
    share_arenas()
    activate(RunOptions(projection=True if turns[0][0]["scheme"] == "plain" else None))
    ensure_visible()
    first = runs_of(turns[0], kept)
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in turns:
        runs, first = first or runs_of(turn, kept), {}
        before, started, cpu = peak_rss_mb(), time.perf_counter(), time.process_time()
        run_together(runs)
        figures = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "peak_mb": peak_rss_mb(),
            "peak_mb_before": before,
        }
        del runs
        gc.collect()
        after = vitals_of()
        if after is not None:
            figures |= {"mb_after": after.rss_mb, "threads_after": after.threads, "fds_after": after.descriptors}
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
