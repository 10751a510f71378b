"""What a semi-honest Host makes of the z of a whole run. It knows z and dz of every batch, and the learning rate.

    known rows      Each look at a row is another linear map of its features: maps fitted to rows that the Host knows
                    otherwise, then for every other row the most likely features, given all looks.
    rotation        For o >= d. W starts as A B, B orthogonal [d, d], A the Host's own. So W_t = Q_t B with
                        Q_0 = A,    a_t B^T = z_t (Q_t^T)^+    and    Q_{t+1} = Q_t - lr dz_t^T (a_t B^T):
                    all features of all rows and rounds, up to the one rotation B. No row is known, and whether the
                    bottom model is trained makes no difference.
    inner products  For o < d, of features that stand still. All rounds' z side by side are B V: rows B of the features
                    in unknown coordinates, a = B M, and V_r = M W_r^T. What moves V is linear in S = M M^T,
                        V_{r+1}^T - V_r^T = -(sum of lr dz_t^T b_t over the round) S,
                    where b_t, the batch's rows in the same coordinates, follow from its own looks. B S B^T are all
                    inner products of the features. No row is known.

z is that of scheme "plain" plus the smoothing noise that every other scheme puts on it (`smoothed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.privacy.views import PROJECTION_LR, Views
from protocols.core.fixed_point import FEATURE_BITS
from protocols.layer.parameters import LayerParameters

Array = NDArray[Any]
PRIOR = 0.02
"""Of the features' mean variance, added to the known rows' covariance."""

RIDGE = 0.01
SMALLEST_NOISE = 1e-8
DAMPING = 1e-4


def smoothed(views: Views, is_frozen: bool) -> Views:
    """The views with smoothing noise on each z, fresh for each version of the weights: a frozen layer has one."""
    width = max(views.z.shape[1], views.a.shape[1])
    sigma = LayerParameters().smoothing_sigma(width) * 2.0**-FEATURE_BITS
    random = np.random.default_rng(0)
    drawn = [sigma * random.normal(size=z.shape) for z, _ in views.rounds]
    rounds = [(z + (drawn[0] if is_frozen else own), a) for (z, a), own in zip(views.rounds, drawn, strict=True)]
    batches = [(z + sigma * random.normal(size=z.shape), a) for z, a in views.projections]
    return replace(views, rounds=rounds, projections=batches)


def from_known_rows(looks: Sequence[Array], known: Array) -> Array:
    """The features [n, d] of all rows.

    Args:
        looks: z [n, o] of the same rows, once for each look.
        known: the features [k, d] of the first k rows, k > d.
    """
    count, width = known.shape
    z, centre = np.hstack(list(looks)), known.mean(axis=0)
    offset = z[:count].mean(axis=0)
    inputs, outputs = known - centre, z[:count] - offset
    scale = float(np.trace(inputs.T @ inputs)) / width
    maps = np.linalg.solve(inputs.T @ inputs + RIDGE / count * scale * np.eye(width), inputs.T @ outputs)
    noise = np.square(outputs - inputs @ maps).sum(axis=0) / (count - width) + SMALLEST_NOISE
    prior = np.cov(known.T) + PRIOR * scale / count * np.eye(width)
    gain = np.linalg.solve(np.linalg.inv(prior) + (maps / noise) @ maps.T, maps / noise)
    guess: Array = centre + (z - offset) @ gain.T
    return guess


def up_to_a_rotation(batches: Iterable[tuple[Array, Array]], first: Array) -> Iterator[Array]:
    """For a layer as wide as the features or wider: a B^T [B, d] of each training batch.

    Args:
        batches: z [B, o], and lr dz [B, o].
        first: the Host's own factor A [o, d] of the first W. For o = d any other orthogonal matrix will do.
    """
    moved = first
    for z, step in batches:
        features: Array = np.linalg.lstsq(moved, z.astype(float).T, rcond=None)[0].T
        yield features
        moved = moved - step.astype(float).T @ features


def inner_products(views: Views, rounds: int, learning_rate: float = PROJECTION_LR) -> Array:
    """For a narrow layer over features that stand still: those of the test rows [n, n], after two rounds or more."""
    z = np.stack([each for each, _ in views.rounds[:rounds]], axis=1).astype(float)
    n, looks, _ = z.shape
    left, singular, right = np.linalg.svd(z.reshape(n, -1), full_matrices=False)
    width = min(views.a.shape[1], int((singular > _noise_edge(views, n, right.shape[1])).sum()))
    rows = left[:, :width] * np.sqrt(n)
    maps = (singular[:width, None] * right[:width] / np.sqrt(n)).reshape(width, looks, -1)
    pushes = _pushes(views, maps, learning_rate)
    moves = np.concatenate([(maps[:, r] - maps[:, r + 1]).T for r in range(rounds - 1)])
    products: Array = rows @ _symmetric_solution(pushes, moves) @ rows.T
    return products


def _noise_edge(views: Views, rows: int, columns: int) -> float:
    """What the largest singular value of pure smoothing noise is, about."""
    sigma = LayerParameters().smoothing_sigma(views.a.shape[1]) * 2.0**-FEATURE_BITS
    return float(sigma * (np.sqrt(rows) + np.sqrt(columns)))


def _pushes(views: Views, maps: Array, learning_rate: float) -> Array:
    """sum of lr dz^T b from each look to the next, one below the other [(looks - 1) o, width].

    b are a training row's coordinates, from its own z of these rounds. The map at a batch lies between those of the
    looks before and after it.
    """
    width, looks, outputs = maps.shape
    per_round = len(views.dz) // len(views.rounds)
    batches = range(per_round, looks * per_round)  # before the first look there is no map to start from
    total = max(int(rows.max()) for rows, _ in views.batches) + 1
    normal, target = np.zeros((total, width, width)), np.zeros((total, width))
    for t in batches:
        look, part = t // per_round, t % per_round / per_round
        between: Array = (1 - part) * maps[:, look - 1] + part * maps[:, look]
        normal[views.batches[t][0]] += between @ between.T
        target[views.batches[t][0]] += views.projections[t][0] @ between.T
    small = 1e-9 * np.trace(normal, axis1=1, axis2=2).mean() * np.eye(width)
    coordinates = np.linalg.solve(normal + small, target[..., None])[..., 0]
    pushes = np.zeros((looks - 1, outputs, width))
    for t in batches:
        pushes[t // per_round - 1] += learning_rate * views.dz[t].T @ coordinates[views.batches[t][0]]
    return pushes.reshape(-1, width)


def _symmetric_solution(left: Array, right: Array) -> Array:
    """The positive semidefinite S with left S = right, about, by damped least squares."""
    width = left.shape[1]
    first, second = np.triu_indices(width)
    unknowns = np.arange(len(first))
    design = np.zeros((len(left), width, len(first)))
    design[:, second, unknowns] = left[:, first]
    away = first != second
    design[:, first[away], unknowns[away]] = left[:, second[away]]
    design = design.reshape(-1, len(first))
    normal = design.T @ design
    damping = DAMPING * np.trace(normal) / len(first) * np.eye(len(first))
    found = np.linalg.solve(normal + damping, design.T @ right.ravel())
    solution = np.zeros((width, width))
    solution[first, second] = solution[second, first] = found
    values, axes = np.linalg.eigh(solution)
    positive: Array = (axes * np.maximum(values, 0)) @ axes.T
    return positive


def agreement(products: Array, truth: Array) -> float:
    """Correlation of inner products [n, n] with those of the true rows [n, d], over pairs of different rows and about
    the mean row: 1 is all of them."""
    centring = np.eye(len(truth)) - 1 / len(truth)
    pairs = np.triu_indices(len(truth), 1)
    guessed, true = (centring @ each @ centring for each in (products, truth @ truth.T))
    return float(np.corrcoef(guessed[pairs], true[pairs])[0, 1])
