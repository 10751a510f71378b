"""Features without a single known row: two clouds of points are laid on one another.

The Host has features up to a linear map (benchmarks/privacy/whole_run.py: a rotation where o = d), and other rows of
the same population, whose features it can compute: a bottom model that is known, or none. Both clouds have the same
shape. Axes are matched by how values are distributed along them, principal axes first and independent components as a
second try; entropic optimal transport and a least-squares map then take turns, and the closer fit is kept.

**Reference** Grave, Joulin, Berthet, Unsupervised Alignment of Embeddings with Wasserstein Procrustes (AISTATS 2019);
Cuturi, Sinkhorn Distances (NeurIPS 2013).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
QUANTILES = np.linspace(0.005, 0.995, 200)
SAMPLE = 500
BLURS = np.geomspace(0.2, 0.02, 30)
"""Of transport, in parts of the cloud's total variance: from the shape of the clouds to their points."""

SWEEPS = 40
TRIES = 3
SMALLEST_VARIANCE = 1e-4


class _Axes(NamedTuple):
    """Directions [d, d], and the quantiles of what lies along them [200, d]."""

    directions: Array
    quantiles: Array


def aligned(seen: Array, others: Array, is_rotation: bool = True) -> Array:
    """The features [n, d] behind what was seen.

    Args:
        seen: features under an unknown map [n, d].
        others: features of other rows [m, d].
        is_rotation: whether the map is one; else it is any invertible one, and a rotation of whitened clouds.
    """
    centre, target = seen.mean(axis=0), others.mean(axis=0)
    ours, theirs = seen - centre, others - target
    whitened = [np.eye(ours.shape[1])] * 2 if is_rotation else [_whitening(each) for each in (ours, theirs)]
    ours, theirs = ours @ whitened[0], theirs @ whitened[1]
    fits = [_refined(start, ours, theirs) for start in _starts(ours, theirs, is_rotation)]
    best = min(fits, key=lambda fit: fit[0])[1]
    guess: Array = ours @ best @ np.linalg.inv(whitened[1]) + target
    return guess


def _whitening(rows: Array) -> Array:
    values, axes = np.linalg.eigh(np.cov(rows.T))
    directions: Array = axes / np.sqrt(np.maximum(values, values[-1] * SMALLEST_VARIANCE))
    return directions


def _starts(ours: Array, theirs: Array, has_axes: bool) -> Iterator[Array]:
    if has_axes:
        principal = [_axes(each, np.linalg.eigh(np.cov(each.T))[1]) for each in (ours, theirs)]
        for in_order in (True, False):
            one, other = _matched(principal[0], principal[1], in_order)
            yield one @ other.T
    for number in range(TRIES):
        independent = [_axes(each, _components(each, number)) for each in (ours, theirs)]
        one, other = _matched(independent[0], independent[1], in_order=False)
        yield one @ np.linalg.inv(other)


def _axes(rows: Array, directions: Array) -> _Axes:
    return _Axes(directions, np.quantile(rows @ directions, QUANTILES, axis=0))


def _components(rows: Array, number: int) -> Array:
    """The unmixing directions [d, d] of independent components."""
    from sklearn.decomposition import FastICA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged shows in the fit
        fitted = FastICA(whiten="unit-variance", random_state=number, max_iter=500).fit(rows)
    directions: Array = fitted.components_.T
    return directions


def _matched(ours: _Axes, theirs: _Axes, in_order: bool) -> tuple[Array, Array]:
    """The directions of both, paired and with signs, so that values are distributed alike along each pair."""
    from scipy.optimize import linear_sum_assignment

    same, flipped = (
        np.abs(quantiles[:, :, None] - theirs.quantiles[:, None, :]).mean(axis=0)
        for quantiles in (ours.quantiles, -ours.quantiles[::-1])
    )
    spread = theirs.quantiles.std(axis=0)
    cost = np.square(np.minimum(same, flipped) / spread)
    rows, columns = (np.arange(len(spread)),) * 2 if in_order else linear_sum_assignment(cost)
    signs = np.where(same < flipped, 1.0, -1.0)[rows, columns]
    return ours.directions[:, rows] * signs, theirs.directions[:, columns]


def _refined(start: Array, ours: Array, theirs: Array) -> tuple[float, Array]:
    """(how far the clouds are apart at the end, the rotation)."""
    random, total, found, costs = np.random.default_rng(0), float(theirs.var(axis=0).sum()), _rotation(start), []
    for blur in BLURS:
        some, others = (each[random.permutation(len(each))[:SAMPLE]] for each in (ours, theirs))
        cost, partners = _transport(some @ found, others, blur * total)
        found = _rotation(some.T @ partners)
        costs.append(cost)
    return float(np.mean(costs[-3:])), found


def _rotation(product: Array) -> Array:
    left, _, right = np.linalg.svd(product)
    nearest: Array = left @ right
    return nearest


def _transport(ours: Array, theirs: Array, blur: float) -> tuple[float, Array]:
    """(mean cost, for each of our points the mean of the points that it is carried to)."""
    cost = np.square(ours).sum(axis=1)[:, None] + np.square(theirs).sum(axis=1) - 2 * ours @ theirs.T
    kernel = np.exp(-(cost - cost.min(axis=1, keepdims=True)) / blur) + 1e-200
    scale = np.ones(len(theirs))
    for _ in range(SWEEPS):
        own = 1 / len(ours) / (kernel @ scale)
        scale = 1 / len(theirs) / (own @ kernel)
    plan = own[:, None] * kernel * scale
    plan /= plan.sum(axis=1, keepdims=True)
    return float((plan * cost).sum() / len(ours)), plan @ theirs
