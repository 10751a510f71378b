"""BFV arithmetic by SEAL 4 (`tenseal.sealapi`): transforms and products there, everything else in numpy.

SEAL's ciphertexts are pairs of polynomials and its plaintexts single ones. The key is a plaintext here, by which two
polynomials at a time are multiplied: two encryptions of zero, or c1 of two replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from protocols.core.mapper import Mapper
from protocols.he import bfv_wire as wire
from protocols.he.bfv_engine import WORD_BYTES, BfvEngine, Product, Ring
from protocols.he.bfv_wire import Residues
from protocols.he.interface import RING_BITS, as_ring
from protocols.he.layout import Layout, put_results, spacing
from protocols.he.packing import (
    divided,
    folded,
    lowered,
    moved_alone,
    number_of_pairs,
    paired,
    raised,
    scaled,
    switching_row,
)
from protocols.he.parameters import JOINED, BfvParameters
from protocols.he.residues import (
    DECRYPTION_PRIMES,
    add_residues,
    decode,
    drop_bits,
    flooding_noise,
    lift,
    reduce_once,
    residues_of,
    scale_down,
    scaled_message,
    small_error,
    subtract_residues,
    ternary,
)
from protocols.he.seal_context import SealContext
from protocols.wire.varint import Buffer


@dataclass(frozen=True, repr=False)
class SealSecret:
    """s as a factor, modulo all data primes and modulo those of decryption."""

    whole: Any
    short: Any


@dataclass(frozen=True, repr=False)
class SealMask:
    """u * key in transform form, or, where replies are packed, as coefficients [2, data primes, N]; and e2 for c1."""

    product: Any
    error: Residues


SMALL_FACTOR_BITS = 46
"""Of factors whose sums leave room for flooding in a set like `TRAINING`: fewer bits than any prime has."""

SPARE_PRIME = 65537
"""SEAL sets a prime apart in every context; nothing is done with it."""


class SealEngine(BfvEngine):
    """Making one takes some 50 ms."""

    description = "SEAL"
    releases_lock = False

    def __init__(self, parameters: BfvParameters) -> None:
        self.parameters = parameters
        if parameters.packing > 1:
            self._switching = SealContext(parameters, parameters.primes, SPARE_PRIME)
        is_small = parameters.max_norm < 1 << (SMALL_FACTOR_BITS - 1)
        bits = SMALL_FACTOR_BITS if is_small else RING_BITS
        self._context = self._switching if parameters.raised else SealContext(parameters, factor_bits=bits)
        self._evaluator = self._context.evaluator

    def secret_key(self, ternary: bytes) -> SealSecret:
        ring = as_ring(np.frombuffer(ternary, np.int8))
        return SealSecret(self._context.plaintext(ring), self._context.plaintext(ring, DECRYPTION_PRIMES))

    def zeros(self, secret: SealSecret, seeds: Sequence[bytes], errors: Sequence[Buffer]) -> list[Residues]:
        uniform = [wire.uniform(seed, self.parameters) for seed in seeds]
        found = []
        for product, words in zip(self._times(uniform, secret.whole, ntt=True), errors, strict=True):
            total = self._sum_modulo(product, self._error(words))
            found.append(subtract_residues(np.zeros_like(total), total, self.parameters.operand_primes))
        return found

    def operand_part(self, head: bytes, zero: Residues, message: Ring) -> bytes:
        there = zero[:, : len(message)]
        there[:] = self._sum_modulo(there, scaled_message(message, self.parameters.operand_primes))
        return head + wire.pack_residues(zero, self.parameters.operand_primes)

    def load(self, bodies: Sequence[Buffer], mapper: Mapper = map) -> list[Any]:
        return list(mapper(self._load, bodies))

    def mask(self, key: list[Any], words: Buffer) -> SealMask:
        cut = self.parameters.degree * WORD_BYTES
        factor = self._context.plaintext(as_ring(ternary(np.frombuffer(words[:cut], "<u8"))))
        product = seal.Ciphertext(self._context.context)
        self._evaluator.multiply_plain(key[0], factor, product)
        if self.parameters.packing == 1:
            return SealMask(product, self._error(words[cut:]))
        kept = len(self.parameters.data_primes)
        return SealMask(self._coefficients(product)[:, :kept], self._error(words[cut:])[:kept])

    def switching_keys(self, ternary: bytes, seeds: Sequence[bytes], errors: Sequence[Buffer]) -> list[bytes]:
        parameters, context, primes = self.parameters, self._switching, self.parameters.primes
        key = np.frombuffer(ternary, np.int8)
        uniform = [wire.uniform(seed, parameters, primes) for seed in seeds]
        products = self._times(uniform, context.plaintext(as_ring(key)), ntt=True, context=context)
        bodies = []
        for index, (seed, product, words) in enumerate(zip(seeds, products, errors, strict=True)):
            number, row = divmod(index, len(parameters.data_primes))
            error = residues_of(small_error(np.frombuffer(words, "<u8")), primes)
            c0 = subtract_residues(np.zeros_like(product), add_residues(product, error, primes), primes)
            message = switching_row(key, number, row, parameters)
            c0[row] = reduce_once(c0[row] + message, primes[row])
            bodies.append(seed + wire.pack_residues(c0, primes))
        return bodies

    def load_switching_keys(self, bodies: Sequence[Buffer]) -> list[Any]:
        return [self._load(body, self._switching) for body in bodies]

    def replies(
        self,
        product: Product,
        groups: range,
        masks: Sequence[SealMask],
        flooding: Sequence[Buffer],
        mapper: Mapper = map,
    ) -> list[bytes]:
        del mapper  # SEAL's functions keep the interpreter's lock
        layout = product.layout
        first = groups.start * layout.n_tiles // layout.packed
        source = _Sums(self, product, flooding)
        join = self._plain_reply if self.parameters.packing == 1 else self._packed_reply
        return [join(source, index, mask) for index, mask in enumerate(masks, first)]

    def _plain_reply(self, source: _Sums, index: int, mask: SealMask) -> bytes:
        """Of one sum. The mask joins it in transform form, which spares both a way out."""
        ((group, n_index),) = source.layout.part(index)
        total, message = source.take(group, n_index)
        c0, c1 = self._coefficients(mask.product if total is None else self._sum_of(total, mask.product))
        places = source.layout.places(group, n_index)
        return self._reply_body(self._add(c0[:, places], message), self._add(c1, mask.error), places)

    def _packed_reply(self, source: _Sums, index: int, mask: SealMask) -> bytes:
        layout, halves, own, messages = source.layout, [], [], []
        for each in layout.part(index):
            total, message = source.take(*each)
            c0, c1 = self._nothing() if total is None else self._coefficients(total)
            halves.append(c1)
            own.append(c0[:, layout.places(*each)])
            messages.append(message)
        mask_c0, mask_c1 = mask.product
        places = np.concatenate(layout.part_places(index))
        c0, c1 = self._joined(np.concatenate(own, axis=1), halves, places, source)
        c0 = self._add(self._add(c0, mask_c0[:, places]), np.concatenate(messages, axis=1))
        return self._reply_body(c0, self._add(self._add(c1, mask_c1), mask.error), places)

    def _joined(
        self, c0: Residues, halves: list[Residues], places: NDArray[np.int64], source: _Sums
    ) -> tuple[Residues, Residues]:
        """c0 at the results, and c1, of one reply before it is masked, from those of its sums."""
        parameters, c1 = self.parameters, halves[0]
        if len(halves) > JOINED:
            halves, switched = self._paired(halves, source.switching)
            c0 = add_residues(raised(c0, parameters), switched[:, places], parameters.primes)
        if len(halves) > 1:
            c1, both = self._packed(halves, source.switching)
            if len(c1) < len(parameters.primes):
                both = np.stack([divided(half, parameters) for half in both])
            primes = parameters.primes[: len(c1)]
            c0, c1 = add_residues(c0, both[0][:, places], primes), add_residues(c1, both[1], primes)
        return (c0, c1) if len(c1) < len(parameters.primes) else (divided(c0, parameters), divided(c1, parameters))

    def decrypt(self, secret: SealSecret, bodies: Sequence[Buffer], layout: Layout, mapper: Mapper = map) -> Ring:
        parameters, out = self.parameters, np.empty((layout.shape.m, layout.shape.n), np.uint64)
        primes = parameters.data_primes[:DECRYPTION_PRIMES]
        for first in range(0, len(bodies), 2):
            pair = bodies[first : first + 2]
            counts = [layout.part_results(first + index) for index in range(len(pair))]
            read = [wire.read_reply(body, each, parameters) for body, each in zip(pair, counts, strict=True)]
            lifted = [lift(c1, primes, parameters.reply_bits) for _, c1 in read]
            products = self._times(lifted, secret.short)
            for index, ((c0, _), product) in enumerate(zip(read, products, strict=True), first):
                places = np.concatenate(layout.part_places(index))
                put_results(out, layout, index, decode(c0, product[:, places], parameters))
        return out

    def _load(self, body: Buffer, context: SealContext | None = None) -> Any:
        """(c0, a) in transform form. c0 is transformed beside the constant 1: SEAL takes nothing with a c1 of zero."""
        context = self._context if context is None else context
        seed, c0 = wire.read_operand(body, self.parameters, context.primes)
        one = np.zeros_like(c0)
        one[:, 0] = 1
        loaded = context.ciphertext((c0, one))
        context.evaluator.transform_to_ntt_inplace(loaded)
        uniform = wire.uniform(seed, self.parameters, context.primes)
        rest = subtract_residues(uniform, np.ones_like(uniform), context.primes)
        context.evaluator.add_inplace(loaded, context.ciphertext((np.zeros_like(rest), rest), ntt=True))
        return loaded

    def _times(
        self, polynomials: Sequence[Residues], factor: Any, ntt: bool = False, context: SealContext | None = None
    ) -> list[Residues]:
        """Each polynomial times a factor, as coefficients. `ntt`: they are in transform form."""
        context, found = self._context if context is None else context, []
        for index in range(0, len(polynomials), 2):
            pair = polynomials[index], polynomials[min(index + 1, len(polynomials) - 1)]
            ciphertext = context.ciphertext(pair, ntt)
            if not ntt:
                context.evaluator.transform_to_ntt_inplace(ciphertext)
            context.evaluator.multiply_plain_inplace(ciphertext, factor)
            context.evaluator.transform_from_ntt_inplace(ciphertext)
            found += list(context.polynomials(ciphertext))
        return found[: len(polynomials)]

    def _factor(self, polynomial: Ring) -> Any:
        """A factor tile, or None where it is all zero, because SEAL refuses to multiply by that."""
        return self._context.plaintext(polynomial) if polynomial.any() else None

    def _sum(self, factors: list[Any], operands: list[Any]) -> Any:
        """Over k tiles, in transform form; None where all factors are zero."""
        total = None
        for factor, operand in zip(factors, operands, strict=True):
            if factor is not None:
                product = seal.Ciphertext(self._context.context)
                self._evaluator.multiply_plain(operand, factor, product)
                total = product if total is None else self._sum_of(total, product)
        return total

    def _sum_of(self, total: Any, product: Any) -> Any:
        """Their sum, in place of the first."""
        self._evaluator.add_inplace(total, product)
        return total

    def _coefficients(self, ciphertext: Any) -> Residues:
        """[2, operand primes, N] of a ciphertext in transform form, which is used up."""
        self._evaluator.transform_from_ntt_inplace(ciphertext)
        return self._context.polynomials(ciphertext)

    def _nothing(self) -> tuple[Residues, Residues]:
        nothing = np.zeros((len(self.parameters.operand_primes), self.parameters.degree), np.uint64)
        return nothing, nothing

    def _paired(self, halves: list[Residues], keys: list[Any]) -> tuple[list[Residues], Residues]:
        """c1 of four sums modulo q P, and what the keys add to c0 of the reply, times P: [all primes, N]."""
        parameters, apart = self.parameters, spacing(len(halves)) // 2
        added = np.zeros((len(parameters.primes), parameters.degree), np.uint64)
        while apart >= JOINED:
            joined = []
            for index, first in enumerate(halves[:apart]):
                if index + apart < len(halves):
                    total, switched = self._pair(first, halves[index + apart], apart, keys)
                    added[:, index::apart] = add_residues(
                        added[:, index::apart], switched[:, apart - 1 :: apart], parameters.primes
                    )
                else:
                    total = raised(moved_alone(first, apart, parameters), parameters)
                joined.append(total)
            halves, apart = joined, apart // 2
        return halves, added

    def _pair(self, first: Residues, second: Residues, apart: int, keys: list[Any]) -> tuple[Residues, Residues]:
        """c1 of two sums in one, modulo q P, and what the keys make of its digits in c0."""
        parameters, at = self.parameters, number_of_pairs(apart) * len(self.parameters.data_primes)
        total, digits = paired(first, second, apart, parameters)
        if len(digits) == len(parameters.primes):
            digits = lowered(digits, 2, parameters)
        c0, c1 = self._switched(list(digits), keys[at : at + len(digits)])
        return add_residues(raised(scaled(total, 2, parameters), parameters), c1, parameters.primes), c0

    def _packed(self, halves: list[Residues], keys: list[Any]) -> tuple[Residues, Residues]:
        """c1 of up to four sums in one, and what the keys add to c0 and c1, times P: [2, all primes, N]."""
        own, *others = folded(halves, self.parameters)
        if len(own) == len(self.parameters.primes):
            others = [lowered(each, JOINED, self.parameters) for each in others]
        digits = [row for other in others for row in other]
        return scaled(own, JOINED, self.parameters), self._switched(digits, keys[: len(digits)])

    def _switched(self, digits: list[Residues], keys: list[Any]) -> Residues:
        """The sum of digits times keys, [2, all primes, N]."""
        context, total = self._switching, None
        for key, digit in zip(keys, digits, strict=True):
            if digit.any():
                product = seal.Ciphertext(context.context)
                context.evaluator.multiply_plain(key, context.plaintext(digit), product)
                if total is None:
                    total = product
                else:
                    context.evaluator.add_inplace(total, product)
        if total is None:
            return np.zeros((2, len(self.parameters.primes), self.parameters.degree), np.uint64)
        context.evaluator.transform_from_ntt_inplace(total)
        return context.polynomials(total)

    def _sum_modulo(self, left: Residues, right: Residues) -> Residues:
        return add_residues(left, right, self.parameters.operand_primes)

    def _add(self, left: Residues, right: Residues) -> Residues:
        return add_residues(left, right, self.parameters.data_primes)

    def _reply_body(self, c0: Residues, c1: Residues, places: NDArray[np.int64]) -> bytes:
        """c0 only at these places, where there are results: the rest does not exist for the key owner."""
        kept = drop_bits(scale_down(c0, self.parameters), self.parameters)
        return wire.pack_reply(kept, scale_down(c1, self.parameters), self.parameters)

    def _flooding(self, words: Buffer) -> Residues:
        return flooding_noise(np.frombuffer(words, "<u8").reshape(2, 3, -1), self.parameters)

    def _error(self, words: Buffer) -> Residues:
        return residues_of(small_error(np.frombuffer(words, "<u8")), self.parameters.operand_primes)


class _Sums:
    """The sums of a product, one after the other: in transform form, and flooding with the addend at the results."""

    def __init__(self, engine: SealEngine, product: Product, flooding: Sequence[Buffer]) -> None:
        self._engine, self._product, self._flooding = engine, product, iter(flooding)
        self.layout, self.switching = product.layout, product.switching
        self._group = -1
        self._factors: list[Any] = []

    def take(self, group: int, n_index: int) -> tuple[Any, Residues]:
        """The sum is None where all its factors are zero."""
        engine, layout = self._engine, self.layout
        if group != self._group:
            self._group = group
            self._factors = [engine._factor(each) for each in layout.factor(self._product.factor, group)]
        operands = self._product.operand[n_index * layout.k_tiles : (n_index + 1) * layout.k_tiles]
        addend = self._product.addend[layout.window(group, n_index)].reshape(-1)
        message = scaled_message(addend, engine.parameters.data_primes)
        message = engine._add(message, engine._flooding(next(self._flooding)))
        return engine._sum(self._factors, operands), message
