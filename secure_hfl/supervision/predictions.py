"""What a party does with a finished task, as processes: the Host asks for predictions, a Collaborator serves them.

<task directory>/console/predict-ids.<kind>     whom to predict, as it was given
<task directory>/console/predictions.csv        the last table
"""

from __future__ import annotations

import csv
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from enum import Enum

from protocols.core.sentence import say
from secure_hfl.errors import ConfigurationError, TaskStateError
from secure_hfl.files import write_private
from secure_hfl.live.reader import story_of
from secure_hfl.progress_file import NAME
from secure_hfl.supervision.local_party import CONSOLE, PARTY, party_environment
from secure_hfl.supervision.script_folders import Choice
from secure_hfl.supervision.supervised import Started, Supervised
from secure_hfl.tasks import TaskStore

TABLE = "predictions.csv"
KINDS = (".txt", ".csv", ".parquet")
"""Of files with ids, as `secure-hfl predict --ids` reads them."""

COMMAND = (sys.executable, "-m", "secure_hfl")


class Work(str, Enum):
    """Where it stands."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Table:
    """The beginning of a table of predictions.

    Attributes:
        columns: their names.
        rows: the first ones.
        counts: of rows, by status: "predicted", "missing".
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """Rows in all."""
        return sum(self.counts.values())


class _OfTask:
    """A command about one finished task.

    Args:
        store: where the task is.
        task_id: its full id.
        name: of the command, and of its process's files.
    """

    def __init__(self, store: TaskStore, task_id: str, name: str) -> None:
        self._store, self.task_id, self._name = store, task_id, name
        self.directory = store.directory(task_id) / CONSOLE
        self.process = Supervised(self.directory, name)

    def _start(self, script: Choice, arguments: list[str]) -> Started:
        command = [*COMMAND, self._name, str(script.path), "--task", self.task_id, *arguments]
        environment = party_environment(self._store.home, script.environment)
        what = {"script": str(script.path), "key": script.key, "label": script.label}
        return self.process.start(command, what, environment, script.path.parent, self._check)

    def _check(self) -> None:
        record = self._store.get(self.task_id)
        if not record.finished:
            raise TaskStateError(
                say("task {name!r} is not finished; predictions need a finished one", name=record.name)
            )


class PredictionRun(_OfTask):
    """The Host's."""

    def __init__(self, store: TaskStore, task_id: str) -> None:
        super().__init__(store, task_id, "predict")
        self.table_file = self.directory / TABLE

    def state(self) -> tuple[Work, str]:
        """Where the last one stands, and why it failed."""
        last = self.process.last()
        if last is None:
            return Work.NONE, ""
        if last.process.is_alive():
            return Work.RUNNING, ""
        # The table is written at the very end, and an older one is gone.
        return (Work.DONE, "") if self.table_file.exists() else (Work.FAILED, self.process.last_line())

    def start(self, script: Choice, ids: bytes, kind: str = ".txt") -> Started:
        """Predict these ids; `kind`: of the file that they came in.

        Raises:
            ConfigurationError: there are none, or no such kind.
            TaskStateError: a prediction is under way, or the task is not finished.
        """
        if kind not in KINDS:
            raise ConfigurationError(
                say(
                    "ids come in files of kind {kinds}, not {kind!r}",
                    kinds=", ".join(KINDS),
                    kind=kind or "without a name",
                )
            )
        if not ids.strip():
            raise ConfigurationError("there is no id: type some, one a line, or choose a file")
        if self.process.is_alive():
            raise TaskStateError("a prediction is under way; wait for it")
        self.directory.mkdir(mode=0o700, exist_ok=True)
        asked = write_private(self.directory / f"predict-ids{kind}", ids)
        self.table_file.unlink(missing_ok=True)
        return self._start(script, ["--ids", str(asked), "--out", str(self.table_file)])

    def table(self, most: int) -> Table | None:
        """The last table, its first rows; None: there is none."""
        try:
            with self.table_file.open(newline="", encoding="utf-8") as file:
                reader = csv.reader(file)
                columns = tuple(next(reader, ()))
                rows: list[tuple[str, ...]] = []
                counts: Counter[str] = Counter()
                for row in reader:
                    counts[row[1] if len(row) > 1 else ""] += 1
                    if len(rows) < most:
                        rows.append(tuple(row))
        except (OSError, csv.Error, UnicodeDecodeError):
            return None
        return Table(columns, tuple(rows), dict(counts))


class ServingRun(_OfTask):
    """A Collaborator's: it answers the Host, session after session, until it is stopped."""

    def __init__(self, store: TaskStore, task_id: str) -> None:
        super().__init__(store, task_id, "serve")

    def state(self) -> tuple[Work, str]:
        """Where it stands, and why it failed."""
        last = self.process.last()
        if last is None:
            return Work.NONE, ""
        if last.process.is_alive():
            return Work.RUNNING, ""
        return (Work.DONE, "") if last.asked_to_stop else (Work.FAILED, self.process.last_line())

    def start(self, script: Choice) -> Started:
        """Serve. Raises `TaskStateError`: it is under way, or the task is not finished."""
        return self._start(script, [])

    def stop(self) -> bool:
        """End it after the session under way. False: it was not running."""
        return self.process.stop(signal.SIGTERM)


def last_script(store: TaskStore, task_id: str, *processes: Supervised) -> str:
    """The key of the script that was used last: by one of these, or by the training, from here or from elsewhere."""
    directory = store.directory(task_id)
    for process in (*processes, Supervised(directory / CONSOLE, PARTY)):
        last = process.last()
        if last is not None:
            return last.what.get("key", "")
    return story_of(directory / NAME).script
