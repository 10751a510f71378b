"""`launch_task`, and `launch_tasks` for several at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Protocol

from protocols.core.errors import SecureHflError
from protocols.task.abort import AbortCode
from secure_hfl.engine.failure import diagnose
from secure_hfl.engine.interrupt import PATIENCE, Interrupter
from secure_hfl.engine.run import Run
from secure_hfl.engine.running import RunningParty
from secure_hfl.engine.shutdown import SIGTERM_PATIENCE, ShuttingDown
from secure_hfl.errors import ConfigurationError, ConnectionLost, Stopped, TaskFailed, TasksFailed
from secure_hfl.hardening import forbid_core_dumps
from secure_hfl.log import ensure_visible, logger, of_this_task
from secure_hfl.memory import share_arenas
from secure_hfl.mocking import active_mock
from secure_hfl.one_line_errors import one_line_errors
from secure_hfl.progress import OfTask


class Launchable(Protocol):
    """A scheduler, as it is launched."""

    _run: RunningParty | None

    def _make_run(self, reference: str) -> Run:
        """The engine's run for this scheduler's role."""


LOOK_SECONDS = 1.0
"""Between two looks whether a signal has come."""

LEFT_BEHIND = (
    "a method of this party's scheduler did not return and was left behind in its thread: "
    "end this process before the task is started again"
)


def launch(scheduler: Launchable, reference: str) -> None:
    """Run a scheduler's task to its end. Raises `SecureHflError`; an uncaught one is printed as one line."""
    forbid_core_dumps()
    share_arenas()
    ensure_visible()
    with one_line_errors():
        run = scheduler._make_run(reference)
        scheduler._run = run.view
        run.execute()


def launch_tasks(schedulers: Mapping[str, Launchable]) -> None:
    """Run several tasks of one party at once, and wait for all of them.

        launch_tasks({"stroke-study": Stroke("hospital_a", max_rounds=5), "sepsis-study": Sepsis("hospital_a", 9)})

    Each runs in a thread of its own, as `launch_task` would run it: with its own peers, log and results. Hosts at one
    address share its port. A task that fails does not disturb the others.

    What the tasks share is the process:

    * Torch, numpy and Python have one random generator each for all threads, so the draws of two tasks mix. Where
      numbers must be the same every time or at every party, as in the order of samples, use a generator of your own
      (`torch.Generator`, `random.Random`). Runs with a seed are refused.
    * Every thread that computes starts as many threads of torch's as there are cores: set `OMP_NUM_THREADS=1`.
    * `peak_rss_mb` in the metrics is the whole process's.
    * A thread cannot be interrupted. Where a method of a scheduler still goes on `schedule_timeout` seconds after its
      task has failed, the peers are told, the task counts as failed, and the method is left behind in its thread.
    * SIGTERM ends every task after its next checkpoint, and the process with exit code 143 after 20 seconds at most.

    Args:
        schedulers: a scheduler for each task, under what `launch_task` would be given: its id, or its name.

    Raises:
        TasksFailed: some tasks ended without a result, after all have ended; says which, and why.
        ConfigurationError: two entries are one task or have one scheduler, or the run has a seed. Nothing was started.
        SecureHflError: one of them cannot be started as it is: no such task, another role. Nothing was started.
    """
    mock = active_mock()
    if mock is not None:
        for reference, scheduler in schedulers.items():
            mock.launch(scheduler, reference)
        return
    forbid_core_dumps()
    share_arenas()
    ensure_visible()
    with one_line_errors():
        runs = _make_runs(schedulers)
        for reference, scheduler in schedulers.items():
            scheduler._run = runs[reference].view
        run_together(runs)


def run_together(runs: Mapping[str, Run]) -> None:
    """Execute these in threads. Raises `TasksFailed` when all have ended, by the given names."""
    threads = {name: _RunThread(run) for name, run in runs.items()}
    try:
        with _passing_on_sigterm(list(threads.values())):
            for thread in threads.values():
                thread.start()
            for thread in threads.values():
                # The system may give a signal to another thread, which does not wake this one.
                while not thread.ended.wait(LOOK_SECONDS):
                    pass
    except KeyboardInterrupt:
        _stop(list(threads.values()))
        raise
    failed = {name: thread.error for name, thread in threads.items() if thread.error is not None}
    if failed:
        raise TasksFailed(failed, len(runs)) from next(
            (error for error in failed.values() if not isinstance(error, SecureHflError)), None
        )


def _make_runs(schedulers: Mapping[str, Launchable]) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    references: dict[str, str] = {}
    if len({id(scheduler) for scheduler in schedulers.values()}) < len(schedulers):
        raise ConfigurationError("launch_tasks needs a scheduler of its own for each task")
    for reference, scheduler in schedulers.items():
        run = scheduler._make_run(reference)
        if len(schedulers) > 1 and run.bench.assignment.options.seed is not None:
            raise ConfigurationError(
                "tasks that run side by side share torch's random generator, so a seed would not make them repeatable: "
                "launch them one after another"
            )
        task_id = run.bench.assignment.record.task_id
        other = references.setdefault(task_id, reference)
        if other != reference:
            raise ConfigurationError(f"{other!r} and {reference!r} are one task, {task_id}")
        runs[reference] = run
    if len(runs) > 1:
        listener = next(iter(runs.values())).bench.progress.listener
        for run in runs.values():
            run.bench.progress.listener = OfTask(listener, run.bench.assignment.record.task_id)
    return runs


class _RunThread(threading.Thread):
    """One of several runs.

    Attributes:
        ended: set when nobody need wait any more.
        error: what the run failed with.
    """

    def __init__(self, run: Run) -> None:
        # A daemon: a method that hangs must not keep the process from exiting.
        super().__init__(name=f"task {run.bench.assignment.record.name}", daemon=True)
        self._task = run
        self._once = threading.Lock()
        self.ended = threading.Event()
        self.error: BaseException | None = None
        run.bench.user.interrupter = _Abandoner(run, self._leave_behind)

    def run(self) -> None:
        """Called by `start`."""
        error: BaseException | None = None
        try:
            self._task.execute()
        except BaseException as caught:
            error = caught
        self._task.bench.user.interrupter = Interrupter()  # the other keeps all of the run with the scheduler
        self._end(error)

    def stop(self) -> None:
        """The user wants the run to end: wake it, and let it tell its peers."""
        self._task.bench.peers.fail(self._stopped())

    def shut_down(self) -> None:
        """The process is to end: after the next checkpoint, or now if there is none to wait for."""
        if not self._task.bench.recovery.shutdown.request():
            self._task.bench.peers.fail(ConnectionLost("this party is being shut down"))

    def give_up(self) -> None:
        """It does not end."""
        if not self.ended.is_set():
            self._leave_behind(self._stopped())

    def _stopped(self) -> Stopped:
        return Stopped(f"{self._task.bench.assignment.party} was stopped by its user")

    def _end(self, error: BaseException | None) -> None:
        with self._once:
            if not self.ended.is_set():
                self.error = error
                self.ended.set()

    def _leave_behind(self, error: SecureHflError) -> None:
        """Do for the run what it would do itself. Its task stays locked, so that no second thread starts it."""
        bench, task = self._task.bench, self._task.bench.assignment
        # Nobody should wait for this party to come back, as they would after a lost connection.
        failure = replace(diagnose(error, task.party, bench.peers.place), code=AbortCode.USER_CODE_ERROR)
        logger.warning(f"Task {task.record.task_id} failed: {failure.reason} ({LEFT_BEHIND})")
        bench.peers.abort(failure)
        self._task.close()
        bench.progress.emit("end", ok=False, reason=failure.reason, code=str(failure.code))
        self._end(TaskFailed(failure.reason, LEFT_BEHIND))


class _Abandoner(Interrupter):
    """For a run that is not in the main thread: leaves a method behind that goes on after the task has failed.

    It may go on for `schedule_timeout` seconds, as the others would wait for this party so long to come back.
    """

    def __init__(self, run: Run, leave_behind: Callable[[SecureHflError], None]) -> None:
        super().__init__()
        self._can_act = True
        self._run = run
        self._leave_behind = leave_behind
        self._is_in_task = False

    def renewed(self) -> Interrupter:
        """See `Interrupter`."""
        return _Abandoner(self._run, self._leave_behind)

    @contextmanager
    def user_code(self) -> Iterator[None]:
        """See `Interrupter`."""
        if not self._is_in_task:  # the first time: this is the task's thread, and its log is open
            self._is_in_task, self._leave_behind = True, of_this_task(self._leave_behind)
        with super().user_code():
            yield

    def task_failed(self, error: SecureHflError) -> None:
        """See `Interrupter`."""
        if self._error is None and self._can_act:
            self._error = error
            self._timer = threading.Timer(self._run.bench.user.schedule_timeout, self._interrupt)
            self._timer.daemon = True
            self._timer.start()

    def _interrupt(self) -> None:
        if self._can_act and self._in_user_code and self._error is not None:
            # Should the method return some day: this is an error that a run does not outlive.
            self.reason = TaskFailed(str(self._error), LEFT_BEHIND)
            self._leave_behind(self._error)


def _stop(threads: list[_RunThread]) -> None:
    for thread in threads:
        thread.stop()
    _wait(threads, PATIENCE)
    for thread in threads:
        thread.give_up()


def _wait(threads: list[_RunThread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.ended.wait(max(0.0, deadline - time.monotonic()))


@contextmanager
def _passing_on_sigterm(threads: list[_RunThread]) -> Iterator[None]:
    """SIGTERM shuts all the runs down. Raises `ShuttingDown` when they have ended, or had their time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def shut_down(number: int, frame: FrameType | None) -> None:
        raise ShuttingDown

    before = signal.signal(signal.SIGTERM, shut_down)
    try:
        yield
    except ShuttingDown:
        signal.signal(signal.SIGTERM, before)
        for thread in threads:
            thread.shut_down()
        # Who has not ended then is cut off: its peers wait for it as after any lost connection.
        _wait(threads, SIGTERM_PATIENCE)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
