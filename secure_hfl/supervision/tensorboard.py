"""TensorBoard on what a task has logged, as a process that only this machine reaches."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from secure_hfl.errors import TaskStateError
from secure_hfl.local_parties import free_port
from secure_hfl.supervision.local_party import CONSOLE, party_environment
from secure_hfl.supervision.supervised import Supervised
from secure_hfl.tasks import TaskStore


class TensorBoard:
    """Of one task.

    Args:
        store: where the task is.
        task_id: its full id.

    Attributes:
        logs: what it shows.
    """

    def __init__(self, store: TaskStore, task_id: str) -> None:
        directory = store.directory(task_id)
        self.logs = directory / "results" / "tensorboard"
        self._home = store.home
        self._process = Supervised(directory / CONSOLE, "tensorboard")

    @property
    def has_logs(self) -> bool:
        """Whether there is anything to show."""
        return any(self.logs.glob("*"))

    def address(self) -> str | None:
        """Where it is, if it runs."""
        last = self._process.last()
        return last.what.get("address") if last is not None and last.process.is_alive() else None

    def start(self) -> None:
        """Start it on a free port. Raises `TaskStateError`: nothing was logged, or it runs."""
        if not self.has_logs:
            raise TaskStateError("nothing was written to tb_writer in this task")
        port = free_port()
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(self.logs)]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        what = {"address": f"http://127.0.0.1:{port}/"}
        self._process.start(command, what, party_environment(self._home, {}), Path("/"))

    def stop(self) -> bool:
        """End it. False: it was not running."""
        return self._process.stop(signal.SIGTERM)
