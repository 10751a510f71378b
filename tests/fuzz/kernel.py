"""Fuzz target for the native kernel: bytes of a peer go straight into C, under every instruction set of this machine.

All sets must answer alike: the same refusal, or the same values. Run it in a sanitized build (`make sanitize`) to see
what a plain one would hide.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from protocols.core.errors import InvalidCiphertext
from protocols.core.randomness import SeededRandomness
from protocols.he.interface import MatrixShape
from protocols.he.layout import Layout
from protocols.he.native.kernel import Kernel, instruction_sets
from protocols.he.native.objects import KernelSecret
from protocols.he.parameters import PARAMETER_SETS, automorphisms
from tests.fuzz.allowed import refused
from tests.fuzz.recipe import Recipe

_TILES = ((2, 2, 2, 2), (3, 5, 2, 2), (9, 40, 33, 8))
_LAYOUTS = tuple(
    Layout(MatrixShape(m, 3, n, 20), 4 if packed > 1 else 3, n_tile, rows, 8192, packed)
    for packed in (1, 4)
    for m, n, n_tile, rows in _TILES
)
_PACKED = Layout(MatrixShape(3, 3, 5, 20), 8, 2, 1, 8192, 8)
"""Nine sums: a full reply, of pairs, and one of one."""


@lru_cache
def _kernels(name: str) -> tuple[tuple[Kernel, KernelSecret], ...]:
    parameters, ternary = PARAMETER_SETS[name], SeededRandomness(1, "fuzz").bytes(8 * 8192)

    def made(primes: tuple[int, ...], instructions: str, switching: Kernel | None = None) -> Kernel:
        return Kernel(
            primes,
            scale_bits=parameters.reply_bits,
            drop_bits=parameters.dropped_bits,
            flood_bits=parameters.flood_bits,
            instruction_set=instructions,
            switching=switching,
        )

    kernels = [
        made(parameters.data_primes, each, made(parameters.primes, each) if parameters.packing > 1 else None)
        for each in instruction_sets()
    ]
    return tuple((kernel, kernel.secret(kernel.ternary(ternary))) for kernel in kernels)


def _bytes(recipe: Recipe, size: int) -> bytes:
    """As many bytes as the shape asks for, or a few more or less; filled and then edited by the recipe."""
    size = max(0, size + (0, 0, 0, 1, -1, 8, -8, -size)[recipe.below(8)])
    fill = recipe.below(4)
    data = bytearray(
        SeededRandomness(recipe.below(256), "fill").bytes(size) if fill == 3 else bytes([(0, 1, 255)[fill]]) * size
    )
    while data and not recipe.is_over():
        at = recipe.below(size)
        data[at : at + 64] = recipe.blob()[: size - at].ljust(min(64, size - at), b"\0")
    return bytes(data)


def _same(calls: list[Callable[[], Any]]) -> None:
    answers = []
    for call in calls:
        with refused(InvalidCiphertext) as outcome:
            answers.append(np.asarray(call()).tobytes())
        if outcome.error is not None:
            answers.append(str(outcome.error).encode())
    assert len(set(answers)) <= 1, "instruction sets answer differently"


@lru_cache
def _valid(own: Kernel) -> bytes:
    return own.pack(own.uniform(bytes([1]) * 32))


def _packed_replies(own: Kernel, parts: list[tuple[bytes, bytes]], keys: list[tuple[bytes, bytes]]) -> list[bytes]:
    """What a peer with this operand, public key (its first part) and these key-switching keys is answered."""
    assert own.switching is not None
    source = SeededRandomness(2, "fuzz")
    public = own.load(parts[:1])
    words = [(source.bytes(8 * 8192), source.bytes(8 * 8192)) for _ in range(_PACKED.reply_parts)]
    masks = [own.mask(own.ternary(u), public, own.error(e)) for u, e in words]
    sums = [sum_ for index in range(_PACKED.reply_parts) for sum_ in _PACKED.part(index)]
    flooding = [source.bytes(48 * len(_PACKED.places(*each))) for each in sums]
    factor, addend = source.ring((3, 3), 20).astype(np.int64), source.ring((3, 5), 59)
    loaded = own.switching.load(keys)
    return own.multiply_add(_PACKED, factor, own.load(parts), addend, masks, flooding, keys=loaded)


def _packed(recipe: Recipe, kernels: tuple[tuple[Kernel, KernelSecret], ...]) -> None:
    """Replies of several sums, from an operand or a key-switching key that a peer chose."""
    first = kernels[0][0]
    if first.switching is None:
        return
    counts = _PACKED.operand_parts, automorphisms(_PACKED.packed) * len(first.primes)
    parts = [
        [(bytes([i]) * 32, _valid(own)) for i in range(n)]
        for own, n in zip((first, first.switching), counts, strict=True)
    ]
    edited = recipe.pick(parts)
    at = recipe.below(len(edited))
    edited[at] = edited[at][0], _bytes(recipe, len(edited[at][1]))
    _same([lambda own=own: np.frombuffer(b"".join(_packed_replies(own, *parts)), np.uint8) for own, _ in kernels])


def kernel(data: bytes) -> None:
    """Packed residues, operands, keys and replies, as C reads them."""
    recipe = Recipe(data)
    kernels = _kernels(recipe.pick(tuple(PARAMETER_SETS)))
    if not kernels:
        return
    what, layout = recipe.below(4), recipe.pick(_LAYOUTS)
    if what == 0:
        packed = _bytes(recipe, kernels[0][0].packed_bytes)
        _same([lambda own=own: own.unpack(packed) for own, _ in kernels])
    elif what == 1:
        packed = _bytes(recipe, kernels[0][0].packed_bytes)
        _same([lambda own=own: own.load([(bytes(32), packed)]).parts for own, _ in kernels])
    elif what == 2:
        own = kernels[0][0]
        bodies = [_bytes(recipe, own.reply_bytes(layout, i)) for i in range(layout.reply_parts)]
        _same([lambda own=own, secret=secret: own.decrypt(secret, layout, bodies) for own, secret in kernels])
    else:
        _packed(recipe, kernels)


TARGETS: tuple[Callable[[bytes], None], ...] = (kernel,)
