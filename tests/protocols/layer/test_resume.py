"""Both ends of a layer go on from their checkpoints as if nothing had happened, and refuse what is not their state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.pump import pump
from protocols.core.fixed_point import FEATURE_BITS
from protocols.layer.interface import LayerSpec
from protocols.layer.reference import ReferenceLayer
from protocols.schemes.plain.collaborator import PlainCollaborator
from protocols.schemes.plain.host import PlainHost
from tests.protocols.layer import helpers as encrypted_layers
from tests.protocols.layer.helpers import normal
from tests.protocols.layer.resume_helpers import SECURE, SIGMA, Z_ERROR, Run, da_error
from tests.protocols.schemes.masked import helpers as masked_layers


class Expected:
    """The reference beside a run, from some weights on."""

    def __init__(self, run: Run) -> None:
        self.run, self.reference, self.stepped = run, ReferenceLayer(run.weights), 0

    def batch(self, number: int, rows: int, what: str) -> tuple[Any, Any]:
        spec, reference, weights = self.run.layer.spec, self.reference, self.run.weights
        a = normal(number, rows, spec.width_in).astype(float)
        dz = normal(number + 1000, rows, spec.width_out, scale=0.1)
        z, da = self.run.batch(number, rows, what)
        assert z == pytest.approx(a @ weights.T, abs=Z_ERROR)
        if what == "step":
            assert da == pytest.approx(dz.astype(float) @ weights, abs=da_error(dz))
            reference.update(dz.astype(float), a, 0.3)
            self.stepped += rows
            assert self.run.weights == pytest.approx(reference.weights, abs=self.stepped * 1e-4)
        return z, da


def goes_on(run: Run, after: list[tuple[int, str]]) -> None:
    """Continue, and resume and continue: the same to the bit until the weights move, and within the bounds then."""
    states, probe = run.layer.states(), normal(99, 3, run.layer.spec.width_in)
    again, before = run.resumed(states), run.checks()
    assert np.array_equal(again.ring, run.ring)
    assert np.array_equal(again.layer.host._share.values, run.layer.host._share.values)
    assert np.array_equal(again.forward(probe, False), run.forward(probe, False)), "the same noise"
    both = Expected(run), Expected(again)
    for number, (rows, what) in enumerate(after):
        (z, da), (z_again, da_again) = (each.batch(number + 50, rows, what) for each in both)
        if "step" not in {what for _, what in after[:number]}:
            assert np.array_equal(z, z_again)
            assert np.array_equal(da, da_again)
    assert run.checks() - before == again.checks(), "a check stays due when it was"


BATCHES = st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["step", "step", "skip", "test"])), max_size=3)


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7), st.sampled_from([0, 1, 2]), BATCHES, BATCHES)
@settings(max_examples=40, deadline=None)
def test_masked_goes_on(rows: int, d: int, o: int, every: int, before: Any, after: Any) -> None:
    run = Run.new("masked", d, o, rows, every=every)
    for number, batch in enumerate(before):
        run.batch(number, *batch)
    goes_on(run, after)


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([0, 1, 2]), BATCHES, BATCHES)
@settings(max_examples=12, deadline=None)
def test_bfv_goes_on(d: int, o: int, every: int, before: Any, after: Any) -> None:
    run = Run.new("bfv", d, o, 9, every=every)
    for number, batch in enumerate(before):
        run.batch(number, *batch)
    goes_on(run, after)


@pytest.mark.parametrize("trainable", [True, False])
def test_paillier_goes_on(trainable: bool) -> None:
    what = "step" if trainable else "test"
    run = Run.new("paillier", 3, 2, 4, trainable, 2)
    run.batch(0, 4, what)
    run.batch(1, 4, what)
    goes_on(run, [(4, what), (1, what)])


@given(
    st.integers(1, 7), st.one_of(st.none(), st.integers(1, 7)), st.booleans(), st.lists(st.integers(1, 9), max_size=4)
)
@settings(max_examples=30, deadline=None)
def test_plain_goes_on_to_the_bit(d: int, o: int | None, trainable: bool, after: list[int]) -> None:
    spec = LayerSpec("side", d, o, 9, trainable, bytes(32))
    ends = [(PlainHost(spec), PlainCollaborator(spec)) for _ in range(2)]
    (host, collaborator), (host_again, collaborator_again) = ends
    pump(host.setup(), collaborator.setup())
    plain_batch(host, collaborator, 0, 9)
    pump(host_again.resume(host.state()), collaborator_again.resume(collaborator.state()))
    for number, rows in enumerate(after):
        one, other = (plain_batch(*pair, number, rows) for pair in ends)
        assert all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))
    assert host.state().keys() == host_again.state().keys() == (set() if o is None else {"weight"})
    assert all(np.array_equal(host.state()[name], host_again.state()[name]) for name in host.state())


def plain_batch(host: PlainHost, collaborator: PlainCollaborator, number: int, rows: int) -> tuple[Any, Any]:
    spec = host._spec
    z = pump(host.forward(rows, True), collaborator.forward(normal(number, rows, spec.width_in), True)).left
    dz = normal(number + 1000, rows, spec.width_out or spec.width_in)
    return z, pump(host.backward(dz, 0.1), collaborator.backward()).right


def test_a_state_and_its_layer_do_not_change_each_other() -> None:
    run = Run.new("masked", 3, 2, 4)
    kept_states = run.layer.states()
    copies = [{name: array.copy() for name, array in state.items()} for state in kept_states]
    again = run.resumed(kept_states)
    for each in (run, again):
        each.batch(0, 4, "step")
    for state, copied in zip(kept_states, copies):
        assert all(np.array_equal(state[name], copied[name]) for name in copied)
    ring, weights = run.ring, run.weights
    given = [{name: np.asfortranarray(array) for name, array in state.items()} for state in run.layer.states()]
    third = run.resumed(given)
    for state in (*run.layer.states(), *given):
        for array in state.values():
            array.fill(0)
    for each in (run, third):
        assert np.array_equal(each.ring, ring)
        assert np.array_equal(each.weights, weights)
    spec = LayerSpec("side", 3, 2, 4, True, bytes(32))
    host, collaborator = PlainHost(spec), PlainCollaborator(spec)
    pump(host.setup(), collaborator.setup())
    weight = host.state()["weight"]
    before = weight.copy()
    plain_batch(host, collaborator, 0, 4)
    assert np.array_equal(weight, before)


# Noise --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SECURE)
def test_noise_is_kept_for_the_checkpoints_version_and_fresh_for_later_ones(scheme: str) -> None:
    """Steps with a learning rate of 0 make new versions of the same W, so that only the noise can differ."""
    run = Run.new(scheme, 4, 3, 8)
    run.batch(0, 8, "step")
    states, probe = run.layer.states(), normal(9, 32, 4)
    again = [run.resumed(states) for _ in range(2)]
    first = [each.forward(probe, False) for each in (run, *again)]
    assert np.array_equal(first[0], first[1])
    assert np.array_equal(first[0], first[2])
    later = []
    for each in (run, *again):
        each.batch(1, 8, "step", rate=0.0)
        later.append(each.forward(probe, False))
    exact = probe.astype(float) @ run.weights.T
    for one, other in ((0, 1), (0, 2), (1, 2)):
        spread = np.std(later[one] - later[other]) / (SIGMA * 2.0**-FEATURE_BITS)
        assert 0.7 < spread < 2.2, "two samples of noise, sqrt(2) of one's deviation"
    assert all(np.abs(z - exact).max() < Z_ERROR for z in later)


@pytest.mark.parametrize("scheme", SECURE)
def test_da_keeps_its_noise_at_the_checkpoints_version_too(scheme: str) -> None:
    run = Run.new(scheme, 4, 3, 8)
    states = run.layer.states()
    gradients = []
    for each in (run, run.resumed(states), run.resumed(states)):
        gradients.append([each.batch(1, 8, "step", rate=0.0)[1] for _ in range(2)])
    assert all(np.array_equal(first, gradients[0][0]) for first, _ in gradients)
    assert len({later.tobytes() for _, later in gradients}) == 3


def test_a_state_taken_before_the_first_step_after_a_resume_has_the_old_key() -> None:
    run = Run.new("masked", 4, 3, 8)
    again = run.resumed()
    assert all(
        np.array_equal(one["noise_key"], two["noise_key"])
        for one, two in zip(run.layer.states(), again.layer.states(), strict=True)
    )
    again.batch(0, 8, "step")
    for one, two in zip(run.layer.states(), again.layer.states(), strict=True):
        assert not np.array_equal(one["noise_key"], two["noise_key"])
        assert (int(one["version"][0]), int(two["version"][0])) == (0, 1)


@pytest.mark.parametrize("scheme", ["bfv", "masked"])
def test_a_repeatable_run_can_be_resumed(scheme: str) -> None:
    """Its noise after the resume comes from the seed as well, under another label; and so does its rounding."""
    spec = LayerSpec("side", 4, 3, 8, True, bytes(32), seed=5)
    layer = encrypted_layers.Layer(4, 3, 8) if scheme == "bfv" else masked_layers.Layer(spec)
    run = Run(layer)
    run.batch(0, 8, "step")
    states = run.layer.states()
    outcomes = []
    for each in (run.resumed(states), run.resumed(states), run):
        each.batch(1, 8, "step")
        outcomes.append(each.forward(normal(9, 8, 4), False))
    assert np.array_equal(outcomes[0], outcomes[1])
    assert not np.array_equal(outcomes[0], outcomes[2])
