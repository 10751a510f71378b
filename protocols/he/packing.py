"""Several sums in one reply: how their results move, what key switching is asked for, and the way back from q P.

A sum is an RLWE ciphertext p_j whose results all lie at places -1 modulo p, as `layout` makes k_tile a multiple of p, a
power of two. In one reply of up to p sums, the result at place i of sum j < p moves to i - (p - 1) + j.

**Four sums.** With p = 4, the automorphisms sigma_k: X -> X^(1 + k 2N/p), k < p, are those that leave X^p as it is;
together they keep the coefficients at multiples of p, times p, and cancel all others. So with r = p - 1

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

**More sums** meet in pairs first, until four are left, as all p at once would ask for p - 1 automorphisms, whose keys
must be sent. At s = p/2, sums j and j + s < p, with results at -1 modulo 2 s, become one with results at -1 modulo s:
with sigma: X -> X^(1 + N/s), which negates the odd ones among the powers of X^s and keeps the even ones,

    pair = 1/2 (b + X^-s a + X^-1 sigma(X (b - X^-s a)))    of a = p_j, b = p_(j + s), both halves      `paired`

holds at -1 modulo s what a has, moved by -s, and what b has. Its c1 is switched by the key of this automorphism, with
P/2; it stays times P and modulo q P, a raised sum. Then the same at s/2, and so on. As above c0 has what a and b have.
A sum without a partner is moved, times P. So s = p/2, ..., 8, 4, and p is the least power of two for all sums.

u * key, flooding and the rest are added as without packing. Key-switching keys encrypt sigma(s) under s: that this is
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

from protocols.he.parameters import JOINED, BfvParameters
from protocols.he.residues import add_residues, multiply_by, reduce_once, subtract_residues

Residues = NDArray[np.uint64]


def exponent(number: int, degree: int) -> int:
    """Automorphism `number` is X -> X^exponent: three for four sums, then those of pairs, s = 4, 8, 16."""
    if number < JOINED - 1:
        return 1 + (number + 1) * 2 * degree // JOINED
    return 1 + degree // (JOINED << (number - JOINED + 1))


def number_of_pairs(spacing: int) -> int:
    """The automorphism of pairs whose results are 2 `spacing` apart."""
    return JOINED - 1 + (spacing // JOINED).bit_length() - 1


def automorphism(ternary: NDArray[np.int8], number: int) -> NDArray[np.int8]:
    """sigma of a polynomial [N] with coefficients -1, 0 and 1."""
    degree = len(ternary)
    target = np.arange(degree) * exponent(number, degree) % (2 * degree)
    out = np.empty_like(ternary)
    out[target % degree] = np.where(target < degree, ternary, -ternary)
    return out


def switching_row(key: NDArray[np.int8], number: int, row: int, parameters: BfvParameters) -> Residues:
    """P/p sigma(s) modulo data prime `row`, [N], or P/2 sigma(s): the message of key-switching key {number, row}."""
    prime = parameters.data_primes[row]
    factor = parameters.special_prime * pow(JOINED if number < JOINED - 1 else 2, -1, prime) % prime
    moved = automorphism(key, number)
    message: Residues = np.uint64(factor) * (moved == 1) + np.uint64(prime - factor) * (moved == -1)
    return message


def folded(halves: Sequence[Residues], parameters: BfvParameters) -> list[Residues]:
    """d_k for all k, [primes, N] each, from c1 of up to four sums modulo the first, or all, primes."""
    primes = parameters.primes[: len(halves[0])]
    classes = [np.zeros_like(halves[0]) for _ in range(JOINED)]
    for number, half in enumerate(halves):
        moved = _times_power(half, number - JOINED + 1, primes)
        for offset in range(JOINED):
            place = (offset + number) % JOINED
            classes[offset][:, place::JOINED] = moved[:, place::JOINED]
    turn = 2 * parameters.degree // JOINED
    out = []
    for number in range(JOINED):
        total = classes[0]
        for offset in range(1, JOINED):
            total = add_residues(total, _times_power(classes[offset], number * offset * turn, primes), primes)
        out.append(total)
    return out


def paired(first: Residues, second: Residues, spacing: int, parameters: BfvParameters) -> tuple[Residues, Residues]:
    """c1 of a pair: b + X^-s a, and X^-1 sigma(X (b - X^-s a)); both are halved where they are used."""
    primes, degree = parameters.primes[: len(first)], parameters.degree
    moved = _times_power(first, -spacing, primes)
    apart = subtract_residues(second, moved, primes)
    target = ((np.arange(degree) + 1) * exponent(number_of_pairs(spacing), degree) - 1) % (2 * degree)
    out = np.empty_like(apart)
    for row, values, prime in zip(out, apart, primes, strict=True):
        row[target % degree] = np.where(target < degree, values, reduce_once(np.uint64(prime) - values, prime))
    return add_residues(second, moved, primes), out


def moved_alone(half: Residues, spacing: int, parameters: BfvParameters) -> Residues:
    """X^-s a: c1 of a sum without a partner."""
    return _times_power(half, -spacing, parameters.primes[: len(half)])


def raised(values: Residues, parameters: BfvParameters) -> Residues:
    """Times P, modulo q P [all primes, n]: as it is if it is modulo q P."""
    if len(values) == len(parameters.primes):
        return values
    rows = [
        multiply_by(row, parameters.special_prime % prime, prime)
        for row, prime in zip(values, parameters.data_primes, strict=True)
    ]
    return np.stack([*rows, np.zeros_like(rows[0])])


def scaled(values: Residues, number: int, parameters: BfvParameters) -> Residues:
    """1/number of them, modulo the first, or all, primes."""
    primes = parameters.primes[: len(values)]
    return np.stack([
        multiply_by(row, pow(number, -1, prime), prime) for row, prime in zip(values, primes, strict=True)
    ])  # fmt: skip


def lowered(values: Residues, packing: int, parameters: BfvParameters) -> Residues:
    """p times (d / p) / P, rounded, modulo q [data primes, N], for d modulo q P [all primes, N]; p: `packing`."""
    quotients = zip(divided(scaled(values, packing, parameters), parameters), parameters.data_primes, strict=True)
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
