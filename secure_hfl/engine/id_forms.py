"""Ids that another party may write otherwise, told from this party's own ids alone: nothing is sent.

Ids match if their bytes are equal, after Unicode's NFC. "007" and "7" are two ids, and nobody can tell whether they are
one sample. What can be told is that "007" is not the plainest way to write it:

    blanks at an end      " 7", "7\\t", a byte order mark, a zero-width space
    quotes around it      "'7'"
    other forms of characters, those that NFKC replaces: full-width digits, ligatures
    capital letters       "A1"
    a number with a sign, as a float, or with zeros in front     "+7", "7.0", "7e2", "007"
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import islice

from protocols.psi.packed import PackedIds
from secure_hfl.engine.id_file import IdFile

MOST_LOOKED_AT = 100_000
"""Ids that are looked at; more take seconds and tell nothing new."""

FEW = 0.5
"""A smaller share of the own ids in common is worth a word about how they are written."""

_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"


def _without_blanks(text: str) -> str:
    return text.strip().strip(_INVISIBLE).strip()


def _as_integer(text: str) -> str:
    """A float that is an integer, as that."""
    try:
        value = float(text)
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else text
    except (ValueError, OverflowError):
        return text


def _without_quotes(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _in_simpler_forms(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _without_point_or_sign(text: str) -> str:
    return _as_integer(text) if _NUMBER.fullmatch(text) and not _PLAIN_DIGITS.fullmatch(text) else text


def _without_zeros(text: str) -> str:
    return text.lstrip("0") or "0" if _PLAIN_DIGITS.fullmatch(text) else text


_NUMBER = re.compile(r"[0-9.eE+-]+")
_PLAIN_DIGITS = re.compile(r"[0-9]+")

_STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("have blanks or invisible characters at an end", _without_blanks),
    ("stand in quotes", _without_quotes),
    ("have characters that Unicode has simpler forms of", _in_simpler_forms),
    ("have capital letters ('A1')", str.lower),
    ("are numbers with a sign or a decimal point ('7.0')", _without_point_or_sign),
    ("begin with zeros ('007')", _without_zeros),
)
_ALWAYS_ODD = {_STEPS[0][0], _STEPS[1][0]}


class Forms:
    """How some ids are written.

    Args:
        ids: these.

    Attributes:
        looked_at: how many of them.
        counts: how many of those are of each form, by what is said of them; only forms that there are.
        doubles: how many would be equal to another one, if all were written in the plainest way.
    """

    def __init__(self, ids: Collection[str] | IdFile) -> None:
        counts: Counter[str] = Counter()
        plain: set[str] = set()
        self.looked_at = 0
        for each in islice(ids, MOST_LOOKED_AT):
            self.looked_at += 1
            text = unicodedata.normalize("NFC", each)  # as ids are compared
            for said, step in _STEPS:
                before, text = text, step(text)
                if text != before:
                    counts[said] += 1
            plain.add(text)
        self.counts = {said: counts[said] for said, _ in _STEPS if counts[said]}
        self.doubles = self.looked_at - len(plain)

    @property
    def are_odd(self) -> bool:
        """Whether there is something that hardly anybody means: blanks, quotes, ids that differ in nothing else."""
        return bool(self.doubles) or not _ALWAYS_ODD.isdisjoint(self.counts)

    def __str__(self) -> str:
        said = [f"{count:,} {what}" for what, count in self.counts.items()]
        if self.doubles:
            said.append(f"{self.doubles:,} differ from another one in nothing else")
        return ", ".join(said)


def what_may_not_match(ids: Sequence[str] | IdFile, common: Collection[str]) -> str:
    """What this party should know before it trains; empty if there is nothing to say.

    Args:
        ids: its own.
        common: those that all parties hold.
    """
    own = Forms(ids)
    if not own.counts or not (own.are_odd or len(common) < FEW * len(ids)):
        return ""
    are_packed = isinstance(common, PackedIds) or isinstance(ids, IdFile)
    in_common = common if isinstance(common, PackedIds) else set(common)
    looked_at = islice(ids, MOST_LOOKED_AT) if are_packed else ids
    rest = [each for each in looked_at if each not in in_common and unicodedata.normalize("NFC", each) not in in_common]
    forms = Forms(rest)
    if not forms.counts:
        return ""
    count = len(ids) - len(common) if are_packed else len(rest)
    looked = f"these {count:,}" if forms.looked_at == count else f"{forms.looked_at:,} of them"
    return (
        f"{count:,} of the {len(ids):,} own ids are not at all parties. Ids match only where all write them alike; "
        f"of {looked}, {forms}"
    )
