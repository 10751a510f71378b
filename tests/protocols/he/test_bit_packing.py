"""Packing to the bit against Python's integers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.errors import InvalidCiphertext
from protocols.core.randomness import SeededRandomness
from protocols.he.bit_packing import LIMB, Wide, pack, pack_wide, packed_size, packs, unpack, unpack_wide


def as_integer(values: list[int], width: int) -> bytes:
    total = sum(value << (width * index) for index, value in enumerate(values))
    return total.to_bytes(packed_size(len(values), width), "little")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64).filter(packs), st.integers(1, 70), st.integers(0, 1 << 20))
def test_packing_is_exact_to_the_bit(width: int, count: int, seed: int) -> None:
    values = SeededRandomness(seed, "pack").ring((count,), width)
    packed = pack(values, width)
    assert packed == as_integer(values.tolist(), width)
    assert (unpack(packed, count, width) == values).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(LIMB + 1, LIMB + 32), st.integers(1, 70), st.integers(0, 1 << 20))
def test_packing_of_wide_values_is_exact_to_the_bit(width: int, count: int, seed: int) -> None:
    stream = SeededRandomness(seed, "pack")
    values = Wide(stream.ring((count,), LIMB), stream.ring((count,), width - LIMB))
    packed = pack_wide(values, width)
    exact = (values.low.astype(object) + values.high.astype(object) * 2**LIMB).tolist()
    assert packed == as_integer(exact, width)
    again = unpack_wide(packed, count, width)
    assert (again.low == values.low).all()
    assert (again.high == values.high).all()


@pytest.mark.parametrize("data", [bytes(5), bytes(3), b"\x00\x00\x00\x80"])
def test_unpacking_refuses_other_lengths_and_stray_bits(data: bytes) -> None:
    with pytest.raises(InvalidCiphertext):
        unpack(data, 3, 10)


@pytest.mark.parametrize("data", [bytes(26), bytes(24), bytes(24) + b"\x08"])
def test_unpacking_of_wide_values_refuses_them_too(data: bytes) -> None:
    """Three values of 65 bits are 195 bits."""
    assert unpack_wide(bytes(24) + b"\x04", 3, 65).high.tolist() == [0, 0, 1 << 12]
    with pytest.raises(InvalidCiphertext):
        unpack_wide(data, 3, 65)
