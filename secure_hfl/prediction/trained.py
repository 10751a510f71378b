"""What a finished task has left at one party: which training it was, its models, and its share of each layer.

results/state/            the last checkpoint, in tasks that finished since there are predictions: all of it
results/*.safetensors     in older ones: models, and shares without the key of their smoothing noise
transcripts/              which training it was, and on what terms

Where the noise's key was not kept, a fresh one is made once, and kept among the predictions: whatever is asked again is
answered with the same noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.torch import load as load_tensors
from torch import nn

from protocols.core.message import Array
from protocols.core.randomness import SEED_BYTES, OsRandomness
from protocols.layer.frozen import PREFIX
from protocols.transcript.preamble import AgreedTerms
from secure_hfl.checkpoints.snapshot import Snapshot
from secure_hfl.checkpoints.task_checkpoints import TaskCheckpoints
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.fallback import FALLBACK
from secure_hfl.errors import CheckpointRefused, TaskError
from secure_hfl.files import write_private
from secure_hfl.metrics import RunMetrics
from secure_hfl.results import LAST_STATE, projection_file
from secure_hfl.tasks import TaskRecord
from secure_hfl.transcript import agreed_terms, transcripts_of


@dataclass(frozen=True)
class Training:
    """Which training a task's results are of.

    Attributes:
        results: where they are.
        by_peer: the terms of its last conversation with each collaborator, by that one's feature key.
    """

    results: Path
    by_peer: Mapping[str, AgreedTerms] = field(repr=False)

    @classmethod
    def of(cls, directory: Path, record: TaskRecord) -> Training:
        """That of a task's directory.

        Raises:
            TaskError: its transcripts are not there, or are not of one training.
        """
        peers = record.collaborators if record.role == "host" else (record.host,)
        by_peer: dict[str, AgreedTerms] = {}
        for peer in peers:
            paths = reversed(transcripts_of(directory / "transcripts", peer.name))
            terms = next(filter(None, map(agreed_terms, paths)), None)
            if terms is None:
                raise TaskError(
                    f"task {record.task_id} has no transcript of its training with {peer.name} in "
                    f"{directory / 'transcripts'}: it says which training the results are of; put it back"
                )
            by_peer[terms.collaborator] = terms
        if len({terms.manifest_digest for terms in by_peer.values()}) > 1:
            raise TaskError(f"the last transcripts of task {record.task_id} are of different conversations")
        return cls(directory / "results", by_peer)

    @property
    def terms(self) -> AgreedTerms:
        """Those with any collaborator: what is said to all."""
        return next(iter(self.by_peer.values()))

    @property
    def digest(self) -> bytes:
        """What all parties call this training: the digest of its last manifest."""
        return bytes.fromhex(self.terms.manifest_digest)

    def name_of(self, role: str) -> str:
        """The feature key that this party trained under."""
        return self.terms.host if role == "host" else self.terms.collaborator

    @property
    def has_fallback(self) -> bool:
        """Whether the results have a fallback head: the Host's."""
        return (self.results / f"{FALLBACK}.safetensors").exists()

    def metrics(self) -> RunMetrics:
        """What was measured. Raises `TaskError` if that is not there."""
        path = self.results / "metrics.json"
        try:
            return RunMetrics.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            raise TaskError(f"{path} cannot be read ({why}): put the results of the task back") from error

    def widths(self) -> dict[str, int]:
        """Outputs of each collaborator's layer; 0: as many as there are features."""
        return {key: terms.projection_width for key, terms in self.by_peer.items()}


class TrainedState:
    """What a party has of it.

    Args:
        training: which one.
        assignment: of the predictions.

    Attributes:
        snapshot: the last checkpoint; None in tasks that kept none.

    Raises:
        CheckpointRefused: it is damaged, or not this party's.
        TaskError: the task's metrics are not there.
    """

    def __init__(self, training: Training, assignment: Assignment) -> None:
        self._training, self._assignment = training, assignment
        metrics = training.metrics()
        self.rounds = len(metrics.rounds)
        owner = {**assignment.checkpoint_owner, "seed": "none" if metrics.seed is None else str(metrics.seed)}
        kept = TaskCheckpoints(training.results / LAST_STATE, owner)
        self.snapshot: Snapshot | None = kept.newest() if kept.exist() else None

    def layer(self, key: str) -> dict[str, Array]:
        """What this party's side of a layer resumes from. Secret.

        The count of batches begins anew, so that the first batch of a session is one that is checked.
        """
        state = self._from_snapshot(key) if self.snapshot is not None else self._from_results(key)
        if "batches" in state:
            state["batches"] = np.zeros(1, np.int64)
        return state

    def _from_snapshot(self, key: str) -> dict[str, Array]:
        assert self.snapshot is not None  # noqa: S101 - the caller has looked
        kept = self.snapshot.at_set_up().layer(key)
        return {name: array for name, array in kept.items() if not name.startswith(PREFIX)}

    def _from_results(self, key: str) -> dict[str, Array]:
        path = projection_file(self._training.results, key)
        arrays = dict(_read(path, load_arrays)) if path.exists() else {}
        if "share" not in arrays:
            return arrays
        noise = np.frombuffer(self._noise_key(key), np.uint8).copy()
        return {**arrays, "version": np.zeros(1, np.int64), "batches": np.zeros(1, np.int64), "noise_key": noise}

    def _noise_key(self, key: str) -> bytes:
        path = projection_file(self._assignment.directory, key).with_suffix(".noise")
        if not path.exists():
            write_private(path, OsRandomness().seed())
        noise = path.read_bytes()
        if len(noise) != SEED_BYTES:
            raise CheckpointRefused(f"{path} is damaged: the same question would not be answered with the same noise")
        return noise

    def load_models(self, models: Mapping[str, nn.Module]) -> None:
        """Give models, by name, the weights of the results. Raises `CheckpointRefused` if they do not fit."""
        for name, model in models.items():
            path = self._training.results / f"{name}.safetensors"
            try:
                model.load_state_dict(_read(path, load_tensors))
            except RuntimeError as error:
                why = " ".join(str(error).split())
                raise CheckpointRefused(f"{path} does not fit what the script builds: {why}") from error


def _read(path: Path, load: Any) -> Any:
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointRefused(f"{path} cannot be used: {error}") from error
