"""What a column is: all its cells are counted by what they can be read as, batch by batch, and then it is decided.

| found | read as |
|---|---|
| whole numbers, fractions | numeric; boolean where they are 0 and 1 only |
| true/false, yes/no, t/f, y/n | boolean |
| 2024-05-03, 3.5.2024, 3/5/2024 with or without a time | date |
| other text | category, if it has few enough values; else it is left out |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute as pc

from secure_hfl.tables import cells as read
from secure_hfl.tables.spec import DateOrder

MOST_VALUES = 1000
"""Distinct values that are told apart; a text of more is no category."""

FEW_VALUES = 20
"""So many are a category whatever they are, and whole numbers a label's classes."""

_THOUSANDS = r"^[+-]?[0-9]{1,3}([.,' ][0-9]{3})+([.,][0-9]+)?$"
_WITH_UNIT = r"^[^0-9A-Za-z+-]{0,2}[+-]?[0-9][0-9.,]* ?([^0-9 :/.-]{1,8})?$"
_ERROR = r"^#(DIV/0!|VALUE!|REF!|NAME\?|NUM!|NULL!)$"


class ColumnProfile:
    """The cells of one column.

    Args:
        name: of the column.
        missing: texts that stand for a missing value.

    Attributes:
        rows, missing: all cells, and those without a value.
        typed: what its type says: "text", "numeric", "boolean", "date"; "" for one that nothing can be made of.
        counts: cells by what they can be read as: whole, point, comma (fractions with such a mark), infinite, huge,
            truth, ymd, dotted, slashed (dates), formula, thousands (with marks between), unit (numbers with one), error
            (a spreadsheet's).
        values: the distinct ones as text, up to `MOST_VALUES` and a batch's.
        days_above, months_above: dates of which only the first, or only the second number can be a day.
    """

    def __init__(self, name: str, missing: Collection[str]) -> None:
        self.name = name
        self.rows = self.missing = 0
        self.typed: str | None = None
        self.type_name = ""
        self.counts: Counter[str] = Counter()
        self.values: set[str] = set()
        self.has_many = False
        self.days_above = self.months_above = 0
        self._missing_texts = missing

    @property
    def present(self) -> int:
        """Cells with a value."""
        return self.rows - self.missing

    @property
    def numeric(self) -> int:
        """Cells that are numbers, whichever mark their fractions have."""
        return sum(self.counts[each] for each in ("whole", "point", "comma", "infinite"))

    @property
    def is_mixed_type(self) -> bool:
        """Whether batches had several types."""
        return self.typed == "several"

    def add(self, array: Any) -> None:
        """The cells of a batch."""
        self.rows += len(array)
        kind = _family(array.type)
        if kind != "null":
            self.typed = kind if self.typed in (None, kind) else "several"
            self.type_name = str(array.type)
        if kind == "text":
            self._add_text(read.without_missing(read.to_text(array), self._missing_texts))
        elif kind == "numeric":
            self._add_numbers(array)
        elif kind in ("boolean", "date"):
            self.missing += array.null_count
            self._remember(pc.cast(array.drop_null(), pyarrow.string()))
            self.counts["truth" if kind == "boolean" else "ymd"] += len(array) - array.null_count
        else:
            self.missing += array.null_count

    def _add_numbers(self, array: Any) -> None:
        values = read.floats(array)
        self.missing += int(np.isnan(values).sum())
        values = values[~np.isnan(values)]
        whole = np.isfinite(values) & (values == np.floor(values))
        self.counts["infinite"] += int(np.isinf(values).sum())
        self.counts["whole"] += int(whole.sum())
        self.counts["point"] += int((np.isfinite(values) & ~whole).sum())
        self.counts["huge"] += int((whole & (np.abs(values) > read.LARGEST_WHOLE)).sum())
        if not self.has_many:
            self._remember_all({number_text(each) for each in np.unique(values)[: MOST_VALUES + 1].tolist()})

    def _add_text(self, text: Any) -> None:
        self.missing += text.null_count
        counted = text.drop_null().value_counts()
        values, weights = counted.field(0), counted.field(1).to_numpy(zero_copy_only=False)
        if not len(values):
            return
        self._remember(values)
        whole, point, comma = read.are_whole(values), read.are_fractions(values, "."), read.are_fractions(values, ",")
        infinite = read.are_infinite(values)
        is_number = whole | point | comma | infinite
        sizes = read.numbers(values, ".")
        infinite |= np.isinf(sizes)
        masks = {
            "whole": whole & ~infinite,
            "point": point & ~infinite,
            "comma": comma & ~point,
            "infinite": infinite,
            "huge": whole & (np.abs(np.nan_to_num(sizes)) > read.LARGEST_WHOLE),
            "truth": ~np.isnan(read.truths(values)),
            "formula": read.are_formulas(values) & ~is_number,
            "thousands": read.matches(values, _THOUSANDS) & ~is_number,
            "unit": read.matches(values, _WITH_UNIT) & ~is_number,
            "error": read.matches(values, _ERROR),
        }
        if not is_number.all():
            masks |= self._dates(values, weights)
        for name, mask in masks.items():
            self.counts[name] += int(weights[mask].sum())

    def _dates(self, values: Any, weights: Any) -> dict[str, read.Mask]:
        dates = read.Dates(values)
        last = dates.with_point | dates.with_other
        self.days_above += int(weights[last & (dates.first > 12)].sum())
        self.months_above += int(weights[last & (dates.second > 12)].sum())
        return {"ymd": dates.year_first, "dotted": dates.with_point, "slashed": dates.with_other}

    def _remember(self, values: Any) -> None:
        if not self.has_many:
            self._remember_all(set(values.unique().slice(0, MOST_VALUES + 1).to_pylist()))

    def _remember_all(self, values: set[str]) -> None:
        self.values |= values
        self.has_many = len(self.values) > MOST_VALUES

    @property
    def is_constant(self) -> bool:
        """One value in every row."""
        return self.missing == 0 and len(self.values) == 1 and not self.has_many

    def date_order(self) -> DateOrder | None:
        """How its dates are written; None: nothing tells day and month apart, or there are several ways."""
        ways = [name for name in ("ymd", "dotted", "slashed") if self.counts[name]]
        if ways == ["ymd"]:
            return DateOrder.YEAR_FIRST
        if "ymd" in ways or (self.days_above and self.months_above):
            return None
        if ways == ["dotted"] or self.days_above:
            return DateOrder.DAY_FIRST
        return DateOrder.MONTH_FIRST if self.months_above else None


def number_text(value: float) -> str:
    """A number as the name of a class: whole ones without a point."""
    return str(int(value)) if np.isfinite(value) and value == int(value) else repr(value)


def _family(kind: Any) -> str:
    """What can be made of an Arrow type; "" of nothing."""
    types = pyarrow.types
    if types.is_null(kind):
        return "null"
    if read.is_text(kind):
        return "text"
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "numeric"
    return "date" if types.is_timestamp(kind) or types.is_date(kind) else ""
