"""The BFV backend: exact products in Z_{2^59} under encryption, through SEAL 4 (`tenseal.sealapi`).

    key owner (BfvSecret)                                          evaluator (BfvPublic)
    public_key()      -- seed, c0 of zero -------------------->    load_public
    encrypt(M)        -- per tile: seed, c0 ------------------>    load_operand: check, expand, NTT
      = zero encryption (stock) + round(q M / t)                   multiply_add, per reply:
                                                                     sum   = u * key (stock) + sum_tiles X_tile [M_tile]
                                                                     reply = sum + (flooding + round(q R / t), e2)
                                                                     drop primes, keep c0 at the results only
    decrypt           <- per reply: c0 at results, c1 ---------

The public key is an encryption of zero, so u * key with a ternary u is one more product, and shares the way out of NTT
form with the others; with flooding and e2 added it is the textbook's public-key encryption of zero. What only depends
on randomness is made by `prepare`. Flooding is drawn for the coefficients that are sent; of the others c0 is dropped.

**Leaks** (semi-honest): the evaluator sees ciphertexts under the owner's key, so nothing but sizes. The owner, who has
the secret key, sees c1 and the noise of c0 at the results. c1 is an RLWE sample: X * c1 plus the c1 of a fresh
public-key encryption of zero. The noise is flooded: protocols/he/budget.py bounds what that leaves. Everything after
the flooding is a function of the flooded ciphertext. An owner who sends malformed operands or keys is outside this
model: what does not fit the format is refused, what fits but is not an encryption cannot be told apart.

SEAL draws keys, and the seeds and errors of operands, from its own Blake2xb generator, seeded by the operating system;
u, e2 and flooding come from `randomness`. How objects get in and out of SEAL: `seal_engine`.

Reference: Fan, Vercauteren (ePrint 2012/144); Cheetah (USENIX Security 2022); see `parameters` and `layout`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from protocols.core.distance import Distance
from protocols.core.errors import InvalidCiphertext, InvalidInput, OutOfRange
from protocols.core.message import check_array
from protocols.core.randomness import OsRandomness, Randomness, expand
from protocols.he import seal_wire as wire
from protocols.he.bfv_opened import BfvOpenedKey
from protocols.he.budget import bfv_distance, bfv_product
from protocols.he.interface import (
    RING_BITS,
    RING_MASK,
    Backend,
    CiphertextBundle,
    EncryptedOperand,
    MatrixShape,
    PublicSide,
    SecretSide,
    as_signed,
)
from protocols.he.layout import Layout, best_layout, layout_with_tiles
from protocols.he.parameters import TRAINING, BfvParameters
from protocols.he.residues import add_residues, flooding_noise, scaled_message, small_error, ternary
from protocols.he.seal_engine import SealEngine, Stock, Zero
from protocols.he.seal_parts import read_parts
from protocols.he.seal_wire import Header, Kind, Residues

Ring = NDArray[np.uint64]


@dataclass(frozen=True, repr=False)
class Mask:
    """The randomness of one reply: u * key in NTT form, and e2 for c1."""

    product: Any
    error: Residues


class _Private:
    """Refuses to be pickled and shows nothing of itself but its public name."""

    _shown: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._shown}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise InvalidInput(f"a {type(self).__name__} stays in its process; send its public key or ciphertexts instead")


def _check_ring(name: str, value: NDArray[np.uint64], shape: tuple[int, int]) -> None:
    check_array(name, value, np.uint64, 2, shape)
    if (value > RING_MASK).any():
        raise OutOfRange(f"{name} has an entry that is not in Z_2^{RING_BITS}; reduce it first")


class BfvSecret(_Private, SecretSide):
    """A key pair, and the owner's half of the protocol. The secret key exists only inside SEAL."""

    def __init__(self, engine: SealEngine) -> None:
        self._seal = engine
        parameters = engine.parameters
        secret = seal.KeyGenerator(engine.context).secret_key()
        self._encryptor = seal.Encryptor(engine.context, secret)
        self._decryptor = seal.Decryptor(engine.context, secret)
        header = Header(Kind.PUBLIC_KEY, parameters.identifier).to_bytes()
        self._public_key = header + engine.seeded_body(engine.zero(self._encryptor))
        self._key_id = wire.key_id_of(self._public_key)
        self._stock: Stock[Zero] = Stock()
        self._shown = f"{parameters.name} key {self._key_id.hex()}"

    def public_key(self) -> bytes:
        return self._public_key

    def exported(self) -> bytes:
        """The ternary key's coefficients, as int8: what (0, q/t) decrypts to."""
        parameters = self._seal.parameters
        one = np.zeros(parameters.degree, np.uint64)
        one[0] = 1
        scaled = scaled_message(one, parameters)
        plain = seal.Plaintext()
        self._decryptor.decrypt(self._seal.ciphertext((np.zeros_like(scaled), scaled), self._seal.data_level), plain)
        return as_signed(wire.saved_plaintext(self._seal.save(plain), parameters.degree)).astype(np.int8).tobytes()

    def prepare(self, shape: MatrixShape) -> int:
        """Make the encryptions of zero of one operand. They fit every shape: counts operands of *this* shape in stock.

        It may be 0 when another thread has taken them already.
        """
        parts = best_layout(shape, self._seal.parameters).operand_parts
        for _ in range(parts):
            self._stock.put(self._seal.zero(self._encryptor))
        return len(self._stock) // parts

    def encrypt(self, matrix: Ring, shape: MatrixShape) -> CiphertextBundle:
        """Encrypt M [k, n] symmetrically: c1 travels as a seed, which halves the bytes."""
        parameters = self._seal.parameters
        layout = best_layout(shape, parameters)
        _check_ring("the operand", matrix, (shape.k, shape.n))
        parts = []
        for index, message in enumerate(layout.operand(matrix)):
            zero = self._stock.take() or self._seal.zero(self._encryptor)
            c0 = zero.c0.copy()
            c0[:, : len(message)] = add_residues(c0[:, : len(message)], scaled_message(message, parameters), parameters)
            header = Header(Kind.OPERAND, parameters.identifier, self._key_id, index, layout.k_tile, layout.n_tile)
            parts.append(header.to_bytes() + self._seal.seeded_body(Zero(c0, zero.seed)))
        return CiphertextBundle(tuple(parts))

    def decrypt(self, reply: CiphertextBundle, shape: MatrixShape) -> Ring:
        parameters = self._seal.parameters
        layout, bodies = read_parts(reply, Kind.REPLY, shape, parameters, self._key_id)
        out = np.empty((shape.m, shape.n), np.uint64)
        for index, body in enumerate(bodies):
            group, n_index = divmod(index, layout.n_tiles)
            places = layout.places(group, n_index)
            plain = seal.Plaintext()
            self._decryptor.decrypt(self._read_reply(body, places), plain)
            values = wire.saved_plaintext(self._seal.save(plain), parameters.degree)[places]
            window = layout.window(group, n_index)
            out[window] = values.reshape(out[window].shape)
        return out

    def _read_reply(self, body: bytes, places: NDArray[np.int64]) -> Any:
        """One reply, with zero in c0 where nothing was sent."""
        parameters = self._seal.parameters
        primes = parameters.reply_primes
        sent, c1 = wire.unpack_bodies(body, primes, (len(places), parameters.degree))
        if not c1.any():
            raise InvalidCiphertext("the peer's reply is transparent: it is not encrypted")
        c0 = np.zeros_like(c1)
        c0[:, places] = sent
        return self._seal.ciphertext((c0, c1), self._seal.reply_level)


class BfvOperand(EncryptedOperand):
    """A peer's [M], checked, in NTT form. `layout` holds the tiles its owner chose; other m may use it too."""

    def __init__(self, ciphertexts: list[Any], layout: Layout, key_id: bytes) -> None:
        self.ciphertexts = ciphertexts
        self.layout = layout
        self.key_id = key_id

    def tiles(self, n_index: int) -> list[Any]:
        """The ciphertexts of one n tile, by k tile."""
        return self.ciphertexts[n_index * self.layout.k_tiles : (n_index + 1) * self.layout.k_tiles]


class BfvPublic(_Private, PublicSide):
    """A peer's public key, the evaluator's half of the protocol, and its stock of masks."""

    def __init__(self, engine: SealEngine, public_key: bytes, randomness: Randomness) -> None:
        parameters = engine.parameters
        _, body = wire.parse(public_key, Kind.PUBLIC_KEY, parameters, wire.NO_KEY, 0)
        self._seal = engine
        self._key = engine.load_seeded(body)
        self._randomness = randomness
        self._key_id = wire.key_id_of(public_key)
        self._stock: Stock[Mask] = Stock()
        self._shown = f"{parameters.name} key {self._key_id.hex()}"

    def load_operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> BfvOperand:
        parameters = self._seal.parameters
        layout, bodies = read_parts(bundle, Kind.OPERAND, shape, parameters, self._key_id)
        return BfvOperand([self._seal.load_seeded(body) for body in bodies], layout, self._key_id)

    def prepare(self, shape: MatrixShape) -> int:
        """Make the masks of one product. They fit every shape: the count is of products of *this* shape in stock.

        It may be 0 when another thread has taken the masks already.
        """
        replies = best_layout(shape, self._seal.parameters).reply_parts
        for _ in range(replies):
            self._stock.put(self._make_mask())
        return len(self._stock) // replies

    def multiply_add(
        self, factor: NDArray[np.int64], operand: EncryptedOperand, addend: Ring, shape: MatrixShape
    ) -> CiphertextBundle:
        parameters = self._seal.parameters
        loaded = self._loaded(operand)
        layout = self._layout(loaded, shape)
        shape.check_factor(factor)
        _check_ring("the addend", addend, (shape.m, shape.n))
        stream = expand(self._randomness.seed())
        parts: list[bytes] = []
        for group in range(layout.groups):
            tiles = [self._factor(polynomial) for polynomial in layout.factor(factor, group)]
            for n_index in range(layout.n_tiles):
                places = layout.places(group, n_index)
                mask = self._stock.take() or self._make_mask()
                hidden = self._accumulate(mask, tiles, loaded.tiles(n_index))
                c0 = np.zeros_like(mask.error)
                message = scaled_message(addend[layout.window(group, n_index)].reshape(-1), parameters)
                c0[:, places] = add_residues(message, self._flooding(stream, len(places)), parameters)
                self._seal.evaluator.add_inplace(hidden, self._seal.ciphertext((c0, mask.error), self._seal.data_level))
                header = Header(
                    Kind.REPLY, parameters.identifier, self._key_id, len(parts), layout.k_tile, layout.n_tile
                )
                parts.append(header.to_bytes() + self._reply_body(hidden, places))
        return CiphertextBundle(tuple(parts))

    def distance(self, operand: EncryptedOperand, shape: MatrixShape) -> Distance:
        return bfv_distance(self._layout(self._loaded(operand), shape), self._seal.parameters)

    def _loaded(self, operand: EncryptedOperand) -> BfvOperand:
        if not isinstance(operand, BfvOperand) or operand.key_id != self._key_id:
            raise InvalidInput("the operand was not loaded under this public key")
        return operand

    def _layout(self, operand: BfvOperand, shape: MatrixShape) -> Layout:
        """Of a product by this operand, whose owner chose the tiles."""
        loaded = operand.layout
        if (loaded.shape.k, loaded.shape.n) != (shape.k, shape.n):
            raise InvalidInput(
                f"the operand is [{loaded.shape.k}, {loaded.shape.n}], not [{shape.k}, {shape.n}] as the product asks"
            )
        return layout_with_tiles(shape, self._seal.parameters, loaded.k_tile, loaded.n_tile)

    def _factor(self, polynomial: Ring) -> Any:
        """A factor tile in NTT form, or None where it is all zero, because SEAL refuses to multiply by that."""
        if not polynomial.any():
            return None
        return self._seal.plaintext_ntt(polynomial)

    def _accumulate(self, mask: Mask, tiles: list[Any], operands: list[Any]) -> Any:
        """u * key + sum over k tiles, out of NTT form."""
        evaluator, total = self._seal.evaluator, mask.product
        product = seal.Ciphertext(self._seal.context)
        for tile, operand in zip(tiles, operands, strict=True):
            if tile is not None:
                evaluator.multiply_plain(operand, tile, product)
                evaluator.add_inplace(total, product)
        evaluator.transform_from_ntt_inplace(total)
        return total

    def _reply_body(self, hidden: Any, places: NDArray[np.int64]) -> bytes:
        """Drop primes, then keep of c0 what carries results: the rest does not exist for the key owner."""
        parameters = self._seal.parameters
        for _ in range(len(parameters.data_primes) - parameters.reply_levels):
            self._seal.evaluator.mod_switch_to_next_inplace(hidden)
        residues = wire.saved_ciphertext(self._seal.save(hidden), parameters.reply_levels, parameters.degree)
        primes = parameters.reply_primes
        return wire.pack_residues(residues[0][:, places], primes) + wire.pack_residues(residues[1], primes)

    def _make_mask(self) -> Mask:
        """A fresh public-key encryption of zero, in two parts that are added in `multiply_add`."""
        parameters, stream = self._seal.parameters, expand(self._randomness.seed())
        product = seal.Ciphertext(self._seal.context)
        factor = self._seal.plaintext_ntt(ternary(stream, parameters.degree))
        self._seal.evaluator.multiply_plain(self._key, factor, product)
        return Mask(product, small_error(stream, parameters))

    def _flooding(self, stream: Randomness, count: int) -> Residues:
        return flooding_noise(stream, self._seal.parameters, count)


class BfvBackend(Backend):
    """BFV under one named parameter set. Making one takes some 50 ms; share it between key pairs.

    Args:
        parameters: `TRAINING` for small factors, `TRIPLES` for factors that fill the ring.
        randomness: source of the seeds for u, e2 and flooding; SEAL has its own for keys and errors.
    """

    name = "bfv"

    def __init__(self, parameters: BfvParameters = TRAINING, randomness: Randomness | None = None) -> None:
        self.parameters = parameters
        self._seal = SealEngine(parameters)
        self._randomness = OsRandomness() if randomness is None else randomness

    def generate(self, randomness_label: str = "") -> BfvSecret:
        """A fresh key pair. SEAL seeds itself from the operating system, so the label changes nothing."""
        return BfvSecret(self._seal)

    def open_key(self, public_key: bytes, secret: bytes) -> BfvOpenedKey:
        return BfvOpenedKey(self._seal, public_key, secret)

    def load_public(self, public_key: bytes) -> BfvPublic:
        return BfvPublic(self._seal, public_key, self._randomness)

    def distance(self, shape: MatrixShape, loaded: MatrixShape | None = None) -> Distance:
        return bfv_product(shape, loaded, self.parameters)

    def check(self, shape: MatrixShape) -> None:
        best_layout(shape, self.parameters)
