"""Features of a frozen bottom model, from all rounds of a run: a narrow layer hides what it leaves out only if W stays.

Old behaviour   Every training batch crossed in every round and moved W, so each round showed another projection of the
                same rows. A semi-honest host that knows some rows fits each round's W by them (it moves little within
                a round), and puts the rounds together: 15 projections of 20 features to 5 are 75 equations for 20
                unknowns. Measured between two processes on `bfv`, 50 of 1,000 rows known: error 0.64 after one round,
                0.089 after five, 0.016 after 15.
Now             The host has one projection of each row, by one W, however many rounds there are (protocols/layer/
                frozen.py). The attack is what it is after one round. What fails is its second step, not its first:
                the host may know W.

The error is NMSE: 0 is everything, 1 what the mean row gives. The host is given more than it has: the known rows' exact
features, and in the old behaviour z without noise. The projection's learning rate is the default one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.pump import pump
from protocols.core.randomness import SeededRandomness
from protocols.layer.interface import LayerSpec
from protocols.layer.reference import ReferenceLayer, orthogonal_factor
from tests.protocols.kept_layers import layer_ends

D, O, ROWS, BATCH, KNOWN = 20, 5, 1000, 50, 50  # noqa: E741
CLASSES, LEARNING_RATE, TOP_LEARNING_RATE = 10, 0.01, 0.1
Matrix = NDArray[np.float64]


def population() -> tuple[Matrix, NDArray[np.int64]]:
    """Correlated features [ROWS, D], and labels that depend on them."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(D, D)) * 0.9 ** np.arange(D)[:, None]
    features = rng.normal(size=(ROWS, D)) @ mixing
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return features, (features @ rng.normal(size=(D, CLASSES)) + rng.normal(size=(ROWS, CLASSES))).argmax(axis=1)


class Top:
    """The host's model: softmax regression on z."""

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self._targets = np.eye(CLASSES)[labels]
        self._weights = np.random.default_rng(2).normal(size=(O, CLASSES)) * 0.5

    def gradient(self, z: Matrix, places: NDArray[np.int64]) -> Matrix:
        """dz of the summed loss; takes its own step."""
        scores = np.exp(z @ self._weights)
        error = scores / scores.sum(axis=1, keepdims=True) - self._targets[places]
        dz: Matrix = error @ self._weights.T
        self._weights -= TOP_LEARNING_RATE / len(z) * z.T @ error
        return dz


Project = Callable[[NDArray[np.int64]], Matrix]
Step = Callable[[Matrix], None]


def train(labels: NDArray[np.int64], project: Project, step: Step) -> Iterator[Matrix]:
    """Every round: the host's z of all rows [ROWS, O]."""
    top, rng = Top(labels), np.random.default_rng(3)
    while True:
        view = np.empty((ROWS, O))
        for places in rng.permutation(ROWS).reshape(-1, BATCH):
            view[places] = project(places)
            step(top.gradient(view[places], places))
        yield view


def moving(features: Matrix, labels: NDArray[np.int64]) -> Iterator[Matrix]:
    """The old behaviour: W moves with every batch, as `ReferenceLayer` says."""
    factors = (SeededRandomness(seed, "attack") for seed in (4, 5))
    left, right = (orthogonal_factor(source, *shape) for source, shape in zip(factors, ((O, O), (O, D))))
    layer, batch = ReferenceLayer(left @ right), list[Matrix]()

    def project(places: NDArray[np.int64]) -> Matrix:
        batch[:] = [features[places]]
        return layer.forward(features[places])

    return train(labels, project, lambda dz: layer.update(dz, batch[0], LEARNING_RATE / BATCH))


def standing(features: Matrix, labels: NDArray[np.int64]) -> Iterator[Matrix]:
    """What runs: both ends of a frozen layer under encryption."""
    host, collaborator = layer_ends("bfv", LayerSpec("side", D, O, BATCH, False, bytes(32)), 0)
    pump(host.setup(), collaborator.setup())

    def project(places: NDArray[np.int64]) -> Matrix:
        a = features[places].astype(np.float32)
        return np.asarray(pump(host.forward(len(a), True), collaborator.forward(a, True)).left, float)

    def step(dz: Matrix) -> None:
        pump(host.backward(dz.astype(np.float32), LEARNING_RATE / BATCH), collaborator.backward())

    return train(labels, project, step)


def attack(views: list[Matrix], features: Matrix) -> float:
    """NMSE of the unknown rows' features, given the host's z of each round and the first `KNOWN` rows.

    Each round's W by ridge regression on the known rows; then for each other row the most likely features, under the
    known rows' mean and covariance and the noise that the fits left.
    """
    known = features[:KNOWN]
    centre = known.mean(axis=0)
    prior = np.cov(known.T) + 0.02 * np.eye(D)
    maps, noises, shown = [], [], []
    for z in views:
        offset = z[:KNOWN].mean(axis=0)
        inputs, outputs = known - centre, z[:KNOWN] - offset
        weights = np.linalg.solve(inputs.T @ inputs + 0.01 * np.eye(D), inputs.T @ outputs)
        rest = (outputs - inputs @ weights).var(axis=0) * KNOWN / (KNOWN - D) + 1e-6
        maps.append(weights)
        noises.append(rest)
        shown.append(z[KNOWN:] - offset)
    weights, noise, z = np.hstack(maps), np.concatenate(noises), np.hstack(shown)
    gain = np.linalg.solve(np.linalg.inv(prior) + (weights / noise) @ weights.T, weights / noise)
    guess = centre + z @ gain.T
    truth = features[KNOWN:]
    return float(((guess - truth) ** 2).sum() / ((truth - truth.mean(axis=0)) ** 2).sum())


def scores(run: Iterator[Matrix], features: Matrix, rounds: tuple[int, ...]) -> tuple[list[float], list[Matrix]]:
    """The attack's error after so many rounds, and what the host saw."""
    views = [next(run) for _ in range(max(rounds))]
    return [attack(views[:count], features) for count in rounds], views


def test_weights_that_move_show_all_features_over_the_rounds() -> None:
    features, labels = population()
    (one, five, fifteen), _ = scores(moving(features, labels), features, (1, 5, 15))
    print(f"\n  NMSE after 1, 5 and 15 rounds, W moving: {one:.3f} {five:.3f} {fifteen:.3f}")
    assert one > 0.4
    assert five < one / 2
    assert fifteen < one / 4


def test_a_frozen_bottom_model_shows_one_projection_however_long_the_run_is() -> None:
    features, labels = population()
    (one, five, fifteen), views = scores(standing(features, labels), features, (1, 5, 15))
    print(f"\n  NMSE after 1, 5 and 15 rounds, W standing: {one:.3f} {five:.3f} {fifteen:.3f}")
    assert all((view == views[0]).all() for view in views), "not a bit of another look, nor of other noise"
    assert one > 0.4
    assert min(five, fifteen) > 0.95 * one
