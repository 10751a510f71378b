"""From what was counted to what is done with each column: used as a kind, left out with a note, or refused."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

from protocols.core.wording import plural
from secure_hfl.tables.problems import Problem, cells
from secure_hfl.tables.profile import FEW_VALUES, MOST_VALUES, ColumnProfile
from secure_hfl.tables.spec import Column, DateOrder, Dropped, Kind, Label, LabelKind

MOST_CLASSES = 200

LABEL_NAMES = frozenset({"label", "labels", "target", "outcome", "response", "class", "ground_truth", "标签", "结局"})
"""A Collaborator's column of such a name is refused unless it is said what it is: labels are the Host's."""


def is_label_name(name: str, others: Collection[str]) -> bool:
    """Whether a column is called as a label is. A y beside an x is a coordinate."""
    plain = name.strip().casefold()
    return plain in LABEL_NAMES or (plain == "y" and "x" not in others)


ORDERS = {"ymd": DateOrder.YEAR_FIRST, "dmy": DateOrder.DAY_FIRST, "mdy": DateOrder.MONTH_FIRST}

Decision = Column | Dropped | Problem
Mark = Literal[".", ","]


def decide(
    profile: ColumnProfile, said: str = "", decimal: Mark | None = None, delimiter: str | None = None
) -> Decision:
    """What is done with a column.

    Args:
        profile: its cells.
        said: a kind that the user gave, like "category" or "date:dmy".
        decimal: the mark of fractions that the user gave.
        delimiter: of the CSV file.
    """
    name = profile.name
    if said:
        return _as_said(profile, said, decimal)
    if profile.is_mixed_type:
        return Problem(name, "its cells are of several types", f"make them one, or leave it out: --drop {name}")
    if profile.present == 0:
        return Dropped(name=name, why="only missing values")
    if profile.typed == "":
        return Dropped(name=name, why=f"of type {profile.type_name}, which is no single value")
    if profile.is_constant:
        return Dropped(name=name, why="the same value in every row")
    if name.startswith("(column "):
        return Problem(name, "it has values and no name", "give it one in the first line, or remove it")
    if profile.counts["formula"]:
        return _formula(profile)
    steps: tuple[Callable[[], Decision | None], ...] = (
        lambda: _number(profile, decimal, delimiter),
        lambda: _truth(profile),
        lambda: _date(profile),
        lambda: _mixed(profile),
    )
    for step in steps:
        if (found := step()) is not None:
            return found
    return _category(profile)


def _as_said(profile: ColumnProfile, said: str, decimal: Mark | None) -> Decision:
    word, _, order = said.partition(":")
    name, kind = profile.name, Kind(word)
    if kind is Kind.NUMERIC:
        return Column(name=name, kind=kind, decimal=decimal_of(profile, decimal))
    if kind is Kind.DATE and profile.typed == "text":
        found = ORDERS.get(order) or profile.date_order()
        return _ambiguous(profile) if found is None else Column(name=name, kind=kind, date_order=found)
    return Column(name=name, kind=kind)


def _formula(profile: ColumnProfile) -> Problem:
    return Problem(
        profile.name,
        cells(profile.counts["formula"], "begins", "begin") + " with =, +, - or @ as a spreadsheet's formulas do",
        f"export values in place of formulas; if it is plain text: --type '{profile.name}=category'",
    )


def decimal_of(profile: ColumnProfile, decimal: Mark | None) -> Mark:
    """What stands before the fractions of a column of numbers."""
    return decimal or ("," if profile.counts["comma"] and not profile.counts["point"] else ".")


def number_problem(profile: ColumnProfile, decimal: Mark | None, delimiter: str | None) -> Problem | None:
    """What is wrong with a column that holds numbers only."""
    name, counts = profile.name, profile.counts
    if counts["infinite"]:
        return Problem(
            name,
            cells(counts["infinite"], "is infinite", "are infinite"),
            "correct them or leave them empty (missing values are handled)",
        )
    if counts["huge"]:
        return Problem(
            name,
            cells(counts["huge"], "is", "are") + " beyond 2^53, where calculations round whole numbers: identifiers?",
            f"--drop '{name}', or --type '{name}=category'",
        )
    other = {",": "point", ".": "comma"}.get(decimal or "")
    if (counts["comma"] and counts["point"] and decimal is None) or (other is not None and counts[other]):
        return Problem(
            name,
            f"{cells(counts['comma'], 'has', 'have')} a decimal comma and {counts['point']:,} a decimal point",
            "write all alike",
        )
    if counts["comma"] and decimal is None and delimiter == ",":
        return Problem(
            name,
            f"{cells(counts['comma'], 'has', 'have')} a comma among digits, for thousands or for decimals",
            "say --decimal , for decimals; write thousands without a mark",
        )
    return None


def _number(profile: ColumnProfile, decimal: Mark | None, delimiter: str | None) -> Decision | None:
    if profile.numeric < profile.present:
        return None
    problem = number_problem(profile, decimal, delimiter)
    if problem is not None:
        return problem
    if not profile.has_many and profile.values <= {"0", "1"}:
        return Column(name=profile.name, kind=Kind.BOOLEAN)
    return Column(name=profile.name, kind=Kind.NUMERIC, decimal=decimal_of(profile, decimal))


def _truth(profile: ColumnProfile) -> Column | None:
    is_truth = profile.counts["truth"] == profile.present
    return Column(name=profile.name, kind=Kind.BOOLEAN) if is_truth else None


def _date(profile: ColumnProfile) -> Decision | None:
    found = sum(profile.counts[each] for each in ("ymd", "dotted", "slashed"))
    if not found or found < profile.present / 2:
        return None
    if found < profile.present:
        return Problem(
            profile.name,
            f"{cells(found, 'is a date', 'are dates')} and {profile.present - found:,} not",
            f"correct or empty these, or --type '{profile.name}=category'",
        )
    if profile.typed == "date":
        return Column(name=profile.name, kind=Kind.DATE)
    order = profile.date_order()
    return _ambiguous(profile) if order is None else Column(name=profile.name, kind=Kind.DATE, date_order=order)


def _ambiguous(profile: ColumnProfile) -> Problem:
    ways = sum(bool(profile.counts[each]) for each in ("ymd", "dotted", "slashed"))
    both = profile.days_above and profile.months_above
    what = "its dates are written in several ways" if ways > 1 or both else "nothing tells its days from its months"
    return Problem(profile.name, what, f"write them as 2024-05-31, or say --type '{profile.name}=date:dmy' (or mdy)")


def _mixed(profile: ColumnProfile) -> Problem | None:
    numeric = profile.numeric + profile.counts["thousands"]
    if numeric < profile.present / 2 or not (profile.has_many or len(profile.values) > FEW_VALUES):
        return None
    thousands, errors = profile.counts["thousands"], profile.counts["error"]
    if thousands:
        what = cells(thousands, "has", "have") + " marks between thousands"
        return Problem(profile.name, what, "export numbers without them (in Excel: format cells, Number)")
    also = f" ({errors:,} of them a spreadsheet's errors, as #DIV/0! is)" if errors else ""
    return Problem(
        profile.name,
        f"{cells(profile.numeric, 'is a number', 'are numbers')} and {profile.present - profile.numeric:,} not{also}",
        f"correct or empty these; --missing TEXT says what stands for no value; or --type '{profile.name}=category'",
    )


def _category(profile: ColumnProfile) -> Decision:
    count = len(profile.values)
    if profile.has_many or (count > FEW_VALUES and count > profile.present / 2):
        many = f"more than {MOST_VALUES:,}" if profile.has_many else f"{count:,}"
        units = profile.counts["unit"] > profile.present / 2
        hint = "; numbers with a unit? leave the unit out of the cells" if units else ""
        return Dropped(name=profile.name, why=f"text with {many} values in {plural(profile.present, 'row')}{hint}")
    return Column(name=profile.name, kind=Kind.CATEGORY)


def decide_label(
    profile: ColumnProfile, said: str, with_unlabelled: bool, decimal: Mark | None, delimiter: str | None
) -> Label | Problem:
    """What is predicted.

    Args:
        profile: of the label's column.
        said: "regression" or "classes", if the user said so; "": whole numbers of few values, truth values and text
            are classes.
        with_unlabelled: whether rows without a label are wanted.
        decimal, delimiter: see `decide`.
    """
    name, mark = profile.name, decimal_of(profile, decimal)
    if profile.missing and not with_unlabelled:
        return Problem(
            name,
            f"{cells(profile.missing, 'has', 'have')} no label, of {profile.rows:,}",
            "remove these rows, or keep them to be predicted only: --with-unlabelled",
        )
    if profile.is_mixed_type or not profile.typed or not profile.present:
        return Problem(name, "it holds no labels", "give the column that is to be predicted")
    if len(profile.values) == 1 and not profile.has_many:
        return Problem(name, "all its labels are the same", "there is nothing to learn: check the selection of rows")
    is_number = profile.numeric == profile.present
    if is_number and (problem := number_problem(profile, decimal, delimiter)):
        return problem
    are_few = not profile.has_many and len(profile.values) <= FEW_VALUES
    if said == "regression" or (said == "" and is_number and not (are_few and _are_whole(profile))):
        if not is_number:
            other = profile.present - profile.numeric
            return Problem(
                name, cells(other, "is no number", "are no numbers"), "a regression needs numbers: --label-kind classes"
            )
        return Label(name=name, kind=LabelKind.REGRESSION, decimal=mark)
    return _classes(profile)


def _are_whole(profile: ColumnProfile) -> bool:
    return profile.counts["whole"] == profile.present


def _classes(profile: ColumnProfile) -> Label | Problem:
    name, count = profile.name, len(profile.values)
    if profile.counts["formula"]:
        return Problem(
            name,
            cells(profile.counts["formula"], "begins", "begin") + " as formulas do",
            "export values in their place",
        )
    if profile.has_many or count > MOST_CLASSES:
        return Problem(
            name,
            f"its labels have {'more than 1,000' if profile.has_many else f'{count:,}'} values",
            f"classes are at most {MOST_CLASSES}; for numbers: --label-kind regression",
        )
    if _are_whole(profile):
        classes = tuple(sorted({str(int(each)) for each in profile.values}, key=int))
    else:
        classes = tuple(sorted(profile.values))
    kind = LabelKind.BINARY if len(classes) == 2 else LabelKind.CLASSES
    return Label(name=name, kind=kind, classes=classes)
