"""SQLite files of a party (0600), in which it counts or keeps something across processes before anything leaves."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from secure_hfl.errors import TaskError

Database = sqlite3.Connection
Damaged = sqlite3.DatabaseError

BUSY_SECONDS = 30.0


@contextmanager
def reading(path: Path, consequence: str) -> Iterator[Database]:
    """Only to look: waits for nobody for long, and makes no file.

    Args:
        path: of the file, which is there.
        consequence: what follows if it cannot be read, for the error.

    Raises:
        TaskError: it cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", timeout=1.0, uri=True)) as db:
            yield db
    except Damaged as error:
        raise TaskError(f"{path}: {error}; {consequence}") from error


@contextmanager
def transaction(path: Path, schema: Sequence[str], consequence: str) -> Iterator[Database]:
    """All or nothing of what is done in it.

    Args:
        path: of the file; made if it is not there.
        schema: statements that make its tables, if they are not there.
        consequence: what follows if it is damaged, for the error.

    Raises:
        TaskError: the file cannot be read or written.
    """
    # SQLite gives its journal files the mode of the database, so that one must be right before it opens it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        for statement in schema:
            db.execute(statement)
        yield db
        db.execute("COMMIT")
    except Damaged as error:
        raise TaskError(f"{path}: {error}; {consequence}") from error
    finally:
        db.close()  # rolls back what was not committed
