"""The map to the curve in C: beside the one of PSI, which has RFC 9380's vectors, and what is made of it."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz

from protocols.core.errors import InvalidInput
from protocols.core.randomness import SeededRandomness
from protocols.core.sender import Sender
from protocols.he.native.elligator import UNIFORM_BYTES, map_to_curve
from protocols.layer import equality
from protocols.psi import encode
from tests.protocols.he.native.setting import needs_kernel

pytestmark = needs_kernel

P = int(encode.P)
EDGES = [0, 1, 2, P - 1, P, P + 1, 2 * P - 1, 2**255 - 1, 2**255, 2**256 - 38, 2**383, 2**384 - 1]


def plain(uniform: bytes) -> bytes:
    (point,) = encode.map_to_curve([mpz.from_bytes(uniform, "big") % P])
    return point.to_bytes(encode.POINT_BYTES, "little")


@pytest.mark.parametrize("number", EDGES, ids=hex)
def test_edges(number: int) -> None:
    uniform = number.to_bytes(UNIFORM_BYTES, "big")
    assert map_to_curve(uniform) == plain(uniform)


def test_every_limb_and_both_symbols() -> None:
    """Random numbers, and such of which some words are all ones or zeros."""
    stream = SeededRandomness(1, "points")
    drawn = [stream.bytes(UNIFORM_BYTES) for _ in range(2000)]
    holes = [bytes(8 * k) + each[8 * k :] for each in drawn[:50] for k in range(6)]
    full = [each[: 8 * k] + b"\xff" * (UNIFORM_BYTES - 8 * k) for each in drawn[:50] for k in range(6)]
    for uniform in drawn + holes + full:
        assert map_to_curve(uniform) == plain(uniform)


@pytest.mark.parametrize("uniform", [b"", bytes(UNIFORM_BYTES - 1), bytes(UNIFORM_BYTES + 1), bytearray(UNIFORM_BYTES)])
def test_other_lengths_are_refused(uniform: bytes) -> None:
    with pytest.raises(InvalidInput, match="48 bytes"):
        map_to_curve(uniform)


def test_a_comparison_is_the_same_by_either_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """So parties with a kernel and without one understand each other."""
    words = np.arange(60, dtype=np.uint64).tobytes()
    by_kernel = equality._point(b"a tag of a test", words)
    monkeypatch.setenv("SECURE_HFL_NO_NATIVE", "1")
    monkeypatch.setattr(equality, "map_to_curve", None)
    assert equality._point(b"a tag of a test", words) == by_kernel
    assert equality.Comparison(Sender.HOST, b"here", np.ones((2, 2), np.uint64)).element
