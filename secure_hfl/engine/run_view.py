"""What a scheduler is shown of the run that it is in."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.psi.packed import PackedIds
from protocols.task.alignment import SampleId
from secure_hfl.engine.assignment import RESULTS
from secure_hfl.engine.models import Models
from secure_hfl.engine.workbench import Workbench

if TYPE_CHECKING:  # it takes half a second to import, and a collaborator rarely needs it
    from torch.utils.tensorboard import SummaryWriter


class RunView:
    """A `RunningParty` that reads a run's workbench.

    Args:
        bench: what the run works with.
        models: this party's.
    """

    def __init__(self, bench: Workbench, models: Models) -> None:
        self._bench = bench
        self.models = models

    @property
    def task_id(self) -> str:
        """Of the task that it runs."""
        return self._bench.assignment.record.task_id

    @property
    def results(self) -> Path:
        """Where the training's results go, also while it is predicted with them."""
        assigned = self._bench.assignment
        return assigned.store.directory(assigned.record.task_id) / RESULTS

    @property
    def collaborators(self) -> tuple[str, ...]:
        """Those of the task, by name."""
        return tuple(each.name for each in self._bench.assignment.record.collaborators)

    @property
    def current_round(self) -> int:
        """From 1; 0 before training."""
        return self._bench.state.current_round

    @property
    def id_intersection(self) -> frozenset[str] | PackedIds:
        """The ids that all parties hold."""
        return self._bench.state.intersection

    @property
    def train_ids(self) -> Collection[SampleId]:
        """As the user has split them."""
        return self._bench.state.train_ids

    @property
    def test_ids(self) -> Collection[SampleId]:
        """As the user has split them."""
        return self._bench.state.test_ids

    @property
    def tb_writer(self) -> SummaryWriter:
        """Made when first used."""
        return self._bench.measurements.tb_writer

    def confirm_batch_ids(self, ids: Iterable[SampleId]) -> None:
        """See the scheduler."""
        self._bench.user.confirm_batch_ids(self._bench.state.session, ids)
