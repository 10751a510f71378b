"""What both scripts share: ids, whole images of 8 x 8 pixels at the clinic, their digits at the registry, networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from sklearn.datasets import load_digits
from torch import nn

from secure_hfl.examples import samples

REGISTRY, CLINIC = "registry", "clinic"
FEATURES, PROJECTION = 24, 16
BATCH_SIZE = 64
LEARNING_RATE = 0.1

_IMAGES, _LABELS = load_digits().images, load_digits().target
_IDS = [f"digit-{row:04d}" for row in range(len(_IMAGES))]
_ROWS = {sample: row for row, sample in enumerate(_IDS)}

split = samples.split


def local_ids(party: str) -> list[str]:
    """The samples that this party holds."""
    return samples.held_by(party, _IDS)


def batches(ids: Iterable[str], round_number: int | None = None) -> list[list[str]]:
    """The ids of each batch, the same at both."""
    return samples.batches(ids, BATCH_SIZE, round_number)


def labels(ids: Iterable[str]) -> torch.Tensor:
    """The digits. The registry's."""
    return torch.tensor([int(_LABELS[_ROWS[each]]) for each in ids])


def images(ids: Iterable[str]) -> torch.Tensor:
    """[batch, 1, 8, 8], from 0 to 1. The clinic's."""
    rows = [_ROWS[each] for each in ids]
    return torch.tensor(_IMAGES[rows][:, None] / 16, dtype=torch.float32)


def image_batches(ids: Iterable[str], round_number: int | None = None) -> Iterator[tuple[list[str], torch.Tensor]]:
    """Ids and images of each batch."""
    for batch in batches(ids, round_number):
        yield batch, images(batch)


# GELU for the reason given in the breast cancer task's columns.py.
def bottom_model() -> nn.Module:
    """[batch, 1, 8, 8] -> [batch, features]. BatchNorm keeps the norm of what goes into the projection layer small."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(8 * 6 * 6, FEATURES), nn.BatchNorm1d(FEATURES)
    )


def top_model() -> nn.Module:
    """[batch, projected features] -> [batch, 10] logits."""
    return nn.Sequential(nn.GELU(), nn.Linear(PROJECTION, 10))
