"""The multi-buffer kernels give the numbers of `cryptography` and of `pow`, or say why they cannot be used."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core import multi_buffer
from protocols.core.errors import InvalidInput, LocalMisuse
from protocols.core.randomness import SeededRandomness


def unless_explained() -> bool:
    """True when there is nothing to compare; then the module must have said why, and must refuse to work."""
    if multi_buffer.available():
        assert multi_buffer.why_unavailable() == ""
        return False
    assert multi_buffer.why_unavailable()
    with pytest.raises(LocalMisuse, match="available"):
        multi_buffer.x25519_many(bytes(32), bytes(32))
    with pytest.raises(LocalMisuse, match="available"):
        multi_buffer.modexp_many([2], 3, 5)
    assert multi_buffer.field25519() is None
    return True


def plain_x25519(scalar: bytes, points: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(scalar)
    pieces = [points[i : i + 32] for i in range(0, len(points), 32)]
    return b"".join(key.exchange(X25519PublicKey.from_public_bytes(piece)) for piece in pieces)


def number(random: SeededRandomness, bits: int) -> int:
    """A number of exactly `bits` bits."""
    return int.from_bytes(random.bytes(bits // 8 + 1), "little") % (1 << bits) | 1 << bits - 1


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_x25519_equals_cryptography(count: int) -> None:
    if unless_explained():
        return
    random = SeededRandomness(count, "x25519")
    scalar, points = random.bytes(32), random.bytes(32 * count)
    assert multi_buffer.x25519_many(scalar, points) == plain_x25519(scalar, points)


@pytest.mark.parametrize("u", [0, 1])
def test_a_low_order_point_gives_zeros_and_spoils_no_other_lane(u: int) -> None:
    if unless_explained():
        return
    random = SeededRandomness(1, "low order")
    scalar, points = random.bytes(32), random.bytes(32 * 9)
    spoilt = points[:96] + u.to_bytes(32, "little") + points[128:]
    got, clean = multi_buffer.x25519_many(scalar, spoilt), plain_x25519(scalar, points)
    assert got == clean[:96] + bytes(32) + clean[128:]


EDGES = [2, 64, 988, 989, 1000, 1024, 1025, 1536, 2028, 2029, 2048, 2049, 3068, 3069, 3072, 3073, 4056, 4057, 4096]


@pytest.mark.parametrize("bits", EDGES)
def test_modexp_equals_pow_at_every_edge_of_the_kernels(bits: int) -> None:
    if unless_explained():
        return
    random = SeededRandomness(bits, "modexp")
    for modulus in (number(random, bits) | 1, (1 << bits) - 1):
        bases = [0, 1, modulus - 1, modulus, modulus + 5, -3, number(random, bits), mpz(number(random, bits + 100))]
        bases.append(number(random, bits))
        for exponent in (0, 1, 2, (1 << 64) - 1, 1 << 64, number(random, min(bits, 1500))):
            expected = [pow(mpz(base), exponent, modulus) for base in bases]
            assert multi_buffer.modexp_many(bases, exponent, modulus) == expected


@pytest.mark.parametrize("exponent_bits", [1024, 1100, 2100, 4096])
def test_exponents_may_be_longer_than_the_modulus(exponent_bits: int) -> None:
    if unless_explained():
        return
    random = SeededRandomness(exponent_bits, "long")
    modulus, exponent = number(random, 1024) | 1, number(random, exponent_bits)
    assert multi_buffer.modexp_many([5, 7], exponent, modulus) == [pow(5, exponent, modulus), pow(7, exponent, modulus)]


def test_threads_do_not_disturb_each_other() -> None:
    if unless_explained():
        return
    random = SeededRandomness(1, "threads")
    modulus = number(random, 2048) | 1
    jobs = [([number(random, 2048) for _ in range(16)], number(random, 300)) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda job: multi_buffer.modexp_many(job[0], job[1], modulus), jobs))
    assert results == [[pow(mpz(base), exponent, modulus) for base in bases] for bases, exponent in jobs]


@pytest.mark.parametrize("modulus", [8, 1, -5, (1 << 4096) + 1], ids=["even", "one", "negative", "too long"])
def test_a_modulus_out_of_range_is_refused(modulus: int) -> None:
    if unless_explained():
        return
    with pytest.raises(InvalidInput):
        multi_buffer.modexp_many([2], 3, modulus)


@pytest.mark.parametrize("exponent", [-1, 1 << 4096], ids=["negative", "too long"])
def test_an_exponent_out_of_range_is_refused(exponent: int) -> None:
    if unless_explained():
        return
    with pytest.raises(InvalidInput):
        multi_buffer.modexp_many([2], exponent, 7)


def as_blocks(numbers: list[int]) -> multi_buffer.Limbs:
    blocks = multi_buffer.aligned((len(numbers) // 8, 5, 8))
    blocks[:] = [multi_buffer.limbs_of(numbers[at : at + 8]) for at in range(0, len(numbers), 8)]
    return blocks


def as_numbers(blocks: multi_buffer.Limbs) -> list[int]:
    """Mod p; the limbs must be as small as promised."""
    assert int(blocks[:, :4].max()) < 2**52
    assert int(blocks[:, 4].max()) < 2**47 + 2**16
    lanes = (lane for block in blocks.tolist() for lane in zip(*block, strict=True))
    return [sum(limb << 52 * k for k, limb in enumerate(lane)) % PRIME for lane in lanes]


PRIME = multi_buffer.FIELD_PRIME
elements = st.one_of(st.integers(0, PRIME - 1), st.integers(0, 40), st.integers(PRIME - 40, PRIME + 18))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(elements, elements), min_size=16, max_size=16), st.integers(1, 9))
def test_field_functions_equal_python(pairs: list[tuple[int, int]], times: int) -> None:
    field = multi_buffer.field25519()
    if field is None:
        return
    firsts, seconds = [a for a, _ in pairs], [b for _, b in pairs]
    a, b = as_blocks(firsts), as_blocks(seconds)
    assert as_numbers(field.multiply(a, b)) == [x * y % PRIME for x, y in pairs]
    assert as_numbers(field.multiply(a, b[:1])) == [x * y % PRIME for x, y in zip(firsts, seconds[:8] * 2, strict=True)]
    assert as_numbers(field.square(a, times)) == [pow(x, 2**times, PRIME) for x in firsts]
    assert as_numbers(field.power(a)) == [pow(x, (PRIME - 5) // 8, PRIME) for x in firsts]
    products = field.multiply(field.multiply(a, b), b)  # what comes out may go in
    assert as_numbers(products) == [x * y * y % PRIME for x, y in pairs]


def test_a_library_without_the_field_functions_is_used_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    if unless_explained():
        return
    monkeypatch.setattr(multi_buffer, "_library", lambda: object())
    multi_buffer._load_field.cache_clear()
    try:
        assert multi_buffer.field25519() is None
    finally:
        multi_buffer._load_field.cache_clear()


@pytest.mark.parametrize("function", ["_product", "_squares", "_power"])
@pytest.mark.parametrize("mistake", ["nothing", "another result", "more than its memory", "a limb too large"])
def test_field_functions_that_do_something_else_are_found(function: str, mistake: str) -> None:
    field = multi_buffer.field25519()
    if field is None:
        return
    assert field.works()
    right, size = getattr(field, function), 5 * 8 * 8
    changed = multi_buffer.Field25519(multi_buffer._library())

    def wrong(to: int, *others: int) -> None:
        if mistake != "nothing":
            right(to, *others)
        if mistake == "another result":
            ctypes.memset(to, 0, 1)
        if mistake == "more than its memory":
            ctypes.memset(to + size, 0, 1)
        if mistake == "a limb too large":  # the same number: one of limb 1 as 2^52 of limb 0
            low, high = (ctypes.c_uint64.from_address(to + 64 * limb) for limb in (0, 1))
            low.value, high.value = low.value + (1 << 52), high.value - 1

    setattr(changed, function, wrong)
    assert not changed.works()


@pytest.mark.parametrize(("scalar", "points"), [(bytes(31), bytes(32)), (bytes(32), bytes(33)), (b"", b"")])
def test_bad_sizes_are_refused(scalar: bytes, points: bytes) -> None:
    if unless_explained():
        return
    with pytest.raises(InvalidInput):
        multi_buffer.x25519_many(scalar, points)


def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(multi_buffer.SWITCH, "1")
    assert multi_buffer.SWITCH in multi_buffer.why_unavailable()
    assert unless_explained()


def test_nothing_is_loaded_on_a_cpu_without_ifma(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(multi_buffer.SWITCH, raising=False)
    monkeypatch.setattr(multi_buffer, "_cpu_has_ifma", lambda: False)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("a library was loaded"))
    multi_buffer._load.cache_clear()
    try:
        assert "AVX-512" in multi_buffer.why_unavailable()
    finally:
        multi_buffer._load.cache_clear()


def test_importing_loads_nothing() -> None:
    code = "import protocols.core.multi_buffer as m; raise SystemExit(m._load.cache_info().currsize)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})


def test_arrays_that_the_field_functions_cannot_read_are_refused() -> None:
    field = multi_buffer.field25519()
    if field is None:
        return
    good = as_blocks(list(range(16)))
    bad_ones: list[Any] = [good[:, :, ::2], good.transpose(2, 1, 0), good.astype(np.int64), good[:, :4], good[::-1]]
    for bad in bad_ones:
        with pytest.raises(InvalidInput, match="uint64"):
            field.square(bad)
        with pytest.raises(InvalidInput, match="uint64"):
            field.multiply(good, bad)
    with pytest.raises(InvalidInput, match="aligned"):
        field.square(multi_buffer.aligned((41,))[1:].reshape(1, 5, 8))
