"""Several runs in one process: what is refused, how they end, and how they are stopped."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.limits import TASK, Limit, seconds
from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts import tiny
from secure_hfl import launch_tasks
from secure_hfl.engine import run as run_module
from secure_hfl.engine import supervisor
from secure_hfl.engine.interrupt import Interrupter
from secure_hfl.engine.layers import Layers
from secure_hfl.engine.shutdown import ShuttingDown
from secure_hfl.engine.supervisor import LEFT_BEHIND, run_together
from secure_hfl.errors import ConfigurationError, TaskFailed, TasksFailed
from secure_hfl.run_options import RunOptions, activate
from secure_hfl.tasks import TaskState
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties


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


def test_threads_of_tasks_share_arenas_from_before_they_start(
    at_home: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """See secure_hfl/memory.py."""
    shared: list[int] = []
    monkeypatch.setattr(supervisor, "share_arenas", lambda: shared.append(1))
    scheduler, reference = tiny.make({}), at_home[0]
    monkeypatch.setattr(scheduler, "_make_run", not_now)
    with pytest.raises(ConfigurationError, match="not now"):
        supervisor.launch(scheduler, reference)
    assert shared == [1]
    with pytest.raises(ConfigurationError, match="a scheduler of its own"):
        launch_tasks(dict.fromkeys(at_home, scheduler))
    assert shared == [1, 1]


def not_now(reference: str) -> Any:
    raise ConfigurationError("not now")


# How they end --------------------------------------------------------------------------------------------------------


def states(parties: MemoryParties) -> dict[str, TaskState]:
    """Of the task, at every party."""
    tasks = {name: run.bench.assignment for name, run in parties.runs.items()}
    return {name: task.store.get(task.record.task_id).state for name, task in tasks.items()}


def test_all_run_to_their_ends(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path)
    run_together(parties.runs)
    assert set(states(parties).values()) == {TaskState.FINISHED}


@pytest.mark.parametrize("scheme", ["bfv", "masked"])
def test_what_a_run_computed_with_is_not_kept_with_its_scheduler(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[int] = []
    monkeypatch.setattr(run_module, "give_back", lambda: given_back.append(1))
    made: list[weakref.ref[Any]] = []
    add = Layers.add

    def adding(layers: Layers[Any], spec: Any, layer: Any) -> Any:
        made.append(weakref.ref(layer))
        return add(layers, spec, layer)

    monkeypatch.setattr(Layers, "add", adding)
    parties = MemoryParties(tmp_path, scheme)
    schemes = [run.bench.assignment.scheme for run in parties.runs.values()]
    runs, views = parties.runs, [run.view for run in parties.runs.values()]
    run_together(runs)
    interrupters = [type(run.bench.user.interrupter) for run in runs.values()]
    assert interrupters == [Interrupter, Interrupter], "those of several runs keep all of a run"
    gc.collect()
    assert [layer() for layer in made] == [None, None]
    assert [vars(scheme)["_backends"] for scheme in schemes] == [{}, {}]
    assert all(view.models.feature_model is not None for view in views)
    assert len(given_back) == len(runs), "the memory that it used is not left with malloc"


def test_who_fails_is_named_with_its_error(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path, cases={HOST: {"raises": "train_a_batch"}})
    with pytest.raises(TasksFailed, match=r"^2 of 2 tasks failed: ") as caught:
        run_together(parties.runs)
    assert set(caught.value.failed) == {HOST, COLLABORATOR}
    for error in caught.value.failed.values():
        assert isinstance(error, TaskFailed)
        assert error.reason == "party0 stopped in training round 1, batch 1: UserCodeError"


def test_a_method_that_does_not_return_is_left_behind(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path)
    hangs, goes_on = threading.Event(), threading.Event()
    collaborator, host = parties.schedulers[COLLABORATOR], parties.schedulers[HOST]

    def hang() -> Any:
        collaborator.schedule_timeout = 0.1  # nobody waits for it to join any more
        hangs.set()
        goes_on.wait()

    def fail(*_: Any) -> Any:
        assert hangs.wait(seconds(TASK))
        raise ValueError("no such column")

    collaborator.build_feature_model, host.iterate_train_feature = hang, fail
    try:
        with pytest.raises(TasksFailed) as caught:
            run_together(parties.runs)
        error = caught.value.failed[COLLABORATOR]
        assert isinstance(error, TaskFailed)
        assert error.detail == LEFT_BEHIND
        assert "party0 stopped in setting up the models" in error.reason
        # The thread that hangs has kept its task, so that nobody starts it beside itself.
        assert states(parties) == {HOST: TaskState.FAILED, COLLABORATOR: TaskState.RUNNING}
    finally:
        goes_on.set()


# How they are stopped ------------------------------------------------------------------------------------------------


def signalled(parties: MemoryParties, event: str, number: int) -> None:
    """When the host's run says this first, the process gets a signal; the run goes on when that has been heard."""
    peers, left = parties.runs[HOST].bench, [number]

    def react(name: str, values: dict[str, Any]) -> None:
        if name == event and left:
            os.kill(os.getpid(), left.pop())
            limit = Limit(TASK)
            while parties.channels[0].is_usable and not peers.recovery.shutdown.requested:
                assert limit.left()
                time.sleep(0.01)

    parties.heard[HOST].react = react


def test_ctrl_c_ends_all_and_tells_the_peers(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path)
    signalled(parties, "psi_done", signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_together(parties.runs)
    assert set(states(parties).values()) == {TaskState.FAILED}
    for name, run in parties.runs.items():
        task = run.bench.assignment
        failure = task.store.get(task.record.task_id).failure
        assert failure is not None
        assert "was stopped by its user" in failure, name


def test_sigterm_ends_all_after_their_next_checkpoint(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path, options=RunOptions(checkpoint_every=1))
    signalled(parties, "batch", signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ShuttingDown):
        run_together(parties.runs)
    assert signal.getsignal(signal.SIGTERM) is before
    for run in parties.runs.values():
        assert run.bench.recovery.shutdown.requested
        assert run.bench.checkpoints.exist()
    assert TaskState.FINISHED not in states(parties).values()
