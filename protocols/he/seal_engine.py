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

from protocols.he import bfv_wire as wire
from protocols.he.bfv_engine import WORD_BYTES, BfvEngine, Product, Ring
from protocols.he.bfv_wire import Residues
from protocols.he.interface import as_ring
from protocols.he.layout import Layout
from protocols.he.parameters import BfvParameters
from protocols.he.residues import (
    DECRYPTION_PRIMES,
    add_residues,
    decode,
    drop_bits,
    flooding_noise,
    lift,
    residues_of,
    scale_down,
    scaled_message,
    small_error,
    subtract_residues,
    ternary,
)
from protocols.he.seal_context import SealContext


@dataclass(frozen=True, repr=False)
class SealSecret:
    """s as a factor, modulo all data primes and modulo those of decryption."""

    whole: Any
    short: Any


@dataclass(frozen=True, repr=False)
class SealMask:
    """u * key in transform form, and e2 for c1."""

    product: Any
    error: Residues


class SealEngine(BfvEngine):
    """Making one takes some 50 ms."""

    description = "SEAL"
    releases_lock = False

    def __init__(self, parameters: BfvParameters) -> None:
        self.parameters = parameters
        self._context = SealContext(parameters)
        self._evaluator = self._context.evaluator

    def secret_key(self, ternary: bytes) -> SealSecret:
        ring = as_ring(np.frombuffer(ternary, np.int8))
        return SealSecret(self._context.plaintext(ring), self._context.plaintext(ring, DECRYPTION_PRIMES))

    def zeros(self, secret: SealSecret, seeds: Sequence[bytes], errors: Sequence[bytes]) -> list[Residues]:
        uniform = [wire.uniform(seed, self.parameters) for seed in seeds]
        found = []
        for product, words in zip(self._times(uniform, secret.whole, ntt=True), errors, strict=True):
            total = add_residues(product, self._error(words), self.parameters)
            found.append(subtract_residues(np.zeros_like(total), total, self.parameters))
        return found

    def operand_body(self, seed: bytes, zero: Residues, message: Ring) -> bytes:
        there = zero[:, : len(message)]
        there[:] = add_residues(there, scaled_message(message, self.parameters), self.parameters)
        return seed + wire.pack_residues(zero, self.parameters.data_primes)

    def load(self, bodies: Sequence[bytes]) -> list[Any]:
        return [self._load(body) for body in bodies]

    def mask(self, key: list[Any], words: bytes) -> SealMask:
        cut = self.parameters.degree * WORD_BYTES
        factor = self._context.plaintext(as_ring(ternary(np.frombuffer(words[:cut], "<u8"))))
        product = seal.Ciphertext(self._context.context)
        self._evaluator.multiply_plain(key[0], factor, product)
        return SealMask(product, self._error(words[cut:]))

    def replies(
        self, product: Product, groups: range, masks: Sequence[SealMask], flooding: Sequence[bytes]
    ) -> list[bytes]:
        layout, bodies, unused = product.layout, [], iter(zip(masks, flooding, strict=True))
        for group in groups:
            factors = [self._factor(polynomial) for polynomial in layout.factor(product.factor, group)]
            for n_index in range(layout.n_tiles):
                operands = product.operand[n_index * layout.k_tiles : (n_index + 1) * layout.k_tiles]
                (mask, words), places = next(unused), layout.places(group, n_index)
                c0, c1 = self._context.polynomials(self._sum(mask, factors, operands))
                addend = product.addend[layout.window(group, n_index)].reshape(-1)
                message = add_residues(scaled_message(addend, self.parameters), self._flooding(words), self.parameters)
                bodies.append(self._reply_body(c0, add_residues(c1, mask.error, self.parameters), places, message))
        return bodies

    def decrypt(self, secret: SealSecret, bodies: Sequence[bytes], layout: Layout) -> Ring:
        parameters, out = self.parameters, np.empty((layout.shape.m, layout.shape.n), np.uint64)
        primes = parameters.data_primes[:DECRYPTION_PRIMES]
        for first in range(0, len(bodies), 2):
            pair = bodies[first : first + 2]
            at = [divmod(first + index, layout.n_tiles) for index in range(len(pair))]
            places = [layout.places(*each) for each in at]
            read = [wire.read_reply(body, len(each), parameters) for body, each in zip(pair, places, strict=True)]
            lifted = [lift(c1, primes, parameters.reply_bits) for _, c1 in read]
            products = self._times(lifted, secret.short)
            for (c0, _), product, own, each in zip(read, products, places, at, strict=True):
                window = layout.window(*each)
                out[window] = decode(c0, product[:, own], parameters).reshape(out[window].shape)
        return out

    def _load(self, body: bytes) -> Any:
        """(c0, a) in transform form. c0 is transformed beside the constant 1: SEAL takes nothing with a c1 of zero."""
        seed, c0 = wire.read_operand(body, self.parameters)
        one = np.zeros_like(c0)
        one[:, 0] = 1
        loaded = self._context.ciphertext((c0, one))
        self._evaluator.transform_to_ntt_inplace(loaded)
        uniform = wire.uniform(seed, self.parameters)
        ones = np.ones_like(uniform)
        rest = subtract_residues(uniform, ones, self.parameters)
        self._evaluator.add_inplace(loaded, self._context.ciphertext((np.zeros_like(rest), rest), ntt=True))
        return loaded

    def _times(self, polynomials: Sequence[Residues], factor: Any, ntt: bool = False) -> list[Residues]:
        """Each polynomial times a factor, as coefficients. `ntt`: they are in transform form."""
        found: list[Residues] = []
        for index in range(0, len(polynomials), 2):
            pair = polynomials[index], polynomials[min(index + 1, len(polynomials) - 1)]
            ciphertext = self._context.ciphertext(pair, ntt)
            if not ntt:
                self._evaluator.transform_to_ntt_inplace(ciphertext)
            self._evaluator.multiply_plain_inplace(ciphertext, factor)
            self._evaluator.transform_from_ntt_inplace(ciphertext)
            found += list(self._context.polynomials(ciphertext))
        return found[: len(polynomials)]

    def _factor(self, polynomial: Ring) -> Any:
        """A factor tile, or None where it is all zero, because SEAL refuses to multiply by that."""
        return self._context.plaintext(polynomial) if polynomial.any() else None

    def _sum(self, mask: SealMask, factors: list[Any], operands: list[Any]) -> Any:
        """u * key + sum over k tiles, out of transform form."""
        product = seal.Ciphertext(self._context.context)
        for factor, operand in zip(factors, operands, strict=True):
            if factor is not None:
                self._evaluator.multiply_plain(operand, factor, product)
                self._evaluator.add_inplace(mask.product, product)
        self._evaluator.transform_from_ntt_inplace(mask.product)
        return mask.product

    def _reply_body(self, c0: Residues, c1: Residues, places: NDArray[np.int64], message: Residues) -> bytes:
        """Of c0, only what carries results: the rest does not exist for the key owner."""
        flooded = add_residues(c0[:, places], message, self.parameters)
        kept = drop_bits(scale_down(flooded, self.parameters), self.parameters)
        return wire.pack_reply(kept, scale_down(c1, self.parameters), self.parameters)

    def _flooding(self, words: bytes) -> Residues:
        return flooding_noise(np.frombuffer(words, "<u8").reshape(2, 3, -1), self.parameters)

    def _error(self, words: bytes) -> Residues:
        return residues_of(small_error(np.frombuffer(words, "<u8")), self.parameters.data_primes)
