"""A party's process: started once, found again, stopped, resumed, and what is said of it when it is gone."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness.limits import Limit
from secure_hfl.errors import DataCheckFailed, TaskStateError
from secure_hfl.supervision.local_party import LocalParty, PartyState, StartOptions, party_environment
from secure_hfl.supervision.processes import ProcessIdentity
from secure_hfl.supervision.script_folders import Choice
from secure_hfl.tasks import run_lock
from tests.tasks.helpers import Party

AS_IT_IS = StartOptions()


def script(tmp_path: Path, name: str = "clinic.py") -> Choice:
    """A script that the stand-in never reads."""
    path = tmp_path / name
    path.touch()
    return Choice(str(path), name, path)


def wait_for(holds: Callable[[], bool]) -> None:
    """Until it does."""
    limit = Limit(20)
    while not holds():
        assert limit.left(), "it never came to that"
        time.sleep(0.01)


def running(party: LocalParty, tmp_path: Path, options: StartOptions = AS_IT_IS) -> None:
    """Start it, and wait until it has the task."""
    party.start(script(tmp_path), options)
    wait_for(lambda: party.status().state is PartyState.RUNNING and b"ready" in party.process.output())


def gone(party: LocalParty) -> None:
    """Wait until it is, and until that was seen."""
    wait_for(lambda: (last := party.process.last()) is not None and last.exit_code is not None)


def test_a_party_is_started_once_found_again_and_stopped(party: LocalParty, clinic: Party, tmp_path: Path) -> None:
    assert party.status().state is PartyState.IDLE
    running(party, tmp_path)
    with pytest.raises(TaskStateError, match="it is running already"):
        party.start(script(tmp_path), AS_IT_IS)
    again = LocalParty(clinic.store, party.task_id)  # as after a restart of whoever started it
    status = again.status()
    assert (status.state, status.can_stop, status.can_start) == (PartyState.RUNNING, True, False)
    assert status.started is not None
    assert status.started.what["label"] == "clinic.py"
    assert os.getsid(status.pid or 0) == status.pid, "a session of its own: no terminal ends it"
    assert again.pause()
    gone(party)
    last = party.process.last()
    assert last is not None
    assert (last.exit_code, last.asked_to_stop) == (143, "SIGTERM")
    assert again.status().state is PartyState.STOPPED
    assert not again.stop(), "there is nobody to stop any more"
    for path in party.process.directory.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_killed_party_shows_as_such_and_goes_on_from_its_checkpoint(
    party: LocalParty, clinic: Party, tmp_path: Path
) -> None:
    clinic.store.start(party.task_id)  # what the engine does, which the stand-in is not
    run_lock.release(clinic.store.directory(party.task_id) / "run.lock")
    running(party, tmp_path)
    os.kill(party.status().pid or 0, signal.SIGKILL)
    gone(party)
    status = party.status()
    assert (status.state, status.reason, status.can_resume) == (PartyState.KILLED, "SIGKILL", False)
    with pytest.raises(TaskStateError, match="no checkpoint"):
        party.start(script(tmp_path), StartOptions(resume=True))
    checkpoints = clinic.store.directory(party.task_id) / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "checkpoint-1").touch()
    assert party.status().can_resume
    running(party, tmp_path, StartOptions(resume=True))
    assert party.process.output().decode().splitlines()[-2].endswith(f"--task {party.task_id} --wait 3600 --resume")
    assert party.kill()
    gone(party)
    assert party.status().state is PartyState.KILLED


def test_what_ended_a_party_before_it_began_is_its_last_error(party: LocalParty, tmp_path: Path) -> None:
    party.start(script(tmp_path, "broken.py"), AS_IT_IS)
    gone(party)
    status = party.status()
    assert status.state is PartyState.FAILED
    assert status.reason == "broken.py: NameError: <b>nobody</b> wrote this (broken.py:3)"


def test_a_process_that_has_let_go_of_its_task_is_waited_for(party: LocalParty, clinic: Party, tmp_path: Path) -> None:
    running(party, tmp_path)
    pid = str(party.status().pid)
    lock = clinic.store.directory(party.task_id) / "run.lock"
    lock.unlink()
    lock.write_text(pid)  # nobody holds this one
    assert party.status().state is PartyState.STOPPING
    assert not party.status().can_start, "it would be refused"
    party.kill()
    gone(party)
    assert party.status().can_start


def test_a_run_from_elsewhere_is_shown_and_not_touched(party: LocalParty, clinic: Party, tmp_path: Path) -> None:
    clinic.store.start(party.task_id)
    status = party.status()
    assert (status.state, status.pid, status.can_stop) == (PartyState.ELSEWHERE, os.getpid(), False)
    with pytest.raises(TaskStateError, match=f"is running in process {os.getpid()}"):
        party.start(script(tmp_path), AS_IT_IS)
    assert not party.stop()
    clinic.store.fail(party.task_id, "the host did not come")
    status = party.status()
    assert (status.state, status.reason) == (PartyState.FAILED, "the host did not come")
    assert status.can_start


def test_a_later_run_from_elsewhere_counts_for_more_than_an_earlier_stop(
    party: LocalParty, clinic: Party, tmp_path: Path
) -> None:
    running(party, tmp_path)
    party.stop()
    gone(party)
    assert party.status().state is PartyState.STOPPED
    clinic.store.start(party.task_id)
    clinic.store.fail(party.task_id, "the data was wrong")
    assert (party.status().state, party.status().reason) == (PartyState.FAILED, "the data was wrong")


def test_a_task_that_is_finished_or_whose_data_is_bad_is_not_started(
    party: LocalParty, clinic: Party, tmp_path: Path
) -> None:
    clinic.store.record_data_check(party.task_id, False, "12 rows have no date")
    with pytest.raises(DataCheckFailed, match="12 rows have no date"):
        party.start(script(tmp_path), AS_IT_IS)
    clinic.store.record_data_check(party.task_id, True, "good")
    clinic.store.start(party.task_id)
    clinic.store.finish(party.task_id, {}, [])
    assert party.status().state is PartyState.FINISHED
    with pytest.raises(TaskStateError, match="is finished"):
        party.start(script(tmp_path), AS_IT_IS)


def test_a_number_that_another_process_has_got_is_not_signalled() -> None:
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    assert own.is_alive()
    for other in (own.model_copy(update={"started": own.started + 1}), own.model_copy(update={"boot": "another"})):
        assert not other.is_alive()
        assert not other.send(signal.SIGKILL)


def test_a_zombie_has_ended() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    identity = ProcessIdentity.of(child)
    assert identity is not None
    wait_for(lambda: not identity.is_alive())
    os.waitpid(child, 0)


def test_two_starts_at_once_start_one(party: LocalParty, tmp_path: Path) -> None:
    """Whoever holds the lock is in the middle of a start."""
    party.process.directory.mkdir()
    descriptor = os.open(party.process.directory / "party.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    errors: list[Exception] = []

    def start() -> None:
        try:
            party.start(script(tmp_path), AS_IT_IS)
        except TaskStateError as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    os.close(descriptor)
    for thread in threads:
        thread.join()
    assert len(errors) == 2


def test_options_of_one_run_are_not_passed_on_to_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RESUME", "SEED", "TASK", "PROGRESS"):
        monkeypatch.setenv(f"SECURE_HFL_{name}", "1")
    monkeypatch.setenv("SECURE_HFL_LIMITS", "ids=5")
    environment = party_environment(tmp_path, {"MNIST_STRIP": "1"})
    ours = {name: value for name, value in environment.items() if name.startswith("SECURE_HFL_")}
    assert ours.keys() - {"SECURE_HFL_DATA"} == {"SECURE_HFL_LIMITS", "SECURE_HFL_HOME"}
    assert environment["SECURE_HFL_HOME"] == str(tmp_path)
    assert environment["MNIST_STRIP"] == "1"
