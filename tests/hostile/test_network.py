"""Attacks on the port of a host that waits for its collaborators, and on collaborators that look for their host.

`python -m benchmarks.hostile` makes the same attacks one by one, and waits until each has been dropped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from benchmarks.harness.hostile.impostors import GRACE, IMPOSTORS, LIMIT, impostor
from benchmarks.harness.hostile.network import (
    FLOOD,
    INSIDERS,
    STRANGERS,
    Use,
    attacked,
    use_of,
)
from benchmarks.harness.hostile.sockets import Target, is_dropped, wait_for_port
from benchmarks.harness.limits import PARTY, START, TASK, seconds
from benchmarks.harness.parties import Ended, Parties, Running
from benchmarks.harness.scripts.cases import Case
from secure_hfl.engine.collaborator import with_grace
from secure_hfl.identity import Identity

DROPPED_AT_ONCE = ("random bytes", "HTTP/1", "plaintext HTTP/2", "no certificate", "wrong certificate")
MORE_MB = 150
"""Most memory that all attacks together may cost a host."""


@dataclass
class Siege:
    """What the host looked like before, under and after the attacks, who was dropped, and how the parties ended."""

    before: Use
    under: dict[str, Use]
    after: Use
    dropped: dict[str, bool]
    ended: dict[str, Ended]


@pytest.fixture(scope="module")
def patience() -> int:
    """How many seconds a collaborator looks for its host."""
    return math.ceil(seconds(1))


@pytest.fixture(scope="module")
def misled(parties: Parties, patience: int) -> Iterator[tuple[dict[str, str], Running]]:
    """A collaborator with a task for each impostor in the host's place; it runs beside the siege."""
    case = Case(arguments={"schedule_timeout": patience})
    tasks = {name: parties.new_task() for name in IMPOSTORS}
    with ExitStack() as stack:
        for name, (behave, _) in IMPOSTORS.items():
            record = parties.store("party0").get(tasks[name])
            pems = tuple(participant.certificate_pem for participant in record.participants)
            port = int(record.address.rpartition(":")[2])
            stack.enter_context(impostor(port, parties.identities["party0"], pems, behave))
        rows = json.dumps([{"task": task, "case": parties.values("party1", case)} for task in tasks.values()])
        yield tasks, parties.start("party1", "tiny_series.py", environment={"TINY_SERIES": rows}, with_python=True)


@pytest.fixture(scope="module")
def siege(parties: Parties, misled: object) -> Siege:
    """A host is attacked with party2's key, then by strangers; under the latter all three parties run their task."""
    task = parties.new_task()
    case = Case(arguments={"max_rounds": 1, "schedule_timeout": seconds(PARTY)})
    host = parties.start("party0", "tiny_party.py", "--task", task, case=case)
    port = int(parties.store("party0").get(task).address.rpartition(":")[2])
    wait_for_port(port)
    target = Target(
        port,
        task,
        parties.identities["party0"].certificate_pem,
        parties.identities["party2"],
        Identity.create("stranger"),
    )
    pid = host.process.pid
    before, under, dropped = use_of(pid), {}, {}
    for name, attack in INSIDERS.items():
        with attacked(attack, target):
            under[name] = use_of(pid)
    after = use_of(pid)
    with ExitStack() as stack:
        for name, attack in STRANGERS.items():
            held = stack.enter_context(attacked(attack, target))
            under[name] = use_of(pid)
            dropped[name] = name not in DROPPED_AT_ONCE or all(map(is_dropped, held))
        others = {name: parties.start(name, "tiny_party.py", "--task", task) for name in ("party1", "party2")}
        ended = {name: running.ended() for name, running in {"party0": host, **others}.items()}
    return Siege(before, under, after, dropped, ended)


def test_honest_parties_are_served_under_attack(siege: Siege) -> None:
    assert {name: ended.code for name, ended in siege.ended.items()} == {"party0": 0, "party1": 0, "party2": 0}


def test_the_host_keeps_its_calm(siege: Siege) -> None:
    err = siege.ended["party0"].err
    assert "Traceback" not in err
    assert err.count("refused certificate") == 1, "a peer that is refused for ever does not fill the log"


@pytest.mark.parametrize("name", DROPPED_AT_ONCE)
def test_strangers_are_dropped(siege: Siege, name: str) -> None:
    assert siege.dropped[name]


@pytest.mark.parametrize("name", [*INSIDERS, *STRANGERS])
def test_an_attack_takes_little(siege: Siege, name: str) -> None:
    before, under = siege.before, siege.under[name]
    assert under.peak_mb - before.rss_mb < MORE_MB
    assert under.threads <= before.threads + 30
    assert under.descriptors <= before.descriptors + 2 * FLOOD + 50


def test_what_insiders_took_is_given_back(siege: Siege) -> None:
    assert siege.after.threads <= siege.before.threads + 8
    assert siege.after.descriptors <= siege.before.descriptors + 10


# A collaborator whose host is none -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers(misled: tuple[dict[str, str], Running]) -> dict[str, dict[str, str]]:
    """How its tasks ended."""
    tasks, victim = misled
    ended = victim.ended(START + len(tasks) * TASK)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    return dict(zip(tasks, map(json.loads, ended.out.splitlines())))


@pytest.mark.parametrize("name", IMPOSTORS)
def test_an_impostor_is_named(answers: dict[str, dict[str, str]], patience: int, name: str) -> None:
    answer = answers[name]
    reason = IMPOSTORS[name][1].replace(LIMIT, str(patience)).replace(GRACE, f"{with_grace(patience):g}")
    assert answer["kind"] == "TaskFailed"
    assert re.search(reason, answer["reason"]), answer["reason"]
    assert answer["text"].isprintable()
