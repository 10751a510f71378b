"""The second pass: the columns of a spec as numbers in memory. No text is kept but ids and each category's values once.

numeric, boolean, date    float64, NaN where missing; a date as seconds since 1970
category                  int32 codes into its values, -1 where missing
label                     class numbers (int64, -1 without a label) or float64 (NaN)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute as pc

from secure_hfl.errors import TableError
from secure_hfl.tables import cells as read
from secure_hfl.tables.ids import Ids
from secure_hfl.tables.problems import Problem, cells, refuse
from secure_hfl.tables.profile import number_text
from secure_hfl.tables.sources import Source
from secure_hfl.tables.spec import Column, DateOrder, Kind, Label, LabelKind, TableSpec

Values = npt.NDArray[Any]

MOST_TELLING = 50
"""Different values of a column that tells a class, at most; more may do so by chance."""


class _Reader:
    """Collects one column.

    Args:
        column: how it is read.
        missing: texts that stand for a missing value.
    """

    def __init__(self, column: Column, missing: Sequence[str]) -> None:
        self.column, self._missing = column, missing
        self._parts: list[Values] = []
        self._codes: dict[str, int] = {}
        self.unread = self.infinite = 0

    def add(self, array: Any) -> None:
        """The cells of a batch."""
        text = read.without_missing(read.to_text(array), self._missing) if read.is_text(array.type) else None
        if self.column.kind is Kind.CATEGORY:
            self._parts.append(self._coded(array if text is None else text))
            return
        present = len(array) - (array.null_count if text is None else text.null_count)
        values = self._typed(array) if text is None else self._parsed(text)
        self.infinite += int(np.isinf(values).sum())
        # A float's own NaN is a missing value as well.
        self.unread += present - int((~np.isnan(values)).sum()) if text is not None else 0
        self._parts.append(values)

    def _parsed(self, text: Any) -> read.Floats:
        if self.column.kind is Kind.DATE:
            return read.Dates(text).seconds(self.column.date_order or DateOrder.YEAR_FIRST)
        if self.column.kind is Kind.BOOLEAN:
            return read.truths(text)
        return read.numbers(text, self.column.decimal)

    def _typed(self, array: Any) -> read.Floats:
        types = pyarrow.types
        if types.is_null(array.type):
            return np.full(len(array), np.nan)
        is_date = types.is_timestamp(array.type) or types.is_date(array.type)
        is_number = types.is_integer(array.type) or types.is_floating(array.type) or types.is_decimal(array.type)
        if not (is_date if self.column.kind is Kind.DATE else is_number or types.is_boolean(array.type)):
            raise TableError(f"column {self.column.name!r} is to be {self.column.kind.value}, and is {array.type}")
        return read.timestamps(array) if is_date else read.floats(array)

    def _coded(self, array: Any) -> Values:
        types = pyarrow.types
        if types.is_floating(array.type):
            plain = [None if each is None or each != each else number_text(each) for each in array.to_pylist()]
            array = pyarrow.array(plain, pyarrow.string())
        coded = pc.cast(array, pyarrow.string()).dictionary_encode()
        known = [self._codes.setdefault(each, len(self._codes)) for each in coded.dictionary.to_pylist()]
        indices = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
        codes: Values = np.append(np.array(known, np.int32), np.int32(-1))[indices].astype(np.int32)
        return codes

    @property
    def values(self) -> Values:
        """All of them."""
        return np.concatenate(self._parts) if self._parts else np.empty(0)

    @property
    def categories(self) -> tuple[str, ...]:
        """The texts, by code."""
        return tuple(self._codes)

    def problem(self) -> Problem | None:
        """What is wrong, if anything."""
        name, kind = self.column.name, self.column.kind.value
        if self.unread:
            return Problem(
                name,
                f"{cells(self.unread, 'cannot', 'cannot')} be read as {kind}",
                f"correct them, or --type '{name}=category'",
            )
        if self.infinite:
            return Problem(
                name, cells(self.infinite, "is infinite", "are infinite"), "correct them or leave them empty"
            )
        return None


class TableRows:
    """A table in memory.

    Args:
        source: where it comes from.
        spec: what it is.

    Attributes:
        spec: see above.
        ids: of all rows.
        columns: values of each column that is used, by name.
        categories: of columns that are categories, the text of each code.
        labels: of the rows; None at a Collaborator, and where a table to predict has no such column.

    Raises:
        TableError: it does not fit the spec, or its ids are wrong; says all that is.
    """

    def __init__(self, source: Source, spec: TableSpec) -> None:
        self.spec = spec
        self._check_names(source)
        label, missing = spec.label, spec.reading.missing
        found = Ids(spec.id, missing)
        readers = {each.name: _Reader(each, missing) for each in spec.columns}
        self._has_label = label is not None and label.name in source.names
        of_label = _label_reader(label, missing) if label is not None and self._has_label else None
        if of_label is not None:
            readers[of_label.column.name] = of_label
        for batch in source.batches():
            found.add(batch.column(batch.schema.get_field_index(spec.id)))
            for name, reader in readers.items():
                reader.add(batch.column(batch.schema.get_field_index(name)))
        if not found.found and not found.absent and not found.type_name:
            raise TableError(f"{source.where} has no rows")
        problems = found.problems() or [each for reader in readers.values() if (each := reader.problem())]
        refuse(source.where, *problems)
        self.ids, self._row_of = found.found, found.row_of
        self.columns = {each.name: readers[each.name].values for each in spec.columns}
        self.categories = {name: each.categories for name, each in readers.items()}
        self.labels: Values | None = None
        if label is not None:
            self.labels = self._read_labels(label, of_label, source.where)

    def _check_names(self, source: Source) -> None:
        label = self.spec.label
        wanted = [self.spec.id, *self.spec.used]
        if label is not None and self.spec.reading.with_unlabelled:
            wanted.remove(label.name)
        absent = [name for name in wanted if name not in source.names]
        refuse(
            source.where, *(Problem(name, "the spec has it and the table has not", "put it back") for name in absent)
        )

    def _read_labels(self, label: Label, reader: _Reader | None, where: str) -> Values:
        if reader is None:
            empty = np.full(len(self.ids), np.nan)
            return empty if label.kind is LabelKind.REGRESSION else np.full(len(self.ids), -1, np.int64)
        labels = reader.values
        if label.kind is not LabelKind.REGRESSION:
            labels = _class_numbers(label, reader, where)
        without = int((np.isnan(labels) if label.kind is LabelKind.REGRESSION else labels < 0).sum())
        if without and not self.spec.reading.with_unlabelled:
            what = f"{cells(without, 'has', 'have')} no label, of {len(labels):,}"
            refuse(
                where, Problem(label.name, what, "remove these rows, or keep them to be predicted: --with-unlabelled")
            )
        return labels

    def rows_of(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Where these ids are. Raises `TableError` if some are not here."""
        found = [self._row_of.get(each, -1) for each in ids]
        absent = sum(each < 0 for each in found)
        if absent:
            raise TableError(
                f"{absent:,} of {len(ids):,} samples are not in the table any more: give the one trained on"
            )
        return np.array(found, np.int64)

    @property
    def labelled_ids(self) -> list[str]:
        """Those that can be trained on."""
        if self.labels is None or not self.spec.reading.with_unlabelled:
            return self.ids
        known = ~np.isnan(self.labels) if self.labels.dtype.kind == "f" else self.labels >= 0
        return [each for each, is_known in zip(self.ids, known.tolist()) if is_known]


def telltale_columns(table: TableRows) -> list[str]:
    """Columns whose value tells the label of every row: it may have been written after the label was known."""
    labels = table.labels
    if labels is None:
        return []
    is_number = labels.dtype.kind == "f"
    return [name for name, values in table.columns.items() if (_equals if is_number else _determines)(values, labels)]


def _equals(values: Values, labels: Values) -> bool:
    """But for a factor and a constant."""
    known = ~(np.isnan(values) | np.isnan(labels)) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    one, other = values[known], labels[known]
    if len(one) < MOST_TELLING or not one.std() or not other.std():
        return False
    return bool(abs(np.corrcoef(one, other)[0, 1]) > 1 - 1e-9)


def _determines(values: Values, labels: Values) -> bool:
    known = labels >= 0
    found, codes = np.unique(values[known], return_inverse=True)
    if not 1 < len(found) <= min(MOST_TELLING, len(codes) // 2):
        return False
    pairs = np.unique(codes.astype(np.int64) * (int(labels.max()) + 1) + labels[known])
    return len(pairs) == len(found)


def _label_reader(label: Label, missing: Sequence[str]) -> _Reader:
    kind = Kind.NUMERIC if label.kind is LabelKind.REGRESSION else Kind.CATEGORY
    return _Reader(Column(name=label.name, kind=kind, decimal=label.decimal), missing)


def _class_numbers(label: Label, reader: _Reader, where: str) -> Values:
    """Codes of texts to numbers of the spec's classes; whole numbers match however they are written."""
    numbers = {each: at for at, each in enumerate(label.classes)}
    known = [numbers.get(each, numbers.get(_plain_whole(each), -2)) for each in reader.categories]
    labels = np.append(np.array(known, np.int64), -1)[reader.values]
    strange = int((labels == -2).sum())
    refuse(
        where,
        *[
            Problem(
                label.name,
                f"{cells(strange, 'is', 'are')} of a class that the spec does not have",
                "add it, or correct them",
            )
        ]
        * bool(strange),
    )
    return labels


def _plain_whole(text: str) -> str:
    try:
        return str(int(text))
    except ValueError:
        return text
