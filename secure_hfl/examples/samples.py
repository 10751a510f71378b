"""What the examples on scikit-learn's data sets share: who holds which samples, and in which order they are trained on.

The data sets have no owners and no ids. Here every sample has an id, every party holds most of them, and which ones is
decided by a hash salted with the party's name: so the parties overlap only partly, and in the same way at every run.
`LABEL_EPSILON` makes a host protect its training labels, MNIST's in strips too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256

from secure_hfl.errors import ConfigurationError
from secure_hfl.examples.catalogue import LABEL_EPSILON
from secure_hfl.privacy.randomized_response import RandomizedResponse

HELD = 0.9
TEST = 0.25


def label_privacy(classes: int) -> RandomizedResponse | None:
    """As `LABEL_EPSILON` says. Raises `ConfigurationError` if it is no such number."""
    text = os.environ.get(LABEL_EPSILON)
    if not text:
        return None
    try:
        epsilon = float(text)
    except ValueError:
        raise ConfigurationError(f"{LABEL_EPSILON} must be a number, not {text!r}") from None
    return RandomizedResponse(epsilon, classes)


def position(text: str) -> float:
    """A number in [0, 1) that looks random and is the same in every process."""
    return int.from_bytes(sha256(text.encode()).digest()[:6], "big") / 2.0**48


def held_by(party: str, ids: Iterable[str]) -> list[str]:
    """The samples of which this party has its columns: nine in ten."""
    return [each for each in ids if position(f"{party} holds {each}") < HELD]


def split(id_intersection: set[str]) -> tuple[set[str], set[str]]:
    """Training and test ids. Where a sample goes depends on its id alone, not on which others the parties share."""
    test_ids = {each for each in id_intersection if position(f"test {each}") < TEST}
    return id_intersection - test_ids, test_ids


def batches(ids: Iterable[str], size: int, round_number: int | None = None) -> list[list[str]]:
    """The ids of each batch: shuffled by the round's number, the same way at every party, or in order without one."""
    order = sorted(ids)
    if round_number is not None:
        order.sort(key=lambda each: position(f"round {round_number} {each}"))
    return [order[start : start + size] for start in range(0, len(order), size)]
