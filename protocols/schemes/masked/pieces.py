"""How a batch is cut into pieces of one triple each, and what a message about a piece must be about."""

from __future__ import annotations

import numpy as np

from protocols.core.distance import Distance
from protocols.core.errors import MalformedMessage
from protocols.core.sender import Sender
from protocols.he.interface import Backend, as_ring
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
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
from protocols.schemes.masked.shapes import MaskedShapes
from protocols.schemes.masked.triples import TEST, TRAIN, Triple, TripleShapes
from protocols.schemes.shares.products import BATCHES_A_MARK

UsesTriple = (
    MaskedShare | MaskedFeatures | MaskedGradientFeatures | MaskedGradient | MaskedStep | MaskedCheck | MaskedCheckReply
)


def check_products(spec: LayerSpec, backend: Backend, share: WeightShare, parameters: LayerParameters) -> None:
    """Raise `InvalidInput` unless the backend carries the products of set-up and triples, and the declared run."""
    backend.check(share.shapes.initial)
    shapes = MaskedShapes(spec.width_in, spec.width_out, parameters)
    if parameters.test_shares_every:
        for tester in _testers(spec):
            shapes.check_test(backend, tester, spec.rows)
    for role in ROLES:
        share.check_run(role, run_distance(role, spec, backend, share, shapes))


def _testers(spec: LayerSpec) -> tuple[Sender, ...]:
    """Who tests the other's share."""
    return tuple(Sender) if spec.trainable else (Sender.COLLABORATOR,)


def run_distance(role: str, spec: LayerSpec, backend: Backend, share: WeightShare, layer: MaskedShapes) -> RunDistance:
    """What a role shows of its masks, and in tests of shares, in a run of the layer that this share is of."""
    shapes, is_host = TripleShapes(spec, backend), role == HOST
    once = backend.distance(share.shapes.initial) if is_host else Distance()

    def triple(kind: str) -> Distance:
        own = (each for each in shapes.products(kind) if each.host_evaluates == is_host)
        return sum((backend.distance(each.shape) for each in own), Distance())

    run = RunDistance(once + triple(TEST), triple(TRAIN) + triple(TEST) * share.checks.rate)
    return run + _tests(Sender.HOST if is_host else Sender.COLLABORATOR, spec, backend, share, layer)


def _tests(sender: Sender, spec: LayerSpec, backend: Backend, share: WeightShare, layer: MaskedShapes) -> RunDistance:
    """What a side's tests and answers show (share_tests.py), each test of a share as by its larger query."""
    run, testers = RunDistance(Distance(), Distance()), _testers(spec)
    if not share.test_rate:
        return run
    of_opening = share.test_rate
    if sender in testers:
        loaded = layer.of_owner(sender.other, spec.rows)
        form = backend.distance(loaded)
        shape, count = layer.share_test(sender, 0, spec.rows)
        combined = backend.distance(shape, loaded) * count
        run += RunDistance(form + combined * 3, form * of_opening + combined * (2 * of_opening + 3 / BATCHES_A_MARK))
    if sender.other in testers:
        moved = backend.distance(layer.test_answer(sender.other, spec.rows)) if spec.trainable else Distance()
        run += RunDistance(
            backend.distance(layer.test_answer(sender.other, 0)), moved * (of_opening + 1 / BATCHES_A_MARK)
        )
    return run


def pieces_of(rows: int, size: int) -> list[slice]:
    """A batch's rows, cut into pieces of `size`; the last one may be shorter."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def padded(rows: Integers, size: int) -> Ring:
    """Ring elements, filled up with rows of zeros to a whole triple. Not to be written to."""
    if len(rows) == size:
        return as_ring(rows)
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
    """The host's masked share, mu, for this triple and beside our own share. Raises `MalformedMessage`."""
    check_about(message, triple, share)
    check_shape("MaskedShare.share", message.share, share.values.shape)
    return message.share
