"""The door to randomness: known answers, distributions, and what it does not say."""

from __future__ import annotations

import hashlib
import math
import pickle
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.errors import InvalidInput
from protocols.core.randomness import (
    ChaCha20Randomness,
    KeyedFunction,
    OsRandomness,
    Randomness,
    SeededRandomness,
    expand,
)

# RFC 8439, appendix A.1, test vectors 1 and 2: key and nonce all zero, block counters 0 and 1.
ZERO_KEY_BLOCKS = bytes.fromhex(
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
)


def rng(number: int = 1) -> Randomness:
    return SeededRandomness(number, "test")


def test_rfc_8439() -> None:
    assert ChaCha20Randomness(bytes(32)).bytes(128) == ZERO_KEY_BLOCKS
    # Section 2.4.2 of the RFC, to see that the library's 16-byte nonce is counter and nonce as the RFC has them.
    nonce = bytes.fromhex("01000000" + "000000000000004a00000000")
    stream = Cipher(ChaCha20(bytes(range(32)), nonce), mode=None).encryptor().update(bytes(16))
    assert stream.hex() == "224f51f3401bd9e12fde276fb8631ded"


@given(st.lists(st.integers(0, 200), max_size=8))
def test_a_stream_is_one_stream(cuts: list[int]) -> None:
    stream = ChaCha20Randomness(bytes(32))
    assert b"".join(stream.bytes(count) for count in cuts) == ChaCha20Randomness(bytes(32)).bytes(sum(cuts))


@pytest.mark.parametrize("count", [1, 65_535, 65_536, 65_537, 150_000])
def test_a_stream_fills_memory_with_the_same(count: int) -> None:
    stream, out = ChaCha20Randomness(bytes(32)), np.ones(count, np.uint8)
    stream.fill(out)
    whole = ChaCha20Randomness(bytes(32)).bytes(count + 8)
    assert out.tobytes() + stream.bytes(8) == whole


def test_seeded_repeats_itself() -> None:
    assert rng().bytes(64) == rng().bytes(64)
    assert rng(1).bytes(64) != rng(2).bytes(64)
    assert SeededRandomness(1, "a").bytes(64) != SeededRandomness(1, "b").bytes(64)
    assert np.array_equal(rng().gaussian((3, 4)), rng().gaussian((3, 4)))


def test_the_operating_systems_does_not() -> None:
    assert OsRandomness().bytes(32) != OsRandomness().bytes(32)
    assert len(OsRandomness().seed()) == 32
    assert expand(bytes(32)).bytes(128) == ZERO_KEY_BLOCKS


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), "x" * 32, None, bytearray(32)])
def test_a_seed_has_32_bytes(seed: Any) -> None:
    with pytest.raises(InvalidInput, match="32 bytes"):
        ChaCha20Randomness(seed)


def test_a_stream_shows_nothing_and_is_not_copied() -> None:
    for stream in (rng(), ChaCha20Randomness(bytes(32))):
        assert repr(stream) == f"{type(stream).__name__}(<secret>)"
        with pytest.raises(InvalidInput, match="one place only"):
            pickle.dumps(stream)


@pytest.mark.parametrize("bits", [1, 13, 59, 64])
def test_ring(bits: int) -> None:
    values = rng().ring((50, 40), bits)
    assert values.dtype == np.uint64
    assert values.shape == (50, 40)
    assert int(values.max()) < 1 << bits
    for bit in range(bits):
        ones = int(((values >> np.uint64(bit)) & np.uint64(1)).sum())
        assert abs(ones - 1000) < 6 * math.sqrt(500), f"bit {bit}"


@pytest.mark.parametrize("bits", [0, -1, 65])
def test_no_such_ring(bits: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 64 bits"):
        rng().ring((1,), bits)


@given(st.integers(0, 300), st.integers(0, 1000))
def test_permutation_is_one(count: int, number: int) -> None:
    order = rng(number).permutation(count)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


def test_permutations_are_uniform() -> None:
    stream, draws = rng(), 12_000
    seen = dict.fromkeys(permutations(range(4)), 0)
    for _ in range(draws):
        seen[tuple(int(i) for i in stream.permutation(4))] += 1
    expected = draws / 24
    chi_squared = sum((count - expected) ** 2 / expected for count in seen.values())
    assert chi_squared < 60, "23 degrees of freedom: beyond 60 once in 30,000 seeds, and this seed is fixed"


def test_uniform() -> None:
    values = rng().uniform((100_000,))
    assert 0 <= values.min() < 1e-3
    assert 1 - 1e-3 < values.max() < 1
    assert abs(values.mean() - 0.5) < 6 / math.sqrt(12 * values.size)


def test_gaussian_moments() -> None:
    values = rng().gaussian((200, 1001))
    assert values.shape == (200, 1001)
    size = values.size
    assert abs(values.mean()) < 5 / math.sqrt(size)
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / size)
    assert abs((values**3).mean()) < 5 * math.sqrt(15 / size)
    assert abs((values**4).mean() - 3) < 5 * math.sqrt(96 / size)
    assert abs((np.abs(values) > 3).mean() - 0.0026998) < 5 * math.sqrt(0.0027 / size)
    assert abs(np.corrcoef(values[:100].ravel(), values[100:].ravel())[0, 1]) < 5 / math.sqrt(size / 2)


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 1), (0,), (5, 0)])
def test_gaussian_of_odd_sizes(shape: tuple[int, ...]) -> None:
    values = rng().gaussian(shape)
    assert values.shape == shape
    assert np.isfinite(values).all()


def test_a_keyed_function_is_shake256_over_the_padded_key() -> None:
    key, head, x = bytes(range(32)), b"head", b"question"
    wanted = hashlib.shake_256(key + bytes(136 - 32) + head + x).digest(300)
    function = KeyedFunction(key, head)
    assert function(x, 300) == function(x, 300) == wanted
    assert function(x, 7) == wanted[:7]


def test_a_keyed_function_answers_for_rows_what_it_answers_for_their_bytes() -> None:
    function = KeyedFunction(bytes(32), b"head")
    rows = np.arange(-6, 6).reshape(4, 3)
    answers = function.of_rows(rows.T, 40)  # of no contiguous array
    assert [each.tobytes() for each in answers] == [function(row.tobytes(), 40) for row in rows.T.copy()]


def test_keyed_functions_differ_by_key_head_and_question() -> None:
    answers = {
        KeyedFunction(key, head)(x, 32)
        for key in (bytes(32), bytes([1]) + bytes(31))
        for head in (b"a", b"b")
        for x in (b"", b"0")
    }
    assert len(answers) == 8


def test_a_keyed_function_takes_32_bytes_and_shows_nothing() -> None:
    assert repr(KeyedFunction(bytes(32))) == "KeyedFunction(<secret>)"
    for key in (b"", bytes(31), bytes(33), "x" * 32):
        with pytest.raises(InvalidInput, match="32 bytes"):
            KeyedFunction(key)  # type: ignore[arg-type]
