"""What the engine reads of the objects that users write: the schedulers stand above it, and it imports none of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from protocols.task.alignment import SampleId
from protocols.task.terms import RunLimits
from secure_hfl.limits import OperatorLimits
from secure_hfl.privacy.defence import GradientNoise
from secure_hfl.privacy.randomized_response import RandomizedResponse


class PartyScheduler(Protocol):
    """One party's scheduler. What its members mean: `secure_hfl.schedulers.base.HeteroNNScheduler`."""

    feature_key: str
    schedule_timeout: float
    is_feature_trainable: bool
    scheme: str | None
    limits: OperatorLimits | None
    _context_is_valid: bool
    """Whether those checks of `validate_context` that are not the user's have passed."""

    def validate_context(self) -> None:
        """Check what a run needs."""

    def load_local_ids(self) -> Iterable[str]:
        """All ids of this party."""

    def split_dataset(self, id_intersection: set[str]) -> tuple[Iterable[SampleId], Iterable[SampleId]]:
        """Training ids and test ids."""

    def build_feature_model(self) -> nn.Module:
        """The bottom model."""

    def build_feature_optimizer(self, feature_model: nn.Module) -> Optimizer | None:
        """Its optimizer."""

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[Any]) -> Iterator[Any]:
        """A round of training batches."""

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[Any]) -> Iterator[Any]:
        """The test batches."""

    @property
    def has_prediction_features(self) -> bool:
        """Whether the user has overridden `iterate_prediction_feature`."""

    def iterate_prediction_feature(self, feature_model: nn.Module, ids: list[Any]) -> Iterator[Any]:
        """Features of these ids, in their order."""

    def get_extra_state(self) -> Mapping[str, Any]:
        """What else of the user's a checkpoint keeps."""

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Takes it back."""


class CollaboratorScheduler(PartyScheduler, Protocol):
    """A Collaborator's. What its members mean: `secure_hfl.schedulers.collaborator.HeteroNNCollaboratorScheduler`."""

    run_limits: RunLimits | None


class HostScheduler(PartyScheduler, Protocol):
    """The Host's. What its members mean: `secure_hfl.schedulers.host.HeteroNNHostScheduler`."""

    max_rounds: int
    calculation_timeout: float
    log_rounds: int
    projection: Mapping[str, int] | int | None
    projection_lr: float
    may_train: Collection[str] | None
    fusion: str
    gradient_noise: GradientNoise | None
    label_privacy: RandomizedResponse | None

    @property
    def decides_when_finished(self) -> bool:
        """Whether the user has overridden `is_task_finished`."""

    def build_infer_model(self) -> nn.Module:
        """The top model."""

    def build_infer_optimizer(self, infer_model: nn.Module) -> Optimizer:
        """Its optimizer."""

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> Any:
        """Forward, backward, step."""

    def test(
        self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[torch.Tensor]
    ) -> None:
        """Evaluate."""

    is_feature_holder: bool

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of the outputs; empty: an output is no class."""

    @property
    def has_predict_a_batch(self) -> bool:
        """Whether the user has overridden `predict_a_batch`."""

    def predict_a_batch(self, feature_projection: dict[str, torch.Tensor]) -> torch.Tensor:
        """Outputs for a batch."""

    @property
    def has_fallback(self) -> bool:
        """Whether a fallback head is trained."""

    def fallback_loss(self, outputs: torch.Tensor, labels: Any) -> torch.Tensor:
        """Of the fallback head."""

    def is_task_finished(self) -> bool:
        """Asked after every round."""

    def check_feature_width(self, feature_key: str, width: int) -> None:
        """Told how wide each party's features are."""
