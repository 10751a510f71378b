"""Scheme "plain" against the reference, and what both ends refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.pump import pump, replay
from protocols.core.errors import CallOutOfOrder, InvalidInput, MalformedMessage, OutOfRange
from protocols.core.message import check_finite
from protocols.core.randomness import SeededRandomness
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import MAX_WIDTH, FeatureShape, StepSkipped
from protocols.layer.reference import ReferenceLayer, initial_factors
from protocols.schemes.plain.collaborator import PlainCollaborator
from protocols.schemes.plain.host import PlainHost
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient

BAD = [np.nan, np.inf, -np.inf]


def spec(width_in: int = 3, width_out: int | None = 2, trainable: bool = True, seed: int | None = 7) -> LayerSpec:
    return LayerSpec("bank", width_in, width_out, 4, trainable, bytes(32), seed)


def ends(of: LayerSpec) -> tuple[PlainHost, PlainCollaborator]:
    host, collaborator = PlainHost(of), PlainCollaborator(of)
    pump(collaborator.setup(), host.setup())
    return host, collaborator


def floats(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 7),
    width_in=st.integers(1, 9),
    width_out=st.one_of(st.none(), st.integers(1, 9)),
    skipped=st.sets(st.integers(0, 2)),
    seed=st.integers(0, 1000),
)
def test_parity_with_the_reference(
    rows: int, width_in: int, width_out: int | None, skipped: set[int], seed: int
) -> None:
    host, collaborator = ends(spec(width_in, width_out, seed=seed))
    reference = None if width_out is None else ReferenceLayer(host.weights()["weight"])
    rate = 0.05
    for batch in range(3):
        a, dz = floats(seed + batch, rows, width_in), floats(seed - batch + 5000, rows, width_out or width_in)
        talk = pump(collaborator.forward(a, True), host.forward(rows, True))
        z = a if reference is None else reference.forward(a.astype(np.float64)).astype(np.float32)
        assert talk.right.dtype == np.float32
        assert np.array_equal(talk.right, z)
        if batch in skipped:
            assert pump(collaborator.backward(), host.skip()).left is None
            continue
        talk = pump(collaborator.backward(), host.backward(dz, rate))
        da = dz if reference is None else reference.backward(dz.astype(np.float64)).astype(np.float32)
        assert np.array_equal(talk.left, da)
        assert [type(message) for message in talk.from_right] == [PlainGradient]
        if reference is not None:
            reference.update(dz.astype(np.float64), a.astype(np.float64), rate)
            assert np.array_equal(host.weights()["weight"], reference.weights)
    assert collaborator.weights() == {}
    assert set(host.weights()) == (set() if width_out is None else {"weight"})


def test_reference_is_a_linear_layers_training() -> None:
    w, a, dz = floats(1, 2, 3).astype(float), floats(2, 5, 3).astype(float), floats(3, 5, 2).astype(float)
    layer = ReferenceLayer(w)
    step = 1e-6
    for i, j in np.ndindex(*w.shape):
        moved = w.copy()
        moved[i, j] += step
        slope = (dz * (ReferenceLayer(moved).forward(a) - layer.forward(a))).sum() / step
        assert slope == pytest.approx((dz.T @ a)[i, j], rel=1e-6)
    for i, j in np.ndindex(*a.shape):
        moved = a.copy()
        moved[i, j] += step
        slope = (dz * (layer.forward(moved) - layer.forward(a))).sum() / step
        assert slope == pytest.approx(layer.backward(dz)[i, j], rel=1e-6)
    layer.update(dz, a, 0.5)
    assert np.array_equal(layer.weights, w - 0.5 * dz.T @ a)
    assert np.array_equal(w, floats(1, 2, 3)), "the layer has its own copy"


@pytest.mark.parametrize(("width_out", "width_in"), [(1, 1), (20, 20), (5, 20), (20, 5), (1, 9), (9, 1)])
def test_initial_weights_keep_norms(width_out: int, width_in: int) -> None:
    left, right = initial_factors(SeededRandomness(1, "h"), SeededRandomness(1, "c"), width_out, width_in)
    singular = np.linalg.svd(left @ right, compute_uv=False)
    assert len(singular) == min(width_out, width_in)
    # The factors are multiples of 2^-16, so each entry is off by 2^-17 at most.
    assert np.abs(singular - 1).max() < 2 * 2**-17 * (width_in * width_out) ** 0.5 + 1e-9
    assert np.array_equal(left * 2**16, np.rint(left * 2**16))
    other, _ = initial_factors(SeededRandomness(2, "h"), SeededRandomness(1, "c"), width_out, width_in)
    assert np.array_equal(left, other) == (left.size == 1 and left[0, 0] == other[0, 0])


def test_initial_weights_are_fresh_without_a_seed() -> None:
    one, other = (ends(spec(seed=None))[0].weights()["weight"] for _ in range(2))
    assert not np.array_equal(one, other)
    assert np.array_equal(ends(spec())[0].weights()["weight"], ends(spec())[0].weights()["weight"])


@pytest.mark.parametrize("bad", BAD)
def test_own_bad_features_are_not_sent(bad: float) -> None:
    _, collaborator = ends(spec())
    a = floats(1, 4, 3)
    a[2, 1] = bad
    with pytest.raises(OutOfRange, match=rf"features of bank holds {bad} at \[2, 1\].*nothing was sent"):
        next(collaborator.forward(a, True))


@pytest.mark.parametrize(
    "a",
    [floats(1, 4, 2), floats(1, 4, 3).astype(np.float64), floats(1, 12), floats(1, 1, 4, 3)],
    ids=["d", "f8", "1d", "3d"],
)
def test_own_misshapen_features_are_not_sent(a: Any) -> None:
    _, collaborator = ends(spec())
    with pytest.raises(InvalidInput, match="features of bank: expected"):
        next(collaborator.forward(a, True))


@pytest.mark.parametrize("bad", BAD)
def test_peers_bad_values(bad: float) -> None:
    host, collaborator = ends(spec())
    a = floats(1, 4, 3)
    pump(collaborator.forward(a, True), host.forward(4, True))
    a[0, 0] = bad
    with pytest.raises(MalformedMessage, match="gradient the host sent"):
        replay(collaborator.backward(), PlainGradient(a))
    with pytest.raises(MalformedMessage, match="features of bank"):
        replay(host.forward(4, True), PlainFeatures(a))


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (5, 3)])
def test_peers_misshapen_values(shape: tuple[int, int]) -> None:
    host, collaborator = ends(spec())
    with pytest.raises(MalformedMessage, match=r"expected \[4, 3\] float32"):
        replay(host.forward(4, True), PlainFeatures(floats(1, *shape)))
    pump(collaborator.forward(floats(1, 4, 3), True), host.forward(4, True))
    with pytest.raises(MalformedMessage, match=r"expected \[4, 3\] float32"):
        replay(collaborator.backward(), PlainGradient(floats(1, *shape)))


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_gradient_is_not_sent_and_moves_nothing(bad: float) -> None:
    host, collaborator = ends(spec())
    pump(collaborator.forward(floats(1, 4, 3), True), host.forward(4, True))
    before = host.weights()["weight"].copy()
    dz = floats(2, 4, 2)
    dz[3, 1] = bad
    with pytest.raises(OutOfRange, match="gradient of the loss for bank"):
        next(host.backward(dz, 0.1))
    assert np.array_equal(host.weights()["weight"], before)


def test_backward_belongs_to_one_training_batch() -> None:
    host, collaborator = ends(spec())
    for side in (lambda: list(host.backward(floats(1, 4, 2), 0.1)), lambda: list(collaborator.backward())):
        with pytest.raises(CallOutOfOrder):
            side()
    pump(collaborator.forward(floats(1, 4, 3), False), host.forward(4, False))
    for side in (lambda: list(host.backward(floats(1, 4, 2), 0.1)), lambda: list(collaborator.backward())):
        with pytest.raises(CallOutOfOrder):
            side()
    pump(collaborator.forward(floats(1, 4, 3), True), host.forward(4, True))
    pump(collaborator.backward(), host.backward(floats(1, 4, 2), 0.1))
    for side in (lambda: list(host.backward(floats(1, 4, 2), 0.1)), lambda: list(collaborator.backward())):
        with pytest.raises(CallOutOfOrder):
            side()


@pytest.mark.parametrize("kind", [PlainFeatures, PlainGradient])
@pytest.mark.parametrize(
    "values",
    [None, [[1.0]], floats(1, 3), floats(1, 0, 3), floats(1, 2, 3).astype(np.float64), np.zeros((1, 1), ">f4")],
)
def test_malformed_tensors(kind: Any, values: Any) -> None:
    with pytest.raises(InvalidInput, match=kind.__name__):
        kind(values)


@pytest.mark.parametrize(
    "values", [(0, 1), (1, 0), (-1, 1), (1, MAX_WIDTH + 1), ((1 << 20) + 1, 1), (True, 1), (1, "2")]
)
def test_malformed_shape(values: Any) -> None:
    with pytest.raises(InvalidInput, match="FeatureShape"):
        FeatureShape(*values)


def test_skipped_is_empty() -> None:
    assert StepSkipped() == StepSkipped()


@pytest.mark.parametrize(("width_in", "width_out"), [(0, 1), (1, 0), (MAX_WIDTH + 1, 1), (1, -2)])
def test_spec_is_checked(width_in: int, width_out: int) -> None:
    with pytest.raises(InvalidInput, match="bank: width"):
        spec(width_in, width_out)


def test_check_finite_names_the_first_offender_and_the_limit() -> None:
    values = np.array([[1.0, 2.0], [-9.0, 3.0]], np.float32)
    check_finite("here", values, limit=9.0)
    with pytest.raises(OutOfRange, match=r"here holds -9.0 at \[1, 0\], the limit is 8"):
        check_finite("here", values, limit=8.0)
    check_finite("here", np.full((2,), np.finfo(np.float32).max, np.float32))
