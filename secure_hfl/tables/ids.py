"""The column of ids: text as it is written, in Unicode's NFC, as parties compare ids; so "007" is not 7."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow

from protocols.psi import normal_form
from secure_hfl.engine.id_forms import Forms
from secure_hfl.errors import TableError
from secure_hfl.tables import cells as read
from secure_hfl.tables.problems import Problem, refuse, rows
from secure_hfl.tables.sources import open_source
from secure_hfl.tables.spec import DEFAULT_MISSING


def texts_of(array: Any) -> list[str | None] | None:
    """The ids of a column, as text; None if it has neither text nor whole numbers."""
    if read.is_text(array.type):
        array = read.to_text(array)
    elif pyarrow.types.is_integer(array.type):
        array = array.cast(pyarrow.string())
    elif not pyarrow.types.is_null(array.type):
        return None
    values: list[str | None] = array.to_pylist()
    return values


class Ids:
    """All ids of a table, in its order.

    Args:
        name: of the column.
        missing: texts that stand for no value.

    Attributes:
        found: the ids.
        row_of: the row of each.
        absent, repeated: rows without an id, and with one that an earlier row has.
        type_name: of cells that are neither text nor whole numbers.
    """

    def __init__(self, name: str, missing: Collection[str]) -> None:
        self.name = name
        self.found: list[str] = []
        self.row_of: dict[str, int] = {}
        self.absent = self.repeated = 0
        self.type_name = ""
        self._missing = frozenset(missing)

    def add(self, array: Any) -> None:
        """Those of a batch."""
        values = texts_of(array)
        if values is None:
            self.type_name = str(array.type)
            return
        for each in values:
            if each is None or each.strip() in self._missing or not each.strip():
                self.absent += 1
                continue
            key = normal_form(each)
            if key in self.row_of:
                self.repeated += 1
                continue
            self.row_of[key] = len(self.found)
            self.found.append(key)

    def problems(self) -> list[Problem]:
        """What is wrong with them."""
        found = []
        if self.type_name:
            found.append(
                Problem(
                    self.name,
                    f"ids are text or whole numbers, and these are {self.type_name}",
                    "write them as text, as the other parties do (in pandas: read_csv(..., dtype={id: str}))",
                )
            )
        if self.absent:
            found.append(
                Problem(self.name, f"{rows(self.absent, 'has', 'have')} no id", "give them one, or remove them")
            )
        if self.repeated:
            found.append(
                Problem(
                    self.name,
                    f"{rows(self.repeated, 'repeats', 'repeat')} the id of an earlier one",
                    "a sample is one row: remove the others, or put them together (their mean, the newest)",
                )
            )
        return found

    def note(self) -> str:
        """What other parties may write otherwise; "" if nothing."""
        forms = Forms(self.found)
        if all(said.startswith("have capital letters") for said in forms.counts):
            return ""  # as most names do
        looked = "" if forms.looked_at == len(self.found) else f" of the first {forms.looked_at:,},"
        return f"ids match only where all parties write them alike:{looked} {forms}"


def ids_of_table(path: str, column: str) -> list[str]:
    """The ids of a CSV or Parquet file, without the rest of it. Raises `TableError` unless each row has its own."""
    source = open_source(path)
    if column not in source.names:
        raise TableError(f"{source.where} has no column {column!r}; it has: {', '.join(source.names[:8])}")
    ids = Ids(column, DEFAULT_MISSING)
    for batch in source.batches():
        ids.add(batch.column(batch.schema.get_field_index(column)))
    refuse(source.where, *ids.problems())
    return ids.found
