"""What the scripts of the digits task share: ids, strips, networks and figures.

1797 images of 8 x 8 pixels. Each of four parties holds two columns of pixels; the host (strip 0) has the labels too.
`DIGITS_STRIP` says which strip a collaborator's script holds: 1, 2 or 3.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import torch
from sklearn.datasets import load_digits
from torch import nn

from secure_hfl.errors import ConfigurationError
from secure_hfl.examples import samples

PARTIES = ("strip0", "strip1", "strip2", "strip3")
STRIP_WIDTH = 2
FEATURES = 12
PROJECTION = {party: 8 for party in PARTIES[1:]}
BATCH_SIZE = 64
LEARNING_RATE = 0.1

_IMAGES, _LABELS = load_digits().images, load_digits().target
_IDS = [f"digit-{row:04d}" for row in range(len(_IMAGES))]
_ROWS = {sample: row for row, sample in enumerate(_IDS)}


def own_strip() -> str:
    """The party that this collaborator's script is. Raises `ConfigurationError` if there is no such strip."""
    number = os.environ.get("DIGITS_STRIP", "1")
    if f"strip{number}" not in PARTIES[1:]:
        raise ConfigurationError(f"DIGITS_STRIP must be 1 to {len(PARTIES) - 1}, not {number!r}")
    return f"strip{number}"


def local_ids(party: str) -> list[str]:
    """The samples that this party holds."""
    return samples.held_by(party, _IDS)


split = samples.split


def labels(ids: Iterable[str]) -> torch.Tensor:
    """The digits. The host's."""
    return torch.tensor([int(_LABELS[_ROWS[each]]) for each in ids])


def batches(
    party: str, ids: Iterable[str], train_ids: Iterable[str], round_number: int | None = None
) -> Iterator[tuple[list[str], torch.Tensor]]:
    """The ids and this party's pixels of each batch, standardised over its own training rows.

    All pixels by one mean and deviation: some at the edge are nearly always blank, and have almost none of their own.
    """
    start = STRIP_WIDTH * PARTIES.index(party)
    pixels = _IMAGES[:, :, start : start + STRIP_WIDTH].reshape(len(_IMAGES), -1)
    known = pixels[[_ROWS[each] for each in train_ids]]
    for batch in samples.batches(ids, BATCH_SIZE, round_number):
        rows = (pixels[[_ROWS[each] for each in batch]] - known.mean()) / known.std()
        yield batch, torch.tensor(rows, dtype=torch.float32)


# GELU for the reason given in the breast cancer task's columns.py.
def bottom_model(party: str) -> nn.Module:
    """[batch, pixels] -> [batch, features]. BatchNorm keeps the norm of what goes into the projection layer small."""
    return nn.Sequential(nn.Linear(8 * STRIP_WIDTH, 32), nn.GELU(), nn.Linear(32, FEATURES), nn.BatchNorm1d(FEATURES))


def top_model() -> nn.Module:
    """[batch, all parties' features] -> [batch, 10] logits."""
    fused = sum(PROJECTION.get(party, FEATURES) for party in PARTIES)
    return nn.Sequential(nn.Linear(fused, 32), nn.GELU(), nn.Linear(32, 10))


def loss_function(train_ids: Iterable[str]) -> nn.Module:
    """The digits are about equally frequent."""
    return nn.CrossEntropyLoss()


def figures(logits: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Accuracy."""
    return {"accuracy": float((logits.argmax(1) == truth).float().mean())}
