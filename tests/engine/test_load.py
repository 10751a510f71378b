"""Several tasks in one process: one port, separate logs, results and peers; and what happens when one of them hangs."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.harness.limits import PARTY, seconds
from benchmarks.harness.parties import Ended, Parties, Running
from benchmarks.harness.ports import free_ports
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case, Features, Method
from protocols.task.messages import COMMON_MESSAGES
from protocols.wire.codec import Catalogue
from secure_hfl import launch_tasks
from secure_hfl.errors import ConfigurationError, ConnectionLost, PeerRefused, TransportError
from secure_hfl.identity import Identity
from secure_hfl.log import close_task_log, log_traceback, logger, of_this_task, open_task_log
from secure_hfl.progress import Bars, JsonLines, OfTask
from secure_hfl.run_options import RunOptions, activate
from secure_hfl.tasks import TaskState, create_task, join_task
from secure_hfl.transport.client import connect
from secure_hfl.transport.shared import shared_server

CATALOGUE = Catalogue(COMMON_MESSAGES)
HOST, ALICE, BOB = "party0", "party1", "party2"
ALPHA_IDS = [str(880_000_000 + i) for i in range(128)]
FROZEN = {"is_feature_trainable": False}
QUIET = 20.0


@dataclass(frozen=True)
class Planned:
    """One task of the host process: who collaborates under which name, and how the two behave."""

    peer: str
    name: str
    host: Case
    other: Case
    reason: str = ""
    detail: str = ""


# "hung": once the host hangs in its first batch, the collaborator, which awaits no gradient, fails in its second one.
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
        Case(hangs=Method.TRAIN_A_BATCH),
        Case(features=Features.WIDER_LATER, arguments=FROZEN),
        "party1 stopped in training round 1, batch 2: InvalidInput",
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


def start(parties: Parties, who: str, plan: list[dict[str, Any]], listens: bool = False) -> Running:
    """A process that runs several tasks."""
    entries = [{"home": str(parties.homes[who]), **entry} for entry in plan]
    environment = {"LOAD_PLAN": json.dumps(entries)}
    return parties.start(who, "load_party.py", environment=environment, with_python=True, listens=listens)


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


def test_ctrl_c_is_told_to_the_peers(tmp_path: Path) -> None:
    """Also to one that is not listening, because a method of its user hangs."""
    parties = Parties(tmp_path, 2)
    try:
        task = new_task(parties, "stopped", {"alice": ALICE}, f"127.0.0.1:{free_ports(1)[0]}")
        cases = {HOST: Case(), ALICE: Case(hangs=Method.BUILD_FEATURE_MODEL)}
        host, other = (
            start(
                parties,
                who,
                [{"task": task, "name": "stopped", "case": parties.values(who, case)}],
                listens=who == HOST,
            )
            for who, case in cases.items()
        )
        host.wait_for("psi_done")
        host.process.send_signal(signal.SIGINT)
        host.stop_listening()
        assert "error: interrupted" in host.ended().errors
        failed = json.loads(other.ended().out.splitlines()[-1])["failed"]
        assert failed[task].startswith("party0 was stopped by its user")
    finally:
        parties.stop()


# What launch_tasks refuses -------------------------------------------------------------------------------------------


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two tasks that this process hosts."""
    parties = Parties(tmp_path, 2)
    monkeypatch.setenv("SECURE_HFL_HOME", str(parties.homes[HOST]))
    return parties.new_task("one"), parties.new_task("two")


def test_two_names_of_one_task_are_refused(at_home: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"^'one' and '.*' are one task"):
        launch_tasks({"one": tiny.make({}), at_home[0]: tiny.make({})})


def test_one_scheduler_for_two_tasks_is_refused(at_home: tuple[str, str]) -> None:
    scheduler = tiny.make({})
    with pytest.raises(ConfigurationError, match="a scheduler of its own"):
        launch_tasks(dict.fromkeys(at_home, scheduler))


def test_a_seed_is_refused(at_home: tuple[str, str]) -> None:
    activate(RunOptions(seed=3))
    try:
        with pytest.raises(ConfigurationError, match="one after another"):
            launch_tasks({reference: tiny.make({}) for reference in at_home})
    finally:
        activate(RunOptions())


# The shared server ---------------------------------------------------------------------------------------------------


def identities(*names: str) -> list[Identity]:
    """New ones."""
    return [Identity.create(name) for name in names]


def test_the_last_task_stops_the_server() -> None:
    host, alice, bob = identities("host", "alice", "bob")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    first = shared_server(address, host)
    second = shared_server(address, host)
    assert first.port == second.port
    first.open_task("a", {"alice": alice.certificate_pem}, CATALOGUE)
    lobby = second.open_task("b", {"bob": bob.certificate_pem}, CATALOGUE)
    first.stop()
    first.stop()
    channel = connect(address, "b", bob, host.certificate_pem, seconds(QUIET), "host", catalogue=CATALOGUE)
    assert lobby.wait(seconds(QUIET))["bob"].is_usable
    channel.close(seconds(QUIET))
    second.stop()
    with pytest.raises(PeerRefused, match=r"no connection .*refused"):
        connect(address, "b", bob, host.certificate_pem, 0.3, "host", catalogue=CATALOGUE)
    with shared_server(address, alice) as third:
        assert third.port == first.port, "whoever comes next may be somebody else"


def test_a_finished_tasks_participants_are_strangers() -> None:
    """Beside a task that goes on: who is under way is dropped, and who comes again fails in the handshake."""
    host, alice, bob = identities("host", "alice", "bob")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with shared_server(address, host) as first, shared_server(address, host) as second:
        ours = first.open_task("a", {"alice": alice.certificate_pem}, CATALOGUE)
        second.open_task("b", {"bob": bob.certificate_pem}, CATALOGUE)
        with pytest.raises(PeerRefused, match="no open task with this id lists your certificate"):
            connect(address, "b", alice, host.certificate_pem, seconds(QUIET), "host", catalogue=CATALOGUE)
        late = connect(address, "a", alice, host.certificate_pem, seconds(QUIET), "host", catalogue=CATALOGUE)
        assert list(ours.arrived()) == ["alice"]
        first.stop()
        with pytest.raises(ConnectionLost):  # broken or closed, whichever gets there first
            late.receive(seconds(QUIET))
        with pytest.raises(PeerRefused, match="no connection to host within"):
            connect(address, "a", alice, host.certificate_pem, 0.3, "host", catalogue=CATALOGUE)
        connect(address, "b", bob, host.certificate_pem, seconds(QUIET), "host", catalogue=CATALOGUE).close(
            seconds(QUIET)
        )


def test_another_identity_at_the_address_is_refused() -> None:
    host, other = identities("host", "other")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with shared_server(address, host):
        with pytest.raises(TransportError, match="give the parties different ports"):
            shared_server(address, other)
        with pytest.raises(TransportError, match="give both tasks the same address"):
            shared_server(address.replace("127.0.0.1", "[::]"), host)


def test_many_tasks_come_and_go_at_one_address() -> None:
    host, alice = identities("host", "alice")
    address = f"127.0.0.1:{free_ports(1)[0]}"

    def use(number: int) -> int:
        with shared_server(address, host) as server:
            server.open_task(f"task{number}", {"alice": alice.certificate_pem}, CATALOGUE)
            return server.port

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(64))) == {int(address.rpartition(":")[2])}


# Logs and progress ---------------------------------------------------------------------------------------------------


def in_thread(function: Any) -> None:
    """Run it in a new thread, to its end."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def logged(directory: Path, name: str, both: threading.Barrier) -> None:
    """A task's thread, with helper threads that do and do not say whose they are."""
    path = directory / name / "log.txt"
    path.parent.mkdir()
    handler = open_task_log(path)
    both.wait(seconds(QUIET))
    logger.warning(f"{name} itself")
    in_thread(of_this_task(lambda: logger.warning(f"{name} helper")))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(of_this_task(lambda n: logger.warning(f"{name} pool {n}")), range(2)))
    in_thread(lambda: logger.warning(f"{name} stray"))
    logging.getLogger("secure_hfl.transport.server").warning(f"{name} module")
    log_traceback(handler, ValueError(f"{name} error"))
    both.wait(seconds(QUIET))
    close_task_log(handler)
    logger.warning(f"{name} afterwards")


def test_a_line_is_in_its_own_tasks_log_only(tmp_path: Path) -> None:
    both = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(logged, tmp_path, name, both) for name in ("left", "right")]:
            done.result(seconds(QUIET))
    for name, other in (("left", "right"), ("right", "left")):
        text = (tmp_path / name / "log.txt").read_text()
        for said in ("itself", "helper", "pool 0", "pool 1", "module", "error"):
            assert f"{name} {said}" in text
        for absent in (f"{name} stray", f"{name} afterwards", other):
            assert absent not in text


def test_a_task_alone_has_every_line_in_its_log(tmp_path: Path) -> None:
    handler = open_task_log(tmp_path / "log.txt")
    in_thread(lambda: logger.warning("stray"))
    close_task_log(handler)
    logger.warning("afterwards")
    assert (tmp_path / "log.txt").read_text().count("\n") == 1


def test_progress_of_several_tasks_is_whole_lines(tmp_path: Path) -> None:
    with (tmp_path / "progress").open("w+b") as file:
        listener = JsonLines(file.fileno())

        def emit(task: str) -> None:
            for number in range(50):
                OfTask(listener, task).emit("round", round=number, long="x" * 10_000)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(emit, "abcd"))
        file.seek(0)
        events = [json.loads(line) for line in file]
    for task in "abcd":
        assert [event["round"] for event in events if event["task"] == task] == list(range(50))


def test_every_task_has_a_bar_of_its_own() -> None:
    screen = StringIO()
    bars = Bars(Console(file=screen, force_terminal=True, width=120))
    alpha, beta = OfTask(bars, "aaaaaaaaaa"), OfTask(bars, "bbbbbbbbbb")
    crossed = {"sent": 1, "received": 2}
    alpha.emit("phase", phase="psi", round=0)
    alpha.emit("psi", step="own points", done=1, total=2)
    beta.emit("phase", phase="train", round=3)
    beta.emit("batch", round=3, batch=1, batches=4, loss=0.5, **crossed)
    alpha.emit("psi_done")
    beta.emit("batch", round=3, batch=4, batches=4, loss=0.25, **crossed)
    beta.emit("end", ok=True)
    alpha.emit("phase", phase="test", round=1)
    alpha.emit("batch", round=1, batch=2, **crossed)
    alpha.emit("round", accuracy=None)
    for shown in ("aaaaaaaa: private set intersection", "bbbbbbbb: training, round 3", "aaaaaaaa: testing, round 1"):
        assert shown in screen.getvalue()
    assert "loss 0.2500" in screen.getvalue()
