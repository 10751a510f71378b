"""How many bytes the ciphertexts of a layer's messages have, under the parameters that a task's parties agreed on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput
from protocols.he.interface import MatrixShape
from protocols.he.lengths import CiphertextLengths, ciphertext_lengths
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import LayerShapes
from protocols.wire.sizes import data

MAX_KEPT = 4096

T = TypeVar("T")


@dataclass(frozen=True)
class LaidOut:
    """A layer's sizes at one moment of a task.

    Attributes:
        sizes: of its ciphertexts.
        width_in, width_out: d and o.
        first_rows, rows: of the first training batch, and of this batch.
    """

    sizes: LayerSizes
    width_in: int
    width_out: int
    first_rows: int
    rows: int
    _known: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def shapes(self) -> LayerShapes:
        """Of the layer's products."""
        return self.sizes.shapes(self.width_in, self.width_out)

    def once(self, key: object, make: Callable[[], T]) -> T:
        """What only the layer decides, worked out once: an auditor asks for every message."""
        known: T | None = self._known.get(key)
        if known is None:
            known = self._known[key] = make()
        return known


class LayerSizes:
    """What a scheme with ciphertexts makes of its parameters: `Scheme.sizes`.

    Args:
        lengths: of the encryption's ciphertexts.
        parameters: the layer's bounds.
        shapes: of the scheme's products.
    """

    def __init__(
        self, lengths: CiphertextLengths, parameters: LayerParameters, shapes: type[LayerShapes] = LayerShapes
    ) -> None:
        self._lengths, self._parameters, self._of_layer = lengths, parameters, shapes
        self._shapes: tuple[tuple[int, int], LayerShapes] | None = None
        self._moments: dict[tuple[int, int, int, int], LaidOut] = {}

    @classmethod
    def read(cls, parameters: str, encryption: str, shapes: type[LayerShapes] = LayerShapes) -> LayerSizes | None:
        """From the text in the manifest, None if there is none; `encryption` is its key for the parameter set.

        `shapes`: of the scheme's products.

        Raises:
            InvalidInput: the text cannot be read, or names parameters that are unknown or out of range.
        """
        if not parameters:
            return None
        try:
            values = json.loads(parameters)
            return cls(ciphertext_lengths(values.get(encryption)), LayerParameters(**values["layer"]), shapes)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise InvalidInput("the scheme's parameters cannot be read") from error

    @property
    def key(self) -> int:
        """Of a public key."""
        return self._lengths.key

    def shapes(self, width_in: int, width_out: int) -> LayerShapes:
        """Those of a layer. Raises `InvalidInput` if it is too wide for the ring."""
        if self._shapes is None or self._shapes[0] != (width_in, width_out):
            self._shapes = (width_in, width_out), self._of_layer(width_in, width_out, self._parameters)
        return self._shapes[1]

    def laid_out(self, width_in: int, width_out: int, first_rows: int, rows: int) -> LaidOut:
        """A layer of these widths, in a batch of these rows."""
        moment = width_in, width_out, first_rows, rows
        known = self._moments.get(moment)
        if known is None:
            if len(self._moments) >= MAX_KEPT:  # a hostile transcript has no end of shapes
                self._moments.clear()
            known = self._moments[moment] = LaidOut(self, *moment)
        return known

    def operand(self, shape: MatrixShape) -> int:
        """Of all fields that hold an encrypted operand."""
        return sum(map(data, self._lengths.operand(shape)))

    def reply(self, shape: MatrixShape, loaded: MatrixShape | None = None) -> int:
        """Of all fields that hold a product. `loaded`: what its operand was encrypted for, if for another shape."""
        return sum(map(data, self._lengths.reply(shape, shape if loaded is None else loaded)))

    def distance(self, shape: MatrixShape, loaded: MatrixShape | None = None) -> Distance:
        """What a product shows. Arguments as `reply`."""
        return self._lengths.distance(shape, shape if loaded is None else loaded)
