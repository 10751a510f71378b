"""What the Host makes of z: the features a, and the pictures behind them.

    ridge     linear regression from z, with the samples that the Host knows otherwise
    decoder   the same with a small network
    ICA       blind source separation of a from z alone: no sample is known

W and the bottom model are unknown. Known samples are 1 % or 5 % of those that the Host sees. Baseline: the mean picture
of the known ones, NMSE about 1.

**Reference** Hyvarinen, Oja, Independent component analysis (Neural Networks 2000); Vepakomma et al., NoPeek (ICDMW
2020), for decoders against split learning.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.privacy.scores import nmse

Array = NDArray[Any]
RIDGES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0, 1e1, 1e2)
DECODER_STEPS = 400


def ridge(known_z: Array, known_x: Array, z: Array) -> Array:
    """x for every z, by ridge regression whose strength leave-one-out validation picks."""
    centre, spread = known_z.mean(axis=0), known_z.std(axis=0) + 1e-12
    left, singular, right = np.linalg.svd((known_z - centre) / spread, full_matrices=False)
    mean = known_x.mean(axis=0)
    projected = left.T @ (known_x - mean)
    best, chosen = np.inf, RIDGES[-1]
    for strength in RIDGES:
        shrink = singular**2 / (singular**2 + strength)
        residual = known_x - mean - left @ (shrink[:, None] * projected)
        leverage = 1 / len(known_z) + np.einsum("ij,j,ij->i", left, shrink, left)
        error = float(np.square(residual / np.maximum(1 - leverage, 1e-6)[:, None]).sum())
        if error < best:
            best, chosen = error, strength
    weights = right.T @ ((singular / (singular**2 + chosen))[:, None] * projected)
    guess: Array = (z - centre) / spread @ weights + mean
    return guess


def decoder(known_z: Array, known_x: Array, z: Array) -> Array:
    """x for every z, by a network that is trained until a fifth of the known samples says stop."""
    torch.manual_seed(0)
    centre, spread = known_z.mean(axis=0), known_z.std(axis=0) + 1e-12
    inputs, everything = (torch.tensor((each - centre) / spread, dtype=torch.float32) for each in (known_z, z))
    targets = torch.tensor(known_x, dtype=torch.float32)
    model = nn.Sequential(
        nn.Linear(z.shape[1], 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, known_x.shape[1]), nn.Sigmoid()
    )
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, weight_decay=1e-4)
    held = max(len(targets) // 5, 1)
    best, guess = np.inf, np.empty(0)
    for step in range(DECODER_STEPS + 1):
        if step % 20 == 0:
            model.eval()
            with torch.no_grad():
                error = float((model(inputs[:held]) - targets[:held]).square().mean())
                if error < best:
                    best, guess = error, model(everything).numpy()
            model.train()
        optimizer.zero_grad()
        (model(inputs[held:]) - targets[held:]).square().mean().backward()
        optimizer.step()
    return guess


def separation(z: Array, a: Array) -> float:
    """NMSE of a's columns after ICA of z, each matched to its best component, scale and sign given for free."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.decomposition import FastICA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged shows in the score
        sources = FastICA(whiten="unit-variance", random_state=0, max_iter=300).fit_transform(z)
    width = sources.shape[1]
    correlation = np.corrcoef(sources.T, a.T)[:width, width:]
    rows, columns = linear_sum_assignment(-np.square(correlation))
    explained = np.zeros(a.shape[1])
    explained[columns] = np.square(correlation[rows, columns])
    variances = a.var(axis=0)
    return float(((1 - explained) * variances).sum() / variances.sum())


def known_features(z: Array, a: Array, fraction: float) -> float:
    """NMSE of the unknown samples' a, by ridge regression from known ones."""
    known = round(fraction * len(z))
    return nmse(ridge(z[:known], a[:known], z[known:]), a[known:])
