"""Sample ids as every party must write them, so that equal ids hash to equal points.

    str  ->  Unicode NFC  ->  UTF-8, 1 to 1024 bytes

Only `str` is taken: whether 7, 7.0 and "007" are the same sample is the owner's knowledge, and a silent conversion that
differs between parties loses samples without a trace. Errors name positions, never ids.

Reference: Unicode Standard Annex #15 (NFC).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from protocols.core.errors import InvalidInput

MAX_IDS = 1 << 27
"""Largest set of one party."""

MAX_ID_BYTES = 1024
"""Longest id after normalisation."""


def normal_form(sample_id: str) -> str:
    """The form in which ids are compared: Unicode's NFC."""
    return sample_id if sample_id.isascii() else unicodedata.normalize("NFC", sample_id)


def canonical(sample_ids: Iterable[str]) -> list[bytes]:
    """The bytes of ids that `check_ids` has accepted."""
    return [(each if each.isascii() else normal_form(each)).encode() for each in sample_ids]


def check_ids(ids: Sequence[str]) -> None:
    """Raise unless `ids` is a set of ids that the protocol can take.

    Raises:
        InvalidInput: no ids, or too many; something that is not a str; an id that is empty, too long or not valid
            Unicode; ids that are equal after normalisation. Names positions (from 0) and counts.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Sequence):
        raise InvalidInput(f"sample ids must be a sequence of str, not {type(ids).__name__}; make a list of them")
    if not ids:
        raise InvalidInput("there are 0 sample ids: an empty set has no intersection; check where the ids come from")
    if len(ids) > MAX_IDS:
        raise InvalidInput(f"{len(ids)} sample ids are too many: the limit is {MAX_IDS}")
    names = ids if _are_plain(ids) else _normalised(ids)
    if len(set(names)) != len(names):
        raise _duplicates(names)


def _are_plain(ids: Sequence[str]) -> bool:
    """Whether all are ASCII and of a right length, as most are: told in a third of the time."""
    return (
        set(map(type, ids)) == {str}
        and all(map(str.isascii, ids))
        and min(map(len, ids)) > 0
        and max(map(len, ids)) <= MAX_ID_BYTES
    )


def checked_names(ids: Sequence[str], first: int) -> Sequence[str]:
    """Ids of a longer sequence, from position `first` on, in NFC. Raises as `check_ids`, but not for repeats."""
    return ids if _are_plain(ids) else _normalised(ids, first)


def repeated(count: int, total: int, positions: tuple[int, int]) -> InvalidInput:
    """The error for repeated ids: how many, and where one pair stands."""
    return InvalidInput(
        f"{count} of {total} sample ids repeat an earlier one (after Unicode normalisation), for example "
        f"positions {positions[0]} and {positions[1]}; drop the repeats"
    )


def _normalised(ids: Sequence[str], start: int = 0) -> list[str]:
    """In NFC. Raises `InvalidInput` for the first that is no id."""
    names = []
    for position, sample_id in enumerate(ids, start):
        if not isinstance(sample_id, str):
            raise InvalidInput(
                f"the sample id at position {position} is {type(sample_id).__name__}, not str; convert ids the same "
                "way at every party"
            )
        normal = normal_form(sample_id)
        size = len(normal) if normal.isascii() else _utf8_bytes(normal, position)
        if not 0 < size <= MAX_ID_BYTES:
            raise InvalidInput(f"the sample id at position {position} has {size} bytes, not 1 to {MAX_ID_BYTES}")
        names.append(normal)
    return names


def _utf8_bytes(normal: str, position: int) -> int:
    try:
        return len(normal.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"the sample id at position {position} is not valid Unicode (a lone surrogate)") from None


def _duplicates(names: Sequence[str]) -> InvalidInput:
    """The error for repeated ids: how many, and where one pair stands."""
    first: dict[str, int] = {}
    repeats = [at for at, name in enumerate(names) if first.setdefault(name, at) != at]
    return repeated(len(repeats), len(names), (first[names[repeats[0]]], repeats[0]))
