"""Two parties with as many ids as asked for, made by a generator, and a model of one weight: for benchmarks.psi_scale.

SECURE_HFL_SCALE="HOST,COLLABORATOR,COMMON"    how many ids each has, and both
SECURE_HFL_SCALE_REPORT=DIRECTORY              where each writes what it measures of itself
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocols.psi.packed import PackedIds
from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler
from secure_hfl.metrics import peak_rss_mb

import torch  # isort: skip
from torch import nn  # isort: skip

ROWS = 4096
BATCHES = 20

_SIZES = tuple(map(int, os.environ.get("SECURE_HFL_SCALE", "10000,10000,5000").split(",")))
_REPORT = os.environ.get("SECURE_HFL_SCALE_REPORT", "")


def ids_of(party: int) -> Iterator[str]:
    """The common ones, and those that nobody else has; none is ever an object with all the others."""
    host, collaborator, common = _SIZES
    own = (host, collaborator)[party] - common
    first = party * 1_000_000_000
    yield from (f"p{i:010d}" for i in range(common))
    yield from (f"q{first + i:010d}" for i in range(own))


def report(name: str, **values: Any) -> None:
    """Write what this process has measured, with its peak memory by two counts."""
    if _REPORT:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        peaks = {"peak_mb": peak_rss_mb(), "ru_maxrss_mb": usage.ru_maxrss * 1024 / 1e6}
        cpu = usage.ru_utime + usage.ru_stime
        Path(_REPORT, name).write_text(json.dumps({**values, **peaks, "cpu_seconds": cpu}))


def current_mb() -> float:
    """Resident memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Scale:
    """What both roles share."""

    party: int

    def load_local_ids(self) -> Iterator[str]:
        return ids_of(self.party)

    def split_dataset(self, id_intersection: Any) -> tuple[Any, Any]:
        ids = id_intersection if isinstance(id_intersection, PackedIds) else sorted(id_intersection)
        text = ids.nbytes if isinstance(ids, PackedIds) else None
        report(f"psi-{self.party}", common=len(ids), ids_bytes=text)
        return ids[: -len(ids) // 10], ids[-len(ids) // 10 :]

    def build_feature_model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=0.01)

    def rows(self, feature_model: nn.Module, ids: Any) -> Iterator[torch.Tensor]:
        """Features by the numbers in the ids, a batch at a time."""
        for start in range(0, min(len(ids), ROWS * BATCHES), ROWS):
            numbers = [int(each[1:]) for each in ids[start : start + ROWS]]
            yield feature_model(torch.sin(torch.tensor(numbers, dtype=torch.float32)[:, None]))
        report(f"round-{self.party}", current_mb=current_mb(), rows=len(ids))


class ScaleHost(Scale, HeteroNNHostScheduler):
    """The host."""

    party = 0

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: Any) -> Iterator[Any]:
        return ((rows, torch.ones(len(rows), 1)) for rows in self.rows(feature_model, train_ids))

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: Any) -> Iterator[Any]:
        yield from ()

    def build_infer_model(self) -> nn.Module:
        return nn.Linear(2, 1)

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(infer_model.parameters(), lr=0.01)

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        fused = torch.cat(list(feature_projection.values()), dim=1)
        nn.functional.mse_loss(self.infer_model(fused), labels).backward()
        self.optimizer.step()

    def test(self, batched_feature_projections: Any, batched_labels: Any) -> None:
        """Nothing to test."""


class ScaleCollaborator(Scale, HeteroNNCollaboratorScheduler):
    """The collaborator."""

    party = 1

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: Any) -> Iterator[torch.Tensor]:
        return self.rows(feature_model, train_ids)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: Any) -> Iterator[torch.Tensor]:
        yield from ()
