"""Hostile peers against real parties: what was tried, what became of it, how long it took, and what it cost.

    python -m benchmarks.hostile                     a sample of all attacks, some six minutes
    python -m benchmarks.hostile --rows 100000       every message type, field and mutation there is
    python -m benchmarks.hostile --json FILE         the figures for a machine as well

Messages: an attacker with a participant's key runs the honest program and changes one message of each task. Network:
sockets, TLS and HTTP/2 against a waiting host, one attack at a time, each held until the host drops it. Both go on at
the same time. Victims are processes that know nothing of this; every table of attacks ends with an
honest task that must succeed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Printed

from benchmarks.harness.hostile.campaign import HOST, OTHER, Attack, Honest, Outcome, Table, honest_run, run_table
from benchmarks.harness.hostile.mutations import field_names, generic_names
from benchmarks.harness.hostile.network import INSIDERS, STRANGERS, attacked, use_of
from benchmarks.harness.hostile.sockets import Target, is_dropped, wait_for_port
from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.cases import Case
from secure_hfl.bench.machine import machine
from secure_hfl.identity import Identity

SHARES = {"plain": 0.46, "bfv": 0.22, "masked": 0.22, "paillier": 0.1}
"""How many of the rows go to each scheme."""

OWED = 6.0
CHUNK = 90
"""Tasks of one pair of processes."""

DROPPED_AFTER = 25.0
"""Seconds until an attack that is still connected counts as not dropped: a participant keeps its own seat until
`schedule_timeout`, however it behaves there."""


@contextmanager
def fresh_parties(count: int = 2) -> Iterator[Parties]:
    """Parties with new homes."""
    with tempfile.TemporaryDirectory() as directory:
        parties = Parties(Path(directory), count)
        try:
            yield parties
        finally:
            parties.stop()


# Messages ------------------------------------------------------------------------------------------------------------


def sample(victim: str, scheme: str, types: Sequence[str], rows: int) -> list[Attack]:
    """So many attacks; every type before any a second time."""
    dice = random.Random(f"{victim} {scheme}")
    queues = []
    for name in types:
        mutations = generic_names() + field_names(name)
        dice.shuffle(mutations)
        queues.append([Attack(victim, scheme, name, mutation, dice.getrandbits(30), OWED) for mutation in mutations])
    attacks: list[Attack] = []
    while len(attacks) < rows and any(queues):
        attacks += [queue.pop() for queue in queues if queue]
    return attacks[:rows]


def run_lane(victim: str, honest: dict[str, Honest], rows: int) -> list[tuple[str, Table]]:
    """All schemes against one victim, table by table."""
    tables = []
    for scheme, share in SHARES.items():
        attacks = sample(victim, scheme, honest[scheme].sent[Attack(victim, scheme).attacker], round(rows * share))
        for start in range(0, len(attacks), CHUNK):
            part = [Attack(victim, scheme), *attacks[start : start + CHUNK]]
            with fresh_parties() as parties:
                tables.append((scheme, run_table(parties, victim, part)))
    return tables


def summary(outcomes: Sequence[Outcome], tables: Sequence[Table], honest_mb: float) -> dict[str, Any]:
    """The figures of one scheme and victim."""
    tried = [o for o in outcomes if o.attack.mutation and not o.same]
    honest = [o for o in outcomes if not o.attack.mutation]
    by_verdict: dict[str, list[Outcome]] = {"rejected": [], "recovered": [], "finished": [], "unnoticed": []}
    for outcome in tried:
        by_verdict[outcome.verdict].append(outcome)
    rejected = by_verdict["rejected"]
    seconds = [o.seconds for o in rejected if o.seconds is not None]
    silent = [o.seconds for o in rejected if o.seconds is not None and o.error == "PeerTimeout"]
    spoken = [o.seconds for o in rejected if o.seconds is not None and o.error != "PeerTimeout"]
    return {
        "mutations_tried": len(tried),
        "rejected": len(rejected),
        "rejected_by_error": dict(Counter(o.error for o in rejected).most_common()),
        "went_on_after_a_broken_connection": len(by_verdict["recovered"]),
        "not_noticeable": len(by_verdict["finished"]),
        "not_noticeable_by_type": _by_type(by_verdict["finished"]),
        "not_noticed_but_the_attacker_could_not_go_on": len(by_verdict["unnoticed"]),
        "not_noticed_by_type": _by_type(by_verdict["unnoticed"]),
        "honest_tasks_between_and_after": f"{sum(o.ok for o in honest)} of {len(honest)}",
        "most_seconds_until_rejected": round(max(spoken, default=0.0), 2),
        "most_seconds_until_silence_was_over": round(max(silent, default=0.0), 2),
        "median_seconds_until_rejected": round(sorted(seconds)[len(seconds) // 2], 3) if seconds else None,
        "peak_rss_mb": max(table.peak_rss_mb for table in tables),
        "peak_rss_mb_of_an_honest_run": honest_mb,
        "tracebacks": sum(table.victim_err.count("Traceback") for table in tables),
        "problems": [f"{o.attack}: {problem}; {o.reason}" for o in outcomes for problem in o.problems],
    }


def _by_type(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.attack.type, []).append(outcome.attack.mutation)
    return dict(sorted(found.items()))


def messages(rows: int) -> dict[str, Any]:
    """The campaign against hosts and against collaborators, side by side."""
    honest = {}
    for scheme in SHARES:
        with fresh_parties() as parties:
            honest[scheme] = honest_run(parties, scheme)
    with ThreadPoolExecutor(2) as pool:
        lanes = dict(zip((HOST, OTHER), pool.map(lambda victim: run_lane(victim, honest, rows), (HOST, OTHER))))
    result = {}
    for victim, tables in lanes.items():
        for scheme in SHARES:
            own = [table for name, table in tables if name == scheme]
            outcomes = [outcome for table in own for outcome in table.outcomes]
            role = "host" if victim == HOST else "collaborator"
            result[f"{role}, {scheme}"] = summary(outcomes, own, honest[scheme].peak_rss_mb[victim])
    return result


# Network -------------------------------------------------------------------------------------------------------------


def network() -> dict[str, Any]:
    """Every attack on a waiting host, one at a time; then all parties run their task while strangers go on."""
    result: dict[str, Any] = {}
    with fresh_parties(3) as parties:
        task = parties.new_task()
        case = Case(arguments={"max_rounds": 1, "schedule_timeout": 1800})
        host = parties.start("party0", "tiny_party.py", "--task", task, case=case)
        port = int(parties.store("party0").get(task).address.rpartition(":")[2])
        wait_for_port(port)
        pem = parties.identities["party0"].certificate_pem
        target = Target(port, task, pem, parties.identities["party2"], Identity.create("stranger"))
        pid = host.process.pid
        result["before"] = asdict(use_of(pid))
        for name, attack in {**INSIDERS, **STRANGERS}.items():
            with attacked(attack, target) as held:
                under, started = use_of(pid), time.monotonic()
                dropped = all(is_dropped(each, max(0.1, DROPPED_AFTER - time.monotonic() + started)) for each in held)
                seconds = time.monotonic() - started
            result[name] = {
                **asdict(under),
                "dropped_after_seconds": round(seconds, 1) if dropped else None,
                "whose": "participant" if name in INSIDERS else "stranger",
            }
        result["after"] = asdict(use_of(pid))
        started = time.monotonic()
        with attacked(STRANGERS["flood of connections"], target), attacked(STRANGERS["random bytes"], target):
            others = [parties.start(name, "tiny_party.py", "--task", task) for name in ("party1", "party2")]
            codes = [running.ended().code for running in (host, *others)]
        result["honest parties finished under attack"] = f"{codes.count(0)} of {len(codes)}"
        result["seconds they took"] = round(time.monotonic() - started, 1)
    return result


# Output --------------------------------------------------------------------------------------------------------------


def show(result: dict[str, Any], console: Console) -> None:
    """As tables."""
    columns = ("mutations_tried", "rejected", "not_noticeable", "most_seconds_until_rejected", "peak_rss_mb")
    table = Printed("victim, scheme", *(name.replace("_", " ") for name in columns), "honest tasks", "problems")
    for name, row in result["messages"].items():
        cells = [str(row[column]) for column in columns]
        table.add_row(name, *cells, row["honest_tasks_between_and_after"], str(len(row["problems"])))
    console.print(table)
    for name, row in result["messages"].items():
        console.print(f"{name}: {row['rejected_by_error']}")
        for problem in row["problems"]:
            console.print(f"  [red]{problem}[/red]", markup=True)
    attacks = Printed("attack", "dropped after", "peak MB", "threads", "descriptors")
    for name, row in result["network"].items():
        if isinstance(row, dict):
            after = row.get("dropped_after_seconds")
            attacks.add_row(
                name,
                "" if after is None else f"{after} s",
                f"{row['peak_mb']:.0f}",
                str(row["threads"]),
                str(row["descriptors"]),
            )
    console.print(attacks)
    finished = result["network"]["honest parties finished under attack"]
    console.print(f"honest parties that finished under attack: {finished}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--rows", type=int, default=220, help="messages attacked at each of the two victims")
    arguments = parser.parse_args()
    about, started = machine(), time.monotonic()
    with ThreadPoolExecutor(1) as beside:  # it mostly waits
        attacks = beside.submit(network)
        result: dict[str, Any] = {"messages": messages(arguments.rows), "network": attacks.result()}
    result["seconds"] = round(time.monotonic() - started)
    result["machine"] = about
    show(result, Console())
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
