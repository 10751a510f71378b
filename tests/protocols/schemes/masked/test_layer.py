"""Scheme "masked" computes the reference, and uses every mask once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.harness.pump import and_rest, complete, ends_of_nothing, pump
from protocols.core.errors import (
    OutOfRange,
    PoolExhausted,
    RoleAlreadyUsed,
    VerificationFailed,
)
from protocols.core.fixed_point import BLOCK_BITS, FEATURE_BITS
from protocols.core.steps import Steps
from protocols.he.interface import RING_BITS
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.layer.interface import layer_randomness
from protocols.layer.parameters import LayerParameters
from protocols.layer.reference import ReferenceLayer, initial_factors
from protocols.layer.shapes import add
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.triples import PROJECTION, TEST, TRAIN, WEIGHT_GRADIENT, Half
from tests.protocols.he.bfv_helpers import backend
from tests.protocols.schemes.masked.helpers import EVERY_BATCH, RANDOM, Layer, answering, layer_spec, values

SIGMA = LayerParameters().smoothing_sigma(7)  # of the noise, in steps of the small factor, for all widths here
Z_ERROR = 8 * SIGMA * 2.0**-FEATURE_BITS


def da_error(dz: NDArray[np.float32]) -> float:
    return float(8 * SIGMA * 2.0 ** (1 - BLOCK_BITS) * 2.0 ** np.frexp(np.abs(dz).max())[1])


@given(
    rows=st.integers(1, 9),
    d=st.integers(1, 7),
    o=st.integers(1, 7),
    checked=st.booleans(),
    stocked=st.booleans(),
    batches=st.lists(st.tuples(st.integers(1, 25), st.sampled_from(["step", "skip", "test"])), min_size=1, max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_it_is_the_reference(
    rows: int, d: int, o: int, checked: bool, stocked: bool, batches: list[tuple[int, str]]
) -> None:
    layer = Layer(layer_spec(rows, d, o), parameters=EVERY_BATCH if checked else None)
    reference = ReferenceLayer(layer.weights)
    stepped = 0
    for number, (size, what) in enumerate(batches):
        a, dz = values(number, size, d), values(number + 100, size, o, 0.1)
        layer.stock_up(size, what != "test")
        z = layer.forward(a, what != "test")
        assert z == pytest.approx(reference.forward(a.astype(np.float64)), abs=Z_ERROR)
        if what == "skip":
            pump(layer.host.skip(), layer.closing())
        if what == "step":
            if stocked:
                layer.deal()
            da = layer.backward(dz, 0.5)
            assert da == pytest.approx(reference.backward(dz.astype(np.float64)), abs=da_error(dz))
            reference.update(dz.astype(np.float64), a.astype(np.float64), 0.5)
            stepped += size
            assert layer.weights == pytest.approx(reference.weights, abs=stepped * 1e-4)
    assert layer.host.triples.stock(TRAIN) == layer.collaborator.triples.stock(TRAIN) == 0


def test_the_whole_protocol_from_keys_to_triples() -> None:
    spec = replace(layer_spec(6, 5, 3), seed=4)
    host = MaskedHost(spec, backend(TRIPLES), EVERY_BATCH)
    collaborator = MaskedCollaborator(spec, backend(TRIPLES), EVERY_BATCH)
    pump(host.setup(), collaborator.setup())
    left, right = initial_factors(layer_randomness(spec, "host"), layer_randomness(spec, "collaborator"), 3, 5)
    reference = ReferenceLayer(left @ right)
    pump(host.triples.generate(*host.needs(True, 4)), answering(collaborator.triples))
    a, dz = values(1, 4, 5), values(2, 4, 3)
    z = pump(and_rest(host, host.forward(4, True)), collaborator.forward(a, True)).left
    assert z == pytest.approx(reference.forward(a.astype(np.float64)), abs=Z_ERROR)
    da = pump(host.backward(dz, 0.1), both(collaborator.backward, collaborator.settle)).right
    assert da == pytest.approx(reference.backward(dz.astype(np.float64)), abs=da_error(dz))
    assert host.weights()["share"].shape == collaborator.weights()["share"].shape == (3, 5)
    for role in (host, collaborator):
        with pytest.raises(RoleAlreadyUsed):
            next(role.setup())


def test_a_repeatable_run_gives_the_very_numbers_of_scheme_bfv() -> None:
    """Same weights, noise and rounding: only the masks differ, and they cancel exactly."""
    spec = replace(layer_spec(5, 4, 3), seed=9)
    bounds = LayerParameters()
    masked = MaskedHost(spec, backend(TRIPLES), bounds), MaskedCollaborator(spec, backend(TRIPLES), bounds)
    encrypted = EncryptedHost(spec, backend(TRAINING), bounds), EncryptedCollaborator(spec, backend(TRAINING), bounds)
    outcomes: list[list[NDArray[np.float32]]] = []
    for host, collaborator in (masked, encrypted):
        pump(host.setup(), collaborator.setup())
        if isinstance(host, MaskedHost) and isinstance(collaborator, MaskedCollaborator):
            pump(host.triples.generate(TRAIN, 4), answering(collaborator.triples))
        outcomes.append([])
        for number, rows in enumerate((5, 5, 3)):
            forward = collaborator.forward(values(number, rows, 4), True)
            outcomes[-1].append(pump(and_rest(host, host.forward(rows, True)), forward).left)
            talk = pump(
                host.backward(values(number + 9, rows, 3), 0.1), both(collaborator.backward, collaborator.settle)
            )
            outcomes[-1].append(talk.right)
    for ours, theirs in zip(*outcomes, strict=True):
        assert np.array_equal(ours, theirs)


def both(backward: Callable[[], Steps[Any]], settle: Callable[[], Steps[None]]) -> Steps[Any]:
    """A collaborator's end of a batch."""
    da = yield from backward()
    yield from settle()
    return da


def test_a_batch_is_one_flight_each_way() -> None:
    layer = Layer(layer_spec(4, 3, 2))
    layer.deal(TRAIN, 3)
    for _ in range(2):
        layer.forward(values(0, 4, 3))
        layer.backward(values(1, 4, 2), 0.1)
    kinds = [type(message).__name__ for message in layer.sent]
    batch = ["MaskedFeatures", "MaskedGradientFeatures", "MaskedGradient", "MaskedStep"]
    assert kinds == ["MaskedShare", *batch, *batch]
    assert layer.host.needs(True, 4) == (TRAIN, 0)
    assert layer.host.needs(True, 9) == (TRAIN, 2)
    assert layer.host.needs(False, 9) == (TEST, 3)


def openings(layer: Layer) -> list[int]:
    """Every opened ring element of a run, for the same features and gradients each time."""
    a, dz = values(0, 4, 3), values(1, 4, 2)
    for _ in range(3):
        layer.stock_up(4)
        layer.forward(a)
        layer.deal()
        layer.backward(dz, 0.0)
    layer.stock_up(4, training=False)
    layer.forward(a, training=False)
    names = ("share", "features", "gradient", "step")
    found = [getattr(message, name) for message in layer.sent for name in names if hasattr(message, name)]
    arrays = [array for each in found for array in (each if isinstance(each, tuple) else (each,))]
    return [int(value) for array in arrays for value in array.reshape(-1)]


@pytest.mark.parametrize("what", ["backward", "skip", "forward"])
def test_z_waits_for_nothing_that_only_the_gradient_needs(what: str) -> None:
    """The engine receives that behind the top model; without it, whatever comes next does."""
    layer = Layer(layer_spec(4, 3, 2))
    layer.deal(TRAIN, 4)
    layer.deal(TEST)
    ends = ends_of_nothing()

    def talk(host: Steps[Any], collaborator: Steps[Any]) -> list[Any]:
        return complete([end.begin(steps) for end, steps in zip(ends, (host, collaborator), strict=True)])

    host, collaborator = layer.host, layer.collaborator
    talk(host.forward(6, True), collaborator.forward(values(0, 6, 3), True))
    assert [type(message).__name__ for message in ends[0].waiting] == ["MaskedGradientFeatures"], "of the last piece"
    if what == "backward":
        talk(host.backward(values(1, 6, 2), 0.1), both(collaborator.backward, collaborator.settle))
    elif what == "skip":
        talk(host.skip(), collaborator.backward())
    else:
        talk(host.forward(3, False), collaborator.forward(values(0, 3, 3), False))
    assert not ends[0].waiting
    assert not ends[1].waiting


def test_no_opening_ever_repeats() -> None:
    """The same batch over and over, in two runs, with weights that do not move."""
    seen = openings(Layer(layer_spec(4, 3, 2))) + openings(Layer(layer_spec(4, 3, 2), parameters=EVERY_BATCH))
    assert len(seen) > 400
    assert len(set(seen)) == len(seen)


def test_what_is_revealed_carries_the_smoothing_noise() -> None:
    """Both directions, of the standard deviation that the parameters say: none would be an attack, more an error."""
    layer = Layer(layer_spec(500, 7, 7))
    layer.deal()
    a, dz = values(0, 500, 7), values(1, 500, 7)
    reference = ReferenceLayer(layer.weights)
    z_noise = layer.forward(a) - reference.forward(np.rint(a.astype(np.float64) * 2.0**16) * 2.0**-16)
    assert z_noise.std() == pytest.approx(SIGMA * 2.0**-FEATURE_BITS, rel=0.1)
    da_noise = layer.backward(dz, 0.1) - reference.backward(dz.astype(np.float64))
    assert da_noise.std() == pytest.approx(da_error(dz) / 8, rel=0.1)


def test_the_same_query_gets_the_same_noise() -> None:
    layer = Layer(layer_spec(4, 3, 2))
    layer.deal(TEST, 2)
    a = values(0, 4, 3)
    assert np.array_equal(layer.forward(a, training=False), layer.forward(a, training=False))


def test_an_exhausted_stock_stops_the_batch_before_anything_is_sent() -> None:
    layer = Layer(layer_spec(4, 3, 2), parameters=EVERY_BATCH)
    layer.deal(TRAIN, 2)
    layer.deal(TEST, 8)
    with pytest.raises(PoolExhausted, match="needs 3 train triples and has 2"):
        layer.forward(values(0, 8, 3))
    assert not layer.sent
    layer.forward(values(0, 4, 3))
    assert layer.host.triples.stock(TRAIN) == 0


def spoil(layer: Layer, product: str, error: NDArray[np.uint64]) -> None:
    """Make the host's next triple wrong."""
    stock = layer.host.triples._stock[TRAIN]
    half = stock[0][product]
    stock[0] = replace(stock[0], halves={**stock[0].halves, product: Half(half.mask, add(half.share, error))})


def test_a_wrong_triple_is_found_by_the_check() -> None:
    layer = Layer(layer_spec(4, 3, 2), parameters=EVERY_BATCH)
    layer.deal(TRAIN, 2)
    spoil(layer, PROJECTION, np.ones((4, 2), np.uint64))
    with pytest.raises(VerificationFailed, match="patient"):
        layer.forward(values(0, 4, 3))


def test_a_step_with_a_wrong_triple_leaves_the_range_in_the_next_batch() -> None:
    layer = Layer(layer_spec(16, 3, 2))
    layer.deal(TRAIN, 2)
    spoil(layer, WEIGHT_GRADIENT, RANDOM.ring((2, 3), RING_BITS))
    layer.forward(values(0, 16, 3))
    layer.backward(values(1, 16, 2), 0.1)
    with pytest.raises(OutOfRange, match="projection of patient"):
        layer.forward(values(0, 16, 3))
