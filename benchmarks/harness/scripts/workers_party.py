"""One party of the tiny task whose rows come from worker processes of a DataLoader, in a script without a main guard.

`WORKERS_METHOD` is how `multiprocessing` starts them, `WORKERS` how many.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import torch
from cases import Case
from tiny import TinyCollaborator, TinyHost, columns
from torch.utils.data import DataLoader, Dataset

case = Case(**json.loads(os.environ["TINY_CASE"]))


class Rows(Dataset):  # type: ignore[type-arg]
    """Ids with this party's columns."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, at: int) -> tuple[int, torch.Tensor]:
        return self.ids[at], columns(case.index, [self.ids[at]])[0]


class WithWorkers:
    """The tiny task's batches, by a DataLoader."""

    def _batches(self, feature_model: Any, ids: Any, batch_size: int = 0) -> Iterator[tuple[list[int], torch.Tensor]]:
        method = os.environ["WORKERS_METHOD"]
        count = int(os.environ.get("WORKERS", "2"))
        loader = DataLoader(Rows(list(ids)), case.batch_size, num_workers=count, multiprocessing_context=method)
        for rows, x in loader:
            yield rows.tolist(), feature_model(x)


class Host(WithWorkers, TinyHost):
    """The tiny host."""


class Collaborator(WithWorkers, TinyCollaborator):
    """The tiny collaborator."""


(Collaborator if case.index else Host)(case).launch_task("YOUR_TASK_ID")
