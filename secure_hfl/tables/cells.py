"""Cells as text, and what they can be read as: numbers, truth values, dates. Whole arrays at a time, by pyarrow."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute as pc

from secure_hfl.tables.spec import DateOrder

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LARGEST_WHOLE = 2.0**53
"""Above it a float64 does not know all whole numbers apart."""

_WHOLE = r"^[+-]?[0-9]+$"
_FRACTION = r"^[+-]?([0-9]+{point}[0-9]*|{point}[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?[0-9]+[eE][+-]?[0-9]+$"
_INFINITE = r"(?i)^[+-]?(inf|infinity|∞)$"
_FORMULA = r"^([=@\t\r]|[+-].)"
_TIME = r"(?:[ T](?P<H>[0-9]{1,2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,][0-9]+)?)?Z?(?: ?(?P<p>[AaPp])[Mm])?)?$"
_YEAR_FIRST = r"^(?P<y>[0-9]{4})[-/](?P<a>[0-9]{1,2})[-/](?P<b>[0-9]{1,2})" + _TIME
_YEAR_LAST = r"^(?P<a>[0-9]{1,2})(?P<s>[./-])(?P<b>[0-9]{1,2})[./-](?P<y>[0-9]{4})" + _TIME

TRUE, FALSE = ("true", "yes", "y", "t"), ("false", "no", "n", "f")


def to_text(array: Any) -> Any:
    """Strings of a column that is text, also as a dictionary."""
    if pyarrow.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array if array.type == pyarrow.string() else array.cast(pyarrow.string())


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is that of text."""
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    views = (getattr(pyarrow.types, name)(kind) for name in ("is_string_view",) if hasattr(pyarrow.types, name))
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or any(views)


def without_missing(text: Any, missing: Collection[str]) -> Any:
    """Trimmed text; null where a value is missing."""
    trimmed = pc.utf8_trim_whitespace(text)
    absent = pc.is_in(trimmed, value_set=pyarrow.array(sorted({*missing, ""}), pyarrow.string()))
    return pc.if_else(absent, pyarrow.scalar(None, pyarrow.string()), trimmed)


def matches(text: Any, pattern: str) -> Mask:
    """Where text matches; not where it is null."""
    return _mask(pc.match_substring_regex(text, pattern))


def are_whole(text: Any) -> Mask:
    """Digits with or without a sign."""
    return matches(text, _WHOLE)


def are_fractions(text: Any, decimal: str) -> Mask:
    """Numbers with a fraction behind this mark, or an exponent."""
    return matches(text, _FRACTION.replace("{point}", "[.]" if decimal == "." else ","))


def are_infinite(text: Any) -> Mask:
    """Written out as infinite."""
    return matches(text, _INFINITE)


def are_formulas(text: Any) -> Mask:
    """What a spreadsheet would compute: = + - @ in front of something."""
    return matches(text, _FORMULA)


def numbers(text: Any, decimal: str) -> Floats:
    """Values; NaN where text is null or no number."""
    good = are_whole(text) | are_fractions(text, decimal)
    kept = pc.if_else(pyarrow.array(good), text, pyarrow.scalar(None, pyarrow.string()))
    if decimal == ",":
        kept = pc.replace_substring(kept, ",", ".")
    kept = pc.replace_substring_regex(kept, r"^\+", "")
    kept = pc.replace_substring_regex(kept, r"^(-?)[.]", r"\10.")
    kept = pc.replace_substring_regex(kept, r"[.]($|[eE])", r".0\1")
    return floats(kept.cast(pyarrow.float64()))


def floats(array: Any) -> Floats:
    """A typed column; NaN where it is null."""
    return np.array(array.cast(pyarrow.float64()).to_numpy(zero_copy_only=False), np.float64)


def truths(text: Any) -> Floats:
    """1, 0, and NaN where text is null or no truth value."""
    lower = pc.utf8_lower(text)
    yes, no = (
        np.asarray(pc.is_in(lower, value_set=pyarrow.array([*words, *digit])).to_numpy(zero_copy_only=False), bool)
        for words, digit in ((TRUE, "1"), (FALSE, "0"))
    )
    return np.where(yes, 1.0, np.where(no, 0.0, np.nan))


class Dates:
    """Text read as dates, in all ways that it can be.

    Attributes:
        year_first, with_point, with_other: which match, of those that are not null: 2024-05-03, 3.5.2024, 3/5/2024.
        first, second: the numbers that are not the year, in the order of the text; 0 where nothing matches.
    """

    def __init__(self, text: Any) -> None:
        begins, ends = (pc.extract_regex(text, each) for each in (_YEAR_FIRST, _YEAR_LAST))
        self.year_first, last = _is_there(begins), _is_there(ends)
        mark = _mask(pc.equal(_field(ends, "s"), "."))
        self.with_point, self.with_other = last & mark, last & ~mark
        # 12 AM is midnight, 12 PM noon.
        half = pc.utf8_lower(pc.if_else(pyarrow.array(last), _field(ends, "p"), _field(begins, "p")))
        is_am, is_pm = (_mask(pc.equal(half, letter)) for letter in "ap")
        parts = {name: np.where(last, _integers(ends, name), _integers(begins, name)) for name in "yabHMS"}
        parts["H"] = np.where(is_am | is_pm, parts["H"] % 12, parts["H"]) + np.where(is_pm, 12, 0)
        self._parts = parts
        self.first, self.second = parts["a"], parts["b"]

    def seconds(self, order: DateOrder) -> Floats:
        """Since 1970, as if all clocks were alike; NaN where there is no such date."""
        fits = self.year_first if order is DateOrder.YEAR_FIRST else self.with_point | self.with_other
        day_comes_first = order is DateOrder.DAY_FIRST
        month, day = (self.second, self.first) if day_comes_first else (self.first, self.second)
        year, hour, minute, second = (self._parts[name] for name in "yHMS")
        fits = fits & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (hour < 24) & (minute < 60)
        months = np.where(fits, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
        days = months.astype("datetime64[D]") + np.where(fits, day - 1, 0).astype("timedelta64[D]")
        fits &= days.astype("datetime64[M]") == months  # no 31 April
        total = days.astype(np.int64) * 86400 + hour * 3600 + minute * 60 + second
        return np.where(fits, total.astype(np.float64), np.nan)


def _mask(array: Any) -> Mask:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), bool)


def _is_there(extracted: Any) -> Mask:
    return np.asarray(extracted.is_valid().to_numpy(zero_copy_only=False), bool)


def _field(extracted: Any, name: str) -> Any:
    # Through the struct's own validity: a child of a null has any value.
    return pc.struct_field(extracted, name)


def _integers(extracted: Any, name: str) -> npt.NDArray[np.int64]:
    text = _field(extracted, name)
    empty = pc.equal(text, "")
    kept = pc.if_else(pc.fill_null(empty, True), pyarrow.scalar("0"), text)
    return np.array(pc.fill_null(kept.cast(pyarrow.int64()), 0).to_numpy(zero_copy_only=False), np.int64)


def timestamps(array: Any) -> Floats:
    """Seconds since 1970 of a column of dates or times; NaN where it is null."""
    exact = array.cast(pyarrow.timestamp("us", tz=getattr(array.type, "tz", None)), safe=False)
    found = floats(exact.cast(pyarrow.int64()))
    return found / 1e6
