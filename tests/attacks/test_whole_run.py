"""Features from a whole run, with no row known to the host: what a layer that moves adds to one look, and what not.

Rotation        No layer shows more in a run than one rotation of all features: the bound. One that is as wide as the
                features shows that much, trained or not: documented leakage. The host follows how W moves from its own
                factor of the first W, and has all features of all rounds up to the collaborator's factor.
Inner products  Of features that stand still under a narrow layer that moves, as frozen ones did up to protocol version
                2: how z moves from round to round is linear in the Gram matrix of all features. A frozen bottom model's
                layer does not move, so there is nothing to solve, however many rounds there are.
Clouds          Documented leakage of a layer as wide as the features, from one look: what is left is a rotation, and
                that lays the rows on other rows of the same population whose features the host can compute.

With known rows: tests/attacks/test_frozen_rounds.py. On real data: docs/privacy-measured.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.privacy.clouds import aligned
from benchmarks.privacy.scores import nmse
from benchmarks.privacy.views import Run, Setting, Task, Views
from benchmarks.privacy.whole_run import agreement, inner_products, smoothed, up_to_a_rotation
from protocols.layer.interface import layer_randomness
from protocols.layer.reference import ReferenceLayer, initial_factors
from tests.attacks.split_training import train
from tests.protocols.layer.helpers import Layer

D, O, ROUNDS = 8, 3, 15  # noqa: E741


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks are tiny: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("width", [D, O])
def test_a_whole_run_shows_no_more_than_one_rotation_of_all_features(width: int) -> None:
    """The bound: features that are rotated, under a first W that is as likely, give the host the same z in every batch.

    The first W is uniform among those with orthonormal rows, so W and W R are equally likely (initial_factors).
    """
    random = np.random.default_rng(4)
    rotation = np.linalg.qr(random.normal(size=(D, D)))[0]
    first = np.linalg.qr(random.normal(size=(D, D)))[0][:width]
    layer, other = ReferenceLayer(first), ReferenceLayer(first @ rotation)
    for _ in range(20):
        a, dz = random.normal(size=(30, D)), random.normal(size=(30, width))
        assert other.forward(a @ rotation) == pytest.approx(layer.forward(a), abs=1e-9)
        layer.update(dz, a, 0.05)
        other.update(dz, a @ rotation, 0.05)


def trained(rotation: np.ndarray, width: int, move: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
    """z of every batch, where features learn: their last layer is linear and makes the step `move` of its gradient."""
    random = np.random.default_rng(5)
    last, first = random.normal(size=(6, D)) @ rotation, np.linalg.qr(random.normal(size=(D, D)))[0][:width]
    layer = ReferenceLayer(first @ rotation)
    for _ in range(20):
        x, dz = random.normal(size=(30, 6)), random.normal(size=(30, width))
        yield layer.forward(x @ last)
        gradient = x.T @ layer.backward(dz)
        layer.update(dz, x @ last, 0.01)
        last = last - 0.01 * move(gradient)


@pytest.mark.parametrize(("move", "is_same"), [(np.array, True), (np.sign, False)], ids=["SGD", "axis by axis"])
@pytest.mark.parametrize("width", [D, O])
def test_the_bound_holds_of_trained_features_that_learn_alike_in_all_directions(
    width: int, move: Callable[[np.ndarray], np.ndarray], is_same: bool
) -> None:
    """Trained features depend on the first W. Where they learn axis by axis, how they move tells where the axes are."""
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(D, D)))[0]
    pairs = list(zip(trained(np.eye(D), width, move), trained(rotation, width, move)))
    assert pairs[0][0] == pytest.approx(pairs[0][1], abs=1e-9)
    assert all(np.allclose(one, other, atol=1e-9) for one, other in pairs) is is_same


@pytest.mark.parametrize("width", [D, D + 4])
def test_documented_leakage_a_layer_that_is_not_narrow_shows_every_round_up_to_one_rotation(width: int) -> None:
    """Between encrypted ends, with features that differ in every batch, as those of a trained bottom model do."""
    layer = Layer(D, width, 20, trainable=True)
    own, rotation = initial_factors(
        *(layer_randomness(layer.spec, role) for role in ("host", "collaborator")), width, D
    )
    view = train(layer, 12, 20, learning_rate=0.1)
    last = view[-1]
    turned = list(up_to_a_rotation([(seen.z, seen.dz) for seen in view], own))
    assert nmse(turned[-1] @ rotation, last.a) < 0.01
    assert nmse(last.z @ own @ rotation, last.a) > 0.1, "the layer has moved: one look at the last batch says less"


def population(count: int, decay: float = 0.9) -> np.ndarray:
    """Correlated, skewed features [count, D]."""
    random = np.random.default_rng(1)
    axes = np.linalg.qr(random.normal(size=(D, D)))[0]
    return (random.exponential(size=(count, D)) - 1) * decay ** np.arange(D) @ axes


@lru_cache
def views(is_frozen: bool) -> Views:
    """A narrow layer over features that stand still; the layer moves, or does not because they are known to."""
    a = torch.from_numpy(population(400)).float()
    task = Task(
        name="synthetic",
        host=torch.randn(400, 2, generator=torch.Generator().manual_seed(1)),
        other=a,
        labels=(a @ torch.randn(D, 6, generator=torch.Generator().manual_seed(2))).argmax(1),
        train=200,
        host_bottom=lambda: nn.Linear(2, 2),
        other_bottom=Identity,
        widths=(2, D),
        rows=10,
        epochs=ROUNDS,
        learning_rate=0.05,
    )
    setting = Setting(projection=O, every_round=True)
    own = replace(setting, trainable=False) if is_frozen else replace(setting, stands_still=True)
    return smoothed(Run(task, own).train(), is_frozen)


class Identity(nn.Linear):
    """A bottom model that gives its columns, and has parameters that an optimizer can be made for."""

    def __init__(self) -> None:
        super().__init__(D, D, bias=False)
        self.weight.data = torch.eye(D)


def scores(seen: Views) -> tuple[float, float]:
    """(of the last look alone, of the whole run)."""
    z, a = (each.astype(float) for each in seen.rounds[-1])
    return agreement(z @ z.T, a), agreement(inner_products(seen, ROUNDS), a)


def test_a_narrow_layer_that_moves_gives_all_inner_products() -> None:
    one_look, whole_run = scores(views(is_frozen=False))
    print(f"\n  inner products, the layer moves: {one_look:.3f} from one look, {whole_run:.3f} from the run")
    assert one_look < 0.8
    assert whole_run > one_look + 0.2


def test_a_frozen_bottom_models_narrow_layer_gives_no_more_than_one_look() -> None:
    seen = views(is_frozen=True)
    assert all(np.array_equal(z, seen.rounds[0][0]) for z, _ in seen.rounds)
    one_look, whole_run = scores(seen)
    print(f"\n  inner products, frozen: {one_look:.3f} from one look, {whole_run:.3f} from the run")
    assert one_look < 0.8
    assert whole_run < one_look + 0.05


def test_documented_leakage_one_look_through_a_square_layer_is_aligned_with_other_rows() -> None:
    rows = population(800, decay=0.6)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(D, D)))[0]
    assert nmse(aligned(rows[:400] @ rotation, rows[400:]), rows[:400]) < 0.1
    assert nmse(rows[:400] @ rotation, rows[:400]) > 1
