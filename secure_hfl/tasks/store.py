"""The tasks of one party, in SQLite under its home directory.

    home/tasks.sqlite     one row a task (0600)
    home/tasks/<id>/      the task's files: log, checkpoints, transcripts (0700); `run.lock` says who runs it

    created ──start──▶ running ──finish──▶ finished
                        │  ▲
                   fail ▼  │ start
                       failed            a task whose process died is still "running", and may be started again

Every operation opens its own connection and is one transaction, so threads, forks and several processes can share a
home. Times are this machine's clock in UTC.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from secure_hfl.errors import DataCheckFailed, IdentityError, TaskError, TaskExists, TaskNotFound, TaskStateError
from secure_hfl.home import make_private_directory
from secure_hfl.tasks import run_lock
from secure_hfl.tasks.record import DataCheck, TaskRecord, TaskState, describe, utc_now

SCHEMA_VERSION = 2
MIN_PREFIX = 6
BUSY_SECONDS = 30.0
MAX_TEXT = 4000
MAX_LISTED = 10

_COLUMNS = tuple(TaskRecord.model_fields)
_JSON_COLUMNS = frozenset({"participants", "data_check", "metrics", "artifacts", "terms", "limits"})
"""The other columns are plain text or numbers."""
_METRICS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_SCHEMA = """
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, party TEXT NOT NULL, address TEXT NOT NULL,
    scheme TEXT NOT NULL, participants TEXT NOT NULL, state TEXT NOT NULL, data_check TEXT NOT NULL,
    rounds_finished INTEGER NOT NULL, failure TEXT, metrics TEXT NOT NULL, artifacts TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL
)
"""
_NEW_IN_2 = ("terms", "limits")


class TaskStore:
    """The task records of one home directory."""

    def __init__(self, home: Path) -> None:
        """Open the store, and make it if it is new.

        Raises:
            TaskError: the database was written by a newer version, or is damaged.
        """
        self.home = home
        self.path = home / "tasks.sqlite"
        make_private_directory(home)
        # SQLite gives its journal files the mode of the database, so that one must be right before it opens it.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._migrate()

    def create(self, record: TaskRecord) -> TaskRecord:
        """Store a new task.

        Raises:
            TaskExists: this home has a task with this id. (Names may repeat: other hosts choose them too.)
        """
        with self._transaction() as db:
            row = db.execute("SELECT task_id, name FROM tasks WHERE task_id = ?", (record.task_id,)).fetchone()
            if row is not None:
                raise TaskExists(f"task {record.task_id} ({row['name']!r}) is in this home already; it stays as it is")
            marks = ", ".join("?" * len(_COLUMNS))
            db.execute(f"INSERT INTO tasks ({', '.join(_COLUMNS)}) VALUES ({marks})", _to_row(record))  # noqa: S608 - our own column names
        self.directory(record.task_id)
        return record

    def get(self, reference: str) -> TaskRecord:
        """The task that `reference` names: its id, the id's first characters (6 or more), or its name.

        Raises:
            TaskNotFound: no task matches, or several do; the message lists them.
        """
        with self._transaction() as db:
            return self._find(db, reference)

    def list(self) -> tuple[TaskRecord, ...]:
        """All tasks, the newest first."""
        with self._transaction() as db:
            rows = db.execute("SELECT * FROM tasks ORDER BY created_at DESC, rowid DESC").fetchall()
        return tuple(_from_row(row) for row in rows)

    def only_unfinished(self) -> TaskRecord:
        """The one task here that is not finished.

        Raises:
            TaskNotFound: there is none, or there are several; the message lists them.
        """
        open_tasks = [record for record in self.list() if not record.finished]
        if len(open_tasks) == 1:
            return open_tasks[0]
        if not open_tasks:
            raise TaskNotFound(f"no unfinished task in {self.home}; create one or join one (secure-hfl task --help)")
        raise TaskNotFound(f"{len(open_tasks)} tasks are unfinished: {_listing(open_tasks)}; say which (--task ID)")

    def record_data_check(self, task_id: str, passed: bool, message: str) -> TaskRecord:
        """Keep the verdict of a data check; the last one counts."""
        check = DataCheck(passed=passed, message=_storable(message), checked_at=utc_now())
        return self._update(task_id, lambda record: {"data_check": check})

    def start(self, task_id: str) -> TaskRecord:
        """Mark the task as running in this process, until `finish`, `fail` or the process's end.

        Raises:
            DataCheckFailed: the last data check failed.
            TaskStateError: the task is finished, or a live process runs it.
        """
        task_id = self.get(task_id).task_id
        lock = self.directory(task_id) / "run.lock"
        if not run_lock.acquire(lock):
            raise TaskStateError(
                f"task {task_id} is running in process {run_lock.holder(lock)}; stop that one first, or wait for it"
            )
        try:
            return self._update(task_id, _started)
        except BaseException:
            run_lock.release(lock)
            raise

    def record_round(self, task_id: str, round: int) -> TaskRecord:
        """Keep how many rounds are finished (a resumed run may count from an earlier checkpoint again)."""

        def change(record: TaskRecord) -> dict[str, object]:
            _require_running(record, "counts rounds")
            return {"rounds_finished": round}

        return self._update(task_id, change)

    def finish(self, task_id: str, metrics: Mapping[str, JsonValue], artifacts: Sequence[str | Path]) -> TaskRecord:
        """Close the task with its results.

        Raises:
            TaskError: `metrics` is not JSON.
            TaskStateError: the task is not running.
        """
        try:
            # NaN and infinity pass as Python floats, but are not JSON and could not be read back by others.
            checked = _METRICS.validate_python(json.loads(json.dumps(dict(metrics), allow_nan=False)))
        except (TypeError, ValueError) as error:
            raise TaskError(f"the metrics of task {task_id} are not JSON: {error}") from error

        def change(record: TaskRecord) -> dict[str, object]:
            _require_running(record, "finishes")
            paths = tuple(str(Path(path).absolute()) for path in artifacts)
            return {"state": TaskState.FINISHED, "metrics": checked, "artifacts": paths}

        record = self._update(task_id, change)
        run_lock.release(self.directory(record.task_id) / "run.lock")
        return record

    def fail(self, task_id: str, reason: str) -> TaskRecord:
        """Mark the task as failed; it may be started again.

        Raises:
            TaskStateError: the task is finished.
        """

        def change(record: TaskRecord) -> dict[str, object]:
            if record.finished:
                raise TaskStateError(f"task {record.task_id} is finished and cannot fail any more")
            return {"state": TaskState.FAILED, "failure": _storable(reason)}

        record = self._update(task_id, change)
        run_lock.release(self.directory(record.task_id) / "run.lock")
        return record

    def is_live(self, task_id: str) -> bool:
        """Whether a live process, this one included, runs the task now."""
        return run_lock.is_held(self.directory(task_id) / "run.lock")

    def directory(self, task_id: str) -> Path:
        """The task's own directory, made with mode 0700 if it is missing. `task_id` is the full id."""
        if not (task_id.isascii() and task_id.isalnum()):
            raise TaskNotFound(f"{task_id!r} is not a task id")
        for path in (self.home / "tasks", self.home / "tasks" / task_id):
            path.mkdir(mode=0o700, exist_ok=True)
        return path

    def log_file(self, task_id: str) -> Path:
        """Where the task's log goes."""
        return self.directory(task_id) / "log.txt"

    def _update(self, reference: str, change: Callable[[TaskRecord], Mapping[str, object]]) -> TaskRecord:
        """Read, change and write one record in one transaction."""
        with self._transaction() as db:
            record = self._find(db, reference)
            fields = {**dict(record), **change(record), "updated_at": utc_now()}
            try:
                updated = TaskRecord.model_validate(fields)
            except ValidationError as error:
                raise TaskError(f"task {record.task_id} cannot be changed so: {describe(error)}") from error
            assignments = ", ".join(f"{column} = ?" for column in _COLUMNS)
            values = (*_to_row(updated), record.task_id)
            db.execute(f"UPDATE tasks SET {assignments} WHERE task_id = ?", values)  # noqa: S608 - our own column names
            return updated

    def _find(self, db: sqlite3.Connection, reference: str) -> TaskRecord:
        exact = db.execute("SELECT * FROM tasks WHERE task_id = ?", (reference,)).fetchone()
        if exact is not None:
            return _from_row(exact)
        prefix = reference if len(reference) >= MIN_PREFIX else None
        rows = db.execute(
            "SELECT * FROM tasks WHERE name = ? OR substr(task_id, 1, length(?)) = ? ORDER BY created_at",
            (reference, prefix, prefix),
        ).fetchall()
        if len(rows) == 1:
            return _from_row(rows[0])
        if rows:
            matches = _listing([_from_row(row) for row in rows])
            raise TaskNotFound(f"{reference!r} matches {len(rows)} tasks: {matches}; give the whole id")
        known = [_from_row(row) for row in db.execute("SELECT * FROM tasks ORDER BY created_at DESC")]
        hint = f" (the first characters of an id will do, {MIN_PREFIX} or more)" if prefix is None else ""
        there = f"the tasks there are {_listing(known)}" if known else "there is no task yet"
        raise TaskNotFound(f"no task {reference!r} in {self.home}{hint}; {there}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise TaskError(
                f"{self.path}: {error}; check that it can be written, that the disk is not full and that no other "
                "process hangs on it"
            ) from error
        except sqlite3.DatabaseError as error:
            raise TaskError(f"{self.path}: {error}; move the damaged file away and join the tasks again") from error
        finally:
            # Closing rolls back what was not committed.
            db.close()

    def _migrate(self) -> None:
        # Readers then do not wait for writers. Another process that opens the store at the same moment makes this
        # fail; the rollback journal is as safe, and the next opening tries again. Damage shows in the transaction.
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(self.path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise TaskError(
                    f"{self.path} was written by a newer secure-hfl (format {version}, this one knows {SCHEMA_VERSION})"
                    "; upgrade, or use another SECURE_HFL_HOME"
                )
            if version == SCHEMA_VERSION:
                return
            if not version:
                db.execute(_SCHEMA)
            for column in _NEW_IN_2:
                db.execute(f"ALTER TABLE tasks ADD COLUMN {column} TEXT NOT NULL DEFAULT '{{}}'")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _started(record: TaskRecord) -> dict[str, object]:
    if record.finished:
        raise TaskStateError(f"task {record.task_id} ({record.name!r}) is finished; create a new one to train again")
    if record.data_check is not None and not record.data_check.passed:
        raise DataCheckFailed(
            f"the data check of task {record.task_id} failed: {record.data_check.message}; "
            "repair the data and run the DataChecker again"
        )
    return {"state": TaskState.RUNNING, "failure": None}


def _storable(text: str) -> str:
    """Of a sane length, and without the lone surrogates that file names may bring and SQLite refuses."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")


def _require_running(record: TaskRecord, doing: str) -> None:
    if record.state is not TaskState.RUNNING:
        raise TaskStateError(f"task {record.task_id} {doing} but is {record.state.value}, not running; start it first")


def _to_row(record: TaskRecord) -> tuple[Any, ...]:
    values = record.model_dump(mode="json")
    return tuple(json.dumps(values[column]) if column in _JSON_COLUMNS else values[column] for column in _COLUMNS)


def _from_row(row: sqlite3.Row) -> TaskRecord:
    try:
        decoded = {column: json.loads(row[column]) if column in _JSON_COLUMNS else row[column] for column in _COLUMNS}
        return TaskRecord.model_validate_json(json.dumps(decoded))
    except (ValidationError, ValueError, IdentityError) as error:
        raise TaskError(f"the stored task {row['task_id']} is damaged: {_why(error)}") from error


def _why(error: Exception) -> str:
    return describe(error) if isinstance(error, ValidationError) else str(error)


def _listing(records: Sequence[TaskRecord]) -> str:
    shown = ", ".join(f"{record.task_id} ({record.name!r}, {record.state.value})" for record in records[:MAX_LISTED])
    return shown + (f" and {len(records) - MAX_LISTED} more" if len(records) > MAX_LISTED else "")
