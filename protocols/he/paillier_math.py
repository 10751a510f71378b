"""Paillier's keys: checks and wire forms of what is public, the Chinese remainder theorem for what is secret; packing.

    c = (1 + n m) s mod n^2,  s an n-th residue          (Paillier with g = n + 1)

Wire forms (integers big-endian, fixed width):

    public key    "SHPK" version set   n [key_bytes]   h [key_bytes, absent in the -full sets]
    bundle        "SHPC" version set kind key-id[16] rows[4] columns[4] slot-bytes[1]   ciphertexts [2 key_bytes] ...

The receiver computes h^n itself, so that what it re-randomises with is an n-th residue whatever the peer sent.

**Reference**: Paillier, EUROCRYPT '99; Damgard, Jurik and Nielsen, "A generalization of Paillier's public-key system
with applications to electronic voting", Int. J. Inf. Secur. 9 (2010), section 4.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
from collections.abc import Sequence

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from protocols.core import multi_buffer
from protocols.core.errors import InvalidCiphertext, InvalidInput, LocalMisuse
from protocols.core.mapper import Mapper
from protocols.core.randomness import Randomness
from protocols.he.interface import RING_BITS, RING_MASK, CiphertextBundle
from protocols.he.paillier_parameters import ROOM_BITS, PaillierLayout, PaillierParameters

KEY_ID_BYTES = 16
OPERAND, REPLY = 1, 2
"""Kinds of bundle."""

_VERSION = 1
_KEY_MAGIC, _BUNDLE_MAGIC = b"SHPK", b"SHPC"
_KEY_HEADER = struct.Struct(">4sBB")
_BUNDLE_HEADER = struct.Struct(f">4sBBB{KEY_ID_BYTES}sIIB")
_BUNDLE_FIELDS = ("magic", "version", "parameter set", "kind", "key id", "rows", "columns", "slot size")

_SMALL_FACTORS = 1 << 16
"""A peer's n has no prime factor below this."""


class Guarded:
    """Holds secrets: shows nothing in a repr, and cannot be pickled or copied."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<secret>)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise LocalMisuse(f"{type(self).__name__} holds secrets and cannot be pickled or copied")


class PublicKey:
    """A checked public key. Equal bytes, equal key; `id` names it in every bundle.

    Args:
        parameters: the set it must fit.
        encoded: the wire form.

    Raises:
        InvalidCiphertext: the bytes are not a key of this set.
    """

    def __init__(self, parameters: PaillierParameters, encoded: bytes) -> None:
        size = parameters.key_bytes
        numbers = 1 if parameters.full_randomness else 2
        wanted = _KEY_HEADER.size + numbers * size
        if not isinstance(encoded, bytes) or len(encoded) != wanted:
            raise InvalidCiphertext(f"a {parameters.name} public key has {wanted} bytes")
        if encoded[: _KEY_HEADER.size] != _KEY_HEADER.pack(_KEY_MAGIC, _VERSION, parameters.identifier):
            raise InvalidCiphertext(f"this is not a {parameters.name} public key of version {_VERSION}")
        body = encoded[_KEY_HEADER.size :]
        self.parameters = parameters
        self.encoded = encoded
        self.n = mpz.from_bytes(body[:size], "big")
        self.h = None if parameters.full_randomness else mpz.from_bytes(body[size:], "big")
        _check_modulus(self.n, parameters)
        if self.h is not None:
            _check_base(self.h, self.n)
        self.square = self.n * self.n
        self.id = hashlib.sha256(b"secure-hfl/paillier/key-id" + encoded).digest()[:KEY_ID_BYTES]

    @staticmethod
    def encode(parameters: PaillierParameters, n: mpz, h: mpz | None) -> bytes:
        """The wire form of a key."""
        numbers = [n] if h is None else [n, h]
        header = _KEY_HEADER.pack(_KEY_MAGIC, _VERSION, parameters.identifier)
        return header + b"".join(number.to_bytes(parameters.key_bytes, "big") for number in numbers)

    def _header(self, kind: int, layout: PaillierLayout) -> bytes:
        rows = layout.shape.k if kind == OPERAND else layout.shape.m
        identifier, columns = self.parameters.identifier, layout.shape.n
        return _BUNDLE_HEADER.pack(_BUNDLE_MAGIC, _VERSION, identifier, kind, self.id, rows, columns, layout.slot_bytes)

    def write(self, ciphertexts: Sequence[mpz], kind: int, layout: PaillierLayout) -> CiphertextBundle:
        """The bundle of these ciphertexts: one part."""
        size = self.parameters.ciphertext_bytes
        body = b"".join(c.to_bytes(size, "big") for c in ciphertexts)
        return CiphertextBundle((self._header(kind, layout) + body,))

    def read(self, bundle: CiphertextBundle, kind: int, layout: PaillierLayout) -> list[mpz]:
        """The ciphertexts of a bundle, each a unit modulo n^2 and not transparent.

        Raises:
            InvalidCiphertext: anything about the bundle is not as this key, kind and layout imply.
        """
        count = layout.operand_ciphertexts if kind == OPERAND else layout.reply_ciphertexts
        size = self.parameters.ciphertext_bytes
        wanted = _BUNDLE_HEADER.size + count * size
        parts = bundle.parts
        if not isinstance(parts, tuple) or len(parts) != 1 or not isinstance(parts[0], bytes):
            raise InvalidCiphertext("a Paillier bundle has exactly one part, of bytes")
        if len(parts[0]) != wanted:
            raise InvalidCiphertext(f"a bundle of {count} ciphertexts must have {wanted} bytes, not {len(parts[0])}")
        self._check_header(parts[0][: _BUNDLE_HEADER.size], kind, layout)
        data = parts[0][_BUNDLE_HEADER.size :]
        ciphertexts = [mpz.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]
        self._check_units(ciphertexts)
        return ciphertexts

    def _check_header(self, received: bytes, kind: int, layout: PaillierLayout) -> None:
        wanted = _BUNDLE_HEADER.unpack(self._header(kind, layout))
        for name, want, got in zip(_BUNDLE_FIELDS, wanted, _BUNDLE_HEADER.unpack(received)):
            if want != got:
                raise InvalidCiphertext(f"a Paillier bundle's {name} is not what this key and product imply")

    def _check_units(self, ciphertexts: Sequence[mpz]) -> None:
        product = mpz(1)
        for c in ciphertexts:
            if not 0 < c < self.square:
                raise InvalidCiphertext("a ciphertext is not in the range from 1 to n^2 - 1")
            residue = c % self.n
            if residue == 1:
                raise InvalidCiphertext("a ciphertext is transparent: it carries no randomness")
            product = product * residue % self.n
        if gmpy2.gcd(product, self.n) != 1:
            raise InvalidCiphertext("a ciphertext is not coprime to the key's modulus")


@functools.cache
def _small_primes() -> mpz:
    """The product of all primes below _SMALL_FACTORS."""
    return gmpy2.primorial(_SMALL_FACTORS)


def _check_modulus(n: mpz, parameters: PaillierParameters) -> None:
    """What can be seen of n from outside: length, n = 1 mod 4, composite, no small factor, no perfect power."""
    if n.bit_length() != parameters.key_bits:
        raise InvalidCiphertext(f"a {parameters.name} modulus must have exactly {parameters.key_bits} bits")
    if n % 4 != 1 or gmpy2.gcd(_small_primes() % n, n) != 1:
        raise InvalidCiphertext("a Paillier modulus must be 1 modulo 4 and have no small prime factor")
    if gmpy2.is_power(n) or gmpy2.is_prime(n, 1):
        raise InvalidCiphertext("a Paillier modulus must be a product of two primes, not a prime or a power")


def _check_base(h: mpz, n: mpz) -> None:
    """h = -x^2: a unit with Jacobi symbol 1, and not 1 or -1."""
    if not 1 < h < n - 1 or gmpy2.jacobi(h, n) != 1:
        raise InvalidCiphertext("a Paillier key's h must be from 2 to n - 2 with Jacobi symbol 1")


def below(randomness: Randomness, bound: mpz) -> mpz:
    """A uniform integer in [1, bound), within 2^-128."""
    width = bound.bit_length() // 8 + 17
    return 1 + mpz.from_bytes(randomness.bytes(width), "big") % (bound - 1)


class PrivateKey(Guarded):
    """The primes, and everything that is quicker with them.

    Args:
        parameters: the set.
        p, q: primes, both 3 modulo 4, with gcd(p - 1, q - 1) = 2, whose product has exactly `key_bits` bits.
        randomness: where h comes from.
        mapper: where the two halves of a decryption run; they hold the primes and must stay in this process.

    Raises:
        InvalidInput: the primes are not admissible.
    """

    def __init__(
        self, parameters: PaillierParameters, p: mpz, q: mpz, randomness: Randomness, mapper: Mapper = map
    ) -> None:
        n = p * q
        if n.bit_length() != parameters.key_bits or not admissible(p, q):
            raise InvalidInput(f"these primes do not make a {parameters.name} key; call generate()")
        h = None if parameters.full_randomness else -(below(randomness, n) ** 2) % n
        self.public = PublicKey(parameters, PublicKey.encode(parameters, n, h))
        self._mapper = mapper
        self.p, self.q = p, q
        self.p_square, self.q_square = p * p, q * q
        self._to_p = gmpy2.invert(-q, p)  # ((1 + n)^(p-1) mod p^2 - 1) / p = -q mod p
        self._to_q = gmpy2.invert(-p, q)
        self._p_inverse = gmpy2.invert(p, q)
        self._p_square_inverse = gmpy2.invert(self.p_square, self.q_square)

    def decrypt(self, ciphertexts: Sequence[mpz]) -> list[mpz]:
        """The plaintexts, 0 <= m < n. Ciphertexts must be units."""
        p, q = self.p, self.q
        jobs = ((ciphertexts, p - 1, self.p_square), (ciphertexts, q - 1, self.q_square))
        plaintexts = []
        for of_p, of_q in zip(*self._mapper(_power_job, jobs)):
            mod_p = (of_p - 1) // p * self._to_p % p
            mod_q = (of_q - 1) // q * self._to_q % q
            plaintexts.append(mod_p + p * ((mod_q - mod_p) * self._p_inverse % q))
        return plaintexts

    def join(self, of_p: mpz, of_q: mpz) -> mpz:
        """The number modulo n^2 with these residues modulo p^2 and q^2."""
        return of_p + self.p_square * ((of_q - of_p) * self._p_square_inverse % self.q_square)

    def residues(self, randomness: Randomness, count: int) -> list[mpz]:
        """Uniform n-th residues modulo n^2: u^p mod p^2 for uniform u is uniform among those modulo p^2."""
        p, q = self.p, self.q
        halves = zip(
            _power_all([below(randomness, p) for _ in range(count)], p, self.p_square),
            _power_all([below(randomness, q) for _ in range(count)], q, self.q_square),
        )
        return [self.join(of_p, of_q) for of_p, of_q in halves]


def _power_job(job: tuple[Sequence[mpz], mpz, mpz]) -> list[mpz]:
    return _power_all(*job)


def admissible(p: mpz, q: mpz) -> bool:
    """Whether two primes make a key on which h = -x^2 generates (almost) all that it should: DJN 2010, section 4."""
    if p == q or p % 4 != 3 or q % 4 != 3:
        return False
    return bool(gmpy2.gcd(p - 1, q - 1) == 2 and gmpy2.gcd(p * q, (p - 1) * (q - 1)) == 1)


def _power_all(bases: Sequence[mpz], exponent: mpz, modulus: mpz) -> list[mpz]:
    """base^exponent for every base: eight at a time where the CPU can. Either way without the interpreter lock."""
    if len(bases) > 1 and modulus.bit_length() <= multi_buffer.MAX_MODULUS_BITS and multi_buffer.available():
        return multi_buffer.modexp_many(bases, exponent, modulus)
    powers: list[mpz] = gmpy2.powmod_base_list([base % modulus for base in bases], exponent, modulus)
    return powers


def pack(slots: NDArray[np.uint64], slot_bytes: int) -> list[mpz]:
    """One integer a row, a slot an element. Shape [rows, slots], ring elements."""
    return _integers(_wide(slots, slot_bytes))


def pack_masked(slots: NDArray[np.uint64], layout: PaillierLayout, randomness: Randomness) -> list[mpz]:
    """As `pack`, plus K + r1 + r2 + r3 above the ring's bits of every slot, each r uniform in mask_bits."""
    repeat = sum(mpz(1) << (8 * layout.slot_bytes * i) for i in range(slots.shape[1]))
    offset = (mpz(layout.offset) << RING_BITS) * repeat
    masks = zip(*(_integers(_mask(slots.shape, layout, randomness)) for _ in range(3)))
    return [value + offset + sum(three) for value, three in zip(pack(slots, layout.slot_bytes), masks, strict=True)]


def _mask(shape: tuple[int, ...], layout: PaillierLayout, randomness: Randomness) -> NDArray[np.uint8]:
    """Slots that are uniform in their mask_bits above the ring's, little-endian bytes [rows, slots, slot_bytes]."""
    size = (*shape, layout.slot_bytes)
    mask = np.frombuffer(randomness.bytes(math.prod(size)), dtype=np.uint8).reshape(size).copy()
    mask[..., : RING_BITS // 8] = 0
    mask[..., RING_BITS // 8] &= 0xFF & -(1 << (RING_BITS % 8))
    mask[..., -1] &= 0xFF >> ROOM_BITS
    return mask


def unpack(plaintexts: Sequence[mpz], slots: int, slot_bytes: int) -> NDArray[np.uint64]:
    """The low RING_BITS of every slot, shape [rows, slots].

    Raises:
        InvalidCiphertext: a plaintext does not fit in so many slots.
    """
    width = slots * slot_bytes
    if any(m.bit_length() > 8 * width for m in plaintexts):
        raise InvalidCiphertext("a reply does not decrypt to a packed row: it was not made by this protocol")
    raw = b"".join(m.to_bytes(width, "little") for m in plaintexts)
    wide = np.frombuffer(raw, dtype=np.uint8).reshape(len(plaintexts), slots, slot_bytes)
    words: NDArray[np.uint64] = np.ascontiguousarray(wide[..., :8]).view("<u8")[..., 0]
    return words & RING_MASK


def unpack_reply(plaintexts: Sequence[mpz], layout: PaillierLayout) -> NDArray[np.uint64]:
    """X M + R [m, n] of a reply's plaintexts. Raises `InvalidCiphertext` if they hold more than such slots."""
    shape, chunks = layout.shape, layout.chunks
    result = np.empty((shape.m, shape.n), dtype=np.uint64)
    for index, columns in enumerate(chunks):
        width = columns.stop - columns.start
        slots = unpack(plaintexts[index :: len(chunks)], layout.fold * width, layout.slot_bytes)
        result[:, columns] = slots.reshape(-1, width)[: shape.m]
    return result


def _wide(slots: NDArray[np.uint64], slot_bytes: int) -> NDArray[np.uint8]:
    """Little-endian bytes [rows, slots, slot_bytes]."""
    wide = np.zeros((*slots.shape, slot_bytes), dtype=np.uint8)
    wide[..., :8] = np.ascontiguousarray(slots, dtype="<u8").view(np.uint8).reshape(*slots.shape, 8)
    return wide


def _integers(wide: NDArray[np.uint8]) -> list[mpz]:
    return [mpz.from_bytes(row.tobytes(), "little") for row in wide]
