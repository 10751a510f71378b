"""Every malformed key, operand and reply is refused as the peer's fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.randomness import OsRandomness
from protocols.he.interface import CiphertextBundle, EncryptedOperand, MatrixShape
from protocols.he.paillier import PaillierBackend
from protocols.he.paillier_math import PublicKey
from protocols.he.paillier_parameters import PAILLIER_2048, PARAMETER_SETS
from tests.protocols.he.paillier_helpers import draw, primes, public, public_with, secret

SHAPE = MatrixShape(3, 2, 4, 12)
HEADER = 32
SIZE = PAILLIER_2048.ciphertext_bytes
N = mpz(primes()[0]) * primes()[1]
SQUARE = N * N
P = mpz(primes()[0])


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def first_ciphertext(value: mpz) -> Callable[[bytes], bytes]:
    return lambda data: patched(data, HEADER, value.to_bytes(SIZE, "big"))


def last_ciphertext(value: mpz) -> Callable[[bytes], bytes]:
    return lambda data: data[:-SIZE] + value.to_bytes(SIZE, "big")


MALFORMED_BODIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "bytes"),
    "one byte short": (lambda data: data[:-1], "bytes"),
    "one byte long": (lambda data: data + b"\0", "bytes"),
    "one ciphertext short": (lambda data: data[:-SIZE], "bytes"),
    "magic": (lambda data: patched(data, 0, b"SHPK"), "magic"),
    "version": (lambda data: patched(data, 4, b"\x02"), "version"),
    "set": (lambda data: patched(data, 5, b"\x02"), "parameter set"),
    "kind": (lambda data: patched(data, 6, bytes([3 - data[6]])), "kind"),
    "key id": (lambda data: patched(data, 7, bytes(16)), "key id"),
    "rows": (lambda data: patched(data, 23, b"\0\0\0\1"), "rows"),
    "columns": (lambda data: patched(data, 27, b"\0\0\0\1"), "columns"),
    "slot size": (lambda data: patched(data, 31, b"\x08"), "slot size"),
    "zero": (first_ciphertext(mpz(0)), "range"),
    "n^2": (first_ciphertext(SQUARE), "range"),
    "all ones": (first_ciphertext((mpz(1) << 8 * SIZE) - 1), "range"),
    "not a unit": (first_ciphertext(P), "coprime"),
    "not a unit, last": (last_ciphertext(N), "coprime"),
    "transparent one": (first_ciphertext(mpz(1)), "transparent"),
    "transparent encryption": (last_ciphertext(1 + 5 * N), "transparent"),
}

MALFORMED_PARTS: dict[str, Any] = {
    "no part": (),
    "two parts": (b"", b""),
    "a list": [b""],
    "text": ("",),
    "none": (None,),
    "a memoryview": (memoryview(b""),),
}


@pytest.mark.parametrize("case", MALFORMED_BODIES)
@pytest.mark.parametrize("kind", ["operand", "reply"])
def test_malformed_bundles_are_refused(kind: str, case: str) -> None:
    factor, matrix, addend = draw(SHAPE)
    bundle = secret().encrypt(matrix, SHAPE)
    spoil, words = MALFORMED_BODIES[case]
    if kind == "reply":
        bundle = public().multiply_add(factor, public().load_operand(bundle, SHAPE), addend, SHAPE)
    spoiled = CiphertextBundle((spoil(bundle.parts[0]),))
    with pytest.raises(InvalidCiphertext, match=words):
        secret().decrypt(spoiled, SHAPE) if kind == "reply" else public().load_operand(spoiled, SHAPE)


@pytest.mark.parametrize("case", MALFORMED_PARTS)
def test_bundles_of_other_parts_are_refused(case: str) -> None:
    bundle = CiphertextBundle(MALFORMED_PARTS[case])
    with pytest.raises(InvalidCiphertext, match="exactly one part"):
        public().load_operand(bundle, SHAPE)
    with pytest.raises(InvalidCiphertext, match="exactly one part"):
        secret().decrypt(bundle, SHAPE)


@pytest.mark.parametrize("change", [{"k": 3}, {"n": 5}, {"factor_bits": 40}])
def test_an_operand_for_another_shape_is_refused(change: dict[str, int]) -> None:
    bundle = secret().encrypt(draw(SHAPE)[1], SHAPE)
    other = dataclasses.replace(SHAPE, **change)
    with pytest.raises(InvalidCiphertext):
        public().load_operand(bundle, other)
    wrong_factor, _, wrong_addend = draw(other)
    with pytest.raises(InvalidInput, match="another k, n or factor_bits"):
        public().multiply_add(wrong_factor, public().load_operand(bundle, SHAPE), wrong_addend, other)


def test_another_keys_operand_and_reply_are_refused() -> None:
    factor, matrix, addend = draw(SHAPE)
    theirs = secret(number=1).encrypt(matrix, SHAPE)
    with pytest.raises(InvalidCiphertext, match="key id"):
        public().load_operand(theirs, SHAPE)
    operand = public(number=1).load_operand(theirs, SHAPE)
    with pytest.raises(InvalidInput, match="public key"):
        public().multiply_add(factor, operand, addend, SHAPE)
    with pytest.raises(InvalidInput, match="public key"):
        public().multiply_add(factor, EncryptedOperand(), addend, SHAPE)
    reply = public(number=1).multiply_add(factor, operand, addend, SHAPE)
    with pytest.raises(InvalidCiphertext, match="key id"):
        secret().decrypt(reply, SHAPE)


def test_the_same_primes_with_another_h_are_another_key() -> None:
    again = PaillierBackend(PAILLIER_2048).from_primes(*primes())
    with pytest.raises(InvalidCiphertext, match="key id"):
        public().load_operand(again.encrypt(draw(SHAPE)[1], SHAPE), SHAPE)


def test_an_encryption_that_overflows_its_slots_is_refused() -> None:
    factor, matrix, addend = draw(SHAPE)
    reply = public().multiply_add(factor, public().load_operand(secret().encrypt(matrix, SHAPE), SHAPE), addend, SHAPE)
    slots_bits = 8 * PAILLIER_2048.layout(SHAPE).slot_bytes * SHAPE.n
    shifted = mpz.from_bytes(reply.parts[0][-SIZE:], "big") * (1 + N * (mpz(1) << slots_bits)) % SQUARE
    with pytest.raises(InvalidCiphertext, match="packed row"):
        secret().decrypt(CiphertextBundle((reply.parts[0][:-SIZE] + shifted.to_bytes(SIZE, "big"),)), SHAPE)


def key_bytes(n: mpz = N, h: mpz | None = None) -> bytes:
    return PublicKey.encode(PAILLIER_2048, n, public()._key.h if h is None else h)


def modulus_of(*factors: int) -> mpz:
    """A 2048-bit number that is 1 mod 4 and has these factors."""
    product = mpz(1)
    for factor in factors:
        product *= factor
    rest = gmpy2.next_prime((mpz(1) << 2048) // product * 9 // 10)
    while product * rest % 4 != 1:
        rest = gmpy2.next_prime(rest)
    return product * rest


def prime_modulus() -> mpz:
    n = gmpy2.next_prime(mpz(3) << 2046)
    while n % 4 != 1:
        n = gmpy2.next_prime(n)
    return n


def jacobi_minus_one() -> mpz:
    return next(mpz(h) for h in range(2, 1000) if gmpy2.jacobi(h, N) == -1)


MALFORMED_KEYS: dict[str, tuple[Callable[[], Any], str]] = {
    "none": (lambda: None, "bytes"),
    "empty": (lambda: b"", "bytes"),
    "short": (lambda: key_bytes()[:-1], "bytes"),
    "long": (lambda: key_bytes() + b"\0", "bytes"),
    "magic": (lambda: patched(key_bytes(), 0, b"SHPC"), "not a paillier-2048 public key"),
    "version": (lambda: patched(key_bytes(), 4, b"\x02"), "not a paillier-2048 public key"),
    "set": (lambda: patched(key_bytes(), 5, b"\x02"), "not a paillier-2048 public key"),
    "n = 0": (lambda: key_bytes(mpz(0)), "exactly 2048 bits"),
    "n of 2047 bits": (lambda: key_bytes(N >> 1), "exactly 2048 bits"),
    "even n": (lambda: key_bytes(N - 1), "1 modulo 4"),
    "n = 3 mod 4": (lambda: key_bytes(N + 2), "1 modulo 4"),
    "small factor": (lambda: key_bytes(modulus_of(65521)), "small prime factor"),
    "prime n": (lambda: key_bytes(prime_modulus()), "prime or a power"),
    "square n": (lambda: key_bytes(gmpy2.next_prime(gmpy2.isqrt(mpz(3) << 2046)) ** 2), "prime or a power"),
    "h = 0": (lambda: key_bytes(h=mpz(0)), "h must be"),
    "h = 1": (lambda: key_bytes(h=mpz(1)), "h must be"),
    "h = -1": (lambda: key_bytes(h=N - 1), "h must be"),
    "h = n": (lambda: key_bytes(h=N), "h must be"),
    "h > n": (lambda: key_bytes(h=N + 4), "h must be"),
    "h not a unit": (lambda: key_bytes(h=P), "h must be"),
    "h not of the subgroup": (lambda: key_bytes(h=jacobi_minus_one()), "h must be"),
}


@pytest.mark.parametrize("case", MALFORMED_KEYS)
def test_malformed_public_keys_are_refused(case: str) -> None:
    make, words = MALFORMED_KEYS[case]
    with pytest.raises(InvalidCiphertext, match=words):
        PaillierBackend(PAILLIER_2048).load_public(make())


def test_keys_of_other_sets_are_refused() -> None:
    for name in ("paillier-3072", "paillier-2048-full"):
        with pytest.raises(InvalidCiphertext):
            PaillierBackend(PARAMETER_SETS[name]).load_public(secret().public_key())


def test_errors_show_no_numbers_of_a_key() -> None:
    bundle = CiphertextBundle((patched(secret().encrypt(draw(SHAPE)[1], SHAPE).parts[0], HEADER, bytes(SIZE)),))
    with pytest.raises(InvalidCiphertext) as caught:
        public_with(OsRandomness()).load_operand(bundle, SHAPE)
    assert not any(len(word) > 30 for word in str(caught.value).split())
    assert np.all([str(prime) not in repr(secret()) for prime in primes()])
