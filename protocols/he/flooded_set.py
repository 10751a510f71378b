"""What any BFV parameter set says of noise and of sizes, for messages of any form. `parameters` derives the bounds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

FLOODING_BITS = 40
"""For every single result, flooding is wider by so many bits than all noise that depends on the evaluator's secrets."""

ERROR_BOUND = 21
"""Errors are centred binomials of 2 x 21 bits: never larger."""


@dataclass(frozen=True)
class FloodedSet(ABC):
    """What a parameter set says of noise and of sizes, whatever the form of its messages.

    Args:
        name: what a task's manifest calls the set.
        identifier: its number on the wire, 1 to 65535.
        degree: N, a power of two in the security table.
        primes: data primes, then the special one, which key switching sets apart: no reply is modulo it.
        flood_bits: flooding noise is the centred sum of three integers uniform in [0, 2^flood_bits).
    """

    name: str
    identifier: int
    degree: int
    primes: tuple[int, ...]
    flood_bits: int

    @cached_property
    def data_primes(self) -> tuple[int, ...]:
        """The primes of a fresh ciphertext: all but the special one."""
        return self.primes[:-1]

    @cached_property
    def modulus(self) -> int:
        """q."""
        return math.prod(self.data_primes)

    @property
    def operand_primes(self) -> tuple[int, ...]:
        """Those of operands and of the public key's encryption of zero."""
        return self.data_primes

    @cached_property
    def operand_bits(self) -> int:
        """Bits of one coefficient of an operand's c0."""
        return sum(prime.bit_length() for prime in self.operand_primes)

    @property
    def divisor(self) -> int:
        """What sums are divided by before they become replies."""
        return 1

    @property
    @abstractmethod
    def reply_width(self) -> int:
        """Bits of one coefficient of a reply's c1."""

    @property
    def layout_slack(self) -> int:
        """A layout that is quick to multiply may send one part in so many more than the least; 0: no more."""
        return 0

    @property
    def layout_sum(self) -> int:
        """What a sum costs in time where several are packed, as bits a coefficient that are sent."""
        return 0

    @property
    @abstractmethod
    def operand_bytes(self) -> int:
        """Of an operand's or a public key's body."""

    @abstractmethod
    def reply_bytes(self, places: int) -> int:
        """Of the body of a reply with so many results."""

    @property
    def packed_replies(self) -> int:
        """How many sums one reply holds, at most."""
        return 1

    @property
    def switching_noise(self) -> int:
        """Bound on the noise of packing, before flooding."""
        return 0

    @property
    def switching_squares(self) -> float:
        """What packing adds to the mean square of a result's noise, at most: over the errors in the owner's keys."""
        return 0.0

    @property
    def key_bytes(self) -> int:
        """Of a public key's body."""
        return self.operand_bytes

    @cached_property
    def zero_noise(self) -> int:
        """Bound on the noise of an encryption of zero, before flooding."""
        return 2 * ERROR_BOUND * self.degree

    def product_noise(self, norm: int) -> int:
        """Bound on all noise of a reply that depends on the evaluator's secrets, before flooding.

        Args:
            norm: bound on the sum of |x| over the coefficients of the plaintext factors behind one reply.
        """
        sums = -(-norm * (2 * ERROR_BOUND + 1) // (2 * self.divisor))
        return sums + self.zero_noise + self.switching_noise + 1

    @cached_property
    def max_norm(self) -> int:
        """The largest `norm` that flooding still covers by `FLOODING_BITS`; 0 if none."""
        room = (1 << (self.flood_bits - FLOODING_BITS)) - self.zero_noise - self.switching_noise - 1
        return max(0, 2 * self.divisor * room // (2 * ERROR_BOUND + 1))

    @property
    def largest_flood(self) -> int:
        """Bound on the flooding."""
        return 3 << (self.flood_bits - 1)
