"""How often a Collaborator has let each of its samples be predicted, and how many ids it was asked about today.

    <task directory>/predictions/counts.sqlite      0600

What it allows is a part of its terms (`RunLimits.predictions`, `asked_a_day`), which the Host is told. Counts are
written before a feature, or a word about an id, leaves: a session that breaks off has cost what a whole one costs. They
outlive the process, and nothing takes them back. Days are those of UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from protocols.core.errors import WrongSession
from protocols.task.terms import RunLimits
from secure_hfl.database import Database, reading, transaction
from secure_hfl.tasks.record import utc_now

COUNTS = "counts.sqlite"
PLACE = Path("predictions", COUNTS)
"""In the task's directory."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS predicted (id TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS asked (day TEXT PRIMARY KEY, ids INTEGER NOT NULL) WITHOUT ROWID",
)


@dataclass(frozen=True)
class BudgetUse:
    """What was used so far of what a Collaborator allows.

    Attributes:
        asked: ids that were asked about today.
        samples: how many were predicted, once or more.
        spent: how many of those may not be predicted again; 0 where that is not limited.
        most: how often the one was predicted that was predicted most.
    """

    asked: int = 0
    samples: int = 0
    spent: int = 0
    most: int = 0


class PredictionBudget:
    """One Collaborator's counts in one task.

    Args:
        path: of the file; made when it is first needed.
        party: for errors.
        limits: what it allows.
        today: which day it is.
    """

    def __init__(
        self, path: Path, party: str, limits: RunLimits, today: Callable[[], date] = lambda: utc_now().date()
    ) -> None:
        self._path, self._party, self._limits, self._today = path, party, limits, today

    def ask(self, count: int) -> None:
        """The Host is about to ask about so many ids.

        Raises:
            WrongSession: that is more than this day has left. Nothing is counted then.
            TaskError: the counts cannot be read or written.
        """
        day = self._today().isoformat()
        with self._transaction() as db:
            row = db.execute("SELECT ids FROM asked WHERE day = ?", (day,)).fetchone()
            before = row[0] if row is not None else 0
            self._limits.check_asked(self._party, count, before)
            db.execute("INSERT OR REPLACE INTO asked VALUES (?, ?)", (day, before + count))

    def predict(self, ids: Sequence[str]) -> None:
        """The rows of these ids are about to be shown, once more.

        Raises:
            WrongSession: that is once too often for some. Says for how many; nothing is counted then.
            TaskError: as `ask`.
        """
        with self._transaction() as db:
            times = [self._times(db, each) for each in ids]
            self._limits.check_predictions(self._party, times)
            rows = [(each, count + 1) for each, count in zip(ids, times)]
            db.executemany("INSERT OR REPLACE INTO predicted VALUES (?, ?)", rows)

    def ask_or_left(self, count: int) -> int | None:
        """As `ask`; but where it is more than this day has left: how many it has, and nothing is counted."""
        try:
            self.ask(count)
        except WrongSession:
            left = self._limits.asked_a_day - self.asked_today()
            return max(0, min(left, count - 1))  # another day may have begun since
        return None

    def predict_or_spent(self, ids: Sequence[str]) -> list[bool]:
        """As `predict`; but where it is once too often for some: which these are, and nothing is counted."""
        try:
            self.predict(ids)
        except WrongSession:
            return [self.times(each) >= self._limits.predictions for each in ids]
        return [False] * len(ids)

    def use(self) -> BudgetUse:
        """What was used so far. Waits for nobody and makes no file.

        Raises:
            TaskError: the counts cannot be read.
        """
        if not self._path.exists():
            return BudgetUse()
        limit = self._limits.predictions
        with reading(self._path, "how much of what is allowed was used is not known") as db:
            asked = db.execute("SELECT ids FROM asked WHERE day = ?", (self._today().isoformat(),)).fetchone()
            sums = "SELECT COUNT(*), COALESCE(SUM(times >= ?), 0), COALESCE(MAX(times), 0) FROM predicted"
            samples, spent, most = db.execute(sums, (limit,)).fetchone()
        return BudgetUse(asked[0] if asked is not None else 0, samples, spent if limit else 0, most)

    def asked_today(self) -> int:
        """How many ids were asked about today."""
        with self._transaction() as db:
            row = db.execute("SELECT ids FROM asked WHERE day = ?", (self._today().isoformat(),)).fetchone()
        return row[0] if row is not None else 0

    def times(self, sample: str) -> int:
        """How often a sample was predicted."""
        with self._transaction() as db:
            return self._times(db, sample)

    @staticmethod
    def _times(db: Database, sample: str) -> int:
        row = db.execute("SELECT times FROM predicted WHERE id = ?", (sample,)).fetchone()
        return row[0] if row is not None else 0

    def _transaction(self) -> AbstractContextManager[Database]:
        return transaction(
            self._path,
            _SCHEMA,
            "how often samples were predicted is not known, so none is. Check the disk; a damaged file can only be "
            "moved away, and then all counts begin anew",
        )
