"""What the projection layer asks of an encryption scheme: one product, with a plaintext factor, into a ring.

    key owner                                             evaluator
    secret.public_key()             -- public key -->     backend.load_public(bytes)
    secret.encrypt(M)               -- [M] ---------->    public.load_operand([M])
    secret.decrypt(reply, m, n)     <-- [X M + R] ----    public.multiply_add(X, [M], R)

M: [k, n] in Z_{2^RING_BITS} (may fill the ring); X: [m, k] small signed integers, known to the evaluator; R: [m, n] in
the ring. The key owner learns X M + R mod 2^RING_BITS and nothing else, up to a statistical distance that adds up over
a run (protocols/he/budget.py): replies are re-randomised and flooded, and what carries no result is not sent. Secret
and public sides are different types, so a secret key cannot be handed to code that sends things.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput, OutOfRange
from protocols.core.message import Array, Message, check_array

RING_BITS = 59
"""Z_{2^59}: the largest power of two that SEAL takes as a BFV plain modulus."""

RING_MASK = np.uint64((1 << RING_BITS) - 1)

_ROUNDING = 1e-9
"""More than what float64 loses in a sum of squares."""

MAX_DIMENSION = 1 << 16
"""Longest side of a matrix in a product."""


@dataclass(frozen=True)
class MatrixShape:
    """The shapes of one product [m, k] x [k, n] and the size of the plaintext factor.

    Args:
        m, k, n: dimensions, each at least 1.
        factor_bits: |x| < 2^factor_bits for every entry of the plaintext factor.
        row_sum: bound on the sum of |x| over a row of the factor, where one is known that is below k 2^factor_bits:
            schemes whose noise grows with that sum then fit more rows into a reply. None: no such bound.
        square_sum: bound on the sum of x^2 over the whole factor, where one is known that is below m k 4^factor_bits:
            what a reply says of the factor grows with it (protocols/he/budget.py). None: no such bound.
        is_uniform: the factor is a fresh mask, uniform in the ring. Then its squares are what they are on average.
    """

    m: int
    k: int
    n: int
    factor_bits: int
    row_sum: int | None = None
    square_sum: int | None = None
    is_uniform: bool = False

    def __post_init__(self) -> None:
        for name in ("m", "k", "n", "factor_bits", "row_sum", "square_sum"):
            value = getattr(self, name)
            if type(value) is not int and (value is not None or name not in ("row_sum", "square_sum")):
                raise InvalidInput(f"a matrix product's {name} must be an integer, not {value!r}")

    @property
    def largest(self) -> int:
        """Bound on |x|."""
        return (1 << self.factor_bits) - 1

    def largest_row_sum(self, largest: int) -> int:
        """Bound on the sum of |x| over a row, where no |x| is larger than that."""
        most = self.k * largest
        return most if self.row_sum is None else min(most, self.row_sum)

    def largest_square_sum(self, largest: int) -> int:
        """Bound on the sum of x^2 over the factor, or its expectation, where no |x| is larger than that."""
        if self.is_uniform:
            return self.m * self.k * -(-(1 << 2 * RING_BITS) // 12)
        most = self.m * self.k * largest**2
        return most if self.square_sum is None else min(most, self.square_sum)

    def check_factor(self, factor: Array) -> None:
        """Raise unless a factor is [m, k] int64 and within all bounds; `OutOfRange` says which it breaks."""
        check_array("the factor", factor, np.int64, 2, (self.m, self.k))
        largest = max(-int(factor.min()), int(factor.max()))
        if largest > self.largest:
            raise OutOfRange(f"the factor has an entry of 2^{self.factor_bits} or more; declare more factor_bits")
        # Sums of no entry larger than that are mostly within the bounds whatever the entries are.
        if self.row_sum is not None and self.k * largest > self.row_sum:
            capped = np.minimum(np.abs(factor), self.row_sum + 1)  # so that the sums stay in a word
            if capped.sum(axis=1).max() > self.row_sum:
                raise OutOfRange(
                    f"a row of the factor sums to more in absolute values than the {self.row_sum} declared"
                )
        if self.square_sum is not None and self.m * self.k * largest**2 > self.square_sum:
            entries = factor.astype(np.float64)  # their squares, not by BLAS: it turns all cores for 10,000 of them
            if float(np.square(entries).sum()) > self.square_sum * (1 + _ROUNDING):
                raise OutOfRange(f"the squares of the factor sum to more than the {self.square_sum} declared")


@dataclass(frozen=True)
class CiphertextBundle(Message):
    """Ciphertexts of one matrix, in the order of the scheme's layout. Checked again by the scheme that reads them."""

    parts: tuple[bytes, ...]


class SecretSide(ABC):
    """Holds a secret key. Never leaves the process; its repr and errors show nothing of it."""

    @abstractmethod
    def public_key(self) -> bytes:
        """The public key and parameters, to be sent once per session."""

    @abstractmethod
    def encrypt(self, matrix: NDArray[np.uint64], shape: MatrixShape) -> CiphertextBundle:
        """Encrypt M [k, n], ring elements, laid out for a product of this shape."""

    @abstractmethod
    def decrypt(self, reply: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        """X M + R mod 2^RING_BITS, [m, n]. Raises `InvalidCiphertext` on anything that is not a valid reply."""

    def exported(self) -> bytes:
        """The secret key, for who opens a session to a judge: `Backend.open_key` reads it. Whoever has it reads all.

        Raises:
            InvalidInput: this scheme has no such thing.
        """
        raise InvalidInput(f"{type(self).__name__} cannot be opened to a judge")

    def prepare(self, shape: MatrixShape) -> int:
        """Make one unit of precomputed randomness for `encrypt` with this shape, where the scheme has any to make.

        Safe to call from one background thread while others encrypt. Returns how many units are in stock.
        """
        return 0


class PublicSide(ABC):
    """Holds a peer's public key; can multiply, and cannot decrypt."""

    @abstractmethod
    def load_operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> EncryptedOperand:
        """Check and parse the peer's [M] once, so that it can serve several products of the same k, n."""

    @abstractmethod
    def multiply_add(
        self, factor: NDArray[np.int64], operand: EncryptedOperand, addend: NDArray[np.uint64], shape: MatrixShape
    ) -> CiphertextBundle:
        """[X M + R], re-randomised and flooded. X: [m, k] int64; R: [m, n] ring elements."""

    @abstractmethod
    def distance(self, operand: EncryptedOperand, shape: MatrixShape) -> Distance:
        """How much of the factor one `multiply_add` with this operand shows to the key owner."""

    @abstractmethod
    def prepare(self, shape: MatrixShape) -> int:
        """Make one unit of precomputed randomness (encryptions of zero, flooding, r^n) for products of this shape.

        Safe to call from one background thread while others multiply. Returns how many units are in stock.
        """


class EncryptedOperand(ABC):  # noqa: B024 - opaque on purpose
    """A peer's encrypted matrix, checked and in the evaluator's working form. Opaque."""


class OpenedKey(ABC):
    """A secret key that its owner has opened, for a judge: it belongs to the public key, which has no other.

    What it decrypts is what an honest key owner or evaluator can have encrypted, or it raises `InvalidCiphertext`.
    """

    @abstractmethod
    def operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        """M [k, n] of the owner's [M], laid out for a product of this shape.

        Raises:
            InvalidCiphertext: it is no fresh encryption of such a matrix, so that products with it may come out wrong.
        """

    @abstractmethod
    def reply(self, bundle: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        """X M + R [m, n] of an evaluator's reply.

        Raises:
            InvalidCiphertext: no product with a well-formed operand is like this.
        """


class Backend(ABC):
    """One encryption scheme with one frozen, named parameter set.

    Attributes:
        releases_lock: whether other threads of the process run while it computes.
    """

    name: str
    releases_lock: bool = False

    @abstractmethod
    def generate(self, randomness_label: str = "") -> SecretSide:
        """A fresh key pair from the operating system's randomness."""

    @abstractmethod
    def load_public(self, public_key: bytes) -> PublicSide:
        """Check a peer's public key against this parameter set. Raises `InvalidCiphertext` if it does not fit."""

    def open_key(self, public_key: bytes, secret: bytes) -> OpenedKey:
        """A key that was opened (`SecretSide.exported`), checked against the public one.

        Raises:
            InvalidCiphertext: the public key is not what an honest party would send, or the secret one is of another.
            InvalidInput: this scheme has no such thing.
        """
        raise InvalidInput(f"sessions of {self.name} cannot be opened to a judge")

    @abstractmethod
    def distance(self, shape: MatrixShape, loaded: MatrixShape | None = None) -> Distance:
        """How much of the factor a product shows to the key owner.

        Args:
            shape: of the product.
            loaded: the shape that its operand was encrypted for, if it was another.
        """

    @abstractmethod
    def operand_bytes(self, shape: MatrixShape) -> int:
        """Bytes of an encrypted operand for such a product, as it is sent."""

    @abstractmethod
    def check(self, shape: MatrixShape) -> None:
        """Raise `InvalidInput` unless products of this shape leave enough noise budget to flood and to decrypt.

        Computed from the parameters (worst case), so that a task that could go wrong does not start.
        """


def as_signed(ring: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Centred representatives: ring elements as int64 in [-2^(RING_BITS-1), 2^(RING_BITS-1))."""
    shift = np.uint64(64 - RING_BITS)
    return (ring << shift).view(np.int64) >> np.int64(64 - RING_BITS)


def as_ring(signed: Array) -> NDArray[np.uint64]:
    """Signed integers reduced into the ring."""
    return np.ascontiguousarray(signed, dtype=np.int64).view(np.uint64) & RING_MASK
