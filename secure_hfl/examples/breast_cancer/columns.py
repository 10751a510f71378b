"""What both scripts of the breast cancer task share: ids, columns, networks and figures.

569 samples of ten measurements of cell nuclei, each as mean, error and worst value. The clinic (host) has the diagnosis
and the measurements of texture; the laboratory (collaborator) those of size and shape. 37 % are malignant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import nn

from secure_hfl.examples import samples

PARTIES = ("clinic", "laboratory")
MEASUREMENTS = {
    "clinic": ("texture", "smoothness", "symmetry", "fractal dimension"),
    "laboratory": ("radius", "perimeter", "area", "compactness", "concavity", "concave points"),
}
FEATURES = {"clinic": 8, "laboratory": 12}
PROJECTION = {"laboratory": 4}
"""The clinic sees 4 numbers a sample: too few to determine the laboratory's 12 features."""
BATCH_SIZE = 32
LEARNING_RATE = 0.05

_TABLE = load_breast_cancer()
_IDS = [f"tumour-{row:03d}" for row in range(len(_TABLE.data))]
_ROWS = {sample: row for row, sample in enumerate(_IDS)}


def local_ids(party: str) -> list[str]:
    """The samples that this party holds."""
    return samples.held_by(party, _IDS)


split = samples.split


def labels(ids: Iterable[str]) -> torch.Tensor:
    """1 where malignant (scikit-learn has it the other way round). The clinic's."""
    return torch.tensor([int(_TABLE.target[_ROWS[each]] == 0) for each in ids])


def batches(
    party: str, ids: Iterable[str], train_ids: Iterable[str], round_number: int | None = None
) -> Iterator[tuple[list[str], torch.Tensor]]:
    """The ids and this party's columns of each batch, standardised over its own training rows."""
    names = list(_TABLE.feature_names)
    columns = [names.index(name) for name in names if any(each in name for each in MEASUREMENTS[party])]
    table = _TABLE.data[:, columns]
    scaler = StandardScaler().fit(table[[_ROWS[each] for each in train_ids]])
    for batch in samples.batches(ids, BATCH_SIZE, round_number):
        rows = scaler.transform(table[[_ROWS[each] for each in batch]])
        yield batch, torch.tensor(rows, dtype=torch.float32)


# GELU has no kink where the smoothing noise could tip a unit over: encrypted losses stay close to plain ones.
def bottom_model(party: str) -> nn.Module:
    """[batch, columns] -> [batch, features]. LayerNorm bounds the norm of what goes into the projection layer."""
    width = FEATURES[party]
    return nn.Sequential(
        nn.Linear(3 * len(MEASUREMENTS[party]), 16), nn.GELU(), nn.Linear(16, width), nn.LayerNorm(width)
    )


def top_model() -> nn.Module:
    """[batch, all parties' features] -> [batch] logits."""
    fused = sum(PROJECTION.get(party, FEATURES[party]) for party in PARTIES)
    return nn.Sequential(nn.Linear(fused, 8), nn.GELU(), nn.Linear(8, 1), nn.Flatten(0))


def loss_function(train_ids: Collection[str]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Malignant samples are fewer, and count for more: both classes weigh the same in all. Without ids, as they are."""
    malignant = labels(train_ids)
    weight = (1 - malignant).sum() / malignant.sum() if len(malignant) else torch.tensor(1.0)
    weighted = nn.BCEWithLogitsLoss(pos_weight=weight)

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = weighted(logits, truth.float())
        return value

    return loss


def figures(logits: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Accuracy, and the area under the ROC curve, which does not depend on a threshold."""
    return {
        "accuracy": float(((logits > 0) == truth.bool()).float().mean()),
        "auc": float(roc_auc_score(truth.numpy(), logits.numpy())),
    }
