"""What a semi-honest host gets of one collaborator where it is sent the sum of all projections only (`fusion="sum"`).

Of one summand by itself it gets nothing: a theorem while the other collaborators keep their seeds to themselves
(protocols/layer/pads.py), and what an attack finds below. The sum is a narrow layer over the features of all: of
trained ones it shows less than each projection does. At most it is one rotation of the features of each collaborator,
and no smaller bound is known: the scores are of known attacks. Of
features that stand still under a layer that moves it shows all after a few rounds. With all other collaborators on its
side the host has the last one's projections as before. Keys that it swaps: tests/protocols/task/test_sum_keys.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks.privacy.inversion import ridge
from benchmarks.privacy.scores import nmse
from benchmarks.privacy.summed import Fusion, SummedRun, features_errors
from protocols.he.interface import as_signed
from protocols.layer.pads import total
from protocols.layer.reference import ReferenceLayer
from protocols.layer.shapes import Ring, subtract
from tests.protocols.layer.helpers import normal
from tests.protocols.layer.summed_layers import Summed, pads_of

D, ROWS, KNOWN, BATCHES = 4, 60, 20, 3


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks are tiny: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("width", [D, D - 1])
def test_a_whole_run_shows_no_more_than_one_rotation_of_the_features_of_each(width: int) -> None:
    """The bound: with features that each rotates, under first W that are as likely, the sums of all batches are equal.

    Each first W is uniform among those with orthonormal rows (initial_factors). A rotation of the features of all
    together would need first W that nobody draws.
    """
    random = np.random.default_rng(4)
    rotations = [np.linalg.qr(random.normal(size=(D, D)))[0] for _ in range(2)]
    first = [np.linalg.qr(random.normal(size=(D, D)))[0][:width] for _ in range(2)]
    layers = [ReferenceLayer(each) for each in first]
    others = [ReferenceLayer(each @ rotation) for each, rotation in zip(first, rotations, strict=True)]
    for _ in range(20):
        features, dz = [random.normal(size=(30, D)) for _ in range(2)], random.normal(size=(30, width))
        rotated = [a @ rotation for a, rotation in zip(features, rotations, strict=True)]
        sums = [
            sum(layer.forward(a) for layer, a in zip(ends, given, strict=True))
            for ends, given in ((layers, features), (others, rotated))
        ]
        assert sums[0] == pytest.approx(sums[1], abs=1e-9)
        for layer, a in zip(layers + others, features + rotated, strict=True):
            layer.update(dz, a, 0.05)
    mixed = np.concatenate(first, axis=1) @ np.linalg.qr(random.normal(size=(2 * D, 2 * D)))[0]
    assert np.abs(mixed[:, :D] @ mixed[:, :D].T - np.eye(width)).max() > 0.1, "no first W of a collaborator"


def error(looks: list[Ring], features: np.ndarray) -> float:
    """Of the rows that the host does not know, by regression from all looks at once on those that it knows."""
    seen = np.concatenate([as_signed(each).astype(float) for each in looks], axis=1)
    guess = ridge(seen[:KNOWN], features[:KNOWN].astype(float), seen)
    return nmse(guess[KNOWN:], features[KNOWN:].astype(float))


def test_one_summand_by_itself_shows_nothing_over_a_run() -> None:
    """Layers as wide as the features, and the same rows in every batch: by itself, a projection would show them all."""
    layers, features = Summed("bfv", 2, widths=(D, D), width_out=D, rows=ROWS), [normal(at, ROWS, D) for at in (1, 2)]
    padded: list[list[Ring]] = []
    for batch in range(BATCHES):
        padded.append(layers.padded(features))
        layers.backward(normal(50 + batch, ROWS, D, scale=0.05))
    for at in range(2):
        looks, pads = [each[at] for each in padded], pads_of(2)[at]
        without = [subtract(each, pads.draw(ROWS, D)) for each in looks]
        assert error(without, features[at]) < 1e-3, "documented: what the host has if the other collaborator tells it"
        assert error(looks, features[at]) > 0.9
        sums = [total(each) for each in padded]
        assert error(sums[:1], features[at]) > 0.2
        assert error(sums, features[at]) < 1e-3, "documented: these rows stand still, and W moves"


def test_the_sum_of_a_whole_run_tells_less_than_each_projection() -> None:
    """Trained bottom models on MNIST, layers as wide as the features. More: docs/privacy-measured.md."""
    errors = {}
    for is_sum in (False, True):
        looks, _ = SummedRun(Fusion(3, is_sum, 20, True), samples=(1000, 500)).train(4)
        errors[is_sum] = {known: float(np.mean(features_errors(looks, known))) for known in (50, 250)}
    assert max(errors[False].values()) < 0.01
    assert errors[True][50] > 0.15
    assert 0.02 < errors[True][250] < errors[True][50], "the more rows are known, the less it hides"
