"""Messages that make the triples of scheme "masked", ahead of training (protocols/schemes/masked/pool.py).

`index` is the number of a message's first triple; each triple's masks hide one value each, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput
from protocols.core.ledger import ciphertext, public
from protocols.core.message import Message
from protocols.core.sizes import Recorded, exactly
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.he.interface import MatrixShape
from protocols.layer.messages import (
    FLOODED,
    MAX_PARTS,
    SEMANTIC,
    layer_bounds,
    layer_distance,
)
from protocols.layer.sizes import LaidOut
from protocols.schemes.masked.triples import KINDS, MAX_TOGETHER, PRODUCTS, mask_product
from protocols.wire.sizes import data, number

MAX_INDEX = (1 << 63) - 1
MAX_COUNT = 1 << 10


def _triple_parts(message: _TripleParts) -> Recorded:
    return message.index, len(PRODUCTS) * (message.count - 1) + PRODUCTS.index(message.product)


def triples_of(recorded: Recorded) -> tuple[int, int, int]:
    """The first triple, their number, and the product, in the order of `PRODUCTS`.

    As one number, the last two are what entries of protocol version 2 say of messages about one triple.
    """
    index, number_of_product = recorded
    more, product = divmod(number_of_product, len(PRODUCTS))
    return index, more + 1, product


def _triple_shape(layer: LaidOut, product: int) -> MatrixShape:
    rows, d, o = layer.first_rows, layer.width_in, layer.width_out
    dimensions = ((rows, d, o), (d, rows, o), (rows, o, d))  # in the order of PRODUCTS
    if product >= len(dimensions):
        raise InvalidInput("there is no such product")
    return mask_product(*dimensions[product])


def _triple_size(layer: LaidOut, recorded: Recorded, ciphertexts: Callable[[MatrixShape], int]) -> int:
    index, count, product = triples_of(recorded)
    if count > MAX_TOGETHER:
        raise InvalidInput(f"products of {count} triples in one message")
    shape = _triple_shape(layer, product)
    size = layer.once((ciphertexts.__name__, product), lambda: ciphertexts(shape))
    return count * size + number(index) + number(count) + data(len(PRODUCTS[product]))


def _triple_distance(layer: LaidOut, recorded: Recorded) -> Distance:
    _, count, product = triples_of(recorded)
    return layer.once(("distance", product), lambda: layer.sizes.distance(_triple_shape(layer, product))) * count


@wire(
    72,
    ledger=public("how many one-time masks are made"),
    recorded=("kind", "index", "count"),
    record=lambda message: (KINDS.index(message.kind), message.index, message.count),
    bounds=exactly(lambda r: data(len(KINDS[r[0] % len(KINDS)])) + number(r[1]) + number(r[2])),
)
@dataclass(frozen=True)
class TripleRequest(Message):
    """The host starts a batch of triples: `count` of one kind, from number `index` on.

    **Leaks** nothing beyond how many triples are made.
    """

    kind: str
    index: Uint64
    count: Uint32

    def __post_init__(self) -> None:
        self.require(self.kind in KINDS, f"kind must be one of {', '.join(KINDS)}")
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("count", 1, MAX_COUNT)


@dataclass(frozen=True)
class _TripleParts(Message):
    """Ciphertexts of one product of `count` triples that follow each other, as many of each, triple by triple."""

    index: Uint64
    count: Uint32
    product: str
    parts: tuple[bytes, ...]

    def __post_init__(self) -> None:
        self.require_int("index", 0, MAX_INDEX)
        self.require_int("count", 1, MAX_TOGETHER)
        self.require(self.product in PRODUCTS, f"product must be one of {', '.join(PRODUCTS)}")
        self.require(isinstance(self.parts, tuple), "parts must be a tuple")
        self.require(1 <= len(self.parts) <= MAX_PARTS, f"1 to {MAX_PARTS} ciphertexts, not {len(self.parts)}")
        self.require(len(self.parts) % self.count == 0, f"{self.count} triples have as many ciphertexts each")
        self.require(all(isinstance(part, bytes) and part for part in self.parts), "ciphertexts are not empty")

    def of(self, position: int) -> tuple[bytes, ...]:
        """Those of one triple; `position` counts the message's triples from 0."""
        each = len(self.parts) // self.count
        return self.parts[position * each : (position + 1) * each]


@wire(
    73,
    ledger=ciphertext("whoever holds the sender's key", SEMANTIC + " It hides a uniform mask."),
    recorded=("index", "count and product"),
    record=_triple_parts,
    bounds=layer_bounds(lambda layer, recorded: _triple_size(layer, recorded, layer.sizes.operand)),
)
@dataclass(frozen=True)
class TripleOperand(_TripleParts):
    """The sender's uniform masks, under its own key.

    **Leaks** nothing.
    """


@wire(
    74,
    ledger=ciphertext("whoever holds the receiver's key", FLOODED + " What it decrypts to is a uniform share."),
    recorded=("index", "count and product"),
    record=_triple_parts,
    bounds=layer_bounds(lambda layer, recorded: _triple_size(layer, recorded, layer.sizes.reply)),
    distance=layer_distance(_triple_distance),
)
@dataclass(frozen=True)
class TripleProduct(_TripleParts):
    """Products of the receiver's mask with the sender's, less the sender's uniform share; under the receiver's key.

    **Leaks** nothing: the receiver's shares are uniform.
    """
