"""The weights of a projection layer, which nobody knows: from what both parties have kept of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from protocols.core.fixed_point import WEIGHT_BITS
from protocols.he.interface import as_signed
from protocols.layer.shapes import add
from secure_hfl.results import projection_file


def projection_weight(host: Path, collaborator: Path, key: str) -> torch.Tensor | None:
    """W, [outputs, features] float32, from the results' directories of both; None where there is no layer."""
    files = [projection_file(each, key) for each in (host, collaborator)]
    if not files[0].exists():
        return None
    halves = (load_file(each)["share"] for each in files)
    return torch.from_numpy(as_signed(add(*halves)).astype(np.float64) / 2.0**WEIGHT_BITS).float()
