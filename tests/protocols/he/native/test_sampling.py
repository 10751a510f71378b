"""What the kernel makes of uniform bytes, and how it packs: against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.randomness import SeededRandomness, expand
from protocols.he.native.kernel import Kernel
from tests.protocols.he.native import reference
from tests.protocols.he.native.reference import N, primes
from tests.protocols.he.native.setting import SETS, each_size, kernel, needs_kernel

pytestmark = needs_kernel


def words_of(*edges: int) -> bytes:
    """N words, of which the first are these."""
    drawn = SeededRandomness(1, "words").bytes(8 * (N - len(edges)))
    return b"".join(edge.to_bytes(8, "little") for edge in edges) + drawn


def test_ternary_values_are_words_modulo_three():
    words = words_of(0, 1, 2, 3, (1 << 64) - 1, (1 << 64) - 2, (1 << 63) + 1)
    expected = [(0, 1, -1)[word % 3] for word in np.frombuffer(words, np.uint64).tolist()]
    assert kernel(SETS[0]).ternary(words).tolist() == expected


def test_errors_are_differences_of_ones():
    low, high = (1 << 21) - 1, (1 << 53) - (1 << 32)
    words = words_of(low, high, low | high, (1 << 64) - 1, ~low & ~high & ((1 << 64) - 1), 1 << 20, 1 << 52, 0)
    expected = [
        (word & low).bit_count() - (word & high).bit_count() for word in np.frombuffer(words, np.uint64).tolist()
    ]
    found = kernel(SETS[0]).error(words)
    assert found.tolist() == expected
    assert found[:3].tolist() == [21, -21, 0]


@pytest.mark.parametrize("convert", ["ternary", "error"])
def test_a_wrong_number_of_words_is_refused(convert):
    for size in (0, 8 * N - 8, 8 * N - 1, 8 * N + 8):
        with pytest.raises(InvalidInput):
            getattr(kernel(SETS[0]), convert)(bytes(size))


@each_size
def test_uniform_polynomials_come_from_the_stream_in_order(size):
    own, seed = kernel(SETS[0], size), SeededRandomness(2, "seed").seed()
    assert own.uniform(seed).tolist() == reference.uniform(
        expand(seed).bytes(7 * (N + 9) * len(own.primes)), own.primes
    )


def test_half_of_the_draws_may_be_skipped():
    """Primes just above a power of two, of two widths: more draws than the first try has bytes for, in some cases."""
    moduli = (*primes(48, 2, below_half=True), *primes(50, 1, below_half=True))
    own = Kernel(moduli, scale_bits=76, drop_bits=11, flood_bits=83)
    for number in range(2):
        seed = SeededRandomness(number, "skipping").seed()
        assert own.uniform(seed).tolist() == reference.uniform(expand(seed).bytes(7 * 3 * N * 3), moduli)


def test_a_stream_that_is_too_short_is_continued(monkeypatch):
    own, seed = kernel(SETS[0]), SeededRandomness(3, "seed").seed()
    whole = own.uniform(seed)
    monkeypatch.setattr(own, "_stream_bytes", 80_001)
    assert (own.uniform(seed) == whole).all()


@each_size
def test_residues_are_packed_to_the_bit_and_back(size):
    own = kernel(SETS[0], size)
    rows = own.uniform(SeededRandomness(4, "seed").seed())
    rows[:, 0] = 0
    rows[:, -1] = np.array(own.primes, np.uint64) - np.uint64(1)
    data = own.pack(rows)
    assert data == b"".join(
        reference.packed(row.tolist(), p.bit_length()) for row, p in zip(rows, own.primes, strict=True)
    )
    assert (own.unpack(data) == rows).all()


@each_size
def test_residues_out_of_range_are_refused(size):
    own = kernel(SETS[0], size)
    for prime, p in enumerate(own.primes):
        for place in (0, 1, N - 1):
            rows = own.uniform(bytes(32))
            rows[prime, place] = p
            with pytest.raises(InvalidCiphertext, match="not below its prime"):
                own.unpack(own.pack(rows))


@each_size
def test_packed_residues_of_another_length_are_refused(size):
    own = kernel(SETS[0], size)
    for length in (0, 1, own.packed_bytes - 1, own.packed_bytes + 1):
        with pytest.raises(InvalidCiphertext, match="another length"):
            own.unpack(bytes(length))
