"""What was found in a table, for people: kinds, counts and what is left out. No value of a cell."""

from __future__ import annotations

from rich.console import Console

from protocols.core.wording import plural
from secure_hfl.cli.output import plain, table
from secure_hfl.tables.columns import Columns
from secure_hfl.tables.inspection import Found
from secure_hfl.tables.profile import ColumnProfile
from secure_hfl.tables.spec import Column, Label, LabelKind


def print_summary(out: Console, where: str, found: Found) -> None:
    """A row for each column, and what is odd."""
    spec = found.spec
    out.print(plain(f"{where}: {plural(found.rows, 'row')}, ids in {spec.id!r}", "bold"))
    known: dict[str, Column | Label] = {each.name: each for each in spec.columns}
    why = {each.name: each.why for each in spec.dropped}
    if spec.label is not None:
        known[spec.label.name] = spec.label
    grid = table("column", "read as", "missing", "different values", "note")
    for profile in found.profiles:
        column = known.get(profile.name)
        missing = f"{profile.missing:,}" if profile.missing else ""
        grid.add_row(
            plain(profile.name),
            plain(_kind(column), "" if column else "yellow"),
            missing,
            _values(profile),
            plain(why.get(profile.name) or _note(column)),
        )
    out.print(grid)
    if spec.reading.delimiter is not None:
        marks = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar"}
        between = marks.get(spec.reading.delimiter, repr(spec.reading.delimiter))
        out.print(plain(f"CSV in {spec.reading.encoding}, {between} between cells."))
    network = spec.network
    out.print(plain(f"Bottom model: {network.hidden} hidden units, {plural(network.features, 'feature')}."))
    for note in found.notes:
        out.print(plain(f"Note: {note}."))


def print_columns(out: Console, where: str, columns: Columns) -> None:
    """Those of a table whose id nobody has named yet, and which could be it."""
    out.print(plain(f"{where}: {columns.rows:,} rows, {len(columns.seen):,} columns", "bold"))
    grid = table("column", "read as", "missing", "different values", "note")
    for each in columns.seen:
        missing = f"{each.profile.missing:,}" if each.profile.missing else ""
        note = "could be the id: no two rows are alike" if each.could_be_id else each.note
        kind = plain(each.kind or ("ids" if each.could_be_id else "left out"), "" if each.kind else "yellow")
        grid.add_row(plain(each.profile.name), kind, missing, _values(each.profile), plain(note))
    out.print(grid)
    if columns.ids:
        names = " or ".join(repr(name) for name in columns.ids[:5])
        out.print(
            plain(f"Say which column has the ids: --id {names}. The Host's table has a label as well: --label COLUMN.")
        )
    else:
        out.print(
            plain(
                "No column can be the id: text or whole numbers, in every row another. Add one that the other parties "
                "have as well."
            )
        )


def _kind(column: Column | Label | None) -> str:
    if isinstance(column, Label):
        return f"label: {column.kind.value}"
    return "left out" if column is None else column.kind.value


def _values(profile: ColumnProfile) -> str:
    return "many" if profile.has_many else f"{len(profile.values):,}"


def _note(column: Column | Label | None) -> str:
    if isinstance(column, Label):
        return (
            "" if column.kind is LabelKind.REGRESSION else f"{plural(len(column.classes), 'class')}, all of one weight"
        )
    if column is None:
        return ""
    notes = ["decimal comma"] if column.decimal == "," else []
    return ", ".join(notes + ([column.date_order.value] if column.date_order else []))
