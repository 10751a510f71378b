"""What a scheduler is shown of its dry run: `scheduler.current_round`, `scheduler.tb_writer` and the like work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from protocols.core.errors import InvalidInput
from protocols.task.alignment import SampleId
from secure_hfl.engine.models import Models
from secure_hfl.errors import ConfigurationError
from secure_hfl.results import recording_writer

if TYPE_CHECKING:  # it takes half a second to import, and a collaborator rarely needs it
    from torch.utils.tensorboard import SummaryWriter


class ScratchBoard:
    """A TensorBoard writer to a directory that is gone after the dry run."""

    def __init__(self) -> None:
        self._scalars: dict[str, list[tuple[int, float]]] = {}
        self._writer: SummaryWriter | None = None
        self._directory: Path | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """While the dry run lasts."""
        with TemporaryDirectory(prefix="secure-hfl-dry-run-") as directory:
            self._directory = Path(directory)
            try:
                yield
            finally:
                self._directory = None
                if self._writer is not None:
                    self._writer.close()

    @property
    def writer(self) -> SummaryWriter:
        """Made when first used."""
        if self._writer is None:
            if self._directory is None:
                raise ConfigurationError("tb_writer is known while a dry run lasts")
            self._writer = recording_writer(self._directory / "tensorboard", lambda: self._scalars)
        return self._writer

    def last_scalars(self) -> dict[str, float]:
        """What was written: the last value of each tag."""
        return {tag: values[-1][1] for tag, values in self._scalars.items()}


class ShownRun:
    """A `RunningParty` without a task.

    Args:
        task_id: what `launch_task` was given.

    Attributes:
        models: there once they are built.
        collaborators: whose features are made up, as far as they are known before a batch.
        board: behind `tb_writer`.
    """

    models: Models

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.results: Path | None = None
        self.collaborators: tuple[str, ...] = ()
        self.current_round = 0
        self.id_intersection: frozenset[str] = frozenset()
        self.train_ids: Collection[SampleId] = ()
        self.test_ids: Collection[SampleId] = ()
        self.board = ScratchBoard()
        self._confirmed: list[SampleId] | None = None

    @property
    def tb_writer(self) -> SummaryWriter:
        """Writes to a directory that is gone after the dry run."""
        return self.board.writer

    def confirm_batch_ids(self, ids: Iterable[SampleId]) -> None:
        """See the scheduler."""
        self._confirmed = list(ids)
        known = {str(each) for each in self.id_intersection}
        strangers = [each for each in self._confirmed if str(each) not in known]
        if strangers:
            raise InvalidInput(f"confirm_batch_ids: {strangers[0]!r} is not in the intersection")

    def take_confirmed(self) -> list[SampleId] | None:
        """The ids of the batch that was just yielded; None if they were not said."""
        confirmed, self._confirmed = self._confirmed, None
        return confirmed
