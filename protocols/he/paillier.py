"""Scheme "paillier": matrix products under packed Paillier encryption. The fewest bytes of all encrypted schemes.

    key owner                                                     evaluator
    p, q; n = p q; h = -x^2 mod n     -- n, h ----------------->  checks; hs = h^n mod n^2
    [M]_k = (1 + n pack(M_k)) hs^b_k  -- k rows --------------->  checks; window tables, once
                                                                  row_i = prod_k [M]_k^(x_ik)
    unpack(decrypt), mod 2^59         <-- m rows ---------------  row_i (1 + n pack(R_i + 2^59 (K + r_i))) hs^a_i

The n columns of a row lie in the slots of one plaintext, as many as fit (`paillier_parameters`).

**Leaks**: the key owner decrypts every slot as an integer and can take the n-th root of what is left, so both must
hide X.
* Slots: r_i is 64 bits longer than what it hides; the argument is in `paillier_parameters`.
* Roots: the owner finds h^E with E = sum_k b_k x_ik + a_i and, since it knows p and q, might even find E (discrete
  logarithms modulo p and q are only as hard as their 1536 bits). a_i is uniform and 132 bits longer than any b_k, and
  the sum is at most K b_k, so E is within statistical distance 2^-132 K of one that does not depend on X. No assumption
  is needed, other than that the owner made [M] as written (semi-honest).
What both add up to over a run: protocols/he/budget.py.

The evaluator sees encryptions only. Their secrecy rests on decisional composite residuosity and on this: powers of h
with exponents of half the length of n cannot be told from random elements of what h generates. Goldreich and Rosen
reduce that to factoring, Damgard, Jurik and Nielsen build on it, and keys are made as they ask (p = q = 3 mod 4,
gcd(p-1, q-1) = 2). Shorter exponents (448 or 512 bits are in use elsewhere) are an assumption of their own; they
would win two thirds of work that is done ahead of time, and nothing online. The -full sets rest on residuosity alone:
every re-randomiser is r^n for a fresh uniform r, which hides X from the owner's root perfectly, whatever it sent as
[M].

A hostile owner is outside of the model: with an h of small order, with [M]_k that are not powers of h, or with M
outside of the ring, it learns combinations of X. n is checked as far as its bytes show (length, n = 1 mod 4,
composite, no small factor, no power); h for range and Jacobi symbol; that hs is an n-th residue needs no check, the
evaluator makes it.

**Reference**: Paillier, EUROCRYPT '99; Damgard, Jurik and Nielsen, Int. J. Inf. Secur. 9 (2010), section 4 (h = -x^2,
half-length exponents); Goldreich and Rosen, "On the security of modular exponentiation with application to the
construction of pseudorandom generators", J. Cryptology 16 (2003)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property, partial

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput, MissingExtra, OutOfRange
from protocols.core.mapper import Distant, Mapper, nowhere
from protocols.core.message import Array, check_array
from protocols.core.randomness import OsRandomness, Randomness
from protocols.he.budget import paillier_distance
from protocols.he.interface import (
    RING_BITS,
    Backend,
    CiphertextBundle,
    EncryptedOperand,
    MatrixShape,
    PublicSide,
    SecretSide,
)
from protocols.he.lengths import PaillierLengths
from protocols.he.multi_exponentiation import DIGIT_BITS, FixedBase, SharedBases
from protocols.he.paillier_distant import (
    POWERS,
    Bases,
    PublicBase,
    Rows,
    distant_powers,
    distant_replies,
    powers_work,
    product_work,
    replies_of,
)
from protocols.he.paillier_math import (
    OPERAND,
    REPLY,
    Guarded,
    PrivateKey,
    PublicKey,
    admissible,
    below,
    pack,
    pack_masked,
    unpack_reply,
)
from protocols.he.paillier_opened import PaillierOpenedKey
from protocols.he.paillier_parameters import COVER_DIGITS, PAILLIER_3072, PaillierLayout, PaillierParameters
from protocols.he.stock import Stock


class PaillierBackend(Backend):
    """Paillier with one parameter set.

    Args:
        parameters: from `paillier_parameters.PARAMETER_SETS`.
        randomness: the operating system's, except for vectors and tests.
        mapper: where the halves of decryptions run; threads of this process, or the builtin `map`.
        distant: takes large products, and the evaluator's randomisers, elsewhere.
    """

    def __init__(
        self,
        parameters: PaillierParameters = PAILLIER_3072,
        randomness: Randomness | None = None,
        mapper: Mapper = map,
        distant: Distant = nowhere,
    ) -> None:
        self.parameters, self._distant = parameters, distant
        self.name = parameters.name
        self._randomness = randomness or OsRandomness()
        self._mapper = mapper

    def generate(self, randomness_label: str = "") -> PaillierSecretSide:
        """A fresh key pair. Primes come from `phe`, which takes them from the operating system whatever the label.

        Raises:
            MissingExtra: `phe` is not installed.
        """
        p, q = _generate_primes(self.parameters.key_bits)
        return self.from_primes(p, q)

    def from_primes(self, p: int, q: int) -> PaillierSecretSide:
        """The secret side of a known key. Raises `InvalidInput` if the primes are not admissible."""
        key = PrivateKey(self.parameters, mpz(p), mpz(q), self._randomness, self._mapper)
        return PaillierSecretSide(key, self._randomness)

    def open_key(self, public_key: bytes, secret: bytes) -> PaillierOpenedKey:
        return PaillierOpenedKey(self.parameters, public_key, secret)

    def load_public(self, public_key: bytes) -> PaillierPublicSide:
        return PaillierPublicSide(PublicKey(self.parameters, public_key), self._randomness, self._distant)

    def distance(self, shape: MatrixShape, loaded: MatrixShape | None = None) -> Distance:
        return paillier_distance(self.parameters.layout(shape), self.parameters)

    def operand_bytes(self, shape: MatrixShape) -> int:
        return sum(PaillierLengths(self.parameters).operand(shape))

    def check(self, shape: MatrixShape) -> None:
        """Slots fit for every shape in range: the widest has 203 bits, the shortest plaintext 2047."""
        self.parameters.layout(shape)


def _generate_primes(key_bits: int) -> tuple[mpz, mpz]:
    try:
        from phe import paillier
    except ImportError:
        raise MissingExtra("the paillier scheme needs `phe`: pip install secure-hfl[paillier]") from None
    found: list[mpz] = []  # any two of them will do: one pair of phe's in six is admissible, and it is slow to find
    while True:
        _, private = paillier.generate_paillier_keypair(n_length=key_bits)
        found += [mpz(private.p), mpz(private.q)]
        for p, q in itertools.combinations(found, 2):
            if (p * q).bit_length() == key_bits and admissible(p, q):
                return p, q


class _Pool:
    """One-time randomisers: taken out when used, made on the spot when there are none."""

    def __init__(self, make: Callable[[int], list[mpz]]) -> None:
        self._make = make
        self._stock: Stock[mpz] = Stock()

    def add(self, count: int) -> int:
        """Make `count` more. Returns how many times `count` are in stock."""
        for each in self._make(count):
            self._stock.put(each)
        return len(self._stock) // count

    def take(self, count: int) -> list[mpz]:
        """`count` randomisers that nobody else gets."""
        taken = self._stock.take_up_to(count)
        return taken + self._make(count - len(taken)) if len(taken) < count else taken


def _exponent_digits(key_bits: int) -> int:
    """Digits of the owner's exponents: half the length of n."""
    return -(-key_bits // (2 * DIGIT_BITS))


def _random_digits(randomness: Randomness, count: int) -> bytes:
    drawn = np.frombuffer(randomness.bytes(count), dtype=np.uint8)
    return (drawn & ((1 << DIGIT_BITS) - 1)).tobytes()


class PaillierSecretSide(Guarded, SecretSide):
    """The key owner. Made by `PaillierBackend.generate`."""

    def __init__(self, key: PrivateKey, randomness: Randomness) -> None:
        self._key = key
        self._public = key.public
        self._randomness = randomness
        self._pool = _Pool(self._owner_randomizers())

    def _owner_randomizers(self) -> Callable[[int], list[mpz]]:
        """hs^b by the Chinese remainder theorem, or uniform n-th residues for a -full set."""
        key, public, randomness = self._key, self._public, self._randomness
        if public.h is None:
            return lambda count: key.residues(randomness, count)
        digits = _exponent_digits(public.parameters.key_bits)
        of_p = FixedBase(gmpy2.powmod(public.h, public.n, key.p_square), key.p, digits)
        of_q = FixedBase(gmpy2.powmod(public.h, public.n, key.q_square), key.q, digits)

        def power() -> mpz:
            exponent = _random_digits(randomness, digits)
            return key.join(of_p.power(exponent), of_q.power(exponent))

        return lambda count: [power() for _ in range(count)]

    def public_key(self) -> bytes:
        return self._public.encoded

    def exported(self) -> bytes:
        """p and q, each half as long as n."""
        size = self._public.parameters.key_bytes // 2
        return b"".join(prime.to_bytes(size, "big") for prime in (self._key.p, self._key.q))

    def prepare(self, shape: MatrixShape) -> int:
        """Make the randomisers of one [M] of this shape ahead of time; returns how many such are in stock.

        Safe to call from one background thread while others encrypt.
        """
        return self._pool.add(self._public.parameters.layout(shape).operand_ciphertexts)

    def encrypt(self, matrix: NDArray[np.uint64], shape: MatrixShape) -> CiphertextBundle:
        """Encrypt M.

        **Shapes**: matrix [k, n] uint64, every element below 2^59.
        """
        layout = self._public.parameters.layout(shape)
        _check_ring("matrix", matrix, (shape.k, shape.n))
        n, square = self._public.n, self._public.square
        packed = [pack(matrix[:, columns], layout.slot_bytes) for columns in layout.chunks]
        plaintexts = [m for row in zip(*packed) for m in row]
        randomizers = self._pool.take(len(plaintexts))
        ciphertexts = [(1 + n * m) * s % square for m, s in zip(plaintexts, randomizers)]
        return self._public.write(ciphertexts, OPERAND, layout)

    def decrypt(self, reply: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        """X M + R mod 2^59.

        **Shapes**: result [m, n] uint64.

        Raises:
            InvalidCiphertext: the reply is malformed, of another key or shape, or not made by this protocol.
        """
        layout = self._public.parameters.layout(shape)
        return unpack_reply(self._key.decrypt(self._public.read(reply, REPLY, layout)), layout)


class PaillierOperand(EncryptedOperand):
    """A peer's [M], chunk of columns by chunk. Serves products of any m."""

    def __init__(self, key_id: bytes, layout: PaillierLayout, bases: tuple[Bases, ...]) -> None:
        self.key_id = key_id
        self.layout = layout
        self.bases = bases

    @cached_property
    def tables(self) -> tuple[SharedBases, ...]:
        """Window tables, one set a chunk."""
        return tuple(each.tables() for each in self.bases)


class PaillierPublicSide(Guarded, PublicSide):
    """The evaluator. Holds no key, but its stock of randomisers is secret from the key owner."""

    def __init__(self, key: PublicKey, randomness: Randomness, distant: Distant = nowhere) -> None:
        self._key = key
        self._randomness, self._distant = randomness, distant
        self._pool = _Pool(self._evaluator_randomizers())

    def _evaluator_randomizers(self) -> Callable[[int], list[mpz]]:
        """hs^a with a longer than the owner's exponents, or r^n for a -full set."""
        key, randomness = self._key, self._randomness
        if key.h is None:
            return lambda count: gmpy2.powmod_base_list(
                [below(randomness, key.n) for _ in range(count)], key.n, key.square
            )
        digits = _exponent_digits(key.parameters.key_bits) + COVER_DIGITS
        base = PublicBase(key.h, key.n, digits)
        table = base.table()

        def powers(count: int) -> list[mpz]:
            exponents = [_random_digits(randomness, digits) for _ in range(count)]
            mapper = self._distant(powers_work(count, key.parameters.ciphertext_bytes))
            if mapper is None:
                return [table.power(each) for each in exponents]
            pieces = (exponents[at : at + POWERS] for at in range(0, count, POWERS))
            return list(itertools.chain.from_iterable(mapper(partial(distant_powers, base), pieces)))

        return powers

    def load_operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> PaillierOperand:
        """Check [M] and make its window tables. Their size suits `shape.m`; they serve products of any m.

        Raises:
            InvalidCiphertext: the bundle is malformed, or of another key or shape.
        """
        layout = self._key.parameters.layout(shape)
        ciphertexts = self._key.read(bundle, OPERAND, layout)
        count = len(layout.chunks)
        name = b"" if self._distant is nowhere else OsRandomness().bytes(16)
        bases = tuple(
            Bases(
                name + index.to_bytes(4, "big"),
                self._key.n,
                tuple(ciphertexts[index::count]),
                shape.factor_bits,
                shape.m,
            )
            for index in range(count)
        )
        operand = PaillierOperand(self._key.id, layout, bases)
        if self._distant(product_work(layout, self._key.parameters.ciphertext_bytes)) is None:
            operand.tables  # noqa: B018 - made now
        return operand

    def distance(self, operand: EncryptedOperand, shape: MatrixShape) -> Distance:
        layout = self._key.parameters.layout(shape)
        self._checked(operand, layout)
        return paillier_distance(layout, self._key.parameters)

    def prepare(self, shape: MatrixShape) -> int:
        return self._pool.add(self._key.parameters.layout(shape).row_products)

    def multiply_add(
        self, factor: NDArray[np.int64], operand: EncryptedOperand, addend: NDArray[np.uint64], shape: MatrixShape
    ) -> CiphertextBundle:
        """[X M + R].

        Args:
            factor: X [m, k] int64, |x| < 2^shape.factor_bits.
            operand: [M], loaded for the same k, n and factor_bits.
            addend: R [m, n] uint64 ring elements.
            shape: the product.

        Raises:
            InvalidInput: a wrong type, shape or operand.
            OutOfRange: X or R is larger than it may be.
        """
        layout = self._key.parameters.layout(shape)
        checked = self._checked(operand, layout)
        shape.check_factor(factor)
        _check_ring("addend", addend, (shape.m, shape.n))
        chunks = (self._rows(factor, addend[:, columns], layout) for columns in layout.chunks)
        mapper = self._distant(product_work(layout, self._key.parameters.ciphertext_bytes))
        if mapper is None:
            replies = [replies_of(each, self._key.n, rows) for each, rows in zip(checked.tables, chunks)]
        else:
            portions = [list(rows.split()) for rows in chunks]
            pieces = [(bases, rows) for bases, own in zip(checked.bases, portions, strict=True) for rows in own]
            made = mapper(distant_replies, pieces)
            replies = [list(itertools.chain.from_iterable(itertools.islice(made, len(own)))) for own in portions]
        return self._key.write([c for group in zip(*replies) for c in group], REPLY, layout)

    def _checked(self, operand: EncryptedOperand, layout: PaillierLayout) -> PaillierOperand:
        if not isinstance(operand, PaillierOperand) or operand.key_id != self._key.id:
            raise InvalidInput("the operand was not loaded with this public key")
        loaded, wanted = operand.layout.shape, layout.shape
        if (loaded.k, loaded.n, loaded.factor_bits) != (wanted.k, wanted.n, wanted.factor_bits):
            raise InvalidInput("the operand was loaded for another k, n or factor_bits than this product's")
        if operand.layout.slot_bytes != layout.slot_bytes:
            raise InvalidInput("the operand was loaded for another row_sum than this product's: its slots are others")
        return operand

    def _rows(self, factor: NDArray[np.int64], addend: NDArray[np.uint64], layout: PaillierLayout) -> Rows:
        """All of X, with what hides its products with one chunk of columns."""
        fold = layout.fold
        rows, width = addend.shape
        randomizers = self._pool.take(rows)
        padded = np.zeros((-(-rows // fold) * fold, width), dtype=np.uint64)
        padded[:rows] = addend
        plaintexts = pack_masked(padded.reshape(-1, fold * width), layout, self._randomness)
        return Rows(factor, randomizers, plaintexts, fold, 8 * layout.slot_bytes * width)


def _check_ring(where: str, matrix: Array, shape: tuple[int, int]) -> None:
    check_array(where, matrix, np.uint64, 2, shape)
    if int(matrix.max()) >> RING_BITS:
        raise OutOfRange(f"{where} must hold ring elements, below 2^{RING_BITS}")
