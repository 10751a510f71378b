"""What a key owner learns of the evaluator's factor X from c1 and from noise, and that replies tell it nothing.

Two attacks, each run against a backend with one protection switched off, where it finds X, and against the
product as it is, where it finds nothing:

    from c1      without the encryption of zero, c1 of the reply is X * c1 of the operand, scaled to 2^W and rounded.
                 The owner knows both: a bounded-distance problem in a small lattice, solved by LLL.
                 Flooding, which is on c0 only, does not help.
    from noise   without flooding, the noise before that is X * (noise of the operand) plus a little.
                 The owner knows both: least squares, one equation a result. The encryption of zero does not help.

Reference: Gentry (2009), section on circuit privacy, for why both are needed; Kannan (1987) for the embedding.
"""

from __future__ import annotations

import numpy as np
import pytest
from flint import fmpz_mat

from protocols.core.randomness import OsRandomness
from protocols.he.interface import MatrixShape
from protocols.he.layout import best_layout
from protocols.he.parameters import TRAINING
from tests.protocols.he.bfv_helpers import (
    T,
    Watched,
    WithoutFlooding,
    WithoutZero,
    compose,
    operand_polynomials,
    scaled_noise,
    secret,
    sent_reply,
)

SHAPE = MatrixShape(1, 8, 1000, 26)
BOUND = 1 << SHAPE.factor_bits


def one_product(evaluator):
    """X, the operand that the owner sent, and the reply that it got."""
    stream, owner = OsRandomness(), secret()
    factor = stream.ring((1, SHAPE.k), 27).astype(np.int64) - (BOUND - 1)
    bundle = owner.encrypt(stream.ring((SHAPE.k, SHAPE.n), 59), SHAPE)
    operand = evaluator.load_operand(bundle, SHAPE)
    factor = np.clip(factor, 1 - BOUND, BOUND - 1)
    reply = evaluator.multiply_add(factor, operand, stream.ring((1, SHAPE.n), 59), SHAPE)
    layout = best_layout(SHAPE, TRAINING)
    assert (layout.operand_parts, layout.reply_parts, layout.k_tile) == (1, 1, SHAPE.k)
    return factor[0].tolist(), bundle.parts[0], reply.parts[0]


def recover_from_c1(operand, reply, equations=4):
    """X from c1' = round(2^W/q X c1), one equation mod q for each coefficient, as a short vector."""
    q, kept = TRAINING.modulus, 1 << TRAINING.reply_bits
    _, c1_reply = sent_reply(reply, len(best_layout(SHAPE, TRAINING).places(0, 0)))
    seen = [int(value) * q // kept for value in c1_reply]
    c1 = [int(value) for value in compose(operand_polynomials(secret(), operand)[1], TRAINING.data_primes)]
    error = q // kept  # size of what rounding hides
    weight = error // BOUND
    size = SHAPE.k + equations + 1
    rows = [[0] * size for _ in range(size)]
    for a in range(SHAPE.k):
        rows[a][a] = weight
        for e in range(equations):  # X[a] is at coefficient k - 1 - a of the factor
            rows[a][SHAPE.k + e] = c1[100 + e - (SHAPE.k - 1 - a)]
    for e in range(equations):
        rows[SHAPE.k + e][SHAPE.k + e] = q
        rows[-1][SHAPE.k + e] = seen[100 + e]
    rows[-1][-1] = error
    reduced = fmpz_mat(rows).lll().tolist()
    for row in reduced:
        if abs(row[-1]) == error:
            return [int(-value * (1 if row[-1] > 0 else -1)) // weight for value in row[: SHAPE.k]]
    return None


def recover_from_noise(operand, polynomials):
    """X by least squares from noise = X * (noise of the operand) + a little, where c0 is sent."""
    places = best_layout(SHAPE, TRAINING).places(0, 0)
    own = scaled_noise(secret(), operand_polynomials(secret(), operand)).astype(float) / T
    seen = scaled_noise(secret(), polynomials).astype(float)[places] / T
    columns = []
    for a in range(SHAPE.k):  # multiplication by x^shift mod x^N + 1
        shift = SHAPE.k - 1 - a
        rolled = np.roll(own, shift)
        rolled[:shift] *= -1
        columns.append(rolled)
    solved = np.linalg.lstsq(np.stack(columns, axis=1)[places], seen, rcond=None)[0]
    return [round(value) for value in solved]


def test_c1_without_an_encryption_of_zero_gives_the_factor_away():
    factor, operand, reply = one_product(WithoutZero())
    assert recover_from_c1(operand, reply) == factor


def test_noise_without_flooding_gives_the_factor_away():
    """All but the last 5 of 26 bits: the encryption of zero leaves noise of 2^8.4, which 1000 results average away."""
    evaluator = WithoutFlooding()
    factor, operand, _ = one_product(evaluator)
    guess = recover_from_noise(operand, evaluator.seen[0])
    assert max(abs(found - true) for found, true in zip(guess, factor, strict=True)) < 1 << 5


@pytest.mark.parametrize("evaluator", [Watched, WithoutFlooding])
def test_c1_with_an_encryption_of_zero_does_not(evaluator):
    factor, operand, reply = one_product(evaluator())
    guess = recover_from_c1(operand, reply)
    assert guess is None or all(found != true for found, true in zip(guess, factor, strict=True))


@pytest.mark.parametrize("evaluator", [Watched, WithoutZero])
def test_flooded_noise_does_not(evaluator):
    """Not one entry is right, and the estimate is beyond the range of X by the whole margin that flooding promises."""
    watched = evaluator()
    factor, operand, _ = one_product(watched)
    guess = recover_from_noise(operand, watched.seen[0])
    assert all(found != true for found, true in zip(guess, factor, strict=True))
    assert max(abs(found) for found in guess) > BOUND << 40


def test_the_guess_of_a_whole_factor_cannot_be_confirmed():
    """Without the encryption of zero the owner confirms a guess of X by computing c1 itself; with it nothing fits."""
    q, kept = TRAINING.modulus, 1 << TRAINING.reply_bits
    fits = {}
    for evaluator in (WithoutZero, Watched):
        factor, operand, reply = one_product(evaluator())
        c1 = compose(operand_polynomials(secret(), operand)[1], TRAINING.data_primes)
        guess = sum(x * int(c1[500 - (SHAPE.k - 1 - a)]) for a, x in enumerate(factor)) % q
        seen = int(sent_reply(reply, SHAPE.n)[1][500])
        fits[evaluator] = abs(guess * kept // q - seen) <= 1
    assert fits == {WithoutZero: True, Watched: False}
