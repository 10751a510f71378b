"""Processes that the user's code starts while a task runs: a `DataLoader`'s workers under every start method."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from multiprocessing import process
from pathlib import Path

import pytest

from benchmarks.harness.limits import START, seconds
from benchmarks.harness.parties import Parties
from benchmarks.harness.processes import ROOT
from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.scripts.tiny import TinyCollaborator, TinyHost, train_in_one_process
from secure_hfl import DataChecker, launch_tasks, mock_context
from secure_hfl.engine.shutdown import Shutdown
from secure_hfl.errors import ConfigurationError
from secure_hfl.tasks import run_lock


def test_a_host_forks_its_workers_and_a_collaborator_spawns_them(tmp_path: Path) -> None:
    """From scripts without a main guard. `python -m benchmarks.workers` runs all start methods, often."""
    parties = Parties(tmp_path)
    task = parties.new_task()
    case = Case(arguments={"max_rounds": 1})
    try:
        running = [
            parties.start(
                name,
                "workers_party.py",
                case=case if name == "party0" else None,
                environment={"WORKERS_METHOD": method, "WORKERS": count},
                with_python=True,
                is_real=method == "spawn",  # such workers run the script again, and a forked party has none
            )
            for name, method, count in (("party0", "fork", "2"), ("party1", "spawn", "1"))
        ]
        assert [party.ended().err for party in running if party.ended().code] == []
    finally:
        parties.stop()
    metrics = json.loads((parties.homes["party0"] / "tasks" / task / "results" / "metrics.json").read_text())
    assert metrics["batch_losses"] == train_in_one_process(2, 1)[0]


FORKS = """
    import os, time
    {first}
    from pathlib import Path
    from secure_hfl.identity import Identity
    from secure_hfl.transport import FORKS_SAFELY
    from secure_hfl.transport.server import PartyServer

    with PartyServer("127.0.0.1:0", Identity.load_or_create(Path({home!r}), "host")):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            time.sleep(0.2)
            os.write(writer, str(len(os.listdir("/proc/self/task"))).encode())
            os._exit(0)
        os.waitpid(child, 0)
        print(FORKS_SAFELY, os.read(reader, 9).decode())
"""


LEAVES_A_FORK = """
    import os, signal
    from pathlib import Path
    from secure_hfl.identity import Identity
    from secure_hfl.transport import forks
    from secure_hfl.transport.server import PartyServer

    server = PartyServer("127.0.0.1:0", Identity.load_or_create(Path({home!r}), "host"))
    if {spoilt}:
        forks.has_stopped(server.port)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b".")
        signal.pause()
    os.read(reader, 1)
    print(server.port, child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_fork_does_not_keep_the_port(tmp_path: Path, spoilt: bool) -> None:
    """Of a host that was killed, and is started again."""
    (tmp_path / "home").mkdir(mode=0o700)
    script = textwrap.dedent(LEAVES_A_FORK).format(home=str(tmp_path / "home"), spoilt=spoilt)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    environment["PYTHONPATH"] = str(ROOT)
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        port, child = map(int, host.stdout.readline().split())
        host.wait(seconds(START))
        try:
            socket.create_server(("127.0.0.1", port)).close()
            is_free = True
        except OSError:
            is_free = False
        finally:
            os.kill(child, signal.SIGKILL)
    assert is_free != spoilt, "or this test sees nothing"


def forked(home: Path, first: str = "", **environment: str) -> list[str]:
    """Whether we say that forks are safe, and how many threads a fork of a listening host has."""
    home.mkdir(mode=0o700, exist_ok=True)
    script = textwrap.dedent(FORKS).format(home=str(home), first=first)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=seconds(START),
        check=True,
    )
    return ended.stdout.split()


def test_grpc_starts_no_threads_in_a_fork(tmp_path: Path) -> None:
    """They would run while Python still puts itself in order, which ended the worker of a host in 3 of 10 runs."""
    assert forked(tmp_path / "home") == ["True", "1"]
    said, threads = forked(tmp_path / "home", GRPC_ENABLE_FORK_SUPPORT="1")
    assert said == "True", "it is the user's own choice"
    assert int(threads) > 1, "or this test sees nothing"


def test_whoever_loads_grpc_before_us_is_known(tmp_path: Path) -> None:
    assert forked(tmp_path / "home", first="import grpc")[0] == "False"
    assert forked(tmp_path / "home", first="import grpc", GRPC_ENABLE_FORK_SUPPORT="0") == ["True", "1"]


class Unhappy(DataChecker):
    """Whose data must not be looked at."""

    def verify_data(self) -> tuple[bool, str]:
        raise AssertionError("a worker has nothing to check")


def test_a_script_that_runs_again_in_a_worker_launches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_HFL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(process.current_process(), "_inheriting", True, raising=False)
    scheduler = TinyCollaborator(Case(index=1))
    scheduler.launch_task("YOUR_TASK_ID")
    launch_tasks({"YOUR_TASK_ID": scheduler})
    Unhappy("TASK_ID").execute_verification()
    with mock_context():
        TinyHost(Case()).launch_task("YOUR_TASK_ID")
    assert not scheduler.case.calls
    assert not (tmp_path / "home").exists()
    with pytest.raises(ConfigurationError, match=r"a worker process .* below `if __name__ == "):
        _ = scheduler.feature_model


def in_a_fork(work: Callable[[], None]) -> int:
    """The exit code of a fork that does this."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    return child.exitcode or 0


def test_a_fork_does_not_keep_the_task_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert run_lock.acquire(path)
    (to_child, from_parent), (to_parent, from_child) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(from_child, b".")
        os.read(to_child, 1)  # until the parent has looked
        os._exit(0)
    try:
        os.read(to_parent, 1)
        assert run_lock.is_held(path)
        os.close(run_lock._held.pop(path.resolve()))  # as the death of this process would
        assert not run_lock.is_held(path)
    finally:
        os.write(from_parent, b".")
        os.waitpid(child, 0)


def test_a_fork_that_ends_does_not_unlock_the_task(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert run_lock.acquire(path)
    try:
        assert in_a_fork(lambda: None) == 0
        look = f"sys.exit(run_lock.is_held(Path({str(path)!r})))"
        elsewhere = f"import sys; from pathlib import Path; from secure_hfl.tasks import run_lock; {look}"
        assert subprocess.run([sys.executable, "-c", elsewhere], cwd=ROOT, check=False).returncode == 1
    finally:
        run_lock.release(path)


def test_sigterm_ends_a_fork_at_once() -> None:
    shutdown = Shutdown()
    with shutdown.listening(), shutdown.training():
        assert in_a_fork(lambda: os.kill(os.getpid(), signal.SIGTERM)) == -signal.SIGTERM
    assert not shutdown.requested
