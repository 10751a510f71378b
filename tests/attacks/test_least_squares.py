"""Least squares on everything that the host has seen over many batches.

Weight gradients   With D_t = (lr dz_t)^T a_t known, D_t W_t^T = (lr dz_t)^T z_t is linear in the first W, because W_t
                   is that minus the sum of the earlier D; batches too small to give W alone give it together. The
                   weak design shows D_t. Ours shows D_t - R_t: the assumption that fails is that the host's share
                   moves by anything that depends on D_t. R_t is uniform and fresh, so every W fits what the host has,
                   equally well, with one choice of R for each.
Known samples      With the features of d samples known, z = a W^T is linear in W. This works against *any* scheme that
                   shows z, ours included. It is documented leakage of the ideal functionality, asserted here so that
                   the documentation stays true. In one look o < d leaves the rest unknown. While the layer moves,
                   that holds for one look only: every round shows another projection of the same rows
                   (tests/attacks/test_frozen_rounds.py, which also shows that a frozen bottom model's rows are shown
                   once).
Inner products     W starts orthogonal, so z z^T is a a^T until training has moved W, and the host can follow how it
                   moves (tests/attacks/test_whole_run.py). Also documented leakage.

Known samples and inner products are judged from one look here, with the first W.
"""

from __future__ import annotations

import numpy as np

from tests.attacks.split_training import CHANCE, Z_STEP, Matrix, Seen, WeakMasks, closeness, collaborator_masks, train
from tests.protocols.layer.helpers import Layer, normal

D, O, ROWS, BATCHES = 12, 10, 4, 8  # noqa: E741


def first_weights(view: list[Seen]) -> Matrix:
    """W of the first batch from z, dz and the moves of the host's share over all batches."""
    moved = np.zeros_like(view[0].update)
    left, right = [], []
    for seen in view:
        left.append(seen.update)
        right.append(seen.dz.T @ seen.z + seen.update @ moved.T)
        moved = moved + seen.update
    return np.linalg.lstsq(np.vstack(left), np.vstack(right), rcond=None)[0].T


def test_one_small_batch_is_not_enough() -> None:
    view = train(Layer(D, O, ROWS, prepare=collaborator_masks(WeakMasks)), 1, ROWS)
    assert closeness(first_weights(view), view[0].weights) < 0.9


def test_unmasked_weight_gradients_give_the_weights_over_many_batches() -> None:
    view = train(Layer(D, O, ROWS, prepare=collaborator_masks(WeakMasks)), BATCHES, ROWS)
    assert closeness(first_weights(view), view[0].weights) > 0.99


def test_what_our_host_sees_does_not() -> None:
    view = train(Layer(D, O, ROWS), BATCHES, ROWS)
    assert closeness(first_weights(view), view[0].weights) < CHANCE
    for name in ("update", "z"):  # nor does anything else that it could take for features or weights
        rows = np.vstack([getattr(seen, name)[:ROWS] for seen in view])
        features = np.vstack([seen.a for seen in view])
        assert closeness(rows, features[:, :O] if name == "z" else features) < CHANCE


def test_the_hosts_own_decryptions_are_uniform() -> None:
    """64 bins of all that message 4 tells it; chi-squared with 63 degrees of freedom, 200 is beyond 1e-15."""
    view = train(Layer(D, O, ROWS), 12, ROWS)
    values = np.concatenate([seen.update.ravel() for seen in view]) / 2.0**27 + 0.5  # the ring as [0, 1)
    counts = np.histogram(values, bins=64, range=(0, 1))[0]
    assert counts.sum() == values.size == 12 * D * O
    assert ((counts - values.size / 64) ** 2 / (values.size / 64)).sum() < 200


def known_samples(width_out: int, known: int) -> tuple[Matrix, Matrix]:
    """(the unknown samples' features by regression from one look, the truth)."""
    layer, a = Layer(D, width_out, 40), normal(3, 40, D)
    layer.forward(a)
    z = layer.exact_projection() * Z_STEP
    transposed = np.linalg.lstsq(a[:known].astype(float), z[:known], rcond=None)[0]
    return np.linalg.lstsq(transposed.T, z[known:].T, rcond=None)[0].T, a[known:].astype(float)


def test_documented_leakage_known_samples_give_the_weights() -> None:
    guess, truth = known_samples(D, D + 3)
    assert np.abs(guess - truth).max() < 0.1


def test_one_look_through_fewer_outputs_than_features_leaves_the_rest_unknown() -> None:
    """With o = d / 3 even the true W leaves two thirds of the features' energy unknown: what a frozen bottom model's
    layer shows in a whole run, and a trained one's in its first batch only."""
    guess, truth = known_samples(D // 3, D + 3)
    assert closeness(guess, truth) < 0.85
    assert np.linalg.norm(guess - truth) > 0.5 * np.linalg.norm(truth)


def test_documented_leakage_fresh_weights_show_inner_products() -> None:
    layer, a = Layer(D, D, 40), normal(3, 40, D)
    layer.forward(a)
    z = layer.exact_projection() * Z_STEP
    assert np.abs(z @ z.T - a.astype(float) @ a.T).max() < 0.05
    assert closeness(z, a.astype(float)) < CHANCE  # but not the features
