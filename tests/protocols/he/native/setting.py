"""Kernels that tests share, one for each instruction set of this machine and each choice of primes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.core.randomness import SeededRandomness
from protocols.he.interface import MatrixShape
from protocols.he.layout import Layout
from protocols.he.native.kernel import Kernel, instruction_sets
from protocols.he.native.objects import KernelOperand, KernelSecret
from tests.protocols.he.native.reference import N, primes

SETS = instruction_sets()
needs_kernel = pytest.mark.skipif(not SETS, reason="the native kernel is not built here: make native")
each_set = pytest.mark.parametrize("name", SETS or ["none"])
SIZES = {"training": (48, 3, 76, 11, 83), "triples": (47, 4, 73, 11, 124), "wide": (50, 3, 96, 20, 64)}
"""Bits and count of primes, W, D, bits of flooding."""
each_size = pytest.mark.parametrize("size", SIZES)


def kernel(name: str, size: str = "training") -> Kernel:
    return _kernel(name, size)


@lru_cache
def _kernel(name: str, size: str) -> Kernel:
    bits, count, scale, drop, flood = SIZES[size]
    return Kernel(primes(bits, count), scale_bits=scale, drop_bits=drop, flood_bits=flood, instruction_set=name)


@dataclass(frozen=True)
class Keys:
    """A key pair with what it was made of."""

    ternary: NDArray[np.int8]
    secret: KernelSecret
    public: KernelOperand
    seed: bytes
    c0: NDArray[np.uint64]


def keys(name: str, size: str = "training") -> Keys:
    return _keys(name, size)


@lru_cache
def _keys(name: str, size: str) -> Keys:
    own, source = kernel(name, size), SeededRandomness(1, "native key")
    ternary = own.ternary(source.bytes(8 * N))
    secret, seed = own.secret(ternary), source.seed()
    packed = own.body(own.zero(secret, seed, own.error(source.bytes(8 * N))))
    return Keys(ternary, secret, own.load([(seed, packed)]), seed, own.unpack(packed))


def layout(m: int, k: int, n: int, k_tile: int, n_tile: int, packed: int = 1) -> Layout:
    return Layout(MatrixShape(m, k, n, 59), k_tile, n_tile, min(N // (k_tile * n_tile), m), N, packed)
