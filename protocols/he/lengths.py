"""How many bytes ciphertexts and keys have, from the parameter set and the shapes of a product alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput
from protocols.he import bfv_wire, paillier_parameters, parameters, retired_parameters
from protocols.he.budget import bfv_product, paillier_distance
from protocols.he.flooded_set import FloodedSet
from protocols.he.interface import MatrixShape
from protocols.he.layout import Layout, best_layout, layout_with_tiles
from protocols.he.paillier_parameters import PaillierParameters

Parts = tuple[int, ...]
"""Bytes of each part of a bundle of ciphertexts."""


class CiphertextLengths(ABC):
    """Lengths under one parameter set."""

    @property
    @abstractmethod
    def key(self) -> int:
        """Of a public key."""

    @abstractmethod
    def operand(self, shape: MatrixShape) -> Parts:
        """Of an encrypted operand, laid out for a product of this shape."""

    @abstractmethod
    def reply(self, shape: MatrixShape, loaded: MatrixShape) -> Parts:
        """Of a product of this shape. `loaded`: the shape that its operand was encrypted for, which sets the tiles."""

    @abstractmethod
    def distance(self, shape: MatrixShape, loaded: MatrixShape) -> Distance:
        """What such a product shows of its factor. Arguments as `reply`."""


class BfvLengths(CiphertextLengths):
    """Of one BFV parameter set."""

    def __init__(self, chosen: FloodedSet) -> None:
        self._set = chosen

    @property
    def key(self) -> int:
        return bfv_wire.HEADER_BYTES + self._set.key_bytes

    def operand(self, shape: MatrixShape) -> Parts:
        return (bfv_wire.HEADER_BYTES + self._set.operand_bytes,) * best_layout(shape, self._set).operand_parts

    def reply(self, shape: MatrixShape, loaded: MatrixShape) -> Parts:
        tiles = best_layout(loaded, self._set)
        return _reply_parts(layout_with_tiles(shape, self._set, tiles.k_tile, tiles.n_tile), self._set)

    def distance(self, shape: MatrixShape, loaded: MatrixShape) -> Distance:
        return bfv_product(shape, loaded, self._set)


@lru_cache(maxsize=256)
def _reply_parts(layout: Layout, chosen: FloodedSet) -> Parts:
    counts = (layout.part_results(part) for part in range(layout.reply_parts))
    return tuple(bfv_wire.HEADER_BYTES + chosen.reply_bytes(count) for count in counts)


class PaillierLengths(CiphertextLengths):
    """Of one Paillier parameter set."""

    HEADER, KEY_HEADER = 32, 6

    def __init__(self, chosen: PaillierParameters) -> None:
        self._set = chosen

    @property
    def key(self) -> int:
        return self.KEY_HEADER + (1 if self._set.full_randomness else 2) * self._set.key_bytes

    def operand(self, shape: MatrixShape) -> Parts:
        return (self.HEADER + self._set.layout(shape).operand_ciphertexts * self._set.ciphertext_bytes,)

    def reply(self, shape: MatrixShape, loaded: MatrixShape) -> Parts:
        return (self.HEADER + self._set.layout(shape).reply_ciphertexts * self._set.ciphertext_bytes,)

    def distance(self, shape: MatrixShape, loaded: MatrixShape) -> Distance:
        return paillier_distance(self._set.layout(shape), self._set)


def ciphertext_lengths(name: object) -> CiphertextLengths:
    """Of the parameter set of this name. Raises `InvalidInput` if there is none."""
    known = {**parameters.PARAMETER_SETS, **retired_parameters.RETIRED_SETS}
    if name in known:
        return BfvLengths(known[str(name)])
    if name in paillier_parameters.PARAMETER_SETS:
        return PaillierLengths(paillier_parameters.PARAMETER_SETS[str(name)])
    raise InvalidInput(f"there is no parameter set {name!r}")
