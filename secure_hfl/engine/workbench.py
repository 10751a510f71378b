"""What one party's run works with. Each part has one job and knows little of the others; here is what takes several."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.core.envelope import Phase
from protocols.layer.interface import LayerSide
from protocols.psi.packed import PackedIds
from protocols.task.alignment import SampleId, in_order
from protocols.task.manifest import Manifest
from protocols.task.resumption import ResumePoint
from secure_hfl.checkpoints.snapshot import Snapshot, Training, ids_blob
from secure_hfl.checkpoints.task_checkpoints import TaskCheckpoints
from secure_hfl.checkpoints.user_state import UserState
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.background import Background
from secure_hfl.engine.contract import PartyScheduler
from secure_hfl.engine.last_batch import last_batch_problem
from secure_hfl.engine.layers import Layers
from secure_hfl.engine.measurements import Measurements
from secure_hfl.engine.models import Models
from secure_hfl.engine.peers import Peers
from secure_hfl.engine.psi_files import PsiFiles
from secure_hfl.engine.psi_work import Common
from secure_hfl.engine.recovery import Recovery, first_round
from secure_hfl.engine.user_code import UserCode
from secure_hfl.log import logger
from secure_hfl.metrics import RunMetrics, from_tree, kept_in_tree
from secure_hfl.progress import Progress, progress_for
from secure_hfl.results import save_results

Batch = TypeVar("Batch")


class Relay:
    """Hands a run's events to whoever listens, who may change until it starts."""

    def __init__(self, listener: Progress) -> None:
        self.listener = listener

    def emit(self, event: str, **values: Any) -> None:
        """Pass it on."""
        self.listener.emit(event, **values)


class TaskState:
    """How far the task is at this party.

    Attributes:
        manifest: what all have agreed on.
        intersection: the ids that all parties hold.
        train_ids, test_ids: as the user has split them.
        current_round: from 1; 0 before the models are built.
        results: files that were saved.
    """

    manifest: Manifest

    def __init__(self) -> None:
        self.intersection: Common = frozenset()
        self.train_ids: Collection[SampleId] = ()
        self.test_ids: Collection[SampleId] = ()
        self.current_round = 0
        self.results: list[Path] = []
        self._kept: tuple[object, NDArray[np.uint8]] | None = None

    @property
    def session(self) -> bytes:
        """Of the manifest; empty before there is one, as where a host predicts alone."""
        return self.manifest.session if hasattr(self, "manifest") else b""

    @property
    def samples(self) -> tuple[int, int]:
        """How many there are of training, and of testing."""
        return len(self.train_ids), len(self.test_ids)

    def intersection_blob(self) -> NDArray[np.uint8]:
        """As a snapshot keeps it. Made once: it may be millions of ids."""
        if self._kept is None or self._kept[0] is not self.intersection:
            blob = ids_blob(in_order(self.intersection))
            if isinstance(self.intersection, PackedIds):  # its text is the blob's from now on: once in memory
                self.intersection = PackedIds.from_bytes(blob)
            self._kept = self.intersection, blob
        return self._kept[1]


class Workbench:
    """The parts of one party's run.

    Args:
        scheduler: the user's.
        assignment: what this party has to run.
    """

    def __init__(self, scheduler: PartyScheduler, assignment: Assignment) -> None:
        options = assignment.options
        metrics = RunMetrics(
            party=assignment.party,
            role=assignment.role,
            scheme=assignment.scheme.name,
            arithmetic=assignment.scheme.arithmetic(),
            seed=options.seed,
        )
        self.assignment = assignment
        self.progress = Relay(progress_for(options.progress))
        self.user = UserCode(scheduler, options.wait)
        self.user_state = UserState(scheduler)
        self.state = TaskState()
        self.layers: Layers[Any] = Layers[LayerSide]()
        self.peers = Peers(assignment, self.progress)
        self.measurements = Measurements(metrics, assignment.results / "tensorboard", self.peers, self.progress)
        self.background = Background()
        self.checkpoints = TaskCheckpoints(assignment.directory / "checkpoints", assignment.checkpoint_owner)
        self.psi_files = PsiFiles(assignment.directory)
        self.recovery = Recovery(bool(options.resume))

    def adopt(self, manifest: Manifest) -> None:
        """Compute by the parameters that were agreed on; say in the log, once, if something is wrong with them here."""
        scheme, metrics = self.assignment.scheme, self.measurements.metrics
        scheme.adopt(manifest.scheme_parameters)
        is_first, metrics.encryption = not metrics.encryption, scheme.encryption(manifest.scheme_parameters)
        if is_first and (caution := scheme.caution()):
            logger.warning(f"{caution}.")

    def metrics_so_far(self) -> RunMetrics:
        """With what is counted elsewhere."""
        metrics = self.measurements.so_far(self.background.seconds, self.checkpoints.seconds)
        metrics.rows_shown = self.layers.rows_shown()
        return metrics

    def look_at_first_batch(self, models: Models, features: torch.Tensor) -> None:
        """Before training: say what will go wrong with it."""
        problem = last_batch_problem(models.by_name(), len(self.state.train_ids), len(features))
        if problem and not self.assignment.options.batches:
            logger.warning(f"{problem}.")
        has_weights = next(models.feature_model.parameters(), None) is not None
        if self.user.is_trainable and has_weights and not features.requires_grad:
            logger.warning(
                "The features do not come out of feature_model with a gradient, so it is not trained: yield what it "
                "returns as it is, or say is_feature_trainable=False."
            )

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def keep(self, point: ResumePoint, batches: int = 0) -> None:
        """Make a checkpoint. Arguments as those of `Snapshot`."""
        self.peers.sync_transcripts()
        started = time.perf_counter()
        self.checkpoints.save(self.state.manifest.session, self._snapshot(point, batches), started)
        self.recovery.checkpoint_made()

    def _snapshot(self, point: ResumePoint, batches: int) -> Snapshot:
        state = self.state
        training = None
        if point.is_set_up:
            split = ids_blob(state.train_ids), ids_blob(state.test_ids)
            training = Training(split, self.layers.shapes(), self.layers.states(), self.user_state.round_start)
        # The first batch is drawn before the set-up is over, so its checkpoint is of before.
        is_set_up_only = point.phase is Phase.SETUP
        user = self.user_state.round_start if is_set_up_only else self.user_state.capture()
        metrics = kept_in_tree(self.metrics_so_far())
        return Snapshot(point, metrics, state.intersection_blob(), user, batches, training)

    def batch_done(self, number: int, count: int, every: int) -> None:
        """After a batch of training: make a checkpoint if one is due. Raises `ShuttingDown` if that was waited for."""
        self.recovery.shutdown.after_batch()
        if is_due(count, every):
            self.keep(ResumePoint(Phase.TRAIN, number, count), count)

    def take_over(self, snapshot: Snapshot) -> None:
        """The intersection, the metrics and the generators' state of a checkpoint."""
        self.state.intersection = snapshot.ids()
        is_same_process = self.recovery.interrupted_by is not None
        self.measurements.take_over(from_tree(snapshot.metrics), is_same_process)
        self.user_state.restore_generators(snapshot.user)

    def go_on(self, snapshot: Snapshot, start: Callable[[], Iterator[Batch]]) -> Iterator[Batch] | None:
        """Put models and generators back; the iterator of the round under way, if the checkpoint lies in one.

        Args:
            snapshot: of a place where the layers were set up.
            start: starts the iterator.
        """
        self.state.current_round, behind, _ = first_round(snapshot.point)
        if behind is None:
            return self.user_state.replay(snapshot, start)
        self.user_state.restore(snapshot.user)
        self.user_state.begin_round()
        return None

    # The end ---------------------------------------------------------------------------------------------------------

    def save_results(self, models: Models) -> None:
        """Write them. Done before the farewell, so that no party finishes a task whose results another lost."""
        self.background.stop()
        self.measurements.close_logs()
        self.measurements.metrics = self.metrics_so_far()
        directory, metrics = self.assignment.results, self.measurements.metrics
        self.state.results = save_results(directory, models.by_name(), self.layers.weights(), metrics)

    def close(self) -> None:
        """Let go of everything that belongs to this conversation. May be called again."""
        seconds = self.background.reset()
        self.measurements.conversation_over(self.peers.close(), seconds)
        if self.assignment.distant is not None:
            self.assignment.distant.close()


def is_due(count: int, every: int) -> bool:
    """Whether all parties make a checkpoint behind so many batches of a round."""
    return every > 0 and count % every == 0
