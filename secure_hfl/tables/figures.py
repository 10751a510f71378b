"""How good outputs are: what is written after a test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from secure_hfl.tables.spec import LabelKind


def figures(kind: LabelKind, outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """By name.

    Args:
        kind: of the label.
        outputs: [n, classes] logits; of a regression [n, 1] in the label's unit.
        labels: [n].

    Returns:
        Of classes: accuracy, average_loss, of two also auc, the area under the ROC curve. Of a regression:
        average_loss and rmse in the label's unit, and r2, the share of its variance that is explained.
    """
    if kind is LabelKind.REGRESSION:
        truth = labels.double()
        mean_square = float(((outputs[:, 0].double() - truth) ** 2).mean())
        spread = float(((truth - truth.mean()) ** 2).mean())
        found = {"average_loss": mean_square, "rmse": mean_square**0.5}
        return found | ({"r2": 1 - mean_square / spread} if spread > 0 else {})
    found = {
        "accuracy": float((outputs.argmax(1) == labels).double().mean()),
        "average_loss": float(functional.cross_entropy(outputs.double(), labels)),
    }
    if kind is LabelKind.BINARY and 0 < int(labels.sum()) < len(labels):
        scores = (outputs[:, 1] - outputs[:, 0]).double().numpy()
        found["auc"] = area_under_roc(scores, labels.numpy().astype(bool))
    return found


def area_under_roc(scores: npt.NDArray[np.float64], is_one: npt.NDArray[np.bool_]) -> float:
    """The chance that a sample of class 1 has the higher score; ties count half."""
    _, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[at]
    ones = int(is_one.sum())
    return float((ranks[is_one].sum() - ones * (ones + 1) / 2) / (ones * (len(scores) - ones)))
