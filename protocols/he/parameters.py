"""Named BFV parameter sets, and the worst-case noise arithmetic that says which products they can carry.

A set is written as a literal and checked when it is made: security by the HomomorphicEncryption.org table, NTT-friendly
primes, and room for flooding and decryption. Nothing else in the project knows a lattice constant.

Notation: N the degree, t = 2^59 the plain modulus, q the product of the data primes; a reply is scaled from q to 2^W
(`reply_bits`), and c0 then loses its D lowest bits (`dropped_bits`).
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
    raised            operands are modulo q P, P the special prime. A sum's phase is (qP/t) X m + v; divided by P, and
                      rounded, it is (q/t) X m + v/P and (N + 1) / 2 at most. What packing adds is divided with it.
    packing           up to `packing` sums become one ciphertext by key switches (protocols/he/packing.py). Results go
                      through A of them at most, one for each automorphism. Each adds L products of a digit below a data
                      prime with an error, over the special prime P, in all A N 21 (sum of data primes) / P; the
                      division by P rounds both halves: (N + 1) / 2. Digits of raised sums are rounded as well: N / 2
                      for each automorphism. Pairs become raised sums, so that only digits of single sums are exact.
    flooding          the sum of three integers uniform in [0, 2^flood_bits), centred: at most 3/2 of 2^flood_bits, the
                      same for every product under one set. Why three: protocols/he/budget.py.

    scaled to 2^W     both halves are c 2^W / q, rounded: off by 1/2, and by what the constants of `bfv_wire` are off,
                      r = 1/2 + sum of p / 2^53 in all. The key is ternary, so |v| becomes at most
                      |v| 2^W / q + (N + 1) r. Modulo 2^W there is nothing else to lose.
    dropped bits      c0 is rounded to a multiple of 2^D: 2^(D-1) more.

The scaled reply has phase (2^W/t) m + v (mod 2^W) and decrypts while |v| < 2^W / 2t = 2^(W-60). Decryption is exact
integer arithmetic and adds nothing.

**Leaks**: every v above the line depends on X or u, so flooding covers their sum: it is refused unless
product_noise(...) times 2^FLOODING_BITS <= 2^flood_bits. No density of the flooding is above 3/4 of 2^-flood_bits, so
one coefficient, in the worst case of all errors, lies within statistical distance 3/4 product_noise / 2^flood_bits
< 2^-40 of one whose noise does not depend on X. What many results add up to, over a whole run, is
protocols/he/budget.py's matter. What stands below the line is computed from the flooded ciphertext and nothing else, so
whoever could tell something from it could tell it from that ciphertext: scaling and dropping cost no distance.

Reference: Albrecht et al., Homomorphic Encryption Standard (2018), table 1 (ternary secret, 128 bits, classical);
Halevi, Polyakov, Shoup (CT-RSA 2019) for BFV with rational scaling; Asharov et al. (EUROCRYPT 2012) for flooding;
Huang et al., Cheetah (USENIX Security 2022), section 5.2, for a reply modulo a power of two and dropped bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import gmpy2

from protocols.core.errors import InvalidInput
from protocols.he.bit_packing import LIMB, packed_size
from protocols.he.flooded_set import ERROR_BOUND, FLOODING_BITS, FloodedSet
from protocols.he.interface import RING_BITS

MIN_FLOOD_BITS, MAX_FLOOD_BITS = 64, 124
"""Two words hold one of the three integers, and their sum."""

MAX_MODULUS_BITS = {4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""Largest total modulus by degree for 128-bit security, special prime included."""

MIN_PRIME_BITS, MAX_PRIME_BITS = 47, 48
"""Of data primes: a draw of six bytes holds a residue, and two of them an exact product in decryption."""

MAX_SPECIAL_BITS = 60
"""SEAL's own limit."""

MIN_REPLY_BITS, MAX_REPLY_BITS = 66, 76
"""A scaled reply: with `LIMB` bits of fraction it fits two words."""

MAX_DROPPED_BITS = 64 - LIMB

JOINED = 4
"""So many sums are joined by key switching at once; more of them meet in pairs before."""

SEED_BYTES = 32
"""Of the seed that stands for c1 of an operand."""


def automorphisms(packing: int) -> int:
    """How many of them, but the identity, make one reply of so many sums."""
    return packing.bit_length() if packing > 1 else 0


@dataclass(frozen=True)
class BfvParameters(FloodedSet):
    """One checked parameter set. Raises `InvalidInput` for a literal that is insecure or cannot decrypt.

    Args:
        reply_bits: W, a reply is scaled to 2^W.
        dropped_bits: D, the lowest bits of c0 that a reply leaves out.
        packing: how many sums one reply holds, at most: 1 for no packing, or a power of two from 4 to 32.
        raised: operands, and so the sums of products, are modulo all primes; only with packing.
        sum_bits: what a sum that is packed costs in transforms, in the units of `layout_sum`. With less, tiles are such
            that fewer bytes are sent and more sums are made.
    """

    reply_bits: int
    dropped_bits: int
    packing: int = 1
    raised: bool = False
    sum_bits: int = 20

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
        for name, value, least, most in (
            ("flood_bits", self.flood_bits, MIN_FLOOD_BITS, MAX_FLOOD_BITS),
            ("reply_bits", self.reply_bits, MIN_REPLY_BITS, MAX_REPLY_BITS),
            ("dropped_bits", self.dropped_bits, 1, MAX_DROPPED_BITS),
        ):
            if not least <= value <= most:
                raise InvalidInput(f"{self.name}: {name} must be from {least} to {most}, not {value}")
        if self.packing not in (1, 4, 8, 16, 32):
            raise InvalidInput(f"{self.name}: 1, 4, 8, 16 or 32 sums are packed into a reply, not {self.packing}")
        if self.raised and self.packing == 1:
            raise InvalidInput(f"{self.name}: operands are modulo the special prime as well only where sums are packed")
        if self.max_norm < 1 or self.decryption_margin_bits < 0.25:
            raise InvalidInput(f"{self.name}: flooding by {self.flood_bits} bits leaves no room to decrypt, or to hide")

    def _check_primes(self) -> None:
        if len(self.data_primes) < 2:
            raise InvalidInput(f"{self.name}: a set has at least two data primes and a special one")
        for prime in self.primes:
            if prime % (2 * self.degree) != 1 or not gmpy2.is_prime(prime):
                raise InvalidInput(f"{self.name}: {prime} is not a prime that is 1 mod 2N")
        if not all(MIN_PRIME_BITS <= prime.bit_length() <= MAX_PRIME_BITS for prime in self.data_primes):
            raise InvalidInput(f"{self.name}: data primes have {MIN_PRIME_BITS} to {MAX_PRIME_BITS} bits")
        if self.packing > 1 and not MIN_PRIME_BITS <= self.primes[-1].bit_length() <= MAX_PRIME_BITS:
            raise InvalidInput(f"{self.name}: for packing the special prime is like the data primes")
        if self.primes[-1].bit_length() > MAX_SPECIAL_BITS:
            raise InvalidInput(f"{self.name}: the special prime has up to {MAX_SPECIAL_BITS} bits")
        if len(set(self.primes)) != len(self.primes):
            raise InvalidInput(f"{self.name}: primes must differ")

    @property
    def layout_slack(self) -> int:
        return 16

    @property
    def layout_sum(self) -> int:
        return self.sum_bits if self.packing > 1 else 0

    @property
    def special_prime(self) -> int:
        """P."""
        return self.primes[-1]

    @property
    def packed_replies(self) -> int:
        return self.packing

    @property
    def operand_primes(self) -> tuple[int, ...]:
        return self.primes if self.raised else self.data_primes

    @property
    def divisor(self) -> int:
        return self.special_prime if self.raised else 1

    @property
    def switching_parts(self) -> int:
        """Key-switching keys: one for each automorphism of `packing` and each data prime, by automorphism first."""
        return automorphisms(self.packing) * len(self.data_primes)

    @cached_property
    def switching_part_bytes(self) -> int:
        """Of one: as an operand's part, but modulo the special prime as well."""
        return SEED_BYTES + sum(packed_size(self.degree, prime.bit_length()) for prime in self.primes)

    @cached_property
    def key_bytes(self) -> int:
        return self.operand_bytes + self.switching_parts * self.switching_part_bytes

    @cached_property
    def switching_noise(self) -> int:
        if self.packing == 1:
            return 0
        products = automorphisms(self.packing) * self.degree * ERROR_BOUND * sum(self.data_primes)
        return -(-products // self.special_prime) + self._switching_roundings

    @property
    def _switching_roundings(self) -> int:
        rounded = automorphisms(self.packing)
        if not self.raised:  # digits of single sums are exact
            rounded -= JOINED - 1 if self.packing == JOINED else 1
        return (self.degree + 2 + rounded * self.degree) // 2

    @cached_property
    def switching_squares(self) -> float:
        if self.packing == 1:
            return 0.0
        products = (
            automorphisms(self.packing)
            * self.degree
            * sum((prime / self.special_prime) ** 2 for prime in self.data_primes)
        )
        # With those of R and of the ideal, 1 together. Twice: those of M come on top, (a + b)^2 <= 2 a^2 + 2 b^2.
        return ERROR_BOUND / 2 * products + 2 * float(self._switching_roundings + 1) ** 2

    @property
    def reply_width(self) -> int:
        return self.reply_bits

    @property
    def sent_bits(self) -> int:
        """Bits of one coefficient of a reply's c0, as sent."""
        return self.reply_bits - self.dropped_bits

    @cached_property
    def operand_bytes(self) -> int:
        return SEED_BYTES + sum(packed_size(self.degree, prime.bit_length()) for prime in self.operand_primes)

    def reply_bytes(self, places: int) -> int:
        return packed_size(places, self.sent_bits) + packed_size(self.degree, self.reply_bits)

    def reply_noise(self) -> int:
        """Bound on the noise of a reply as it is sent: the same for every product."""
        flooded = self.largest_flood + (1 << (self.flood_bits - FLOODING_BITS))
        scaled = -(-(flooded << self.reply_bits) // self.modulus)
        # (N + 1) (1/2 + sum of p / 2^53), rounded up
        rounding = -(-(self.degree + 1) * ((1 << LIMB) + sum(self.data_primes)) // (1 << (LIMB + 1)))
        return scaled + rounding + (1 << (self.dropped_bits - 1))

    @property
    def decryption_margin_bits(self) -> float:
        """log2 of (noise that still decrypts) / (worst noise of a reply)."""
        return self.reply_bits - RING_BITS - 1 - math.log2(self.reply_noise())


TRAINING = BfvParameters(
    name="bfv-8192-144b",
    identifier=5,
    degree=8192,
    primes=(281474976694273, 281474976546817, 281474976317441, 281474975662081),
    flood_bits=83,
    reply_bits=76,
    dropped_bits=11,
    packing=16,
)
"""Small factors: sums of 38 bits in a reply. 3 x 48 bits of data, 192 in all: 26 bits inside the 128-bit limit.

Three data primes are the fewest: 59 bits of message, 84 of flooding and what decryption leaves do not go into two. 48
bits are the most that a vector unit's 52-bit multiplier, or a double's mantissa, takes with room for lazy reductions.
Every bit of flooding is a bit of each residue that is sent, and carries four times as many batches: 83 carries a
million of 128 x 20 x 20 in a run, and 10,000 of 1024 x 512 x 512 (protocols/he/budget.py). 2^76 is the smallest power
of two that a reply can be scaled to: modulo 2^75 the rounding of c1 alone leaves a margin of 0.2 bits.
"""

SMALL = replace(TRAINING, name="bfv-8192-144b-small", identifier=9, packing=32, sum_bits=12)
"""The same with fewer bytes for more work, for networks that are slower than 1 Gbit/s. At width 20 it sends the same.

128 x 128 x 128 takes four operands and 64 sums in two replies, 879 kB, in place of eight, 32 and two, 1,469 kB.
"""

UNPACKED = replace(TRAINING, name="bfv-8192-144b-unpacked", identifier=7, packing=1)
"""The same with a reply for each sum. With SEAL packing takes longer than it saves (`engines.training_set`)."""

TRIPLES = BfvParameters(
    name="bfv-8192-188b",
    identifier=8,
    degree=8192,
    primes=(140737488273409, 140737488125953, 140737488044033, 140737487306753),
    flood_bits=78,
    reply_bits=73,
    dropped_bits=10,
    packing=4,
    raised=True,
)
"""Factors that fill the ring (offline triples): 59 bits. Operands have 4 x 47 bits, 30 inside the 128-bit limit.

A sum's noise is 2^73, and flooding must be far above it. Divided by the fourth prime it is 2^26: so that prime is the
special one as well, and replies are made modulo three. Flooding is 2^52 above the noise.
"""

UNPACKED_TRIPLES = BfvParameters(
    name="bfv-8192-188",
    identifier=6,
    degree=8192,
    primes=(*TRIPLES.primes, 1073692673),
    flood_bits=124,
    reply_bits=73,
    dropped_bits=11,
)
"""The same with a reply for each sum, which is quicker with SEAL. 218 bits in all with a special prime of 30."""

PARAMETER_SETS = {parameters.name: parameters for parameters in (TRAINING, SMALL, UNPACKED, TRIPLES, UNPACKED_TRIPLES)}
"""Every set by its name."""
