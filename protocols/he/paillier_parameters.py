"""Named Paillier parameter sets, and how the matrices of a product lie in plaintexts.

A plaintext holds the columns of one row, each in a slot of whole bytes. A slot of a reply holds the integer

    X M + R + 2^59 (K + r),     r = r1 + r2 + r3, each uniform in [0, 2^mask_bits)
    K                           bound on the sum of |x| over a row of X: k (2^factor_bits - 1), or the row_sum declared
    mask_bits >= bits of K + FLOODING_BITS

K makes it non-negative, since |X M| <= 2^59 K; it stays below 2^(slot bits), since 2 K + 1 + 3 2^mask_bits <=
2^(mask_bits + 2). So slots never carry into each other, and the ring element is the low 59 bits of the slot.

**Leaks**: the low 59 bits are X M + R mod 2^59, what the key owner may learn. The rest of the slot is
floor((X M + R) / 2^59) + K + r. The first term is at most K + 1 in size, so one slot is within statistical distance
3/4 (K + 1) / 2^mask_bits <= 2^-FLOODING_BITS of one that does not depend on X; what a run adds up to is
protocols/he/budget.py's matter, and why there are three r. Rounding a slot up to bytes only lengthens them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from protocols.core.errors import InvalidInput
from protocols.he.interface import MAX_DIMENSION, RING_BITS, MatrixShape

FLOODING_BITS = 64
"""What hides is longer by this many bits than all that depends on the evaluator's secrets. That carries 2^47 results in
a run; at 128 x 20 x 20 they lie in as many ciphertexts as with 40 bits."""

COVER_DIGITS = 22
"""The evaluator's exponents are longer than the owner's by 22 digits of 6 bits, 132 bits."""

ROOM_BITS = 2
"""Above the masks, for the sum of three and for K."""

MIN_KEY_BITS = 2048
MAX_KEY_BITS = 8192
MAX_FACTOR_BITS = 62
"""Factors are int64."""

FOLD_BITS = 300
"""Rows of a reply share a ciphertext when a row has at most this many bits (n of 1 or 2). Shifting a row costs a
squaring modulo n^2 a bit: 2 ms for 272, against a decryption of 1.2 ms or (plain path) 7 ms; beyond, only bytes would
be won."""


@dataclass(frozen=True)
class PaillierParameters:
    """One checked parameter set.

    Args:
        name: what a task's manifest calls the set.
        identifier: its number on the wire, 1 to 255.
        key_bits: the length of n, exactly.
        full_randomness: draw re-randomisers as r^n with r uniform in Z_n* (decisional composite residuosity alone,
            twenty to thirty times the evaluator's preparation), not as powers of one public h^n with half-length
            exponents.
    """

    name: str
    identifier: int
    key_bits: int
    full_randomness: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.identifier < 256:
            raise InvalidInput(f"{self.name}: a parameter set's identifier is from 1 to 255")
        if not MIN_KEY_BITS <= self.key_bits <= MAX_KEY_BITS or self.key_bits % 64:
            raise InvalidInput(
                f"{self.name}: a Paillier key has {MIN_KEY_BITS} to {MAX_KEY_BITS} bits and a multiple of 64, "
                f"not {self.key_bits}; shorter ones can be factored"
            )

    @property
    def key_bytes(self) -> int:
        """Bytes of n."""
        return self.key_bits // 8

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of a number modulo n^2."""
        return 2 * self.key_bytes

    def layout(self, shape: MatrixShape) -> PaillierLayout:
        """How products of this shape lie in plaintexts. Raises `InvalidInput` for a shape out of range."""
        for side in ("m", "k", "n"):
            length = getattr(shape, side)
            if type(length) is not int or not 1 <= length <= MAX_DIMENSION:
                raise InvalidInput(f"{self.name}: a product's {side} must be from 1 to {MAX_DIMENSION}, not {length}")
        if type(shape.factor_bits) is not int or not 1 <= shape.factor_bits <= MAX_FACTOR_BITS:
            raise InvalidInput(f"{self.name}: factor_bits must be from 1 to {MAX_FACTOR_BITS}, not {shape.factor_bits}")
        mask_bits = shape.largest_row_sum(shape.largest).bit_length() + FLOODING_BITS
        return PaillierLayout(shape, -(-(RING_BITS + mask_bits + ROOM_BITS) // 8), self.key_bits - 1)


@dataclass(frozen=True)
class PaillierLayout:
    """Slots and ciphertexts of one product shape.

    Args:
        shape: the product.
        slot_bytes: bytes of a slot.
        plaintext_bits: a plaintext is less than 2^plaintext_bits.
    """

    shape: MatrixShape
    slot_bytes: int
    plaintext_bits: int

    @property
    def slots(self) -> int:
        """Slots of a plaintext."""
        return self.plaintext_bits // (8 * self.slot_bytes)

    @property
    def chunks(self) -> tuple[slice, ...]:
        """The columns that each ciphertext of a row holds, as even as can be."""
        n = self.shape.n
        count = -(-n // self.slots)
        bounds = [n * i // count for i in range(count + 1)]
        return tuple(slice(low, high) for low, high in itertools.pairwise(bounds))

    @property
    def fold(self) -> int:
        """Rows of a reply that share one ciphertext."""
        row_bits = 8 * self.slot_bytes * self.shape.n
        return self.slots // self.shape.n if row_bits <= FOLD_BITS else 1

    @property
    def offset(self) -> int:
        """K: added above the ring's bits, so that slots are not negative."""
        return self.shape.largest_row_sum(self.shape.largest)

    @property
    def mask_bits(self) -> int:
        """Of each of the three numbers that hide what is above the ring's bits."""
        return 8 * self.slot_bytes - RING_BITS - ROOM_BITS

    @property
    def row_products(self) -> int:
        """Multi-exponentiations, each re-randomised, of a product."""
        return self.shape.m * len(self.chunks)

    @property
    def operand_ciphertexts(self) -> int:
        """Ciphertexts of [M]: row by row, chunk by chunk."""
        return self.shape.k * len(self.chunks)

    @property
    def reply_ciphertexts(self) -> int:
        """Ciphertexts of [X M + R]: chunk by chunk within each group of `fold` rows."""
        return -(-self.shape.m // self.fold) * len(self.chunks)


PAILLIER_2048 = PaillierParameters("paillier-2048", 1, 2048)
"""112-bit security (NIST SP 800-57): for comparisons with other systems' numbers."""

PAILLIER_3072 = PaillierParameters("paillier-3072", 2, 3072)
"""128-bit security. The default."""

PAILLIER_4096 = PaillierParameters("paillier-4096", 3, 4096)
"""About 150-bit security. Decryption works modulo p^2 of 4096 bits, the fast path's limit."""

_HALF_EXPONENT_SETS = (PAILLIER_2048, PAILLIER_3072, PAILLIER_4096)

PARAMETER_SETS = {
    parameters.name: parameters
    for half in _HALF_EXPONENT_SETS
    for parameters in (half, PaillierParameters(f"{half.name}-full", half.identifier + 16, half.key_bits, True))
}
"""Every set by its name; `-full` sets differ in `full_randomness` alone."""
