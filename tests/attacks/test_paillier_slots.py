"""What a Paillier key owner could read without the two masks of a reply, and cannot with them.

1. Slots: the owner decrypts integers. Without the statistical mask, their high parts are X M / 2^59 over the rationals,
   n equations for the k entries of a row of X: least squares finds the row, although R hides every slot modulo 2^59.
2. Roots: the owner takes n-th roots. Without re-randomisation, a reply's root is a product of roots that it chose,
   raised to the entries of X: a guess of a row is confirmed, and a small row found by trying.
3. A re-randomiser no longer than the owner's own exponents hides too little from an owner who can take discrete
   logarithms: the sum of exponents then tells rows apart by its size alone.
"""

from __future__ import annotations

from itertools import product

import gmpy2
import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.core.randomness import OsRandomness
from protocols.he.interface import RING_BITS, MatrixShape
from protocols.he.multi_exponentiation import DIGIT_BITS
from protocols.he.paillier import COVER_DIGITS, PaillierPublicSide
from protocols.he.paillier_math import OPERAND, REPLY
from protocols.he.paillier_parameters import PAILLIER_2048
from tests.protocols.he.paillier_helpers import ConstantRandomness, draw, public, public_with, secret, slot_integers

NO_MASKS = ConstantRandomness(0)


def rows_from_high_parts(
    evaluator: PaillierPublicSide, shape: MatrixShape
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The owner's guess of X from the integers in a reply's slots, and X. R is uniform, as in the protocol."""
    factor, matrix, addend = draw(shape)
    operand = evaluator.load_operand(secret().encrypt(matrix, shape), shape)
    reply = evaluator.multiply_add(factor, operand, addend, shape)
    offset = PAILLIER_2048.layout(shape).offset
    high = np.array(
        [[(s >> RING_BITS) - offset for s in row] for row in slot_integers(secret(), reply, shape)], dtype=float
    )
    scaled = matrix.astype(float) / 2.0**RING_BITS
    guess, *_ = np.linalg.lstsq(scaled.T, high.T, rcond=None)
    return guess.T, factor


def test_without_the_statistical_mask_slots_reveal_the_factor() -> None:
    guess, factor = rows_from_high_parts(public_with(NO_MASKS), MatrixShape(8, 3, 12, 17))
    assert np.abs(guess - factor).max() < 16  # 14 of 18 bits of every entry


def test_with_the_statistical_mask_slots_say_nothing() -> None:
    guess, factor = rows_from_high_parts(public(), MatrixShape(8, 3, 12, 17))
    assert np.abs(guess - factor).min() > 1 << 17  # farther off than a guess of zero


def rows_that_fit_the_root(evaluator: PaillierPublicSide, row: list[int]) -> list[tuple[int, ...]]:
    """All rows of two entries from -4 to 4 for which a reply's root is what the owner's own roots make of them."""
    shape = MatrixShape(1, 2, 3, 3)
    _, matrix, addend = draw(shape)
    bundle = secret().encrypt(matrix, shape)
    reply = evaluator.multiply_add(np.array([row]), evaluator.load_operand(bundle, shape), addend, shape)
    layout, n = PAILLIER_2048.layout(shape), secret()._public.n
    own = secret()._public.read(bundle, OPERAND, layout)
    (seen,) = secret()._public.read(reply, REPLY, layout)  # modulo n, a ciphertext is its root's n-th power
    fits = []
    for guess in product(range(-4, 5), repeat=2):
        made = gmpy2.powmod(own[0], guess[0], n) * gmpy2.powmod(own[1], guess[1], n) % n
        if made == seen % n:
            fits.append(guess)
    return fits


def test_without_rerandomisation_a_row_is_found_by_trying() -> None:
    assert rows_that_fit_the_root(public_with(NO_MASKS), [3, -2]) == [(3, -2)]


def test_with_rerandomisation_no_guess_fits() -> None:
    assert rows_that_fit_the_root(public(), [3, -2]) == []


@pytest.mark.parametrize(("cover", "told_apart"), [(0, True), (COVER_DIGITS, False)])
def test_the_cover_hides_from_an_owner_who_can_take_discrete_logarithms(cover: int, told_apart: bool) -> None:
    digits, rows, trials = 171, ([2**17 - 1] * 20, [0] * 20), 40
    source = OsRandomness()

    def exponent(count: int) -> int:
        return sum((byte & 63) << (DIGIT_BITS * i) for i, byte in enumerate(source.bytes(count)))

    threshold = 1 << (DIGIT_BITS * (digits + cover))  # only a large row can exceed the re-randomiser's range
    said_large = [
        [sum(x * exponent(digits) for x in row) + exponent(digits + cover) >= threshold for _ in range(trials)]
        for row in rows
    ]
    assert not any(said_large[1])
    assert all(said_large[0]) is told_apart
    assert any(said_large[0]) is told_apart
