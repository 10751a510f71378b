"""A host finds out, entry by entry, by what its share was marked, and then comes back with any other share.

A mark c is kept for all resumptions from one checkpoint, and for all predictions. The test by it is of 40 rows, all of
which another matrix reaches. A bfv ciphertext that holds more than a matrix reaches one row: it passes if one entry of
c was guessed, and whether it has passed says what that entry is. Who may try for ever knows c after some 60 sessions
for each feature that it wants to read, so one failure has to be the last: protocols/schemes/shares/share_marks.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.core.errors import VerificationFailed
from protocols.he.interface import RING_MASK
from protocols.he.layout import Layout
from protocols.layer.parameters import LayerParameters
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import FIRST_TEST_ROWS
from protocols.schemes.encrypted.products import HostProducts
from protocols.schemes.shares.products import Parts
from tests.attacks.test_other_share_resumed import added, lying
from tests.protocols.layer.helpers import Layer

D, O, ROWS = 3, 2, 5  # noqa: E741
TESTED = LayerParameters(check_every=0, test_shares_every=1 << 29)
GAIN, LAST = 1 << 39, FIRST_TEST_ROWS - 1
States = tuple[dict[str, Any], dict[str, Any]]


def session(states: States, **more: Any) -> bool:
    """A prediction's set-up; whether the collaborator is content with the host's share."""
    try:
        Layer(D, O, ROWS, False, parameters=TESTED, states=states, **more)
    except VerificationFailed:
        return False
    return True


def expecting(states: States, lie: NDArray[np.int64]) -> States:
    """The host takes so much for its lie's part of what it will decrypt."""
    host, collaborator = states
    return {**host, "mark_result": (host["mark_result"] + lie.view(np.uint64)) & RING_MASK}, collaborator


def one_row(monkeypatch: pytest.MonkeyPatch, feature: int) -> None:
    """The host's [U] adds this feature of the first row to output 0 of the last."""
    honest_share, honest = HostProducts.encrypt_share, Layout.operand

    def operand(self: Layout, matrix: NDArray[np.uint64]) -> NDArray[np.uint64]:
        entries = honest(self, matrix)
        more = np.zeros((len(entries), max(entries.shape[1], (LAST + 1) * self.k_tile * self.n_tile)), np.uint64)
        more[:, : entries.shape[1]] = entries
        place = LAST * self.k_tile * self.n_tile + feature
        assert not more[0, place]
        more[0, place] = GAIN
        return more

    def encrypt_share(self: Any, share: Any) -> Parts:
        with monkeypatch.context() as patched:
            patched.setattr(Layout, "operand", operand)
            result: Parts = honest_share(self, share)
        return result

    monkeypatch.setattr(HostProducts, "encrypt_share", encrypt_share)


def test_a_session_says_what_one_entry_of_the_mark_is(monkeypatch: pytest.MonkeyPatch) -> None:
    states: States = Layer(D, O, ROWS, False, parameters=TESTED).states()
    combination = states[1]["mark_combination"]
    for feature in range(D):
        with monkeypatch.context() as patched:
            one_row(patched, feature)
            for guess in (-1, 0, 1):
                lie = np.zeros((FIRST_TEST_ROWS, O), np.int64)
                lie[LAST, 0] = guess * GAIN
                assert session(expecting(states, lie)) == (combination[0, feature] == guess)


def test_who_knows_the_mark_has_any_share_accepted() -> None:
    """Why one failure is the last: what a run of guesses would come to."""
    states: States = Layer(D, O, ROWS, False, parameters=TESTED).states()
    lie = added(GAIN, (0, 0), (1, 1))
    known = matmul(states[1]["mark_combination"], np.ascontiguousarray(lie.T)).view(np.int64)
    assert session(expecting(states, known), prepare=lying("host", lie))
    assert not session(states, prepare=lying("host", lie))
