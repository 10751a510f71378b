"""Who is trained on, who is tested on, and in which order: from the ids and the task alone, the same at every party.

The key is made from the task's id. Every party knows it, from the invite, and outsiders may: it hides nothing, and need
not, for who is split so is known to all who hold the sample. It makes tests of different tasks independent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import numpy.typing as npt

_LABEL = b"secure-hfl table v1 "


def split_key(task_id: str) -> bytes:
    """32 bytes of a task."""
    return hashlib.sha256(_LABEL + task_id.encode()).digest()


def place(key: bytes, sample: str) -> float:
    """A number in [0, 1), of an id."""
    return int.from_bytes(hashlib.blake2b(sample.encode(), digest_size=8, key=key).digest(), "big") / 2.0**64


def split(key: bytes, ids: Collection[str], test_share: float) -> tuple[set[str], set[str]]:
    """Training and test ids. Where one goes depends on nothing but itself."""
    test = {each for each in ids if place(key, each) < test_share}
    if len(test) == len(ids):  # of very few
        test.clear()
    return set(ids) - test, test


def shuffled(key: bytes, round_number: int, count: int) -> npt.NDArray[np.int64]:
    """An order of so many rows for a round: by numbers that are expanded from the key."""
    expanded = hashlib.shake_256(_LABEL + key + b"round" + round_number.to_bytes(8, "big")).digest(8 * count)
    return np.argsort(np.frombuffer(expanded, ">u8"), kind="stable").astype(np.int64)


def pieces(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut into batches."""
    listed = list(ids)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
