"""The parts of a bundle of BFV ciphertexts: what layout they name, and whether all are there; and a bundle of parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.he import bfv_wire as wire
from protocols.he.bfv_wire import Header, Kind
from protocols.he.interface import CiphertextBundle, MatrixShape
from protocols.he.layout import Layout, best_layout, layout_with_tiles
from protocols.he.parameters import BfvParameters


def _check_parts(bundle: CiphertextBundle, what: str) -> tuple[object, ...]:
    parts = bundle.parts if isinstance(bundle, CiphertextBundle) else ()
    if not isinstance(parts, tuple) or not parts:
        raise InvalidCiphertext(f"the peer's {what} is not a bundle of ciphertexts")
    return parts


def read_parts(
    bundle: CiphertextBundle, kind: Kind, shape: MatrixShape, parameters: BfvParameters, key_id: bytes
) -> tuple[Layout, list[memoryview]]:
    """The bodies of a bundle's parts, and the layout that all of them name and that their number fits."""
    parts = _check_parts(bundle, kind.name.lower())
    first, body = wire.parse(parts[0], kind, parameters, key_id, 0)
    layout = best_layout(shape, parameters)  # a bad shape is this side's fault and must not be blamed on the peer
    if (first.k_tile, first.n_tile) != (layout.k_tile, layout.n_tile):
        try:
            layout = layout_with_tiles(shape, parameters, first.k_tile, first.n_tile)
        except InvalidInput as error:
            raise InvalidCiphertext(f"the peer's {kind.name.lower()} has an impossible layout: {error}") from None
    expected = layout.operand_parts if kind is Kind.OPERAND else layout.reply_parts
    if len(parts) != expected:
        raise InvalidCiphertext(f"the peer's {kind.name.lower()} has {len(parts)} ciphertexts, not {expected}")
    bodies = [body]
    for index, part in enumerate(parts[1:], 1):
        header, body = wire.parse(part, kind, parameters, key_id, index)
        if (header.k_tile, header.n_tile) != (layout.k_tile, layout.n_tile):
            raise InvalidCiphertext(f"part {index} of the peer's {kind.name.lower()} names other tiles than part 0")
        bodies.append(body)
    return layout, bodies


def heads_of(kind: Kind, parameters: BfvParameters, key_id: bytes, layout: Layout) -> Iterator[bytes]:
    """The headers of a bundle's parts, without an end."""
    return (
        Header(kind, parameters.identifier, key_id, index, layout.k_tile, layout.n_tile).to_bytes() for index in count()
    )


def bundle_of(parts: Iterable[list[bytes]]) -> CiphertextBundle:
    """Of its parts, piece by piece."""
    # A list first: a tuple that grows for long is one that whoever looks at all objects can break (CPython).
    return CiphertextBundle(tuple(list(chain.from_iterable(parts))))
