"""Several sums in one reply: how their results move, what key switching is asked for, and the way back from q P.

A sum is an RLWE ciphertext p_j whose results all lie at places r modulo p: p = `packing` is a power of two, j < p, and
r = k_tile - 1 modulo p, as `layout` makes k_tile a multiple of p. In one reply, the result at place i of sum j moves to
i - r + j. The automorphisms sigma_k: X -> X^(1 + k 2N/p), k < p, are those that leave X^p as it is; together they keep
the coefficients at multiples of p, times p, and cancel all others. So

    reply = sum over k of sigma_k(c_k),    c_k = 1/p sum over j of X^(j - r - j k 2N/p) p_j

with 1/p modulo q, which is exact on the phase and costs no bit of the message. sigma_k(c_k) is a ciphertext under
sigma_k(s): its c1 is switched to s. `folded` makes d_k = p sigma_k(c_k)[1] for all k at once: coefficient i of
X^(j - r) p_j[1] came from class u = (i - j) mod p; each is multiplied by X^(k u 2N/p), and all are added. c0 of the
reply is only needed at the results, and there it has what the p_j[0] have at theirs: nothing to compute.

    key {k, l}     -(a s + e) + P/p sigma_k(s) on the row of data prime l, and 0 on the others;  a    modulo q P
    switched       1/P sum over k > 0 and l of (d_k modulo prime l) times key {k, l}, rounded         `divided`
    reply          c1: 1/p d_0 + switched[1];  c0: p_j[0] at its results + switched[0] there

Raised sums are modulo q P, and the reply has 1/P of them. With x_k = d_k / p modulo q P, digits are those of p times
x_k / P, rounded (`lowered`), and there is one division by P for all:

    reply          c1: 1/P (x_0 + sum[1]), rounded;  c0: 1/P (p_j[0] at its results + sum[0] there), rounded
                   sum: over k > 0 and l of (digit modulo prime l) times key {k, l}

u * key, flooding and the rest are added as without packing. Key-switching keys encrypt sigma_k(s) under s: that this is
secure is an assumption of its own (circular security), made wherever automorphisms are used. That operands are modulo q
under the same s is none: reduced modulo q, what is modulo q P is such a sample. A malicious owner's other
keys add a function of the sums to its packed replies, and only to those: tests/attacks/test_more_than_a_matrix.py.

Reference: Chen, Dai, Kim, Song, Efficient Homomorphic Conversion Between (Ring) LWE Ciphertexts (ACNS 2021), section 3;
Halevi, Polyakov, Shoup (CT-RSA 2019) for key switching with residues as digits and one special prime.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.he.parameters import BfvParameters
from protocols.he.residues import add_residues, multiply_by, reduce_once

Residues = NDArray[np.uint64]


def automorphism(ternary: NDArray[np.int8], number: int, packing: int) -> NDArray[np.int8]:
    """sigma_k of a polynomial [N] with coefficients -1, 0 and 1."""
    degree = len(ternary)
    target = np.arange(degree) * (1 + number * 2 * degree // packing) % (2 * degree)
    out = np.empty_like(ternary)
    out[target % degree] = np.where(target < degree, ternary, -ternary)
    return out


def switching_row(key: NDArray[np.int8], number: int, row: int, parameters: BfvParameters) -> Residues:
    """P/p sigma_k(s) modulo data prime `row`, [N]: the message of key-switching key {k, row}."""
    prime = parameters.data_primes[row]
    factor = parameters.special_prime * pow(parameters.packing, -1, prime) % prime
    moved = automorphism(key, number, parameters.packing)
    message: Residues = np.uint64(factor) * (moved == 1) + np.uint64(prime - factor) * (moved == -1)
    return message


def folded(halves: Sequence[Residues], back: int, parameters: BfvParameters) -> list[Residues]:
    """d_k for all k, [operand primes, N] each, from c1 of up to p sums; `back` is r."""
    packing, primes = parameters.packing, parameters.operand_primes
    classes = [np.zeros_like(halves[0]) for _ in range(packing)]
    for number, half in enumerate(halves):
        moved = _times_power(half, number - back, primes)
        for offset in range(packing):
            place = (offset + number) % packing
            classes[offset][:, place::packing] = moved[:, place::packing]
    turn = 2 * parameters.degree // packing
    out = []
    for number in range(packing):
        total = classes[0]
        for offset in range(1, packing):
            total = add_residues(total, _times_power(classes[offset], number * offset * turn, primes), primes)
        out.append(total)
    return out


def lowered(values: Residues, parameters: BfvParameters) -> Residues:
    """p times (d_k / p) / P, rounded, modulo q [data primes, N], for d_k modulo q P [all primes, N]."""
    packing = parameters.packing
    whole = np.stack([
        multiply_by(row, pow(packing, -1, prime), prime) for row, prime in zip(values, parameters.primes, strict=True)
    ])  # fmt: skip
    quotients = zip(divided(whole, parameters), parameters.data_primes, strict=True)
    return np.stack([multiply_by(row, packing, prime) for row, prime in quotients])


def divided(values: Residues, parameters: BfvParameters) -> Residues:
    """x / P, rounded, modulo q [data primes, n], for x modulo q P [all primes, n]."""
    special = parameters.special_prime
    raised = reduce_once(values[-1] + np.uint64(special // 2), special)
    out = np.empty((len(parameters.data_primes), values.shape[1]), np.uint64)
    for row, value, prime in zip(out, values, parameters.data_primes, strict=False):
        rest = multiply_by(raised, 1, prime)
        shifted = value + np.uint64(special // 2 % prime) + (np.uint64(prime) - rest)
        row[:] = multiply_by(shifted, pow(special, -1, prime), prime)
    return out


def _times_power(values: Residues, exponent: int, primes: tuple[int, ...]) -> Residues:
    """values X^exponent, modulo X^N + 1."""
    degree = values.shape[1]
    turns, shift = divmod(exponent % (2 * degree), degree)
    out = np.roll(values, shift, axis=1)
    for row, prime in zip(out, primes, strict=True):
        negative = row[shift:] if turns else row[:shift]
        negative[:] = reduce_once(np.uint64(prime) - negative, prime)
    return out
