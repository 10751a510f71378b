"""How a batch is cut into pieces of one triple each, and what a message about a piece must be about."""

from __future__ import annotations

import numpy as np

from protocols.core.distance import Distance
from protocols.core.errors import MalformedMessage
from protocols.he.interface import Backend, as_ring
from protocols.layer.interface import LayerSpec
from protocols.layer.run_distance import RunDistance
from protocols.layer.shapes import Integers, Ring
from protocols.layer.weight_share import HOST, ROLES, WeightShare
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedCheckReply,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.triples import TEST, TRAIN, Triple, TripleShapes

UsesTriple = (
    MaskedShare | MaskedFeatures | MaskedGradientFeatures | MaskedGradient | MaskedStep | MaskedCheck | MaskedCheckReply
)


def check_products(spec: LayerSpec, backend: Backend, share: WeightShare) -> None:
    """Raise `InvalidInput` unless the backend carries the products of set-up and triples, and the declared run."""
    shapes = TripleShapes(spec, backend)
    backend.check(share.shapes.initial)
    for role in ROLES:
        share.check_run(role, run_distance(role, shapes, backend, share))


def run_distance(role: str, shapes: TripleShapes, backend: Backend, share: WeightShare) -> RunDistance:
    """What a role shows of its masks in a run of the layer that this share is of."""
    is_host = role == HOST
    once = backend.distance(share.shapes.initial) if is_host else Distance()

    def triple(kind: str) -> Distance:
        own = (each for each in shapes.products(kind) if each.host_evaluates == is_host)
        return sum((backend.distance(each.shape) for each in own), Distance())

    return RunDistance(once + triple(TEST), triple(TRAIN) + triple(TEST) * share.checks.rate)


def pieces_of(rows: int, size: int) -> list[slice]:
    """A batch's rows, cut into pieces of `size`; the last one may be shorter."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def padded(rows: Integers, size: int) -> Ring:
    """Ring elements, filled up with rows of zeros to a whole triple."""
    out = np.zeros((size, rows.shape[1]), np.uint64)
    out[: len(rows)] = as_ring(rows)
    return out


def triples_needed(spec: LayerSpec, share: WeightShare, rows: int, is_one_ahead: bool) -> int:
    """How many triples of its kind the next batch takes from the stock: one a piece, and one if it is verified.

    Args:
        is_one_ahead: the first piece has its triple, as the host's share for it was sent ahead.
    """
    return len(pieces_of(rows, spec.rows)) - is_one_ahead + share.checks.is_due


def check_about(message: UsesTriple, triple: Triple, share: WeightShare) -> None:
    """Raise `MalformedMessage` unless the message uses this triple's masks and these weights."""
    name = type(message).__name__
    if message.index != triple.index:
        raise MalformedMessage(f"{name} uses the masks of triple {message.index}, this is triple {triple.index}")
    share.check_version(name, message.version)


def check_shape(name: str, matrix: Ring, shape: tuple[int, ...]) -> None:
    """Raise `MalformedMessage` unless a message's array has this shape."""
    if matrix.shape != shape:
        raise MalformedMessage(f"{name} must be {list(shape)}, not {list(matrix.shape)}")


def checked_share(message: MaskedShare, triple: Triple, share: WeightShare) -> Ring:
    """The peer's masked share, mu or nu, for this triple and beside our own share. Raises `MalformedMessage`."""
    check_about(message, triple, share)
    check_shape("MaskedShare.share", message.share, share.values.shape)
    return message.share
