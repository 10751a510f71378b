"""Several tasks in one process: one port, separate logs, results and peers; and what happens when one of them hangs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.limits import PARTY, Limit, seconds
from benchmarks.harness.parties import Ended, Parties, Running
from benchmarks.harness.ports import free_ports
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case, Features, Method
from protocols.task.messages import COMMON_MESSAGES
from protocols.wire.codec import Catalogue
from secure_hfl.errors import PeerRefused
from secure_hfl.tasks import TaskState, create_task, join_task
from secure_hfl.transport.client import connect

CATALOGUE = Catalogue(COMMON_MESSAGES)
HOST, ALICE, BOB = "party0", "party1", "party2"
ALPHA_IDS = [str(880_000_000 + i) for i in range(128)]


@dataclass(frozen=True)
class Planned:
    """One task of the host process: who collaborates under which name, and how the two behave."""

    peer: str
    name: str
    host: Case
    other: Case
    reason: str = ""
    detail: str = ""


# "hung": once the host hangs before its first test batch, the collaborator, which awaits nothing, fails in its second.
TASKS = {
    "alpha": Planned(ALICE, "alice", Case(ids=ALPHA_IDS), Case(ids=ALPHA_IDS)),
    "beta": Planned(BOB, "bob", Case(), Case()),
    "gamma": Planned(
        ALICE,
        "alice",
        Case(raises=Method.TRAIN_A_BATCH),
        Case(),
        "party0 stopped in training round 1, batch 1: UserCodeError",
        f"train_a_batch raised ValueError: {tiny.MARKER}",
    ),
    "hung": Planned(
        ALICE,
        "alice",
        Case(batches=1, hangs=Method.ITERATE_TEST_FEATURE, arguments={"log_rounds": 1}),
        Case(batches=1, test_batch_size=16, features=Features.WIDER_LATER),
        "party1 stopped in testing round 1, batch 2: InvalidInput",
        "a method of this party's scheduler did not return",
    ),
}


@dataclass
class World:
    """All of them after the run."""

    parties: Parties
    ids: dict[str, str]
    ended: dict[str, Ended]
    refusal: str

    def failed(self, who: str) -> dict[str, str]:
        """What a party's `TasksFailed` said, by task id, and "all" of it."""
        failures: dict[str, str] = json.loads(self.ended[who].out.splitlines()[-1])["failed"]
        return failures

    def files(self, who: str, name: str) -> dict[Path, bytes]:
        """Everything a party keeps of a task."""
        directory = self.parties.homes[who] / "tasks" / self.ids[name]
        return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    def log(self, who: str, name: str) -> str:
        """A party's log of a task."""
        return (self.parties.homes[who] / "tasks" / self.ids[name] / "log.txt").read_text()


def start(parties: Parties, who: str, plan: list[dict[str, Any]]) -> Running:
    """A process that runs several tasks."""
    entries = [{"home": str(parties.homes[who]), **entry} for entry in plan]
    environment = {"LOAD_PLAN": json.dumps(entries)}
    return parties.start(who, "load_party.py", environment=environment, with_python=True)


def of_two(parties: Parties, who: str, case: Case) -> dict[str, Any]:
    """A party's case in a task of the host and one collaborator, as plain data."""
    return {**parties.values(who, case), "index": int(who != HOST), "parties": 2}


def new_task(parties: Parties, name: str, peers: dict[str, str], address: str) -> str:
    """A task of the host and some of the others, by the names that the task gives them."""
    pems = {given: parties.identities[who].certificate_pem for given, who in peers.items()}
    record, invite = create_task(
        parties.store(HOST), parties.identities[HOST], name, address, "plain", pems, "headquarters"
    )
    for who in peers.values():
        join_task(parties.store(who), parties.identities[who], invite, "plain")
    return record.task_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One host process with four tasks, and two collaborators' processes; Alice also knocks at Bob's task."""
    parties = Parties(tmp_path_factory.mktemp("load"), 3)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    ids = {name: new_task(parties, name, {task.name: task.peer}, address) for name, task in TASKS.items()}
    meet = parties.directory / "meet"
    os.mkfifo(meet)

    def plan(who: str) -> list[dict[str, Any]]:
        return [
            {
                "task": ids[name],
                "name": name,
                "case": of_two(parties, who, task.host if who == HOST else task.other),
                "meet": str(meet) if name == "hung" else "",
            }
            for name, task in TASKS.items()
            if who in (HOST, task.peer)
        ]

    running = {HOST: start(parties, HOST, plan(HOST))}
    host_certificate = parties.identities[HOST].certificate_pem
    with pytest.raises(PeerRefused) as refused:
        connect(
            address,
            ids["beta"],
            parties.identities[ALICE],
            host_certificate,
            seconds(PARTY),
            "headquarters",
            catalogue=CATALOGUE,
        )
    running.update({who: start(parties, who, plan(who)) for who in (ALICE, BOB)})
    ended = {who: party.ended() for who, party in running.items()}
    for who, end in ended.items():
        assert end.code == 0, f"{who}: {end.err}"
    yield World(parties, ids, ended, str(refused.value))
    parties.stop()


def test_each_task_ends_as_it_would_alone(world: World) -> None:
    failing = {name for name, task in TASKS.items() if task.reason}
    told = world.failed(HOST)
    assert told.pop("all").startswith("2 of 4 tasks failed: ")
    assert set(told) == {world.ids[name] for name in failing}
    for name, task in TASKS.items():
        assert world.failed(task.peer).get(world.ids[name], "").startswith(task.reason)
        assert (name in failing) == (world.ids[name] in world.failed(task.peer))
        if name in failing:
            assert told[world.ids[name]].startswith(f"{task.reason} ({task.detail}")
    states = {name: world.parties.store(HOST).get(task_id).state for name, task_id in world.ids.items()}
    done = TaskState.FINISHED
    # The thread that hangs has kept its task, so that nobody starts it beside itself.
    assert states == {"alpha": done, "beta": done, "gamma": TaskState.FAILED, "hung": TaskState.RUNNING}
    assert not any(world.parties.store(HOST).is_live(task_id) for task_id in world.ids.values())


def test_losses_are_those_of_one_process(world: World) -> None:
    expected, _ = tiny.train_in_one_process(2, 2)
    path = world.parties.homes[HOST] / "tasks" / world.ids["beta"] / "results" / "metrics.json"
    assert json.loads(path.read_text())["batch_losses"] == expected


def words_of(world: World, name: str) -> list[bytes]:
    """What must not be found where only another task belongs."""
    task = TASKS[name]
    fingerprint = world.parties.identities[task.peer].fingerprint
    words = [world.ids[name], f"{name}-speaks", task.name, fingerprint, fingerprint.replace(":", "").lower()]
    if name == "alpha":
        words += ALPHA_IDS
    if name == "gamma":
        words.append(tiny.MARKER)
    return [word.encode() for word in words]


@pytest.mark.parametrize("name", TASKS)
def test_nothing_of_another_task_is_in_a_tasks_files(world: World, name: str) -> None:
    task = TASKS[name]
    others = {word for other in TASKS if other != name for word in words_of(world, other)} - {task.name.encode()}
    if task.peer == ALICE:
        others -= set(words_of(world, "alpha")[3:5])  # her own fingerprint
    for who in (HOST, task.peer):
        files = world.files(who, name)
        assert f"{name}-speaks is in load_local_ids" in world.log(who, name), "the log has what its own task says"
        assert any(path.suffix == ".transcript" for path in files)
        for path, data in files.items():
            assert not [word for word in others if word in data], path
    assert (tiny.MARKER in world.log(HOST, name)) == (name == "gamma")


def test_a_peer_is_told_nothing_of_other_tasks(world: World) -> None:
    """Bob, about Alice's tasks; and Alice, about what only the host may know of hers."""
    end = world.ended[BOB]
    files = [path.read_bytes() for path in world.parties.homes[BOB].rglob("*") if path.is_file()]
    for data in (*files, end.out.encode(), end.err.encode()):
        for name in TASKS:
            assert name == "beta" or not [word for word in words_of(world, name) if word in data]
    files = [path.read_bytes() for path in world.parties.homes[ALICE].rglob("*") if path.is_file()]
    for data in (*files, world.ended[ALICE].out.encode(), world.ended[ALICE].err.encode()):
        assert not [word for word in (*words_of(world, "beta"), tiny.MARKER.encode()) if word in data]


def test_the_right_certificate_at_another_task_is_refused(world: World) -> None:
    assert "no open task with this id lists your certificate" in world.refusal
    assert world.parties.identities[ALICE].fingerprint not in world.log(HOST, "beta")


def test_lines_on_the_terminal_name_their_task(world: World) -> None:
    for name in ("alpha", "beta"):
        lines = [line for line in world.ended[HOST].err.splitlines() if "Round 1:" in line]
        assert sum(f"[{world.ids[name][:8]}] Round 1:" in line for line in lines) == 1


def test_five_collaborators(tmp_path: Path) -> None:
    """In two processes: the host, and one that is all five."""
    parties = Parties(tmp_path, 6)
    try:
        task = new_task(parties, "five", {who: who for who in parties.names[1:]}, f"127.0.0.1:{free_ports(1)[0]}")
        entries = [
            {"task": task, "name": who, "home": str(parties.homes[who]), "case": parties.values(who)}
            for who in parties.names
        ]
        running = [start(parties, HOST, entries[:1]), start(parties, ALICE, entries[1:])]
        for party in running:
            end = party.ended()
            assert end.code == 0, end.err
            assert json.loads(end.out.splitlines()[-1])["failed"] == {}, end.err
        expected, _ = tiny.train_in_one_process(6, 2)
        path = parties.homes[HOST] / "tasks" / task / "results" / "metrics.json"
        assert json.loads(path.read_text())["batch_losses"] == expected
    finally:
        parties.stop()


def wait_for_log(parties: Parties, who: str, task: str, words: str) -> None:
    """Until a party's log of a task says this."""
    path, limit = parties.homes[who] / "tasks" / task / "log.txt", Limit(PARTY)
    while not path.exists() or words not in path.read_text():
        assert limit.left(), f"{who} did not say {words!r}"
        time.sleep(0.02)


def test_ctrl_c_is_told_to_the_peers(tmp_path: Path) -> None:
    """Also to one that is not listening, because a method of its user hangs."""
    parties = Parties(tmp_path, 2)
    try:
        task = new_task(parties, "stopped", {"alice": ALICE}, f"127.0.0.1:{free_ports(1)[0]}")
        cases = {HOST: Case(), ALICE: Case(hangs=Method.BUILD_FEATURE_MODEL)}
        host, other = (
            start(parties, who, [{"task": task, "name": "stopped", "case": parties.values(who, case)}])
            for who, case in cases.items()
        )
        # Told before it hangs, it would wait its whole schedule_timeout.
        wait_for_log(parties, ALICE, task, "stopped-speaks is in build_feature_model")
        host.process.send_signal(signal.SIGINT)
        assert "error: interrupted" in host.ended().errors
        failed = json.loads(other.ended().out.splitlines()[-1])["failed"]
        assert failed[task].startswith("party0 was stopped by its user")
    finally:
        parties.stop()
