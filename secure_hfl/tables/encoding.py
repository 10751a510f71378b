"""From a table's values to a network's inputs, as fitted to this party's own training rows. Kept as JSON.

| kind | inputs |
|---|---|
| numeric, boolean | one: (value - mean) / standard deviation |
| date | days since 1970 as a number; sine and cosine of the day in its year; with times, those of the hour |
| category | one for each of its most frequent values, and one for all rarer ones |

A missing number or date becomes the mean, with one more input that says so, if training rows had any; a missing
category is one of its values. What no training row had is all zeros.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from secure_hfl.errors import TableError
from secure_hfl.files import write_private
from secure_hfl.tables.rows import TableRows, Values
from secure_hfl.tables.spec import Column, Kind, LabelKind, TableSpec

Inputs = npt.NDArray[np.float32]

DAY = 86400.0
YEAR = 365.2425


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FittedNumber(_Model):
    """Of a column of numbers, truth values or dates.

    Attributes:
        mean, deviation: of training rows (dates: in days); a deviation is never 0.
        has_missing: whether training rows lack values.
        has_hours: of dates, whether training rows have times.
    """

    name: str
    mean: float
    deviation: float
    has_missing: bool
    is_date: bool = False
    has_hours: bool = False

    @property
    def width(self) -> int:
        """Inputs."""
        return 1 + self.has_missing + 2 * self.is_date + 2 * self.has_hours

    def inputs(self, values: Values) -> Inputs:
        """[n] -> [n, width]."""
        unknown = np.isnan(values)
        days = values / DAY if self.is_date else values
        made = [np.where(unknown, 0.0, (days - self.mean) / self.deviation)]
        if self.has_missing:
            made.append(unknown.astype(np.float64))
        if self.is_date:
            made += _circle(days / YEAR, unknown)
        if self.has_hours:
            made += _circle(days, unknown)
        return np.stack(made, 1).astype(np.float32)


def _circle(turns: Values, unknown: npt.NDArray[np.bool_]) -> list[Values]:
    angle = 2 * np.pi * np.where(unknown, 0.0, turns)
    return [np.where(unknown, 0.0, np.sin(angle)), np.where(unknown, 0.0, np.cos(angle))]


class FittedCategory(_Model):
    """Of a category.

    Attributes:
        values: those that have an input of their own, by how frequent they are.
        has_rare: whether training rows have others.
        has_missing: whether training rows lack values.
    """

    name: str
    values: tuple[str, ...]
    has_rare: bool
    has_missing: bool

    @property
    def width(self) -> int:
        """Inputs."""
        return len(self.values) + self.has_rare + self.has_missing

    def inputs(self, codes: Values, categories: tuple[str, ...]) -> Inputs:
        """[n] -> [n, width]."""
        at = {value: number for number, value in enumerate(self.values)}
        nowhere = self.width
        rare = len(self.values) if self.has_rare else nowhere
        places = [at.get(each, rare) for each in categories]
        places.append(self.width - 1 if self.has_missing else nowhere)  # of the code -1
        made = np.zeros((len(codes), self.width + 1), np.float32)
        made[np.arange(len(codes)), np.array(places)[codes]] = 1.0
        return made[:, : self.width]


class Encoding(_Model):
    """Of a party's table.

    Attributes:
        columns: what is fitted, in the spec's order.
        class_weights: of the Host's classes: all weigh the same in all; empty in a regression.
        label_mean, label_deviation: of a regression's label.
    """

    columns: tuple[FittedNumber | FittedCategory, ...]
    class_weights: tuple[float, ...] = ()
    label_mean: float = 0.0
    label_deviation: float = 1.0

    @classmethod
    def fit(cls, table: TableRows, train: npt.NDArray[np.int64]) -> Encoding:
        """To these rows, and no others."""
        spec = table.spec
        columns = tuple(_fit(each, table, train, spec) for each in spec.columns)
        if spec.label is None or table.labels is None:
            return cls(columns=columns)
        labels = table.labels[train]
        if spec.label.kind is LabelKind.REGRESSION:
            mean, deviation = float(labels.mean()), float(labels.std())
            return cls(columns=columns, label_mean=mean, label_deviation=deviation or 1.0)
        counts = np.bincount(labels, minlength=len(spec.label.classes))
        # A class without a training row has no say.
        weights = np.where(counts > 0, len(labels) / np.maximum(counts, 1) / max(1, int((counts > 0).sum())), 0.0)
        return cls(columns=columns, class_weights=tuple(weights.tolist()))

    @property
    def width(self) -> int:
        """Inputs of the bottom model."""
        return sum(each.width for each in self.columns)

    def inputs(self, table: TableRows, rows: npt.NDArray[np.int64]) -> Inputs:
        """[rows, width] float32."""
        made = [self._part(each, table, rows) for each in self.columns]
        return np.concatenate(made, 1) if made else np.empty((len(rows), 0), np.float32)

    @staticmethod
    def _part(fitted: FittedNumber | FittedCategory, table: TableRows, rows: npt.NDArray[np.int64]) -> Inputs:
        values = table.columns[fitted.name][rows]
        if isinstance(fitted, FittedCategory):
            return fitted.inputs(values, table.categories[fitted.name])
        return fitted.inputs(values)

    def save(self, path: Path) -> None:
        """As JSON that only its owner reads: it has values of categories, and means."""
        write_private(path, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Encoding:
        """What `save` wrote. Raises `TableError`."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise TableError(f"{path} cannot be used: {type(error).__name__}") from None


def _fit(
    column: Column, table: TableRows, train: npt.NDArray[np.int64], spec: TableSpec
) -> FittedNumber | FittedCategory:
    values = table.columns[column.name][train]
    if column.kind is Kind.CATEGORY:
        return _fit_category(column.name, values, table.categories[column.name], spec.most_categories)
    is_date = column.kind is Kind.DATE
    scaled = values / DAY if is_date else values
    known = scaled[~np.isnan(scaled)]
    deviation = float(known.std()) if len(known) else 0.0
    return FittedNumber(
        name=column.name,
        mean=float(known.mean()) if len(known) else 0.0,
        deviation=deviation if deviation > 0 and np.isfinite(deviation) else 1.0,
        has_missing=len(known) < len(values),
        is_date=is_date,
        has_hours=is_date and bool((known % 1 > 0).any()),
    )


def _fit_category(name: str, codes: Values, categories: tuple[str, ...], most: int) -> FittedCategory:
    counts = np.bincount(codes[codes >= 0], minlength=len(categories))
    # By text where they are equally frequent, so that the order of the rows does not matter.
    order = sorted((at for at in range(len(categories)) if counts[at]), key=lambda at: (-counts[at], categories[at]))
    return FittedCategory(
        name=name,
        values=tuple(categories[at] for at in order[:most]),
        has_rare=len(order) > most,
        has_missing=bool((codes < 0).any()),
    )
