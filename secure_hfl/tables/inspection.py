"""The first pass over a table: every column's cells are counted, and a spec is made. Nothing is kept or changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from secure_hfl.errors import TableError
from secure_hfl.tables import decide as rules
from secure_hfl.tables.ids import Ids
from secure_hfl.tables.networks import sizes
from secure_hfl.tables.problems import Problem, refuse
from secure_hfl.tables.profile import ColumnProfile
from secure_hfl.tables.sources import Source
from secure_hfl.tables.spec import DEFAULT_MISSING, TEST_SHARE, Column, Dropped, Kind, Label, Reading, TableSpec

LABEL_KINDS = ("", "regression", "classes")


@dataclass(frozen=True)
class Wishes:
    """What the user says of a table, and is not found.

    Args:
        id: the column of ids.
        label: the column to predict, at the Host; None at a Collaborator.
        label_kind: "regression" or "classes"; "": found.
        types: kinds of columns, by name: numeric, boolean, category, date, date:ymd, date:dmy, date:mdy.
        drop: columns that are left out.
        missing: texts for a missing value, beside those that always are.
        decimal: the mark of fractions, where the table leaves it open.
        with_unlabelled: the Host has rows without a label: they are predicted, and never trained on.
        test_share: of the samples, for validation. All parties must say the same.
        batch_size: samples. All parties must say the same.
        delimiter, encoding: of a CSV file; None: found.
    """

    id: str
    label: str | None = None
    label_kind: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    decimal: rules.Mark | None = None
    with_unlabelled: bool = False
    test_share: float = TEST_SHARE
    batch_size: int | None = None
    delimiter: str | None = None
    encoding: str | None = None

    @classmethod
    def taken_from(cls, id: str | None, arguments: dict[str, Any]) -> Wishes | None:
        """Those among a scheduler's named arguments, which are taken out. None without an id."""
        found = {each.name: arguments.pop(each.name) for each in fields(cls) if each.name in arguments}
        if id is None:
            return None
        for name in ("drop", "missing"):
            found[name] = tuple(found.get(name) or ())
        found["types"] = dict(found.get("types") or {})
        return cls(id=id, **found)

    def check(self, source: Source) -> None:
        """Raise `TableError` if they do not fit the table's columns."""
        names = source.names
        named = [self.id, *([] if self.label is None else [self.label]), *self.types, *self.drop]
        refuse(
            source.where,
            *(Problem(name, "there is none", _nearest(name, names)) for name in named if name not in names),
        )
        if self.label == self.id:
            raise TableError(f"{source.where}: column {self.id!r} cannot be both the id and the label")
        if self.label in self.drop or self.id in self.drop:
            raise TableError(f"{source.where}: the id and the label cannot be dropped")
        kinds = [*(kind.value for kind in Kind), *(f"date:{order}" for order in rules.ORDERS)]
        for name, kind in self.types.items():
            if kind not in kinds:
                raise TableError(f"column {name!r}: there is no type {kind!r}; types are {', '.join(kinds)}")
        if self.label_kind not in LABEL_KINDS:
            raise TableError(f"a label's kind is regression or classes, not {self.label_kind!r}")


def _nearest(name: str, names: tuple[str, ...]) -> str:
    alike = [each for each in names if each.strip().casefold() == name.strip().casefold()]
    listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"did you mean {alike[0]!r}?" if alike else f"the first line names the columns {listed}"


@dataclass(frozen=True)
class Found:
    """What a first pass has found.

    Attributes:
        rows: of the table.
        profiles: of its columns without the id, in its order.
        notes: what is odd, and no reason to stop.
    """

    spec: TableSpec
    rows: int
    profiles: tuple[ColumnProfile, ...]
    notes: tuple[str, ...]


def inspect(source: Source, wishes: Wishes) -> Found:
    """Look at all cells.

    Raises:
        TableError: the table cannot be used as it is; says all that is wrong with it.
    """
    wishes.check(source)
    missing = tuple(dict.fromkeys((*DEFAULT_MISSING, *wishes.missing)))
    ids = Ids(wishes.id, missing)
    profiles = {name: ColumnProfile(name, missing) for name in source.names if name != wishes.id}
    total = 0
    for batch in source.batches():
        total += batch.num_rows
        for name, array in zip(batch.schema.names, batch.columns):
            (ids if name == wishes.id else profiles[name]).add(array)
    if not total:
        raise TableError(f"{source.where} has no rows")
    label, columns, dropped, problems = _decide(profiles, wishes, source.delimiter)
    problems = [*ids.problems(), *problems]
    if not columns and label is None and not problems:
        why = ", ".join(f"{each.name!r} ({each.why})" for each in dropped[:5])
        problems.append(Problem("", f"no column is left to learn from: {why or 'there is only the id'}", "add one"))
    refuse(source.where, *problems)
    reading = Reading(
        delimiter=source.delimiter, encoding=source.encoding, missing=missing, with_unlabelled=wishes.with_unlabelled
    )
    spec = TableSpec(
        id=wishes.id,
        columns=tuple(columns),
        label=label,
        dropped=tuple(dropped),
        reading=reading,
        network=sizes(total, len(columns)),
        test_share=wishes.test_share,
        batch_size=wishes.batch_size,
    )
    notes = [note for note in (ids.note(),) if note]
    return Found(spec, total, tuple(profiles.values()), tuple(notes))


def _decide(
    profiles: Mapping[str, ColumnProfile], wishes: Wishes, delimiter: str | None
) -> tuple[Label | None, list[Column], list[Dropped], list[Problem]]:
    """Of every column."""
    label: Label | None = None
    columns: list[Column] = []
    dropped: list[Dropped] = []
    problems: list[Problem] = []
    for name, profile in profiles.items():
        found: object
        if name in wishes.drop:
            found = Dropped(name=name, why="as you said")
        elif name == wishes.label:
            kind = wishes.label_kind
            found = rules.decide_label(profile, kind, wishes.with_unlabelled, wishes.decimal, delimiter)
        elif wishes.label is None and name not in wishes.types and rules.is_label_name(name, profiles):
            found = Problem(
                name,
                "it is called as a label is, and labels are the Host's",
                f"leave it out: --drop '{name}'; or say that it is a feature: --type '{name}=category' (or its kind)",
            )
        else:
            found = rules.decide(profile, wishes.types.get(name, ""), wishes.decimal, delimiter)
        match found:
            case Label():
                label = found
            case Column():
                columns.append(found)
            case Dropped():
                dropped.append(found)
            case Problem():
                problems.append(found)
    return label, columns, dropped, problems
