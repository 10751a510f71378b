"""The Host's dry run: features of the collaborators are made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from protocols.core.message import check_finite
from protocols.core.randomness import OsRandomness
from secure_hfl.dry_run.base import Assumptions, DryRun, Finding, as_array
from secure_hfl.engine.batch import LossRecorder
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.models import HostModels
from secure_hfl.engine.widths import projection_widths
from secure_hfl.errors import UserCodeError
from secure_hfl.optimizer import SecureOptimizer, clear_gradients, gradients_of
from secure_hfl.privacy.randomized_response import LabelDraws
from secure_hfl.schemes import load_scheme


class Features(dict[str, torch.Tensor]):
    """A batch's features by key. Those of a collaborator that nobody has named are made when they are asked for."""

    def __init__(self, make: Callable[[str], torch.Tensor]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: str) -> torch.Tensor:
        self[key] = self._make(key)
        return self[key]


class DryBatch:
    """One training batch: what `self.optimizer` steps on. Gradients go nowhere but into the Host's own models."""

    def __init__(self, own_key: str, own: torch.Tensor, leaves: Features) -> None:
        self._own_key, self._own, self._leaves = own_key, own, leaves
        self.gradients: dict[str, torch.Tensor] = {}

    def zero_grad(self) -> None:
        """Forget the features' gradients."""
        clear_gradients(self._leaves.values())

    def step(self, learning_rates: Mapping[str, float], step_local: Callable[[], None]) -> None:
        """As in a real batch, but for what crosses the wire."""
        self.gradients = gradients_of(self._leaves)
        for key, gradient in self.gradients.items():
            check_finite(f"gradient of the loss for feature_projection[{key!r}]", as_array(gradient))
        if self._own.requires_grad:
            self._own.backward(self.gradients[self._own_key])
        step_local()


class HostDryRun(DryRun):
    """Of a Host.

    Attributes:
        peers: how wide each collaborator's projected features are, as far as that is known.
    """

    role = "host"
    models: HostModels

    def __init__(
        self, scheduler: HostScheduler, reference: str, assumptions: Assumptions, report: Callable[[Finding], None]
    ) -> None:
        super().__init__(scheduler, reference, assumptions, report)
        self.peers: dict[str, int] = {}
        self._host = scheduler
        self._guessed: set[str] = set()
        self._told_peers = False

    def _build(self) -> None:
        with self.step("projection"):
            self.peers = self._known_peers()
        self.models = models = HostModels(self.user)
        with self.step("models"):
            models.build(list(self.peers), self._host.projection_lr)
        self.found_model("build_feature_model", models.feature_model, models.optimizer.feature_optimizer)
        self.found_model("build_infer_model", models.infer_model, models.optimizer.infer_optimizer)

    def _known_peers(self) -> dict[str, int]:
        scheduler = self._host
        given = dict(self._assumptions.peers)
        for key, width in given.items():
            scheduler.check_feature_width(key, width)
        rows = getattr(scheduler, "project_layer_config", ())
        given = given or {key: width for key, width, _ in rows if key != self.party}
        if given:
            scheme = load_scheme(self.scheme_name or ("plain" if scheduler.projection is False else "bfv"))
            widths = projection_widths(scheduler.projection, scheme, list(given)) or [0] * len(given)
            return {key: out or width for (key, width), out in zip(given.items(), widths)}
        projection = scheduler.projection if isinstance(scheduler.projection, Mapping) else {}
        return {key: width for key, width in projection.items() if width is not True}

    @property
    def optimizer(self) -> SecureOptimizer:
        """Of all that a batch trains."""
        return self.models.optimizer

    # Features --------------------------------------------------------------------------------------------------------

    def _features(self, own: torch.Tensor, training: bool) -> Features:
        def make(key: str) -> torch.Tensor:
            if key not in self.peers:
                asked = self._host.projection
                self.peers[key] = asked if type(asked) is int else own.shape[1]
                self._guessed.add(key)
            width = self.peers[key]
            return self.made_up(len(own), width).to(own.device).requires_grad_(training)

        features = Features(make)
        features[self.party] = own.detach().requires_grad_() if training else own
        for key in self.peers:
            features[key]
        return features

    def _own_batches(self, training: bool) -> Iterator[tuple[torch.Tensor, Any]]:
        name = "iterate_train_feature" if training else "iterate_test_feature"
        privacy = self._host.label_privacy
        draws = None if privacy is None else LabelDraws(privacy, OsRandomness().seed(), self.train_ids)
        for batch in self.some_batches(training):
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise UserCodeError(f"the host's {name} must yield (features, labels)")
            confirmed = self._confirmed
            features, labels = self.check_batch(name, batch[0]), batch[1]
            if hasattr(labels, "__len__") and len(labels) != len(features):
                raise UserCodeError(f"{name} yielded {len(features)} rows of features with {len(labels)} labels")
            if training and draws is not None:
                labels = draws(labels, confirmed, len(features))
            yield features, labels

    # Training --------------------------------------------------------------------------------------------------------

    def _check_training(self) -> None:
        batches: list[torch.Tensor] = []
        losses: list[float] = []
        with self.step("iterate_train_feature"):
            for own, labels in self._own_batches(training=True):
                if not batches:
                    self._host.check_feature_width(self.party, own.shape[1])
                batches.append(own)
                try:
                    with self.step("train_a_batch"):
                        losses.append(self._train(own, labels))
                finally:
                    self._found_peers()
            self.found_batches("iterate_train_feature", batches)
        self.found("train_a_batch", "ok", "losses " + ", ".join(f"{loss:.4g}" for loss in losses))

    def _train(self, own: torch.Tensor, labels: Any) -> float:
        leaves = self._features(own, training=True)
        batch = DryBatch(self.party, own, leaves)
        self.optimizer.open(batch)
        with LossRecorder() as recorder, torch.enable_grad():
            returned = self.user.call("train_a_batch", self._host.train_a_batch, leaves, labels)
        if not self.optimizer.close():
            detail = "self.optimizer.step() was not called, so nothing is trained on such a batch"
            self.found("train_a_batch", "warn", detail)
        for key, gradient in batch.gradients.items():
            if not gradient.any():
                self.found("train_a_batch", "warn", f"the loss does not depend on feature_projection[{key!r}]")
        self.check_parameters()
        loss: float = recorder.value(returned)
        return loss

    def _found_peers(self) -> None:
        """Say which features were made up; once."""
        if self._told_peers:
            return
        self._told_peers = True
        for key, width in self.peers.items():
            more = ", as the Host's own: name its width if that is wrong" if key in self._guessed else ""
            self.found("feature_projection", "ok", f"made-up features of {key!r}, {width} wide{more}")
        if not self.peers:
            detail = "train_a_batch has asked for no collaborator's features: name those that there will be"
            self.found("feature_projection", "warn", detail)

    # Testing ---------------------------------------------------------------------------------------------------------

    def _check_testing(self) -> None:
        batches: list[torch.Tensor] = []
        features: list[dict[str, torch.Tensor]] = []
        all_labels: list[Any] = []
        if not self.test_ids:
            self.found("test", "warn", "not called: split_dataset returned no test ids")
            return
        with torch.no_grad():
            with self.step("iterate_test_feature"):
                for own, labels in self._own_batches(training=False):
                    batches.append(own)
                    features.append(self._features(own, training=False))
                    all_labels.append(labels)
                self.found_batches("iterate_test_feature", batches)
            with self.step("test"):
                self.user.call("test", self._host.test, features, all_labels)
        written = ", ".join(f"{tag} {value:.4g}" for tag, value in self.last_scalars().items())
        self.found("test", "ok", written or "nothing was written to tb_writer")
        with self.step("is_task_finished"):
            self.user.call("is_task_finished", self._host.is_task_finished)
