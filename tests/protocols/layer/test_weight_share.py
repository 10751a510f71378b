"""A share of the weights: its state comes back, versions count, and one noise key stands for one W."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.core.fixed_point import WEIGHT_BITS
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.he.interface import RING_BITS, as_signed
from protocols.layer.initial import FirstShare
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import subtract
from protocols.layer.smoothing import SmoothingNoise, VersionedNoise
from protocols.layer.weight_share import CheckSchedule, WeightShare

D, OUT, ROWS = 3, 2, 4
SPEC = LayerSpec("side", D, OUT, ROWS, True, bytes(32), seed=5)
FACTOR = np.arange(1, ROWS * D + 1, dtype=np.int64).reshape(ROWS, D)
GRADIENT = np.arange(1, ROWS * OUT + 1, dtype=np.int64).reshape(ROWS, OUT)


def share(role: str = "host", spec: LayerSpec = SPEC, every: int = 3) -> WeightShare:
    made = WeightShare(spec, LayerParameters(check_every=every), role)
    made.values = OsRandomness().ring((OUT, D), RING_BITS)
    return made


def resumed(before: WeightShare, role: str = "host") -> WeightShare:
    made = WeightShare(SPEC, LayerParameters(check_every=3), role)
    made.restore(before.state())
    return made


def test_state_comes_back():
    before = share()
    for _ in range(4):
        before.checks.count()
        before.next_version()
    after = resumed(before)
    assert (after.values == before.values).all()
    assert (after.version, after.checks.batches, after.noise.key) == (4, 4, before.noise.key)
    assert {name: value.tobytes() for name, value in after.state().items()} == {
        name: value.tobytes() for name, value in before.state().items()
    }


def test_state_is_a_copy():
    before = share()
    state = before.state()
    kept = state["share"].copy()
    before.subtract(np.ones((OUT, D), np.uint64))
    assert (state["share"] == kept).all()
    after = WeightShare(SPEC, LayerParameters(), "host")
    after.restore(state)
    state["share"][:] = 0
    assert (after.values == kept).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", np.zeros((D, OUT), np.uint64)),
        ("share", np.full((OUT, D), 1 << RING_BITS, np.uint64)),
        ("share", np.zeros((OUT, D), np.int64)),
        ("version", np.array([-1], np.int64)),
        ("batches", np.array([-1], np.int64)),
        ("batches", np.array([1, 2], np.int64)),
        ("noise_key", np.zeros(31, np.uint8)),
        ("more", np.zeros(1)),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(name, value):
    side = share()
    before = side.state()
    with pytest.raises(InvalidInput, match="the checkpoint of side's layer"):
        side.restore({**before, name: value})
    assert all((side.state()[each] == before[each]).all() for each in before)


def test_a_step_moves_the_share_in_the_ring():
    side = share()
    before, step = side.values, OsRandomness().ring((OUT, D), RING_BITS)
    side.subtract(step)
    assert (side.values == subtract(before, step)).all()
    assert side.version == 0  # until the whole step is there


def test_messages_must_be_about_the_version_in_force_or_the_expected_one():
    side = share()
    side.next_version()
    side.check_version("HostShare", 1)
    side.check_version("FeatureGradient", 0, expected=0)
    for version, expected in [(0, None), (2, None), (1, 0)]:
        with pytest.raises(MalformedMessage, match=f"HostShare is about version {version} of the weights"):
            side.check_version("HostShare", version, expected)


def test_results_are_the_products_and_small_noise():
    side = share()
    bound = 9 * LayerParameters().smoothing_sigma(D) * 2.0**WEIGHT_BITS
    for result, exact in [
        (side.project(FACTOR), matmul(FACTOR, side.values.T.copy())),
        (side.pull_back(GRADIENT, -3), matmul(GRADIENT, side.values)),
    ]:
        noise = np.abs(as_signed(subtract(result, exact)))
        assert 0 < noise.max() < bound


def test_asking_again_gives_the_same_answer_until_the_weights_move():
    side = share()
    first = side.project(FACTOR)
    assert (side.project(FACTOR) == first).all()
    side.next_version()
    assert (side.project(FACTOR) != first).any()


def test_a_resumed_share_answers_as_before_at_its_version_and_otherwise_after_it():
    """Else resuming again and again averages the noise away; and a version that comes again may be another W."""
    before = share()
    before.next_version()
    runs = [before, resumed(before), resumed(before)]
    assert all((run.project(FACTOR) == before.project(FACTOR)).all() for run in runs)
    for run in runs:
        run.next_version()
    keys = [run.noise.key for run in runs]
    assert keys[0] not in keys[1:]
    assert keys[1] == keys[2]  # the seed of this run says so
    assert (before.project(FACTOR) != runs[1].project(FACTOR)).any()


def test_without_a_seed_each_resume_has_its_own_noise():
    spec = LayerSpec("side", D, OUT, ROWS, True, bytes(32))
    before, keys = share(spec=spec), []
    for _ in range(3):
        run = WeightShare(spec, LayerParameters(), "host")
        run.restore(before.state())
        run.next_version()
        keys.append(run.noise.key)
    assert len({*keys, before.noise.key}) == 4


def test_the_sides_have_noise_and_rounding_of_their_own():
    host, collaborator = share("host"), share("collaborator")
    assert host.noise.key != collaborator.noise.key
    assert (host.randomness.gaussian((4,)) != collaborator.randomness.gaussian((4,))).all()


def test_the_key_in_force_is_kept_until_the_first_step_only():
    now, later = (SmoothingNoise(SeededRandomness(number, "key")) for number in (1, 2))
    noise = VersionedNoise(now, later)
    assert noise.key == now.key
    noise.next_version()
    assert noise.key == later.key
    noise.next_version()
    assert noise.key == later.key


def test_nothing_secret_is_shown():
    side = share()
    shown = f"{side!r} {side.noise!r} {side}"
    assert side.noise.key.hex() not in shown
    assert not any(str(value) in shown for value in side.values.ravel().tolist())
    assert repr(FirstShare(side.values, FACTOR)) == "FirstShare(<secret>)"


@pytest.mark.parametrize(("every", "due"), [(0, []), (1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 3, 6]), (100, [0])])
def test_the_first_batch_is_verified_and_one_in_so_many(every, due):
    checks = CheckSchedule(every)
    found = []
    for number in range(7):
        is_due = checks.is_due
        assert checks.count() is is_due
        found += [number] if is_due else []
    assert found == due
    assert checks.batches == 7
