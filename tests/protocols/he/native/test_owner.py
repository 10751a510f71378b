"""The key owner's half of the kernel against Python's integers: zeros, messages, decryption."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.randomness import SeededRandomness
from tests.protocols.he.native import reference
from tests.protocols.he.native.reference import N, T
from tests.protocols.he.native.setting import SETS, SIZES, each_set, each_size, kernel, keys, layout, needs_kernel

pytestmark = needs_kernel


@each_size
@each_set
def test_a_zero_is_minus_the_mask_and_the_error(name, size):
    own, pair = kernel(name, size), keys(name, size)
    seed = SeededRandomness(5, "zero").seed()
    error = np.tile(np.array([21, -21, 0, 1], np.int8), N // 4)
    c0 = own.unpack(own.body(own.zero(pair.secret, seed, error)))
    a = own.inverse(own.uniform(seed))
    for row, mask, p in zip(c0.tolist(), a.tolist(), own.primes, strict=True):
        assert row == [
            -(x + int(e)) % p for x, e in zip(reference.times(mask, pair.ternary.tolist()), error, strict=True)
        ]


@each_size
def test_messages_are_scaled_and_rounded(size):
    own, secret = kernel(SETS[0], size), keys(SETS[0], size).secret
    q = math.prod(own.primes)
    edges = [0, 1, 2, T // 2 - 1, T // 2, T // 2 + 1, T - 2, T - 1]
    message = np.concatenate((np.array(edges, np.uint64), SeededRandomness(1, "message").ring((93,), 59)))
    fresh = (bytes(32), np.ones(N, np.int8))
    zero, found = (
        reference.composed(own.unpack(own.body(own.zero(secret, *fresh), added)).tolist(), own.primes)
        for added in (None, message)
    )
    expected = [*(reference.message(m, q) for m in message.tolist()), *[0] * (N - 101)]
    assert found == [(x + scaled) % q for x, scaled in zip(zero, expected, strict=True)]


def test_a_message_that_does_not_fit_is_refused():
    own, pair = kernel(SETS[0]), keys(SETS[0])
    zero = own.zero(pair.secret, bytes(32), np.zeros(N, np.int8))
    for message in (np.zeros(N + 1, np.uint64), np.zeros(1, np.int64), np.zeros((1, 1), np.uint64)):
        with pytest.raises(InvalidInput):
            own.body(zero, message)
    with pytest.raises(InvalidInput):
        kernel(SETS[0], "wide").body(zero)
    own.body(zero)


def test_a_zero_hides_one_message():
    own, pair = kernel(SETS[0]), keys(SETS[0])
    zero = own.zero(pair.secret, bytes(32), np.zeros(N, np.int8))
    own.body(zero)
    with pytest.raises(InvalidInput, match="one message only"):
        own.body(zero)


def bodies(size: str, count: int, c0: list[int], c1: list[int]) -> bytes:
    _, _, width, drop, _ = SIZES[size]
    return reference.packed(c0[:count], width - drop) + reference.packed(c1, width)


def extreme_halves(size: str, case: str) -> tuple[list[int], list[int]]:
    _, _, width, drop, _ = SIZES[size]
    top, kept = (1 << width) - 1, (1 << (width - drop)) - 1
    source = np.random.default_rng(7)
    numbers = [int.from_bytes(source.bytes(12), "little") for _ in range(2 * N)]
    return {
        "random": ([x & kept for x in numbers[:N]], [x & top for x in numbers[N:]]),
        "largest": ([kept] * N, [1 << (width - 1)] * N),
        "signs": ([kept // 2] * N, [(top // 2, top // 2 + 1)[i % 2] for i in range(N)]),
        "ones": ([top & kept] * N, [top] * N),
        "one": ([0] * N, [1] + [0] * (N - 1)),
    }[case]


@pytest.mark.parametrize("case", ["random", "largest", "signs", "ones", "one"])
@each_size
@each_set
def test_any_reply_decrypts_to_the_rounded_phase(name, size, case):
    """Also what no honest evaluator sends, under a key whose signs make the sums as large as they get."""
    _, _, width, drop, _ = SIZES[size]
    own = kernel(name, size)
    ternary = np.where(np.arange(N) % 2 if case == "signs" else np.ones(N, bool), 1, -1).astype(np.int8)
    c0, c1 = extreme_halves(size, case)
    shape = layout(3, 2, 700, 2, 700)
    found = own.decrypt(own.secret(ternary), shape, [bodies(size, 2100, c0, c1)])
    centred = [x - (1 << width) if x >> (width - 1) else x for x in c1]
    product = reference.times(centred, ternary.tolist())
    places = shape.places(0, 0).tolist()
    phases = [((x << drop) + product[place]) % (1 << width) for x, place in zip(c0, places, strict=False)]
    expected = [(2 * phase * T + (1 << width)) // (1 << (width + 1)) % T for phase in phases]
    assert found.reshape(-1).tolist() == expected


@each_size
def test_malformed_replies_are_refused(size):
    own, secret, shape = kernel(SETS[0], size), keys(SETS[0], size).secret, layout(3, 2, 1, 2, 1)
    c0, c1 = extreme_halves(size, "random")
    good = bodies(size, 3, c0, c1)
    own.decrypt(secret, shape, [good])
    for body in (b"", good[:-1], good + b"\0", good[1:]):
        with pytest.raises(InvalidCiphertext, match="another length"):
            own.decrypt(secret, shape, [body])
    with pytest.raises(InvalidCiphertext, match="transparent"):
        own.decrypt(secret, shape, [bodies(size, 3, c0, [0] * N)])
    with pytest.raises(InvalidCiphertext, match="replies"):
        own.decrypt(secret, shape, [good, good])
    _, _, width, drop, _ = SIZES[size]
    if used := 3 * (width - drop) % 8:
        at = 3 * (width - drop) // 8
        for bit in range(used, 8):
            wrong = good[:at] + bytes([good[at] | 1 << bit]) + good[at + 1 :]
            with pytest.raises(InvalidCiphertext, match="beyond the last"):
                own.decrypt(secret, shape, [wrong])


def test_keys_are_ternary_and_stay():
    own = kernel(SETS[0])
    for value in (2, -2, 127, -128):
        wrong = np.zeros(N, np.int8)
        wrong[N - 1] = value
        with pytest.raises(InvalidInput):
            own.secret(wrong)
    with pytest.raises(InvalidInput):
        kernel(SETS[0], "wide").zero(keys(SETS[0]).secret, bytes(32), np.zeros(N, np.int8))
    for thing in (own, keys(SETS[0]).secret):
        with pytest.raises(InvalidInput):
            pickle.dumps(thing)
