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
from protocols.he.parameters import PARAMETER_SETS
from tests.fuzz.allowed import refused
from tests.fuzz.recipe import Recipe

_LAYOUTS = tuple(
    Layout(MatrixShape(m, 3, n, 20), 3, n_tile, rows, 8192)
    for m, n, n_tile, rows in ((2, 2, 2, 2), (3, 5, 2, 2), (9, 40, 33, 8))
)


@lru_cache
def _kernels(name: str) -> tuple[tuple[Kernel, KernelSecret], ...]:
    parameters, ternary = PARAMETER_SETS[name], SeededRandomness(1, "fuzz").bytes(8 * 8192)
    kernels = [
        Kernel(
            parameters.data_primes,
            scale_bits=parameters.reply_bits,
            drop_bits=parameters.dropped_bits,
            flood_bits=parameters.flood_bits,
            instruction_set=instructions,
        )
        for instructions in instruction_sets()
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


def kernel(data: bytes) -> None:
    """Packed residues, operands and replies, as C reads them."""
    recipe = Recipe(data)
    kernels = _kernels(recipe.pick(tuple(PARAMETER_SETS)))
    if not kernels:
        return
    what, layout = recipe.below(3), recipe.pick(_LAYOUTS)
    if what == 0:
        packed = _bytes(recipe, kernels[0][0].packed_bytes)
        _same([lambda own=own: own.unpack(packed) for own, _ in kernels])
    elif what == 1:
        packed = _bytes(recipe, kernels[0][0].packed_bytes)
        _same([lambda own=own: own.load([(bytes(32), packed)]).parts for own, _ in kernels])
    else:
        own = kernels[0][0]
        bodies = [_bytes(recipe, own.reply_bytes(layout, i)) for i in range(layout.reply_parts)]
        _same([lambda own=own, secret=secret: own.decrypt(secret, layout, bodies) for own, secret in kernels])


TARGETS: tuple[Callable[[bytes], None], ...] = (kernel,)
