"""What attacks are scored with: AUC for labels, normalised MSE and SSIM for features and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d

WINDOW = 7
K1, K2 = 0.01, 0.03


def auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """The chance that a positive scores higher than a negative, ties counted half. NaN if one class is missing."""
    count = int(positive.sum())
    if not 0 < count < len(positive):
        return float("nan")
    _, where, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[where]
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def nmse(guess: NDArray[Any], truth: NDArray[Any]) -> float:
    """Squared error over variance: 0 is all, 1 is what the mean sample says."""
    centred = truth - truth.mean(axis=0)
    return float(np.square(guess - truth).sum() / np.square(centred).sum())


def ssim(guess: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean structural similarity of pictures [n, height, width] in [0, 1]: 1 for the same, near 0 for unrelated ones.

    **Reference** Wang et al., Image quality assessment: from error visibility to structural similarity (IEEE TIP 2004),
    here with a square window.
    """
    x, y = (torch.as_tensor(np.clip(each, 0, 1), dtype=torch.float64)[:, None] for each in (guess, truth))
    mean_x, mean_y = (avg_pool2d(each, WINDOW, 1) for each in (x, y))
    var_x, var_y = (avg_pool2d(each * each, WINDOW, 1) - mean**2 for each, mean in ((x, mean_x), (y, mean_y)))
    covariance = avg_pool2d(x * y, WINDOW, 1) - mean_x * mean_y
    top = (2 * mean_x * mean_y + K1**2) * (2 * covariance + K2**2)
    bottom = (mean_x**2 + mean_y**2 + K1**2) * (var_x + var_y + K2**2)
    return float((top / bottom).mean())
