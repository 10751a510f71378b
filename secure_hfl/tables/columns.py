"""The columns of a table whose id nobody has named yet: what each would be read as, and which could be the id."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from secure_hfl.errors import TableError
from secure_hfl.tables import decide as rules
from secure_hfl.tables.ids import Ids
from secure_hfl.tables.problems import Problem
from secure_hfl.tables.profile import ColumnProfile
from secure_hfl.tables.sources import Source
from secure_hfl.tables.spec import DEFAULT_MISSING, Column, Dropped


@dataclass(frozen=True)
class Seen:
    """One column.

    Attributes:
        kind: what it would be read as; "" if it would be left out, or refused.
        note: why, then.
        could_be_id: every row has a value, text or a whole number, that no other row has.
    """

    profile: ColumnProfile
    kind: str
    note: str
    could_be_id: bool


@dataclass(frozen=True)
class Columns:
    """All of them, in the table's order."""

    rows: int
    seen: tuple[Seen, ...]

    @property
    def ids(self) -> list[str]:
        """Names of those that could be the id."""
        return [each.profile.name for each in self.seen if each.could_be_id]


def look(source: Source, missing: Collection[str] = ()) -> Columns:
    """Look at all cells. A column that has repeated a value is not followed any more: only ids stay in memory.

    Args:
        missing: texts for a missing value, beside those that always are.

    Raises:
        TableError: the table cannot be read, or has no rows.
    """
    texts = tuple(dict.fromkeys((*DEFAULT_MISSING, *missing)))
    profiles = {name: ColumnProfile(name, texts) for name in source.names}
    candidates = {name: Ids(name, texts) for name in source.names}
    total = 0
    for batch in source.batches():
        total += batch.num_rows
        for name, array in zip(batch.schema.names, batch.columns):
            profiles[name].add(array)
            if name in candidates:
                candidates[name].add(array)
                if candidates[name].problems():
                    del candidates[name]
    if not total:
        raise TableError(f"{source.where} has no rows")
    return Columns(total, tuple(_seen(each, name in candidates, source) for name, each in profiles.items()))


def _seen(profile: ColumnProfile, could_be_id: bool, source: Source) -> Seen:
    match rules.decide(profile, delimiter=source.delimiter):
        case Column() as column:
            return Seen(profile, column.kind.value, "", could_be_id)
        case Dropped() as dropped:
            return Seen(profile, "", dropped.why, could_be_id)
        case Problem() as problem:
            return Seen(profile, "", problem.what, could_be_id)
