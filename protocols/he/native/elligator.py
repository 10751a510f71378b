"""Elligator 2 of one secret element, in C and in the same steps for every element: elligator.c."""

from __future__ import annotations

from protocols.core.errors import InvalidInput
from protocols.he.native.library import library

UNIFORM_BYTES = 48
POINT_BYTES = 32


def map_to_curve(uniform: bytes) -> bytes:
    """The u-coordinate of a point of Curve25519, 32 bytes little-endian, as protocols/psi/encode.py defines it.

    Args:
        uniform: 48 bytes, big-endian. Secret.

    Raises:
        InvalidInput: they are not as many, or the module was not built.
    """
    if library is None:
        raise InvalidInput("the native kernel is not built here")
    if not isinstance(uniform, bytes) or len(uniform) != UNIFORM_BYTES:
        raise InvalidInput(f"a point is made from {UNIFORM_BYTES} bytes")
    point = library.ffi.new("uint8_t[]", POINT_BYTES)
    library.lib.kernel_map_to_curve(uniform, point)
    return bytes(library.ffi.buffer(point))
