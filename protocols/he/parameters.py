"""Named BFV parameter sets, and the worst-case noise arithmetic that says which products they can carry.

A set is written as a literal and checked when it is made: security by the HomomorphicEncryption.org table, NTT-friendly
primes, and room for flooding and decryption. Nothing else in the project knows a lattice constant.

Notation: N the degree, t = 2^59 the plain modulus, q the product of the data primes, q' of the primes a reply keeps.
A ciphertext of m has phase c0 + c1 s = (q/t) m + v (mod q) with m an integer polynomial, and decrypts while
|v| < q / 2t. Bounds on |v| are infinity norms and hold always, not with high probability:

    fresh operand     made of round(q m / t), not floor(q/t) m, so |v| <= 21 + 1/2: error plus that rounding.
    product with X    |v| <= ||X||_1 (21 + 1/2). Because the phase is the *rational* q/t times X m, a carry of X m
                      over t adds a multiple of q, that is nothing: there is no (q mod t) * carry term as there is with
                      floor(q/t). ||X||_1 sums |x| over the coefficients behind one reply, X lifted centred: at most
                      rows * k * min(2^factor_bits - 1, t/2), or rows * row_sum where the shape bounds a row's sum.
    zero encryption   (b u, a u + e2) for the public key b = -(a s + e) and ternary u: the phase is e2 s - e u, so
                      |v| <= 2 * 21 N, as s and u are ternary. The error that textbooks add to b u is the flooding.
    addend            one more rounding, 1/2.
    flooding          the sum of three integers uniform in [0, 2^flood_bits), centred: at most 3/2 of 2^flood_bits, the
                      same for every product under one set. Why three: protocols/he/budget.py.
    a prime dropped   |v| is divided by it; rounding both halves adds (1 + N) / 2, as the key is ternary.

**Leaks**: every v above depends on X or u, so flooding covers their sum: it is refused unless product_noise(...) times
2^FLOODING_BITS <= 2^flood_bits. No density of the flooding is above 3/4 of 2^-flood_bits, so one coefficient, in the
worst case of all errors, lies within statistical distance 3/4 product_noise / 2^flood_bits < 2^-40 of one whose noise
does not depend on X. What many results add up to, over a whole run, is protocols/he/budget.py's matter.

Reference: Albrecht et al., Homomorphic Encryption Standard (2018), table 1 (ternary secret, 128 bits, classical);
Halevi, Polyakov, Shoup (CT-RSA 2019) for BFV with rational scaling; Asharov et al. (EUROCRYPT 2012) for flooding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import gmpy2

from protocols.core.errors import InvalidInput
from protocols.he.interface import RING_BITS

FLOODING_BITS = 40
"""For every single result, flooding is wider by so many bits than all noise that depends on the evaluator's secrets."""

ERROR_BOUND = 21
"""SEAL's error is a centred binomial of 2 x 21 bits: never larger."""

MIN_FLOOD_BITS, MAX_FLOOD_BITS = 64, 124
"""Two words hold one of the three integers, and their sum."""

MAX_MODULUS_BITS = {4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""Largest total modulus by degree for 128-bit security, special prime included."""

MAX_PRIME_BITS = 60
"""SEAL's own limit."""


def packs(bits: int) -> bool:
    """Whether values of this width stay in one word at the shifts that bit-packing gives them: up to 58 bits, or 60."""
    return bits + 8 - math.gcd(bits, 8) <= 64


@dataclass(frozen=True)
class BfvParameters:
    """One checked parameter set. Raises `InvalidInput` for a literal that is insecure or cannot decrypt.

    Args:
        name: what a task's manifest calls the set.
        identifier: its number on the wire, 1 to 65535.
        degree: N, a power of two in the security table.
        primes: data primes in the order SEAL keeps them (a reply drops from the end), then the one that SEAL sets apart
            for key switching, which is never done here: no value is modulo that prime.
        reply_levels: how many of the first primes a reply keeps.
        flood_bits: flooding noise is the centred sum of three integers uniform in [0, 2^flood_bits).
    """

    name: str
    identifier: int
    degree: int
    primes: tuple[int, ...]
    reply_levels: int
    flood_bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.identifier < 1 << 16:
            raise InvalidInput(f"{self.name}: a parameter set's identifier is from 1 to 65535")
        if self.degree not in MAX_MODULUS_BITS:
            raise InvalidInput(f"{self.name}: the degree must be one of {sorted(MAX_MODULUS_BITS)}, not {self.degree}")
        bits = math.prod(self.primes).bit_length()
        if bits > MAX_MODULUS_BITS[self.degree]:
            limit = MAX_MODULUS_BITS[self.degree]
            raise InvalidInput(f"{self.name}: {bits} bits of modulus break 128-bit security; {limit} is the most")
        self._check_primes()
        if not 1 <= self.reply_levels < len(self.data_primes):
            raise InvalidInput(f"{self.name}: a reply keeps at least one data prime and drops at least one")
        if not MIN_FLOOD_BITS <= self.flood_bits <= MAX_FLOOD_BITS:
            raise InvalidInput(
                f"{self.name}: flood_bits must be from {MIN_FLOOD_BITS} to {MAX_FLOOD_BITS}, not {self.flood_bits}"
            )
        if self.max_norm < 1 or self.decryption_margin_bits < 0.25:
            raise InvalidInput(f"{self.name}: flooding by {self.flood_bits} bits leaves no room to decrypt, or to hide")

    def _check_primes(self) -> None:
        for prime in self.primes:
            bits = prime.bit_length()
            if bits > MAX_PRIME_BITS or not packs(bits):
                raise InvalidInput(f"{self.name}: primes have up to 58 bits or {MAX_PRIME_BITS}, not {bits}")
            if prime % (2 * self.degree) != 1 or not gmpy2.is_prime(prime):
                raise InvalidInput(f"{self.name}: {prime} is not a prime that is 1 mod 2N")
        if len(set(self.primes)) != len(self.primes):
            raise InvalidInput(f"{self.name}: primes must differ")

    @property
    def data_primes(self) -> tuple[int, ...]:
        """The primes of a fresh ciphertext: all but the special one."""
        return self.primes[:-1]

    @property
    def reply_primes(self) -> tuple[int, ...]:
        """The primes of a reply."""
        return self.primes[: self.reply_levels]

    @property
    def zero_noise(self) -> int:
        """Bound on the noise of an encryption of zero, before flooding."""
        return 2 * ERROR_BOUND * self.degree

    def product_noise(self, norm: int) -> int:
        """Bound on all noise of a reply that depends on the evaluator's secrets, before flooding.

        Args:
            norm: bound on the sum of |x| over the coefficients of the plaintext factors behind one reply.
        """
        return -(-norm * (2 * ERROR_BOUND + 1) // 2) + self.zero_noise + 1

    @property
    def max_norm(self) -> int:
        """The largest `norm` that flooding still covers by `FLOODING_BITS`; 0 if none."""
        room = (1 << (self.flood_bits - FLOODING_BITS)) - self.zero_noise - 1
        return max(0, 2 * room // (2 * ERROR_BOUND + 1))

    @property
    def largest_flood(self) -> int:
        """Bound on the flooding."""
        return 3 << (self.flood_bits - 1)

    def reply_noise(self) -> int:
        """Bound on the noise of a flooded reply after its primes are dropped: the same for every product."""
        noise = self.largest_flood + (1 << (self.flood_bits - FLOODING_BITS))
        for prime in reversed(self.data_primes[self.reply_levels :]):
            noise = -(-noise // prime) + (self.degree + 2) // 2
        return noise

    @property
    def decryption_margin_bits(self) -> float:
        """log2 of (noise that still decrypts) / (worst noise of a reply)."""
        limit = math.prod(self.reply_primes) >> (RING_BITS + 1)
        return math.log2(limit / self.reply_noise()) if limit else -math.inf


TRAINING = BfvParameters(
    name="bfv-8192-144",
    identifier=3,
    degree=8192,
    primes=(1152921504606830593, 16760833, 1152921504606748673, 65537),
    reply_levels=2,
    flood_bits=83,
)
"""Small factors: sums of 38 bits in a reply. 60+24+60 bits of data, 161 in all: 57 bits inside the 128-bit limit.

Three data primes are the fewest: 59 bits of message, 84 of flooding and what decryption leaves do not go into two. The
kept ones are 60+24 rather than 42+42 because SEAL compresses what it saves, and full and short words are faster than
half-full ones over a batch. Every bit of flooding is a bit of each residue that is sent, and carries four times as many
batches: 83 carries a million of 128 x 20 x 20 in a run, and 10,000 of 1024 x 512 x 512 (protocols/he/budget.py).
"""

TRIPLES = BfvParameters(
    name="bfv-8192-186",
    identifier=4,
    degree=8192,
    primes=(144115188075593729, 114689, 72057594037616641, 72057594037370881, 65537),
    reply_levels=2,
    flood_bits=124,
)
"""Factors that fill the ring (offline triples): 59 bits. 57+17+56+56 bits of data, 203 in all."""

PARAMETER_SETS = {parameters.name: parameters for parameters in (TRAINING, TRIPLES)}
"""Every set by its name."""

RETIRED_SETS = {
    parameters.name: parameters
    for parameters in (
        BfvParameters(
            name="bfv-8192-138",
            identifier=1,
            degree=8192,
            primes=(1152921504606830593, 163841, 1152921504606748673, 65537),
            reply_levels=2,
            flood_bits=76,
        ),
        BfvParameters(
            name="bfv-8192-180",
            identifier=2,
            degree=8192,
            primes=(144115188075593729, 114689, 9007199254429697, 9007199254364161, 65537),
            reply_levels=2,
            flood_bits=117,
        ),
    )
}
"""Of version 0.1, whose flooding was too narrow for a whole run. For sizes in its transcripts; no task runs them."""
