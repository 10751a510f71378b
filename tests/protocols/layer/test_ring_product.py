"""Products in the ring against Python's integers, by either way."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.core.randomness import SeededRandomness
from protocols.he.interface import RING_BITS
from protocols.layer.ring_product import BLOCK, SMALL_BITS, matmul

MOST = (1 << SMALL_BITS) - 1


@pytest.mark.parametrize("largest", [1, MOST, MOST + 1, (1 << (RING_BITS - 1)) - 1])
@pytest.mark.parametrize(("m", "k", "n"), [(3, 4, 5), (8, 300, 450), (1, 70_000, 16), (130, 64, 129)], ids=str)
def test_products_are_exact(m: int, k: int, n: int, largest: int) -> None:
    """With every entry at its largest, and with others."""
    stream = SeededRandomness(m, "matmul")
    factor = np.full((m, k), largest, np.int64)
    factor[0] *= -1
    factor[:, k // 2 :] = stream.ring((m, k - k // 2), largest.bit_length()).astype(np.int64)
    right = stream.ring((k, n), RING_BITS)
    right[:, 0] = (1 << RING_BITS) - 1
    columns = [0, 1, n - 1]
    exact = (factor.astype(object) @ right[:, columns].astype(object)) % (1 << RING_BITS)
    assert (matmul(factor, right)[:, columns] == exact.astype(np.uint64)).all()


def test_ring_elements_multiply_ring_elements() -> None:
    stream = SeededRandomness(1, "matmul of the ring")
    left, right = stream.ring((20, 300), RING_BITS), stream.ring((300, 200), RING_BITS)
    assert (matmul(left, right) == left @ right & np.uint64((1 << RING_BITS) - 1)).all()


def test_no_block_is_large_enough_for_threads() -> None:
    """OpenBLAS multiplies up to 65536 * 4 pairs of numbers in the calling thread."""
    assert BLOCK**3 <= 1 << 18
