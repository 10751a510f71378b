"""Products that are made elsewhere: the bytes of those made here, from what can be pickled, and no secret key in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from protocols.core.errors import InvalidInput
from protocols.core.randomness import ChaCha20Randomness
from protocols.he import bfv_distant, paillier_distant
from protocols.he.bfv import BfvBackend
from protocols.he.engines import SEAL, make_engine
from protocols.he.interface import Backend, MatrixShape, PublicSide, SecretSide, as_signed
from protocols.he.kept import Kept
from protocols.he.paillier import PaillierBackend
from protocols.he.paillier_distant import PublicBase
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import PARAMETER_SETS, TRAINING, BfvParameters
from tests.protocols.he import bfv_helpers, paillier_helpers
from tests.protocols.he.elsewhere import Elsewhere, inputs

PIECES = {"small": MatrixShape(3, 5, 2, 17), "odd": MatrixShape(70, 33, 300, 17), "long": MatrixShape(130, 300, 20, 17)}


def both_ways(
    make: Callable[..., Backend], owner: SecretSide, shape: MatrixShape, prepares: int = 0
) -> tuple[Elsewhere, PublicSide]:
    """One product here and elsewhere: right, and by the same bytes from the same seed.

    Args:
        prepares: units that are made ahead.
    """
    factor, matrix, addend = inputs(shape)
    operand, elsewhere, replies = owner.encrypt(matrix, shape), Elsewhere(), []
    for options in ({}, {"distant": elsewhere}):
        public = make(randomness=ChaCha20Randomness(bytes(32)), **options).load_public(owner.public_key())
        for _ in range(prepares):
            public.prepare(shape)
        replies.append(public.multiply_add(factor, public.load_operand(operand, shape), addend, shape))
    assert replies[0] == replies[1]
    assert (as_signed(owner.decrypt(replies[0], shape)) == as_signed(factor.view(np.uint64) @ matrix + addend)).all()
    assert elsewhere.pieces
    return elsewhere, public


@pytest.mark.parametrize("parameters", PARAMETER_SETS.values(), ids=PARAMETER_SETS)
@pytest.mark.parametrize("shape", PIECES.values(), ids=PIECES)
def test_bfv_makes_the_same_bytes(
    parameters: BfvParameters, shape: MatrixShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bfv_distant, "PORTION_SECONDS", 0.001)
    owner = bfv_helpers.secret(parameters)

    def make(**options: Any) -> Backend:
        return BfvBackend(parameters, engine=make_engine(parameters), **options)

    elsewhere, public = both_ways(make, owner, shape)
    assert (len(elsewhere.pieces) > 1) == (shape.m > 3)
    assert public.prepare(shape) == 0
    assert not public._stock  # type: ignore[attr-defined]
    assert not [piece for piece in elsewhere.pieces if owner.exported()[:64] in piece]
    work = elsewhere.asked[-1]
    assert not work.is_threaded
    assert 0 < work.seconds < 1
    assert work.size > sum(map(len, elsewhere.pieces)) / 2


def test_an_engine_elsewhere_may_be_another() -> None:
    """A party that has SEAL, and a worker that has what is best there."""
    owner = bfv_helpers.secret()
    both_ways(lambda **options: BfvBackend(engine=make_engine(TRAINING, SEAL), **options), owner, PIECES["small"])


def paillier(**options: Any) -> PaillierBackend:
    return PaillierBackend(PAILLIER_2048, **options)


@pytest.mark.parametrize("shape", [MatrixShape(5, 3, 20, 17), MatrixShape(17, 4, 2, 17)], ids=["chunks", "folded"])
def test_paillier_makes_the_same_bytes(shape: MatrixShape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paillier_distant, "ROWS", 2)
    owner = paillier_helpers.secret()
    elsewhere, public = both_ways(paillier, owner, shape)
    assert len(elsewhere.pieces) > 2
    p = owner.exported()[:64]
    assert not [piece for piece in elsewhere.pieces if p in piece or p[::-1] in piece]
    before = len(elsewhere.pieces)
    assert public.prepare(shape) == 1
    assert len(elsewhere.pieces) == before + 1


def test_what_is_made_ahead_elsewhere_is_the_same() -> None:
    both_ways(paillier, paillier_helpers.secret(), MatrixShape(2, 2, 2, 17), prepares=2)


def test_a_worker_keeps_no_key_that_is_another_s() -> None:
    """Of two owners, one after the other, in one process."""
    for number in (0, 1, 0):
        both_ways(BfvBackend, bfv_helpers.secret(TRAINING, number), PIECES["small"])


def test_a_worker_takes_nobodys_base_for_anothers() -> None:
    """Two keys may have one n: whoever has seen it could send it with an h whose powers hide nothing."""
    n, exponent = mpz(10007), bytes([3, 0])
    for h in (mpz(5), mpz(1), mpz(5)):
        (power,) = paillier_distant.distant_powers(PublicBase(h, n, len(exponent)), [exponent])
        assert power == gmpy2.powmod(h, 3 * n, n * n)


def test_a_worker_lets_go_of_what_was_not_asked_for_longest() -> None:
    kept = Kept[int](2)
    kept.put(b"a", 1)
    kept.put(b"b", 2)
    assert kept.get(b"a") == 1
    kept.put(b"c", 3)
    assert [kept.get(name) for name in (b"a", b"b", b"c")] == [1, None, 3]


def test_an_operand_of_another_key_is_still_refused() -> None:
    elsewhere = Elsewhere()
    backend = BfvBackend(distant=elsewhere)
    shape = PIECES["small"]
    factor, matrix, addend = inputs(shape)
    one, two = (backend.load_public(bfv_helpers.secret(TRAINING, number).public_key()) for number in (0, 1))
    operand = one.load_operand(bfv_helpers.secret(TRAINING, 0).encrypt(matrix, shape), shape)
    with pytest.raises(InvalidInput, match="not loaded under this public key"):
        two.multiply_add(factor, operand, addend, shape)
    assert not elsewhere.pieces
