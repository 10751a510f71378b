"""What is wrong with a table, all of it in one error: which column, how many cells, and what to do. Never a value."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from protocols.core.errors import MissingExtra
from secure_hfl.errors import TableError

MOST_SAID = 8
"""Problems in one error; the rest are counted."""


@dataclass(frozen=True)
class Problem:
    """One of them. `column`: its name, or "" if it is the table's."""

    column: str
    what: str
    remedy: str

    def __str__(self) -> str:
        where = f"column {self.column!r}: " if self.column else ""
        return f"{where}{self.what}; {self.remedy}"


def refuse(where: str, *problems: Problem) -> None:
    """Raise `TableError` if there are problems; `where` is the table."""
    if not problems:
        return
    said = [str(each) for each in problems[:MOST_SAID]]
    if len(problems) > MOST_SAID:
        said.append(f"and {len(problems) - MOST_SAID} more columns")
    raise TableError(f"{where}: {'. Also '.join(said)}")


def cells(count: int, one: str, many: str) -> str:
    """So many of them, with the verb for one or for many."""
    return f"1 cell {one}" if count == 1 else f"{count:,} cells {many}"


def rows(count: int, one: str, many: str) -> str:
    """So many of them, likewise."""
    return f"1 row {one}" if count == 1 else f"{count:,} rows {many}"


def check_extra(module: str, extra: str, what: str) -> None:
    """Raise `MissingExtra` unless a module is installed."""
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(f"{what} need {module}: pip install 'secure-hfl[{extra}]'")
