"""A script from a table, without code: `secure-hfl table ROLE --only-save` as a process.

The script goes beside its table, in `<table>-<first characters of the task's id>/`, where it may be run and edited.
"""

from __future__ import annotations

import sys
from pathlib import Path

from secure_hfl.errors import ConfigurationError, TableError
from secure_hfl.supervision.local_party import CONSOLE, party_environment
from secure_hfl.supervision.script_folders import Choice, ScriptFolders
from secure_hfl.supervision.supervised import Supervised
from secure_hfl.tables.csv_format import find_format
from secure_hfl.tasks import TaskStore

COMMAND = (sys.executable, "-m", "secure_hfl", "table")
MAX_COLUMNS = 300
"""Names of columns that a page suggests."""

_SHORT = 6


class TableScriptRun:
    """Of one task.

    Args:
        store: where the task is.
        task_id: its full id.
    """

    def __init__(self, store: TaskStore, task_id: str) -> None:
        self._store, self.task_id = store, task_id
        self.process = Supervised(store.directory(task_id) / CONSOLE, "table")

    @property
    def is_running(self) -> bool:
        """Whether a table is looked at now."""
        return self.process.is_alive()

    def script(self) -> Path | None:
        """What the last one has written; None: nothing."""
        last = self.process.last()
        path = Path(last.what.get("script", "")) if last is not None and not last.process.is_alive() else None
        return path if path is not None and path.is_file() else None

    def said(self) -> str:
        """What was found in the last table, or why it cannot be used."""
        last = self.process.last()
        return "" if last is None else self.process.output(last.log_from).decode(errors="replace")

    def has_failed(self) -> bool:
        """Whether the last one has written no script."""
        last = self.process.last()
        return last is not None and not last.process.is_alive() and "error: " in self.said()

    def start(self, table: Choice, id_column: str, label: str) -> None:
        """Look at a table and write the script. `label`: a host's.

        Raises:
            ConfigurationError: a column is not named.
            TaskStateError: one is looked at already.
        """
        record = self._store.get(self.task_id)
        if not id_column:
            raise ConfigurationError("say which column has the ids")
        if record.role == "host" and not label:
            raise ConfigurationError("say which column is to be predicted")
        directory = table.path.parent / f"{table.path.stem}-{self.task_id[:_SHORT]}"
        script = directory / f"{record.role}.py"
        # With "=", so that no column's name is taken for an option.
        arguments = [f"--data={table.path}", f"--id={id_column}", f"--task={self.task_id}", f"--save={directory}"]
        arguments += [f"--label={label}"] if record.role == "host" else []
        what = {"script": str(script), "table": table.label}
        environment = party_environment(self._store.home, {})
        self.process.start([*COMMAND, record.role, *arguments, "--only-save"], what, environment, table.path.parent)


def suggested_columns(folders: ScriptFolders) -> list[str]:
    """Names of columns of the CSV files there, for who types one."""
    found: dict[str, None] = {}
    for table in folders.tables():
        if table.path.suffix == ".parquet" or len(found) >= MAX_COLUMNS:
            continue
        try:
            found |= dict.fromkeys(find_format(table.path, None, None).names)
        except TableError:
            continue
    return list(found)[:MAX_COLUMNS]
