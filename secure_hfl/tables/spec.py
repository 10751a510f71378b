"""What a party's table is: which columns, of which kind, what is predicted, and how large the networks are. JSON.

It holds names and kinds of columns, the names of the label's classes, and no row. It is written beside a script of
`secure-hfl table` and may be edited.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from secure_hfl.errors import TableError

DEFAULT_MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None")
"""Texts that stand for a missing value."""

TEST_SHARE = 0.2


class Kind(str, Enum):
    """What a column is read as."""

    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"


class LabelKind(str, Enum):
    """What is predicted."""

    REGRESSION = "regression"
    BINARY = "binary"
    CLASSES = "classes"


class DateOrder(str, Enum):
    """Which number of a date written in digits is which."""

    YEAR_FIRST = "year first"
    DAY_FIRST = "day first"
    MONTH_FIRST = "month first"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Model):
    """One column that is used.

    Args:
        name: as the table has it.
        kind: see `Kind`.
        decimal: what stands before a number's fraction.
        date_order: of dates that are text.
    """

    name: str
    kind: Kind
    decimal: Literal[".", ","] = "."
    date_order: DateOrder | None = None


class Label(_Model):
    """What the Host predicts.

    Args:
        name: of its column.
        kind: see `LabelKind`.
        classes: the texts of the classes, in the order of their numbers; none in a regression.
        decimal: what stands before a number's fraction.
    """

    name: str
    kind: LabelKind
    classes: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _check_classes(self) -> Label:
        if (self.kind is LabelKind.REGRESSION) != (not self.classes):
            raise ValueError("classes are listed unless it is a regression")
        if len(set(self.classes)) != len(self.classes) or len(self.classes) == 1:
            raise ValueError("a label has two classes or more, each named once")
        return self


class Dropped(_Model):
    """A column that is not used, and why."""

    name: str
    why: str


class Reading(_Model):
    """How a file is read.

    Args:
        delimiter: between the cells of a CSV file.
        encoding: of its text.
        missing: texts that stand for a missing value.
        with_unlabelled: whether the Host has rows without a label, which are predicted and never trained on.
    """

    delimiter: str | None = None
    encoding: str = "utf-8"
    missing: tuple[str, ...] = DEFAULT_MISSING
    with_unlabelled: bool = False


class Network(_Model):
    """Sizes of the models: `secure_hfl/tables/networks.py` has the rule.

    Args:
        hidden: units of the bottom model's hidden layer, and of the top model's.
        features: outputs of the bottom model.
        projection: outputs of each Collaborator's projection layer, at the Host.
    """

    hidden: int = Field(ge=1)
    features: int = Field(ge=1)
    projection: int = Field(ge=1)


class TableSpec(_Model):
    """All that is known of a table.

    Args:
        id: the column that names the samples; kept as it is written.
        columns: that are used, in this order.
        label: what is predicted, at the Host.
        dropped: what is not used.
        reading: how the file is read.
        network: sizes of the models.
        test_share: of the samples, for validation; the same at all parties.
        batch_size: samples; None: by the number of training samples. The same at all parties.
        most_categories: one-hot columns of a category; rarer values share one.
    """

    format: Literal[1] = 1
    id: str
    columns: tuple[Column, ...]
    label: Label | None = None
    dropped: tuple[Dropped, ...] = ()
    reading: Reading = Reading()
    network: Network
    test_share: float = Field(default=TEST_SHARE, gt=0, lt=1)
    batch_size: int | None = Field(default=None, ge=1, le=1 << 16)
    most_categories: int = Field(default=20, ge=1, le=1000)

    @model_validator(mode="after")
    def _check_names(self) -> TableSpec:
        names = [self.id, *self.used]
        if len(set(names)) != len(names):
            raise ValueError("a column is named twice")
        return self

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the columns that are read beside the id."""
        label = () if self.label is None else (self.label.name,)
        return (*(each.name for each in self.columns), *label)

    @classmethod
    def load(cls, path: Path | str) -> TableSpec:
        """From a file. Raises `TableError` if it is none."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise TableError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise TableError(f"{path}: {place}: {first['msg']}") from None

    def text(self) -> str:
        """As the file's text: a line for each column, and nothing that is as it always is."""
        plain = self.model_dump(mode="json", exclude_defaults=True)
        lines = [f' "format": {self.format}']
        for name, value in plain.items():
            if isinstance(value, list):
                each = ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value)
                lines.append(f' "{name}": [\n  {each}\n ]')
            else:
                lines.append(f' "{name}": {json.dumps(value, ensure_ascii=False)}')
        return "{\n" + ",\n".join(lines) + "\n}\n"
