"""BFV arithmetic by this project's own kernel in C (`native`): the same bytes as by SEAL, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protocols.core.mapper import Mapper
from protocols.he.bfv_engine import WORD_BYTES, BfvEngine, Product, Ring
from protocols.he.layout import Layout
from protocols.he.native.kernel import Kernel
from protocols.he.native.objects import KernelMask, KernelOperand, KernelSecret, KernelZero
from protocols.he.packing import switching_row
from protocols.he.parameters import SEED_BYTES, BfvParameters
from protocols.wire.varint import Buffer

NAMES = {"ifma": "AVX-512 IFMA", "avx2": "AVX2", "neon": "NEON", "scalar": "no vector instructions"}
"""Of instruction sets, for people."""


@dataclass(frozen=True, repr=False)
class NativeSecret:
    """A key modulo the primes of operands, and modulo those of replies."""

    of_operands: KernelSecret
    of_replies: KernelSecret


class NativeEngine(BfvEngine):
    """Making one takes some milliseconds.

    Args:
        parameters: the set.
        instruction_set: one of `native.kernel.instruction_sets()`; empty: the best.

    Raises:
        InvalidInput: the module was not built, or this machine lacks the instructions.
    """

    releases_lock = True

    def __init__(self, parameters: BfvParameters, instruction_set: str = "") -> None:
        self.parameters = parameters
        self._switching = self._made(parameters.primes, instruction_set) if parameters.packing > 1 else None
        self._kernel = self._made(parameters.data_primes, instruction_set, self._switching)
        self._operands = self._switching if self._switching is not None and parameters.raised else self._kernel
        self.description = f"native, {NAMES[self._kernel.instruction_set]}"

    def _made(self, primes: tuple[int, ...], instruction_set: str, switching: Kernel | None = None) -> Kernel:
        return Kernel(
            primes,
            scale_bits=self.parameters.reply_bits,
            drop_bits=self.parameters.dropped_bits,
            flood_bits=self.parameters.flood_bits,
            instruction_set=instruction_set,
            switching=switching,
            raised=switching is not None and self.parameters.raised,
        )

    def secret_key(self, ternary: bytes) -> NativeSecret:
        key = np.frombuffer(ternary, np.int8)
        own = self._kernel.secret(key)
        return NativeSecret(own if self._operands is self._kernel else self._operands.secret(key), own)

    def zeros(self, secret: NativeSecret, seeds: Sequence[bytes], errors: Sequence[Buffer]) -> list[KernelZero]:
        made = zip(seeds, map(self._kernel.error, errors), strict=True)
        return [self._operands.zero(secret.of_operands, seed, error) for seed, error in made]

    def operand_part(self, head: bytes, zero: KernelZero, message: Ring) -> bytes:
        return self._operands.body(zero, message if len(message) else None, head)

    def switching_keys(self, ternary: bytes, seeds: Sequence[bytes], errors: Sequence[Buffer]) -> list[bytes]:
        if self._switching is None:
            return []
        key = np.frombuffer(ternary, np.int8)
        secret, bodies = self._switching.secret(key), []
        for index, (seed, words) in enumerate(zip(seeds, errors, strict=True)):
            number, row = divmod(index, len(self.parameters.data_primes))
            zero = self._switching.zero(secret, seed, self._switching.error(words))
            message = switching_row(key, number, row, self.parameters)
            bodies.append(seed + self._switching.switching_body(zero, row, message))
        return bodies

    def load_switching_keys(self, bodies: Sequence[Buffer]) -> KernelOperand | None:
        if self._switching is None:
            return None
        return self._switching.load([_cut(body) for body in bodies], "key-switching keys")

    def load(self, bodies: Sequence[Buffer], mapper: Mapper = map) -> KernelOperand:
        return self._operands.load([_cut(body) for body in bodies], mapper=mapper)

    def mask(self, key: KernelOperand, words: Buffer) -> KernelMask:
        cut = self.parameters.degree * WORD_BYTES
        return self._kernel.mask(self._kernel.ternary(words[:cut]), key, self._kernel.error(words[cut:]))

    def replies(
        self,
        product: Product,
        groups: range,
        masks: Sequence[KernelMask],
        flooding: Sequence[Buffer],
        mapper: Mapper = map,
    ) -> list[bytes]:
        whole = product.layout, product.factor, product.operand, product.addend
        return self._kernel.multiply_add(*whole, masks, flooding, groups.start, groups.stop, product.switching, mapper)

    def decrypt(self, secret: NativeSecret, bodies: Sequence[Buffer], layout: Layout, mapper: Mapper = map) -> Ring:
        return self._kernel.decrypt(secret.of_replies, layout, bodies, mapper)


def _cut(body: Buffer) -> tuple[bytes, Buffer]:
    """A part's seed and its packed c0."""
    return bytes(body[:SEED_BYTES]), body[SEED_BYTES:]
