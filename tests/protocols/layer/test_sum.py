"""The host gets the sum of all projections: every scheme trains by it as one process would, and checks what it gets."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import InvalidInput, OutOfRange, VerificationFailed
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.schemes.encrypted.messages import Projection
from protocols.schemes.registry import registered_scheme
from tests.protocols.layer.helpers import QUIET, Floats, normal, tampering
from tests.protocols.layer.summed_layers import RATE, ROWS, D, O, Summed, pads_of

CHECKED = LayerParameters(check_every=1, test_shares_every=1)


def features_of(count: int, batch: int, rows: int = ROWS) -> list[Floats]:
    return [normal(10 * batch + number, rows, D[number]) for number in range(count)]


@pytest.mark.parametrize(
    ("scheme", "count", "parameters"),
    [("bfv", 2, CHECKED), ("bfv", 3, QUIET), ("paillier", 2, QUIET), ("masked", 3, CHECKED)],
    ids=lambda value: "" if isinstance(value, LayerParameters) else str(value),
)
def test_a_sum_trains_as_one_process_does(scheme: str, count: int, parameters: LayerParameters) -> None:
    """Loss 1/2 |z - t|^2 of each batch, and da of each collaborator, against plain layers."""
    layers = Summed(scheme, count, parameters)
    for batch in range(2):
        features, target = features_of(count, batch, ROWS - batch % 2), normal(99 + batch, ROWS - batch % 2, O)
        z = layers.forward(features)
        wanted = np.sum([each.forward(a.astype(float)) for each, a in zip(layers.references, features)], axis=0)
        np.testing.assert_allclose(z, wanted, rtol=0, atol=0.01)
        losses = [0.5 * float(np.square(each - target).mean()) for each in (z, wanted)]
        assert losses[0] == pytest.approx(losses[1], abs=5e-3)
        dz = ((z - target) / len(z)).astype(np.float32)
        gradients = layers.backward(dz)
        for reference, a, da in zip(layers.references, features, gradients, strict=True):
            np.testing.assert_allclose(da, reference.backward(dz.astype(float)), rtol=0, atol=0.01)
            reference.update(dz.astype(float), a.astype(float), RATE)
    tested = features_of(count, 9)
    wanted = np.sum([each.forward(a.astype(float)) for each, a in zip(layers.references, tested)], axis=0)
    np.testing.assert_allclose(layers.forward(tested, training=False), wanted, rtol=0, atol=0.01)


def test_pads_that_do_not_cancel_are_found() -> None:
    """In a batch of some hundred numbers. A range that is nearly the ring finds one of them with probability 1/64."""
    layers = Summed("bfv", 2)
    layers.ends[0][0].decode_sum(np.zeros((100, O), np.uint64))
    with pytest.raises(OutOfRange, match="the sum of 2 projections"):
        layers.ends[0][0].decode_sum(pads_of(2)[0].draw(1000, O))


def test_the_check_is_of_what_is_padded() -> None:
    """A wrong summand is found though nobody but its owner knows what it should be."""
    layers = Summed("bfv", 2, LayerParameters(check_every=1, test_shares_every=0))
    host, other = layers.ends[0]
    old = host._products.decrypt_projection
    host._products.decrypt_projection = lambda parts, rows: old(parts, rows) + np.uint64(1)
    with pytest.raises(VerificationFailed, match="the projection of side0 is not a W"):
        pump(host.forward_padded(ROWS, True), other.forward(features_of(2, 0)[0], True))


def test_a_malformed_summand_is_refused() -> None:
    host, other = Summed("bfv", 2).ends[0]
    steps = tampering(other.forward(features_of(2, 0)[0], True), Projection, lambda sent: Projection(7, sent.parts))  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="Projection is about version 7"):
        pump(host.forward_padded(ROWS, True), steps)


@pytest.mark.parametrize(("summands", "limit"), [(1, 64), (2, 63), (3, 42), (4, 31), (16, 7), (127, 1)])
def test_the_sum_of_what_is_in_range_fits_the_ring(summands: int, limit: float) -> None:
    parameters = LayerParameters()
    assert parameters.feature_limit(summands) == limit
    assert parameters.sum_limit(summands) < 1024
    with pytest.raises(InvalidInput, match="128 projections leaves the ring"):
        parameters.feature_limit(128)


def test_features_that_might_leave_the_ring_are_refused_before_anything_is_sent() -> None:
    host, other = Summed("bfv", 3).ends[0]
    too_large = np.full((ROWS, D[0]), 25, np.float32)  # of norm 43
    with pytest.raises(OutOfRange, match="the limit is 42; nothing was sent"):
        pump(host.forward_padded(ROWS, True), other.forward(too_large, True))


def test_where_there_is_no_sum() -> None:
    spec = LayerSpec("side", 3, O, ROWS, True, bytes(32), summands=2, pads=pads_of(2)[0])
    frozen = LayerSpec("side", 3, O, ROWS, False, bytes(32), summands=2, pads=pads_of(2)[0])
    for scheme, each in (("plain", spec), ("bfv", frozen)):
        for make in (registered_scheme(scheme).host_layer, registered_scheme(scheme).collaborator_layer):
            with pytest.raises(InvalidInput, match="has no sum of projections"):
                make(each)
    with pytest.raises(InvalidInput, match="needs pads"):
        registered_scheme("bfv").collaborator_layer(LayerSpec("side", 3, O, ROWS, True, bytes(32), summands=2))
    host = registered_scheme("plain").host(LayerSpec("side", 3, O, ROWS, True, bytes(32)))
    with pytest.raises(InvalidInput, match="no projections under pads"):
        next(host.forward_padded(ROWS, True))
    with pytest.raises(InvalidInput, match="no projections under pads"):
        host.decode_sum(np.zeros((1, O), np.uint64))
