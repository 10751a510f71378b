"""What a scheduler reads of the run that it is in, which may be a dry one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from protocols.psi.packed import PackedIds
from protocols.task.alignment import SampleId
from secure_hfl.engine.models import Models

if TYPE_CHECKING:  # it takes half a second to import, and a collaborator rarely needs it
    from torch.utils.tensorboard import SummaryWriter


class RunningParty(Protocol):
    """What a scheduler reads of the run that it is in, a dry one too."""

    @property
    def task_id(self) -> str:
        """Of the task."""

    @property
    def results(self) -> Path | None:
        """Where the training's results go; None in a dry run."""

    @property
    def collaborators(self) -> tuple[str, ...]:
        """Those of the task, by name."""

    @property
    def current_round(self) -> int:
        """From 1; 0 before training."""

    @property
    def id_intersection(self) -> frozenset[str] | PackedIds:
        """The ids that all parties hold."""

    @property
    def train_ids(self) -> Collection[SampleId]:
        """As the user has split them."""

    @property
    def test_ids(self) -> Collection[SampleId]:
        """As the user has split them."""

    @property
    def models(self) -> Models:
        """This party's."""

    @property
    def tb_writer(self) -> SummaryWriter:
        """Made when first used."""

    def confirm_batch_ids(self, ids: Iterable[SampleId]) -> None:
        """See the scheduler."""
