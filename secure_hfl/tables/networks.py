"""The rule by which networks are sized, and the networks.

| | |
|---|---|
| hidden units | 16 below 500 rows, 32 below 5,000, 64 below 50,000, else 128 |
| features of a bottom model | 16 up to 64 used columns, else 32 |
| projections, at the Host | 16 |
| rounds | 30 below 2,000 rows, 20 below 20,000, else 10 |
| samples in a batch, by how many are trained on | 32 below 2,000, 64 below 20,000, 256 below 200,000, else 512 |

    bottom: encoded columns ─ Linear ─ GELU ─ Linear ─ LayerNorm ─▶ features
    top:    own features and all projections ─ Linear ─ GELU ─ Linear ─▶ one number, or one for each class

LayerNorm bounds what an encrypted scheme takes. GELU has no kink at which the smoothing noise could tip a unit over.
"""

from __future__ import annotations

import torch
from torch import nn

from secure_hfl.tables.spec import Network

PROJECTION = 16
LEARNING_RATE = 0.003
WEIGHT_DECAY = 0.01
PROJECTION_RATE = 0.01


def sizes(rows: int, columns: int) -> Network:
    """Of a party's networks, for a table of so many rows and used columns."""
    hidden = 16 if rows < 500 else 32 if rows < 5_000 else 64 if rows < 50_000 else 128
    features = 16 if columns <= 64 else 32
    return Network(hidden=hidden, features=features, projection=PROJECTION)


def rounds(rows: int) -> int:
    """Of training."""
    return 30 if rows < 2_000 else 20 if rows < 20_000 else 10


def batch_size(train: int) -> int:
    """Samples in a batch, of so many to train on: all parties know how many these are."""
    return 32 if train < 2_000 else 64 if train < 20_000 else 256 if train < 200_000 else 512


def bottom_model(width: int, network: Network) -> nn.Module:
    """[batch, width] -> [batch, features]."""
    return nn.Sequential(
        nn.Linear(width, network.hidden),
        nn.GELU(),
        nn.Linear(network.hidden, network.features),
        nn.LayerNorm(network.features),
    )


def top_model(width: int, network: Network, outputs: int) -> nn.Module:
    """[batch, width] -> [batch, outputs]."""
    return nn.Sequential(nn.Linear(width, network.hidden), nn.GELU(), nn.Linear(network.hidden, outputs))


class InUnit(nn.Module):
    """Standardised numbers in the label's own unit."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, standardised: torch.Tensor) -> torch.Tensor:
        """[batch, 1] -> [batch, 1]."""
        return standardised * self.deviation + self.mean
