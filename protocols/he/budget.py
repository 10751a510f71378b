"""What one product shows of its factor to the key owner, as a statistical distance: flooding, re-randomisation, slots.

The owner of [M] gets X M + R, which it may have, and with it noise that depends on X. Uniform noise is told from the
same noise shifted by v at the ends of its range, in v of w messages: over a run that adds up linearly. The sum S of
three integers uniform in [0, w) has a density p that falls to zero smoothly, and

    2 h^2(S, S + v)  <=  v^2 I / 4,    I = 4 sum over x of (p(x + 1)^1/2 - p(x)^1/2)^2  <=  5 / w^2

by the triangle inequality for v shifts of p^1/2 by 1. (I w^2 is 4.56 for large w; nothing on the same range has less
than 4.39, a cosine squared.) So a run is within (5/4 E sum of v^2)^1/2 / w: summed over all results of all replies,
expected over what the owner drew itself (e below), since it is semi-honest and drew it as it should, and over X where X
is a mask.

BFV, per result (protocols/he/parameters.py has the terms):

    X e          e is a centred binomial of variance 21/2, independent in each coefficient: E (X e)^2 is 21/2 times the
                 sum of x^2 over all factors behind the reply, and those are at most `rows` rows of X
    e2 s - e u   s, u ternary: at most N times 21/2, twice
    rounding     1/2 for each coefficient of M, times X: at most a = |x_row|_1 / 2 in all. 1/2 for R, and 1/2 for what
                 is no integer in the ideal: b = 1. Not random, so these add up: (a + b)^2 <= 2 a^2 + 2 b^2
    raised       X e and the rounding of M are divided by P
    packing      its errors are the owner's too, and no digit depends on them, as digits are of c1: 21/2 A N times the
                 sum of p_l^2 over the data primes, over P^2, with A automorphisms. Its roundings, at their worst for
                 every result, are a part of b
    u            three values from 64-bit words: relative errors of 2^-63 and less

Roundings do not depend on errors, but for the last one of c0, which is 1/2 at most. It adds no more than (E v^2)^1/2 to
the mean square, a 400th part, as that is above 21 N; 5 in place of 4.56 has room for it.

An owner that *chooses* its errors is not semi-honest, and outside of this also where a judge takes them: key-switching
keys whose errors are all 21 make the noise of packing up to `FloodedSet.switching_noise`.

Each is a term of the noise before a reply is scaled to 2^W and loses the lowest bits of c0. Both are done to the
flooded ciphertext and use nothing else, and no function of what two runs show is further apart than the runs
are: they do not count.

    sum of E v^2   <=   n |X|^2 (21/2 rows + k/2) / P^2  +  m n (21 N + 2 + packing)           P^2 only if raised

    |X|^2          the sum of x^2 over the whole factor

Paillier, per slot: v = floor((X M + R) / 2^59) is at most K + 1 in size, K the largest sum of |x| over a row. Per row,
the root's exponent is uniform and 132 bits longer than what it covers, times K: linear. The -full sets hide it
perfectly.

**What this is not about** the secrecy of ciphertexts from outsiders, which is computational; one-time pads in Z_{2^59},
which are exact, as the ring is a power of two; the smoothing noise on z and da, which is part of what a party may learn
(protocols/layer/smoothing.py): it is Gaussian by Box-Muller on 53-bit uniforms, and ends at 8.6 deviations, beyond
which are 2^-53 of a Gaussian.

**Reference** Asharov et al. (EUROCRYPT 2012) for flooding; Bercher, Vignat, On minimum Fisher information distributions
with restricted support and fixed variance (Information Sciences 2009) for the least I on a range.
"""

from __future__ import annotations

import math
from functools import lru_cache

from protocols.core.distance import Distance
from protocols.he.flooded_set import ERROR_BOUND, FloodedSet
from protocols.he.interface import MatrixShape
from protocols.he.layout import Layout, best_layout, largest_lifted, layout_with_tiles
from protocols.he.multi_exponentiation import DIGIT_BITS
from protocols.he.paillier_parameters import COVER_DIGITS, PaillierLayout, PaillierParameters

INFORMATION = 5.0
"""Bound on I w^2 for the sum of three uniform integers below w, for w from 16 on."""

ERROR_VARIANCE = ERROR_BOUND / 2
"""A centred binomial of 2 x 21 bits has a variance of half of 21."""

TERNARY_SQUARES = 2.0**-127
"""2 h^2 of one coefficient of u against uniform: at most the sum of p (relative error)^2, which is 6/3 of 2^-128."""


@lru_cache(maxsize=256)
def bfv_distance(layout: Layout, parameters: FloodedSet) -> Distance:
    """Of one product laid out like this."""
    shape = layout.shape
    factor = (
        shape.n * float(shape.largest_square_sum(largest_lifted(shape))) * (ERROR_VARIANCE * layout.rows + shape.k / 2)
    )
    zeros = shape.m * shape.n * (2 * ERROR_VARIANCE * parameters.degree + 2)
    factor /= float(parameters.divisor) ** 2
    packing = shape.m * shape.n * parameters.switching_squares
    ternary = layout.reply_parts * parameters.degree * TERNARY_SQUARES
    return Distance(smooth_squares(factor + zeros + packing, parameters.flood_bits) + ternary)


def bfv_product(shape: MatrixShape, loaded: MatrixShape | None, parameters: FloodedSet) -> Distance:
    """Of one product in the best tiles for `loaded`, the shape that its operand was encrypted for; None: the same."""
    tiles = best_layout(shape if loaded is None else loaded, parameters)
    return bfv_distance(layout_with_tiles(shape, parameters, tiles.k_tile, tiles.n_tile), parameters)


def paillier_distance(layout: PaillierLayout, parameters: PaillierParameters) -> Distance:
    """Of one product laid out like this."""
    shape = layout.shape
    hidden = shape.m * shape.n * float(layout.offset + 1) ** 2
    cover = (
        0.0 if parameters.full_randomness else layout.row_products * layout.offset * 2.0 ** -(DIGIT_BITS * COVER_DIGITS)
    )
    return Distance(smooth_squares(hidden, layout.mask_bits), cover)


def smooth_squares(shifts: float, bits: int) -> float:
    """2 h^2 of results that are hidden by sums of three uniform integers below 2^bits.

    Args:
        shifts: the sum of the squares of what is hidden.
        bits: of each integer.
    """
    return shifts * INFORMATION / 4 * math.ldexp(1.0, -2 * bits)
