"""How many bytes the ciphertexts of a layer's messages have, under the parameters that a task's parties agreed on."""

from __future__ import annotations

import json

from protocols.core.errors import InvalidInput
from protocols.he.interface import MatrixShape
from protocols.he.lengths import CiphertextLengths, ciphertext_lengths
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import LayerShapes
from protocols.wire.sizes import data

MAX_KEPT = 4096


class LayerSizes:
    """What a scheme with ciphertexts makes of its parameters: `Scheme.sizes`.

    Args:
        lengths: of the encryption's ciphertexts.
        parameters: the layer's bounds.
    """

    def __init__(self, lengths: CiphertextLengths, parameters: LayerParameters) -> None:
        self._lengths, self._parameters = lengths, parameters
        self._shapes: tuple[tuple[int, int], LayerShapes] | None = None
        self._sums: dict[tuple[MatrixShape, MatrixShape | None], int] = {}

    @classmethod
    def read(cls, parameters: str, encryption: str) -> LayerSizes | None:
        """From the text in the manifest, None if there is none; `encryption` is its key for the parameter set.

        Raises:
            InvalidInput: the text cannot be read, or names parameters that are unknown or out of range.
        """
        if not parameters:
            return None
        try:
            values = json.loads(parameters)
            return cls(ciphertext_lengths(values.get(encryption)), LayerParameters(**values["layer"]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise InvalidInput("the scheme's parameters cannot be read") from error

    @property
    def key(self) -> int:
        """Of a public key."""
        return self._lengths.key

    def shapes(self, width_in: int, width_out: int) -> LayerShapes:
        """Those of a layer. Raises `InvalidInput` if it is too wide for the ring."""
        if self._shapes is None or self._shapes[0] != (width_in, width_out):
            self._shapes = (width_in, width_out), LayerShapes(width_in, width_out, self._parameters)
        return self._shapes[1]

    def operand(self, shape: MatrixShape) -> int:
        """Of all fields that hold an encrypted operand."""
        return self._sum(shape, None)

    def reply(self, shape: MatrixShape, loaded: MatrixShape | None = None) -> int:
        """Of all fields that hold a product. `loaded`: what its operand was encrypted for, if for another shape."""
        return self._sum(shape, shape if loaded is None else loaded)

    def _sum(self, shape: MatrixShape, loaded: MatrixShape | None) -> int:
        known = self._sums.get((shape, loaded))
        if known is None:
            parts = self._lengths.operand(shape) if loaded is None else self._lengths.reply(shape, loaded)
            if len(self._sums) >= MAX_KEPT:  # a hostile transcript has no end of shapes
                self._sums.clear()
            known = self._sums[shape, loaded] = sum(map(data, parts))
        return known
