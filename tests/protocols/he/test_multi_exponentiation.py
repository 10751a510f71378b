"""Products of powers against one `pow` at a time."""

from __future__ import annotations

import math

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.he.multi_exponentiation import DIGIT_BITS, FixedBase, SharedBases, best_window
from protocols.he.paillier_math import below

ROOT = gmpy2.next_prime(mpz(1) << 70) * gmpy2.next_prime(mpz(1) << 72)
SQUARE = ROOT * ROOT


def units(count: int, seed: int) -> list[mpz]:
    source = SeededRandomness(seed, "units")
    found = (below(source, SQUARE) for _ in range(2 * count + 8))
    return [unit for unit in found if gmpy2.gcd(unit, ROOT) == 1][:count]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bits=st.integers(1, 62), bases=st.integers(1, 6), rows=st.integers(1, 5))
def test_shared_bases_equal_pow(data: st.DataObject, bits: int, bases: int, rows: int) -> None:
    limit = (1 << bits) - 1
    entry = st.integers(-limit, limit) | st.sampled_from([limit, -limit, 0, 1, -1])
    exponents = np.array([[data.draw(entry) for _ in range(bases)] for _ in range(rows)], dtype=np.int64)
    values = units(bases, data.draw(st.integers(0, 1000)))
    expected_rows = data.draw(st.sampled_from([1, rows, 10_000]))
    got = SharedBases(values, ROOT, bits, expected_rows).products(exponents)
    for row, product in zip(exponents.tolist(), got, strict=True):
        assert product == math.prod(pow(int(v), e, int(SQUARE)) for v, e in zip(values, row)) % SQUARE


@pytest.mark.parametrize("window", range(2, 9))
def test_every_window_holds_the_largest_exponents(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.he.multi_exponentiation.best_window", lambda *_: window)
    (base,) = units(1, 3)
    for bits in range(1, 27):
        limit = (1 << bits) - 1
        got = SharedBases([base], ROOT, bits, 2).products(np.array([[limit], [-limit]], dtype=np.int64))
        assert got == [gmpy2.powmod(base, limit, SQUARE), gmpy2.powmod(base, -limit, SQUARE)]


def test_the_window_grows_with_the_rows() -> None:
    assert best_window(20, 20, 1) < best_window(20, 20, 16) < best_window(20, 20, 128)


def test_fixed_base_equals_pow() -> None:
    (base,) = units(1, 5)
    power = FixedBase(base, ROOT, 9)
    top = (1 << DIGIT_BITS) - 1
    random = bytes(byte & top for byte in OsRandomness().bytes(9))
    for digits in (bytes(9), bytes([top]) * 9, bytes([0, 1] * 4 + [top]), random):
        exponent = sum(digit << (DIGIT_BITS * i) for i, digit in enumerate(digits))
        assert power.power(digits) == gmpy2.powmod(base, exponent, SQUARE)
