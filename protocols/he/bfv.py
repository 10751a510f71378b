"""The BFV backend: exact products in Z_{2^59} under encryption. `bfv_engine` has the arithmetic, in two versions.

    key owner (BfvSecret)                                          evaluator (BfvPublic)
    public_key()      -- seed, c0 of zero -------------------->    load_public
    encrypt(M)        -- per tile: seed, c0 ------------------>    load_operand: check, expand, transform
      = zero encryption (stock) + round(q M / t)                   multiply_add, per reply:
                                                                     sum   = u * key (stock) + sum_tiles X_tile [M_tile]
                                                                     reply = sum + (flooding + round(q R / t), e2)
                                                                     scale to 2^W, keep c0 at the results only
    decrypt           <- per reply: c0 at results, c1 ---------

The public key is an encryption of zero, so u * key with a ternary u is one more product, and shares the way out of the
transform with the others; with flooding and e2 added it is the textbook's public-key encryption of zero. What only
depends on randomness is made by `prepare`. Flooding is drawn for the coefficients that are sent; of the others c0 is
dropped.

**Leaks** (semi-honest): the evaluator sees ciphertexts under the owner's key, so nothing but sizes. The owner, who has
the secret key, sees c1 and the noise of c0 at the results. c1 is an RLWE sample: X * c1 plus the c1 of a fresh
public-key encryption of zero. The noise is flooded: protocols/he/budget.py bounds what that leaves. Everything after
the flooding is a function of the flooded ciphertext. An owner who sends malformed operands or keys is outside this
model: what does not fit the format is refused, what fits but is not an encryption cannot be told apart.

All randomness comes from `randomness`, as seeds: of the key, and of each c1, which travels; and, for every few parts
that are made in one piece, of their errors, of their masks (u, then e2) and of their flooding. So pieces may be made in
several threads at once, and the same seeds give the same messages all the same.

Reference: Fan, Vercauteren (ePrint 2012/144); Cheetah (USENIX Security 2022); see `parameters` and `layout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput, OutOfRange
from protocols.core.mapper import Distant, Mapper, Work, nowhere
from protocols.core.message import check_array
from protocols.core.randomness import OsRandomness, Randomness, expand
from protocols.he import bfv_wire as wire
from protocols.he.bfv_distant import Piece, Portion, Sent, portions, work_of
from protocols.he.bfv_engine import FLOODING_BYTES, WORD_BYTES, BfvEngine, Product
from protocols.he.bfv_opened import BfvOpenedKey
from protocols.he.bfv_parts import bundle_of, heads_of, read_parts
from protocols.he.bfv_wire import Header, Kind
from protocols.he.budget import bfv_distance, bfv_product
from protocols.he.engines import make_engine
from protocols.he.interface import (
    RING_BITS,
    RING_MASK,
    Backend,
    CiphertextBundle,
    EncryptedOperand,
    MatrixShape,
    PublicSide,
    SecretSide,
)
from protocols.he.kept import Kept
from protocols.he.layout import Layout, best_layout, layout_with_tiles
from protocols.he.lengths import BfvLengths
from protocols.he.parameters import PARAMETER_SETS, TRAINING, BfvParameters
from protocols.he.residues import ternary
from protocols.he.stock import Stock
from protocols.wire.varint import Buffer

Ring = NDArray[np.uint64]

PIECE = 8
"""Operand parts or sums that are made at once: enough to share what they have in common and to be worth a thread."""


@dataclass(frozen=True, repr=False)
class Zero:
    """A symmetric encryption of zero: the seed of c1, and c0 as the engine has it. Becomes one operand part."""

    seed: bytes
    c0: Any


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


@dataclass(frozen=True, repr=False)
class _Seeds:
    """Of some encryptions of zero: one for each c1, and one for the errors of all."""

    of_c1: list[bytes]
    of_errors: bytes


@dataclass(frozen=True, repr=False)
class _Messages:
    """Of some parts of an operand: with their headers, what the stock has for them, and seeds for the rest."""

    heads: list[bytes]
    messages: Ring
    zeros: list[Zero]
    seeds: _Seeds


class BfvSecret(_Private, SecretSide):
    """A key pair, and the owner's half of the protocol."""

    def __init__(self, engine: BfvEngine, randomness: Randomness, mapper: Mapper) -> None:
        parameters = engine.parameters
        self._engine, self._randomness, self._mapper = engine, randomness, mapper
        self._ternary = ternary(expand(randomness.seed()).words(parameters.degree)).tobytes()
        self._secret = engine.secret_key(self._ternary)
        header = Header(Kind.PUBLIC_KEY, parameters.identifier).to_bytes()
        (zero,) = self._make_zeros(self._seeds(1))
        part = engine.operand_part(header + zero.seed, zero.c0, np.empty(0, np.uint64))
        self._public_key = part + b"".join(self._switching_keys())
        self._key_id = wire.key_id_of(self._public_key)
        self._stock: Stock[Zero] = Stock()
        self._shown = f"{parameters.name} key {self._key_id.hex()}"

    def public_key(self) -> bytes:
        return self._public_key

    def exported(self) -> bytes:
        """The ternary key's coefficients, as int8."""
        return self._ternary

    def prepare(self, shape: MatrixShape) -> int:
        """Make the encryptions of zero of one operand. They fit every shape: counts operands of *this* shape in stock.

        It may be 0 when another thread has taken them already.
        """
        parts = best_layout(shape, self._engine.parameters).operand_parts
        for zero in self._make_zeros(self._seeds(parts)):
            self._stock.put(zero)
        return len(self._stock) // parts

    def encrypt(self, matrix: Ring, shape: MatrixShape) -> CiphertextBundle:
        """Encrypt M [k, n] symmetrically: c1 travels as a seed, which halves the bytes."""
        parameters = self._engine.parameters
        layout = best_layout(shape, parameters)
        _check_ring("the operand", matrix, (shape.k, shape.n))
        heads = heads_of(Kind.OPERAND, parameters, self._key_id, layout)
        return bundle_of(self._mapper(self._parts, self._pieces(heads, layout.operand(matrix))))

    def decrypt(self, reply: CiphertextBundle, shape: MatrixShape) -> Ring:
        layout, bodies = read_parts(reply, Kind.REPLY, shape, self._engine.parameters, self._key_id)
        return self._engine.decrypt(self._secret, bodies, layout, self._mapper)

    def _pieces(self, heads: Iterator[bytes], messages: Ring) -> Iterator[_Messages]:
        for first in range(0, len(messages), PIECE):
            piece = messages[first : first + PIECE]
            zeros = self._stock.take_up_to(len(piece))
            yield _Messages(list(islice(heads, len(piece))), piece, zeros, self._seeds(len(piece) - len(zeros)))

    def _parts(self, piece: _Messages) -> list[bytes]:
        parts = zip(piece.heads, piece.zeros + self._make_zeros(piece.seeds), piece.messages, strict=True)
        return [self._engine.operand_part(head + zero.seed, zero.c0, message) for head, zero, message in parts]

    def _seeds(self, count: int) -> _Seeds:
        return _Seeds([self._public_seed() for _ in range(count)], self._randomness.seed())

    def _public_seed(self) -> bytes:
        """Of a c1: it is sent."""
        return self._randomness.seed()

    def _switching_keys(self) -> list[bytes]:
        if not self._engine.parameters.switching_parts:
            return []
        seeds = self._seeds(self._engine.parameters.switching_parts)
        return self._engine.switching_keys(self._ternary, seeds.of_c1, self._errors(seeds))

    def _make_zeros(self, seeds: _Seeds) -> list[Zero]:
        if not seeds.of_c1:
            return []
        made = self._engine.zeros(self._secret, seeds.of_c1, self._errors(seeds))
        return [Zero(*each) for each in zip(seeds.of_c1, made, strict=True)]

    def _errors(self, seeds: _Seeds) -> list[Buffer]:
        size, stream = self._engine.parameters.degree * WORD_BYTES, expand(seeds.of_errors)
        return [stream.octets(size).data for _ in seeds.of_c1]


class BfvOperand(EncryptedOperand):
    """A peer's [M], checked, in the engine's form. `layout` holds the tiles its owner chose; other m may use it too.

    `parts`: as it came, for products that are made elsewhere.
    """

    def __init__(
        self, loaded: Any, layout: Layout, key_id: bytes, engine: BfvEngine, parts: tuple[bytes, ...] = ()
    ) -> None:
        self.loaded = loaded
        self.layout = layout
        self.key_id = key_id
        self.engine = engine
        self.parts = parts


class BfvPublic(_Private, PublicSide):
    """A peer's public key, the evaluator's half of the protocol, and its stock of masks."""

    def __init__(
        self,
        engine: BfvEngine,
        public_key: bytes,
        randomness: Randomness,
        mapper: Mapper = map,
        distant: Distant = nowhere,
        sharing: Mapper = map,
    ) -> None:
        parameters = engine.parameters
        _, body = wire.parse(public_key, Kind.PUBLIC_KEY, parameters, wire.NO_KEY, 0)
        zero, switching = wire.key_bodies(body, parameters)
        self._engine, self._mapper, self._distant, self._sharing = engine, mapper, distant, sharing
        self._sent_key = public_key
        self._key = engine.load([zero])
        self._switching = engine.load_switching_keys(switching) if switching else None
        self._randomness = randomness
        self._key_id = wire.key_id_of(public_key)
        self._stock: Stock[Any] = Stock()
        self._shown = f"{parameters.name} key {self._key_id.hex()}"

    def load_operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> BfvOperand:
        layout, bodies = read_parts(bundle, Kind.OPERAND, shape, self._engine.parameters, self._key_id)
        parts = () if self._distant is nowhere else bundle.parts
        return BfvOperand(self._engine.load(bodies, self._mapper), layout, self._key_id, self._engine, parts)

    def prepare(self, shape: MatrixShape) -> int:
        """Make the masks of one product. They fit every shape: the count is of products of *this* shape in stock.

        It may be 0 when another thread has taken the masks already, or when such products are made elsewhere.
        """
        layout = best_layout(shape, self._engine.parameters)
        if self._distant is not nowhere and self._distant(self._work(layout)) is not None:
            return 0
        replies = layout.reply_parts
        for mask in self._make_masks(replies, self._randomness.seed()):
            self._stock.put(mask)
        return len(self._stock) // replies

    def multiply_add(
        self, factor: NDArray[np.int64], operand: EncryptedOperand, addend: Ring, shape: MatrixShape
    ) -> CiphertextBundle:
        loaded = self._loaded(operand)
        layout = self._layout(loaded, shape)
        shape.check_factor(factor)
        _check_ring("the addend", addend, (shape.m, shape.n))
        numbers = np.ascontiguousarray(factor), loaded.loaded, np.ascontiguousarray(addend)
        product = Product(layout, *numbers, self._switching)
        heads = heads_of(Kind.REPLY, self._engine.parameters, self._key_id, layout)
        pieces = self._made_elsewhere(product, loaded) or self._made_here(product)
        return bundle_of([[head + body for body, head in zip(bodies, heads)] for bodies in pieces])

    def distance(self, operand: EncryptedOperand, shape: MatrixShape) -> Distance:
        return bfv_distance(self._layout(self._loaded(operand), shape), self._engine.parameters)

    def _loaded(self, operand: EncryptedOperand) -> BfvOperand:
        if not isinstance(operand, BfvOperand) or (operand.key_id, operand.engine) != (self._key_id, self._engine):
            raise InvalidInput("the operand was not loaded under this public key")
        return operand

    def _layout(self, operand: BfvOperand, shape: MatrixShape) -> Layout:
        """Of a product by this operand, whose owner chose the tiles."""
        loaded = operand.layout
        if (loaded.shape.k, loaded.shape.n) != (shape.k, shape.n):
            raise InvalidInput(
                f"the operand is [{loaded.shape.k}, {loaded.shape.n}], not [{shape.k}, {shape.n}] as the product asks"
            )
        return layout_with_tiles(shape, self._engine.parameters, loaded.k_tile, loaded.n_tile)

    def _made_here(self, product: Product) -> Iterable[list[bytes]]:
        """Threads share a product's pieces, or the work of the only one."""
        pieces = list(self._pieces(product.layout, self._stock))
        if len(pieces) == 1:
            return [self.bodies(product, pieces[0], self._sharing)]
        return self._mapper(partial(self.bodies, product), pieces)

    def _made_elsewhere(self, product: Product, operand: BfvOperand) -> Iterable[list[bytes]] | None:
        """None if it is not worth it."""
        mapper = self._distant(self._work(product.layout)) if operand.parts else None
        if mapper is None:
            return None
        name, key, layout = OsRandomness().bytes(16), self._sent_key, product.layout
        sent = Sent.of(name, self._engine.parameters.name, key, operand.parts, operand.layout.shape)
        return mapper(partial(bodies_of, sent, layout), portions(product, self._pieces(layout, Stock()), self._engine))

    def _work(self, layout: Layout) -> Work:
        return work_of(layout, self._engine, is_threaded=self._mapper is not map)

    def _pieces(self, layout: Layout, stock: Stock[Any]) -> Iterator[Piece]:
        step = max(1, PIECE // (layout.n_tiles * layout.packed)) * layout.packed
        for first in range(0, layout.groups, step):
            groups = range(first, min(first + step, layout.groups))
            masks = stock.take_up_to(_replies(layout, groups))
            yield Piece(groups, masks, self._randomness.seed(), self._randomness.seed())

    def bodies(self, product: Product, piece: Piece, mapper: Mapper = map) -> list[bytes]:
        """Of the replies of a piece."""
        layout, groups = product.layout, piece.groups
        results = layout.sum_results[groups.start * layout.n_tiles : groups.stop * layout.n_tiles]
        sizes = [each * FLOODING_BYTES for each in results]
        masks = piece.masks + self._make_masks(_replies(layout, groups) - len(piece.masks), piece.seed)
        drawn = expand(piece.flooding_seed).octets(sum(sizes)).data
        flooding = [drawn[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
        return self._engine.replies(product, groups, masks, flooding, mapper)

    def portion_bodies(self, portion: Portion, layout: Layout, operand: BfvOperand) -> list[bytes]:
        """Of the replies of a portion of a product; `layout` of the whole one."""
        product = portion.product(layout, operand.loaded, self._switching)
        return list(chain.from_iterable(self.bodies(product, piece) for piece in portion.pieces))

    def _make_masks(self, count: int, seed: bytes) -> list[Any]:
        """Fresh public-key encryptions of zero, but for the flooding."""
        if not count:
            return []
        size, stream = 2 * self._engine.parameters.degree * WORD_BYTES, expand(seed)
        return [self._engine.mask(self._key, stream.octets(size).data) for _ in range(count)]


def _replies(layout: Layout, groups: range) -> int:
    """How many replies some groups of rows take, if one begins with the first."""
    return -(-len(groups) * layout.n_tiles // layout.packed)


_evaluators: Kept[BfvPublic] = Kept(4)
_operands: Kept[BfvOperand] = Kept(4)


def bodies_of(sent: Sent, layout: Layout, portion: Portion) -> list[bytes]:
    """What a worker does: the bodies of a portion's replies. It keeps keys and operands for what comes next."""
    key = sent.public_key.tobytes()
    key_id, parameters = wire.key_id_of(key), PARAMETER_SETS[sent.parameters]
    public = _evaluators.get(key_id) or _evaluators.put(key_id, BfvPublic(make_engine(parameters), key, OsRandomness()))
    operand = _operands.get(sent.name)
    if operand is None or operand.engine is not public._engine:
        bundle = CiphertextBundle(tuple(part.tobytes() for part in sent.parts))
        operand = _operands.put(sent.name, public.load_operand(bundle, sent.shape))
    return public.portion_bodies(portion, layout, operand)


class BfvBackend(Backend):
    """BFV under one named parameter set. Making one takes up to 50 ms; share it between key pairs.

    Args:
        parameters: `TRAINING` for small factors, `TRIPLES` for factors that fill the ring.
        randomness: where all seeds come from.
        engine: the arithmetic, for these parameters; None: what is chosen here (`engines`).
        mapper: where pieces of large operands and products are made, if the engine releases the interpreter's lock;
            threads of this process, or the builtin `map`.
        sharing: where the work of a product of one piece is shared, likewise.
        distant: takes large products elsewhere.
    """

    name = "bfv"

    def __init__(
        self,
        parameters: BfvParameters = TRAINING,
        randomness: Randomness | None = None,
        engine: BfvEngine | None = None,
        mapper: Mapper = map,
        distant: Distant = nowhere,
        sharing: Mapper = map,
    ) -> None:
        self.parameters, self._distant = parameters, distant
        self._engine = make_engine(parameters) if engine is None else engine
        self._randomness = OsRandomness() if randomness is None else randomness
        self.releases_lock = self._engine.releases_lock
        self._mapper, self._sharing = (mapper, sharing) if self.releases_lock else (map, map)

    def generate(self, randomness_label: str = "") -> BfvSecret:
        """A fresh key pair. Secrets come from this backend's randomness, so the label changes nothing."""
        return BfvSecret(self._engine, self._randomness, self._mapper)

    def open_key(self, public_key: bytes, secret: bytes) -> BfvOpenedKey:
        return BfvOpenedKey(self.parameters, public_key, secret)

    def load_public(self, public_key: bytes) -> BfvPublic:
        return BfvPublic(self._engine, public_key, self._randomness, self._mapper, self._distant, self._sharing)

    def distance(self, shape: MatrixShape, loaded: MatrixShape | None = None) -> Distance:
        return bfv_product(shape, loaded, self.parameters)

    def operand_bytes(self, shape: MatrixShape) -> int:
        return sum(BfvLengths(self.parameters).operand(shape))

    def check(self, shape: MatrixShape) -> None:
        best_layout(shape, self.parameters)
