"""Runs attacks: a victim that is a real, unchanged process, and an attacker that is `attacker.py`, over many tasks.

Both processes run all tasks one after another, because starting PyTorch takes longer than any of them. So a victim
that an attack has damaged shows it in the tasks that follow; the last task of every table is an honest one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import protocols.schemes.registry
import secure_hfl.errors
from benchmarks.harness.limits import seconds
from benchmarks.harness.parties import SCRIPTS, Parties, Running
from benchmarks.harness.processes import ROOT
from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.series import Broken, run_series
from protocols.core.errors import SecureHflError

HOST, OTHER = "party0", "party1"
ATTACKER_SCRIPT = str(Path(__file__).parent / "attacker.py")
HOLD = 20.0
"""Quiet seconds for which the attacker keeps a connection open, to see whether the victim ends it."""

HOSTILE_TASK = 120.0
"""Quiet seconds that one task may take: both parties may wait for each other for a minute."""

_PRIVATE = re.compile(r"/\w+/\w+|Traceback|File \"|\.py\b|secret-value|0x[0-9a-f]{6}|BEGIN ")
_RAISED = re.compile(r"^((?:\w+\.)*[A-Z]\w*)(?:: .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Attack:
    """One task: what the attacker does to its first message of a type. `mutation` "" is an honest task.

    Args:
        owed: the host's `calculation_timeout` in quiet seconds; then, after a collaborator's grace, silence is over.
    """

    victim: str
    scheme: str
    type: str = ""
    mutation: str = ""
    seed: int = 0
    owed: float = 20.0

    def arguments(self, who: str) -> dict[str, Any]:
        """What a party's scheduler is made with. An attacked victim gives up waiting before the attacker does."""
        patience = seconds(10 if self.mutation and who == self.victim else 60)
        if who == HOST:
            rounds = {"max_rounds": 1, "log_rounds": 1}
            return {**rounds, "calculation_timeout": seconds(self.owed), "schedule_timeout": patience}
        return {"schedule_timeout": patience}

    def __str__(self) -> str:
        return f"{self.scheme} {self.victim} {self.type} {self.mutation}"

    @property
    def attacker(self) -> str:
        """The other party."""
        return OTHER if self.victim == HOST else HOST


@dataclass(frozen=True)
class Outcome:
    """What came of an attack.

    Attributes:
        done: the attacker got to do it.
        same: it changed nothing, because the message is like that already.
        ok: the victim finished the task.
        reason, detail: the victim's line.
        error: the class of what ended the victim's run, "" if it finished; for a PeerFault, of its cause.
        interrupted: the victim lost a connection on the way.
        told: what the victim told the attacker.
        seconds: from the attack until the victim had ended the connection; None if it did not.
        attacker_end: how the attacker's own half ended.
    """

    attack: Attack
    done: bool
    same: bool
    ok: bool
    reason: str
    detail: str
    error: str
    interrupted: bool
    told: tuple[str, ...]
    seconds: float | None
    attacker_end: str

    @classmethod
    def broken(cls, attack: Attack, why: str) -> Outcome:
        """Of a task that did not end at both parties."""
        return cls(attack, False, False, False, why, "", "", False, (), None, "")

    @property
    def verdict(self) -> str:
        """What the victim made of it.

        "rejected"; "recovered" (it ended the connection, and went on with another); "finished"; "unnoticed" (only the
        attacker's own half could not go on, and hung up at last).
        """
        if self.ok:
            return "recovered" if self.interrupted else "finished"
        return "unnoticed" if self.error == "ConnectionLost" and self.seconds is None else "rejected"

    @property
    def problems(self) -> list[str]:
        """What must not be, whatever the attack was."""
        found = []
        if not self.done and self.attack.mutation:
            found.append("the attack was not made")
        if not self.ok:
            if not is_ours(self.error):
                found.append(f"the victim ended with {self.error or 'an unknown error'}, which is not an error of ours")
            if self.attack.attacker not in self.reason:
                found.append("the victim's line does not name the peer")
            if "\n" in self.reason + self.detail:
                found.append("the victim's line is several")
        if any(_PRIVATE.search(text) for text in self.told):
            found.append("the attacker was told something private")
        if self.attack.mutation and not self.ok and self.seconds is None:
            found.append("the victim did not end the connection")
        return found


def is_ours(name: str) -> bool:
    """Whether an error's class is of our hierarchy."""
    found = set()
    todo: list[type[SecureHflError]] = [SecureHflError]
    while todo:
        found.add(kind := todo.pop())
        todo.extend(kind.__subclasses__())
    return name in {kind.__name__ for kind in found}


def error_in(log: str) -> str:
    """The class of the last error of a task's log; of a PeerFault, its cause's."""
    names = [name.rpartition(".")[2] for name in _RAISED.findall(log.rpartition("The task failed.")[2])]
    if names[-1:] == ["PeerFault"]:
        return names[-2]
    return names[-1] if names else ""


@dataclass
class Table:
    """All outcomes of one pair of processes, and what the victim looked like at the end."""

    outcomes: list[Outcome]
    victim_err: str
    peak_rss_mb: float


def run_table(parties: Parties, victim: str, attacks: Sequence[Attack]) -> Table:
    """Every attack, between two processes; the last task is an honest one."""
    plan = [*attacks, Attack(victim, attacks[-1].scheme)]
    attacker = plan[0].attacker
    tasks = [parties.new_task(scheme=attack.scheme) for attack in plan]
    rows: dict[str, list[dict[str, Any]]] = {
        who: [
            {"task": task, "scheme": attack.scheme, "case": parties.values(who, Case(arguments=attack.arguments(who)))}
            for task, attack in zip(tasks, plan)
        ]
        for who in (HOST, OTHER)
    }
    for row, attack in zip(rows[attacker], plan):
        row |= {"type": attack.type, "mutation": attack.mutation, "seed": attack.seed}

    def start(who: str, own: Sequence[Mapping[str, Any]]) -> Running:
        script = ATTACKER_SCRIPT if who == attacker else "tiny_series.py"
        environment = {
            "PYTHONPATH": f"{ROOT}:{SCRIPTS}",
            "HOSTILE_SERIES" if who == attacker else "TINY_SERIES": json.dumps(own),
            "HOSTILE_HOLD_SECONDS": str(seconds(HOLD)),
        }
        return parties.start(who, script, environment=environment, with_python=True)

    series = run_series(rows, start, HOSTILE_TASK)
    outcomes = []
    for attack, task, printed in zip(plan, tasks, series.tasks):
        if isinstance(printed, Broken):
            outcomes.append(Outcome.broken(attack, printed.why))
            continue
        ours, theirs = printed[victim], printed[attacker]
        log = (parties.homes[victim] / "tasks" / task / "log.txt").read_text()
        outcomes.append(
            Outcome(
                attack=attack,
                done=theirs["done"],
                same=theirs["same"],
                ok=ours["ok"],
                reason=ours["reason"],
                detail=ours["detail"],
                error="" if ours["ok"] else error_in(log),
                interrupted="Interrupted in " in log,
                told=tuple(f"{each['party']}: {each['reason']} [{each['code']}]" for each in theirs["told"]),
                seconds=theirs["seconds"],
                attacker_end=theirs["end"],
            )
        )
    finished = [metrics_path(parties, victim, task) for task, outcome in zip(tasks, outcomes) if outcome.ok]
    peak = max(json.loads(path.read_text())["peak_rss_mb"] for path in finished)
    return Table(outcomes, series.ended[victim].err, peak)


@dataclass(frozen=True)
class Honest:
    """An honest run: the message types that each party sends, and its peak memory."""

    sent: dict[str, list[str]]
    peak_rss_mb: dict[str, float]


def honest_run(parties: Parties, scheme: str) -> Honest:
    """One task between two processes that nobody attacks."""
    task = parties.new_task(scheme=scheme)
    calm = Attack(HOST, scheme)
    running = {
        who: parties.start(who, "tiny_party.py", "--task", task, case=Case(arguments=calm.arguments(who)))
        for who in (HOST, OTHER)
    }
    for party in running.values():
        ended = party.ended()
        assert ended.code == 0, ended.err
    found = {who: json.loads(metrics_path(parties, who, task).read_text()) for who in running}
    sent = {
        who: sorted(name for name, counts in metrics["messages"].items() if counts.get("sent_messages"))
        for who, metrics in found.items()
    }
    return Honest(sent, {who: metrics["peak_rss_mb"] for who, metrics in found.items()})


def metrics_path(parties: Parties, who: str, task: str) -> Path:
    """A party's metrics of a finished task."""
    return parties.homes[who] / "tasks" / task / "results" / "metrics.json"


_ = (protocols.schemes.registry, secure_hfl.errors)  # every class of the hierarchy is known from here on
