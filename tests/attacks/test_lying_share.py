"""A malicious host puts another matrix than its share into one [U]: U + D, and projects by W + D for that batch.

With D = 2^46 I the ring holds a 2^46 + a W^T + e, for features below 2^12 steps of the forward scale: the upper part is
a, to the last bit, and the lower a W^T. So one such batch gives the features of its rows and, by least squares, W. Who
has W solves for the features of every batch that follows, though each of them is honest. (Larger features take more
columns of D, each reading a few bits.) The weak design is the protocol without the tests of the host's share: of a new
one (protocols/schemes/encrypted/share_test.py), and of the first (relation_test.py), which is all that a frozen bottom
model ever meets.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from protocols.core.errors import VerificationFailed
from protocols.core.fixed_point import FEATURE_BITS, WEIGHT_BITS, encode
from protocols.core.steps import Steps
from protocols.he.interface import as_ring, as_signed
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Ring, add, subtract
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.share_test import Move
from tests.attacks.split_training import closeness
from tests.protocols.layer.helpers import Floats, Layer, Watched, normal

D, ROWS, SHIFT = 3, 40, 46
READING = (np.eye(D, dtype=np.uint64) << np.uint64(SHIFT)).astype(np.uint64)


def features(number: int) -> Floats:
    return (0.05 * np.tanh(normal(number, ROWS, D))).astype(np.float32)


class Liar:
    """A host that adds D to its share in the [U] of some versions, and takes what it reads out of z.

    `coins`: after which steps the collaborator tests (1) and after which it does not (0), in place of chance.
    """

    def __init__(
        self, every: int, lies: dict[int, Ring], backend: str = "bfv", coins: tuple[int, ...] | None = None
    ) -> None:
        parameters = LayerParameters(check_every=0, test_shares_every=every)
        shape, honest = (D, D, ROWS, True), {"parameters": parameters, "seed": None}
        self.layer = Layer(*shape, backend, **honest, prepare=lambda host, _: self._lie(host, lies))
        self.read: list[tuple[Any, Any]] = []  # a, and a W^T + e, of the batches that it lied in
        products, share = self.layer.host._products, self.layer.host._share
        decrypt = products.decrypt_projection

        def decrypt_projection(parts: Any, rows: int) -> Ring:
            ring = decrypt(parts, rows)
            if share.version not in lies:
                return ring
            a = (as_signed(ring) + (1 << SHIFT - 1)) >> SHIFT
            rest = subtract(ring, as_ring(a << SHIFT))
            self.read.append((a, as_signed(rest) * 2.0 ** -(FEATURE_BITS + WEIGHT_BITS)))
            return rest

        products.decrypt_projection = decrypt_projection  # type: ignore[method-assign]
        if coins is not None:
            self._toss(coins)

    def _toss(self, coins: tuple[int, ...]) -> None:
        for end in (self.layer.host, self.layer.collaborator):
            end._form._every = 0  # a lie of another matrix is not what that test is for
        test, left = self.layer.collaborator._test, iter(coins)
        stepped = test.stepped

        def fallen(move: Move) -> None:
            test._every = next(left, 0)  # always, or never
            stepped(move)

        test.stepped = fallen  # type: ignore[method-assign]

    @staticmethod
    def _lie(host: EncryptedHost, lies: dict[int, Ring]) -> None:
        share, honest_exchange = host._share, host._exchange_shares

        def exchange() -> Steps[None]:
            honest, steps = share.values, honest_exchange()
            share.values = add(honest, lies.get(share.version, np.zeros_like(honest)))
            first = next(steps)  # HostShare
            share.values = honest
            yield first
            yield from steps

        host._exchange_shares = exchange  # type: ignore[method-assign]

    def train(self, batches: int) -> None:
        for number in range(batches):
            self.layer.forward(features(number))
            self.layer.backward(normal(50 + number, ROWS, D, scale=1e-3), 0.01)

    @property
    def is_caught(self) -> bool:
        """Whether four batches end with an error."""
        try:
            self.train(4)
        except VerificationFailed:
            return True
        return False


def test_one_lie_gives_the_features_and_the_weights() -> None:
    liar = Liar(every=0, lies={1: READING})
    liar.train(2)
    ((a, z),) = liar.read
    assert (a == encode("a", features(1), FEATURE_BITS, 64.0)).all()
    guess = np.linalg.lstsq(a * 2.0**-FEATURE_BITS, z, rcond=None)[0].T
    liar.layer.forward(features(2))
    assert closeness(guess, liar.layer.weights()) > 0.9999
    later = liar.layer.exact_projection() * 2.0 ** -(FEATURE_BITS + WEIGHT_BITS)  # an honest batch, and a step later
    assert closeness(np.linalg.solve(guess, later.T).T, features(2).astype(float)) > 0.999


def test_the_first_share_of_a_task_may_be_the_lie() -> None:
    """Of a frozen bottom model it is the only one: each row is read as it crosses."""
    liar = Liar(every=0, lies={0: READING})
    liar.layer.forward(features(1), training=False)
    ((a, _),) = liar.read
    assert (a == encode("a", features(1), FEATURE_BITS, 64.0)).all()


@pytest.mark.parametrize("every", [1, 1 << 20])
@pytest.mark.parametrize("backend", ["bfv", "paillier"])
def test_a_lie_in_the_first_share_never_passes(backend: str, every: int) -> None:
    """It is tested whatever the coin says."""
    for lie in (READING, one(1), np.full((D, D), 1 << 58, np.uint64)) if backend == "bfv" else (one(1 << 58),):
        with pytest.raises(VerificationFailed, match=r"the host's share of the weights for side .* first weights"):
            Liar(every, {0: lie}, backend)


@pytest.mark.parametrize("backend", ["bfv", "paillier"])
def test_a_tested_lie_reads_nothing(backend: str) -> None:
    """The test comes before the first projection by the lie is sent. It has been computed by then."""
    liar = Liar(every=1, lies={1: READING}, backend=backend)
    liar.train(1)
    collaborator = Watched(liar.layer.collaborator, "projection")
    with pytest.raises(VerificationFailed, match="share of the weights for side"):
        liar.train(1)
    assert collaborator.done == ["ShareQuery", "projection", "waits"]
    assert not liar.read


def one(value: int, row: int = 0, column: int = 0) -> Ring:
    lie = np.zeros((D, D), np.uint64)
    lie[row, column] = value
    return lie


@pytest.mark.parametrize(
    "lie",
    [one(1), one(1 << 58), one((1 << 59) - 1, 2, 1), one(1 << 30, 1, 2), np.full((D, D), 1 << 58, np.uint64)],
    ids=["smallest", "only the top bit", "minus one", "one entry", "the top bit of all"],
)
def test_no_lie_is_too_small(lie: Ring) -> None:
    """Each row of x lets a lie pass at most every other time, also one that only parity shows."""
    with pytest.raises(VerificationFailed):
        Liar(every=1, lies={1: lie}).train(2)


def test_a_share_that_stood_still_is_a_lie() -> None:
    liar = Liar(every=1, lies={})
    share, encrypt = liar.layer.host._share, liar.layer.host._products.encrypt_share
    old = share.values.copy()
    liar.layer.host._products.encrypt_share = lambda values: encrypt(old)  # type: ignore[method-assign]
    with pytest.raises(VerificationFailed):
        liar.train(2)


STEPS = 3  # of four batches, those whose result a batch uses


@pytest.mark.parametrize(
    ("lies", "moves"),
    [({1: READING}, 2), ({1: READING, 2: READING, 3: READING}, 1), ({1: READING, 3: READING}, 3), ({}, 0)],
    ids=["one, taken back", "one, kept up", "two", "none"],
)
def test_lies_are_caught_as_often_as_is_said(lies: dict[int, Ring], moves: int) -> None:
    """With every second share tested: 1 - 2^-moves, as each departure from the share and return to it is a lie.

    Every way that the coins may fall is run once. That they are fair is what
    `tests/protocols/schemes/encrypted/test_share_test.py` shows.
    """
    falls = list(itertools.product([0, 1], repeat=STEPS))
    caught = [Liar(every=2, lies=lies, coins=coins).is_caught for coins in falls]
    assert sum(caught) == len(falls) * (1 - 0.5**moves)
