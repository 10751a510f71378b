"""The tutorial's `DataChecker`: a party checks its own data before a task runs, and the task keeps the verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod

from secure_hfl import run_options
from secure_hfl.home import home_directory
from secure_hfl.log import ensure_visible, logger
from secure_hfl.mocking import active_mock, script_runs_again
from secure_hfl.one_line_errors import one_line_errors
from secure_hfl.tasks.invite import resolve_task
from secure_hfl.tasks.store import TaskStore


class DataChecker(ABC):
    """Subclass it, implement `verify_data`, and call `execute_verification`.

        class MyChecker(DataChecker):
            def verify_data(self) -> tuple[bool, str]:
                return Path("/data/mine.csv").is_file(), "/data/mine.csv is needed"

        MyChecker(task_id="TASK_ID").execute_verification()

    A task whose last check failed does not start. A task without a check does: checking is a service, not a duty.

    Attributes:
        task_id: the task's full id, also where a placeholder or a name was given.
    """

    def __init__(self, task_id: str) -> None:
        """Find the task.

        Args:
            task_id: its id, the first characters of it, its name, or the tutorial's placeholder "TASK_ID" (the task
                that the run's options name, else the only unfinished one).

        Raises:
            TaskNotFound: no task matches, or several do; the message lists them.
        """
        self._mock = active_mock()
        if self._mock is not None:
            self.task_id = task_id
            return
        with one_line_errors():
            self._store = TaskStore(home_directory())
            self.task_id = resolve_task(self._store, task_id, run_options.current().task).task_id

    @abstractmethod
    def verify_data(self) -> tuple[bool, str]:
        """Look at the data. Returns whether it is good, and a sentence that says why (not)."""

    def execute_verification(self) -> None:
        """Run `verify_data`, log its verdict and keep it with the task.

        An exception or a wrong return type counts as a failed check; its text stays on this machine.
        """
        if script_runs_again():
            return
        passed, message = self._verdict()
        if self._mock is not None:
            self._mock.data_checked(type(self).__name__, passed, message)
            return
        ensure_visible()
        with one_line_errors():
            self._store.record_data_check(self.task_id, passed, message)
        if passed:
            logger.info("Data check passed for task %s: %s", self.task_id, message)
        else:
            logger.error("Data check FAILED for task %s, which will not start: %s", self.task_id, message)

    def _verdict(self) -> tuple[bool, str]:
        name = f"{type(self).__name__}.verify_data"
        try:
            verdict: object = self.verify_data()
        except Exception as error:  # user code may raise anything
            logger.debug("%s raised", name, exc_info=True)
            return False, f"{name} raised {type(error).__name__}: {error}"
        match verdict:
            case (bool() as passed, str() as message):
                return passed, message
            case (first, second):
                got = f"({type(first).__name__}, {type(second).__name__})"
            case _:
                got = type(verdict).__name__
        return False, f"{name} must return (bool, str), not {got}"
