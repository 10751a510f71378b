"""What both sides of a masked layer have: how a batch is cut, and what a message must be about."""

from __future__ import annotations

import numpy as np

from protocols.core.errors import MalformedMessage
from protocols.he.interface import Backend, as_ring
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Integers, Ring
from protocols.layer.weight_share import LayerEnd
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.pool import CollaboratorTriples, HostTriples
from protocols.schemes.masked.triples import Triple, TripleShapes, kind_of

_About = MaskedShare | MaskedFeatures | MaskedGradientFeatures | MaskedGradient | MaskedStep | MaskedCheck


class MaskedSide(LayerEnd):
    """What both ends have: how a batch is cut, and what a message must be about."""

    triples: HostTriples | CollaboratorTriples
    _next: object | None = None
    """The triple whose mu was sent ahead, for the next training batch."""

    def __init__(self, spec: LayerSpec, backend: Backend, parameters: LayerParameters) -> None:
        super().__init__(spec, backend, parameters)
        # Every product must fit the backend before anything is sent.
        TripleShapes(spec, backend)
        backend.check(self._shapes.initial)

    def needs(self, training: bool, rows: int) -> tuple[str, int]:
        """What the next batch of so many rows takes from `triples`: a kind, and how many of it.

        A host that has one more in stock when the batch ends sends its share for the next batch ahead.
        """
        ahead = training and self._next is not None
        return kind_of(training), -(-rows // self._spec.rows) - ahead + self._is_check_due

    def _pieces(self, rows: int) -> list[slice]:
        """A batch's rows, cut into pieces of one triple each."""
        size = self._spec.rows
        return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]

    def _check_about(self, message: _About, triple: Triple) -> None:
        """Raise `MalformedMessage` unless the message uses this triple's masks and these weights."""
        name = type(message).__name__
        if message.index != triple.index:
            raise MalformedMessage(f"{name} uses the masks of triple {message.index}, this is triple {triple.index}")
        self._check_version(name, message.version)

    def _padded(self, rows: Integers) -> Ring:
        """Ring elements, filled up with rows of zeros to a whole triple."""
        out = np.zeros((self._spec.rows, rows.shape[1]), np.uint64)
        out[: len(rows)] = as_ring(rows)
        return out


def check_shape(name: str, matrix: Ring, shape: tuple[int, ...]) -> None:
    if matrix.shape != shape:
        raise MalformedMessage(f"{name} must be {list(shape)}, not {list(matrix.shape)}")
