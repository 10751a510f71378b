"""A party's first batches, checked as every task checks them; and numbers that stand for a peer's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.core.message import check_finite
from protocols.core.wording import plural
from protocols.task.alignment import SampleId
from secure_hfl.dry_run.findings import Findings
from secure_hfl.dry_run.shown import ShownRun
from secure_hfl.engine.user_code import UserCode, check_features
from secure_hfl.errors import UserCodeError


class Batches:
    """Draws them from the user's iterators.

    Args:
        user: whose iterators.
        shown: has the models and the ids.
        findings: where it is said what came.
        count: how many are drawn for training, and for testing.

    Attributes:
        width: of this party's features; 0 until the first batch.
        rows: of the batches of each iterator.
        confirmed: the ids of the batch that was checked last; None if the user did not say them.
    """

    def __init__(self, user: UserCode, shown: ShownRun, findings: Findings, count: int) -> None:
        self._user, self._shown, self._findings, self._count = user, shown, findings, count
        self.width = 0
        self.rows: dict[str, list[int]] = {}
        self.confirmed: list[SampleId] | None = None

    def draw(self, training: bool) -> Iterator[Any]:
        """The first ones, as they come."""
        ids = self._shown.train_ids if training else self._shown.test_ids
        return islice(self._user.batches(training, self._shown.models.feature_model, ids), self._count)

    def check(self, name: str, features: object) -> torch.Tensor:
        """A batch's features as every task takes them: a finite [rows, width], the width always the same."""
        has_none = isinstance(features, torch.Tensor) and features.shape[1:] == (0,)  # of a host with labels only
        checked = features if has_none and isinstance(features, torch.Tensor) else check_features(name, features)
        width = checked.shape[1]
        self.width = self.width or width
        if width != self.width:
            raise UserCodeError(f"{name} yielded features of width {width}, after some of width {self.width}")
        check_finite(f"features that {name} yielded", as_array(checked))
        self.confirmed = self._shown.take_confirmed()
        if self.confirmed is not None and len(self.confirmed) != len(checked):
            raise UserCodeError(
                f"confirm_batch_ids named {plural(len(self.confirmed), 'id')} for a batch of {len(checked):,}"
            )
        return checked

    def report(self, step: str, batches: Sequence[torch.Tensor]) -> None:
        """Say what an iterator has yielded. Raises `UserCodeError` if that is nothing."""
        if not batches:
            raise UserCodeError(f"{step} yielded no batch")
        self.rows[step] = [len(batch) for batch in batches]
        rows = " + ".join(map(str, self.rows[step]))
        norm = max(float(batch.detach().double().norm(dim=1).max()) for batch in batches)
        kind = str(batches[0].dtype).removeprefix("torch.")
        self._findings.add(step, "ok", f"{rows} rows, {self.width} wide, {kind}; largest norm of a sample {norm:.3g}")


class MadeUp:
    """Numbers of the size that features have; the same in every dry run."""

    def __init__(self) -> None:
        self._random = torch.Generator().manual_seed(0)

    def __call__(self, rows: int, width: int) -> torch.Tensor:
        """The next ones."""
        return torch.randn(rows, width, generator=self._random)


def as_array(features: torch.Tensor) -> NDArray[np.float32]:
    """Features as they would be sent."""
    values: NDArray[np.float32] = features.detach().to("cpu", torch.float32).contiguous().numpy()
    return values
