"""The Host: holds the labels and its own features, fuses all features, and leads the task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from protocols.core.errors import MissingExtra
from protocols.layer.messages import MAX_WIDTH
from secure_hfl.engine.fallback import default_head
from secure_hfl.engine.host import host_run
from secure_hfl.engine.models import HostModels
from secure_hfl.engine.run import Run
from secure_hfl.errors import ConfigurationError
from secure_hfl.limits import OperatorLimits
from secure_hfl.log import ensure_visible
from secure_hfl.one_line_errors import one_line_errors
from secure_hfl.optimizer import SecureOptimizer
from secure_hfl.prediction.alone import evaluated, predicting_alone
from secure_hfl.prediction.evaluation import Evaluation, NumberEvaluation, check_torchmetrics
from secure_hfl.prediction.export import Exported, export_host
from secure_hfl.prediction.host import predicting_host
from secure_hfl.prediction.outcome import Predictions
from secure_hfl.prediction.service import PredictionService, prediction_service
from secure_hfl.privacy.defence import GradientNoise
from secure_hfl.privacy.randomized_response import RandomizedResponse
from secure_hfl.schedulers.base import MAX_TIMEOUT, PLACEHOLDER, HeteroNNScheduler
from secure_hfl.tasks.record import FUSIONS, SEPARATE

FALLBACK_RATE = 0.01
"""Learning rate of the fallback head's default optimizer."""


class HeteroNNHostScheduler(HeteroNNScheduler):
    """Subclass, implement, and call `launch_task`. Its iterators yield (features, labels).

    Args:
        feature_key: see `HeteroNNScheduler`.
        max_rounds: the most rounds, after which the task is finished; 0 only with an `is_task_finished` of your own.
        name: see `HeteroNNScheduler`.
        calculation_timeout: seconds a party may owe a message before the task fails.
        schedule_timeout: seconds to wait for the collaborators to join.
        log_rounds: test after the first round, every so many rounds, and after the last; 0: never.
        is_feature_trainable: whether the Host's own bottom model is trained.
        is_feature_holder: whether the Host has features at all. If not, it builds no bottom model, its iterators yield
            labels only, and its own key is not among the features that `train_a_batch` and `test` get.
            `HeteroNNLabelHostScheduler` is one that need not implement what builds the bottom model.
        projection: output width of each collaborator's projection layer by feature key, or one width for all; True:
            as wide as the features; False: none (scheme "plain" only). Default: none for "plain", True otherwise.
        projection_lr: learning rate of the projection layers (plain SGD).
        may_train: names in the task of the Collaborators whose bottom models may be trained, and who are hence shown
            gradients, which say something about labels; an empty set forbids it to all. Default: all. What the task was
            created with counts too. Others are refused before any id moves.
        scheme: see `HeteroNNScheduler`.
        gradient_noise: what is done to the gradients that collaborators with a trained bottom model see, which say
            something about labels: `GaussianNoise(clip, sigma)`, `MaxNormNoise()`, or for binary labels
            `MarvellNoise(ratio)`. It costs accuracy: docs/privacy-measured.md has the curve. Default: nothing.
        label_privacy: `RandomizedResponse(epsilon, classes)`: `train_a_batch` gets labels that are drawn once for each
            sample and wrong by chance, which bounds what a whole task tells of any true one. Batches must be named by
            `confirm_batch_ids`, and labels be class numbers; take `self.label_privacy.loss` for the loss. `test` gets
            the true labels. Default: the true labels in training too.
        limits: see `HeteroNNScheduler`.
        fusion: "separate": `feature_projection` has each collaborator's projection under its feature key. "sum": it has
            only their sum, under "sum", and no projection is seen by itself. For two or more trained collaborators with
            projections of one width, in schemes bfv, paillier and masked; what it hides: docs/privacy-measured.md.
        fallback: also train a head over the Host's own features alone, which predicts when a collaborator has left
            (`predict(..., fallback=True)`). Nothing of it crosses, and the task itself trains to the same bits.
    """

    def __init__(
        self,
        feature_key: str,
        max_rounds: int = 0,
        name: str | None = None,
        calculation_timeout: float = 300,
        schedule_timeout: float = 30,
        log_rounds: int = 0,
        is_feature_trainable: bool = True,
        projection: Mapping[str, int] | int | None = None,
        projection_lr: float = 0.01,
        scheme: str | None = None,
        gradient_noise: GradientNoise | None = None,
        label_privacy: RandomizedResponse | None = None,
        limits: OperatorLimits | None = None,
        may_train: Collection[str] | None = None,
        fusion: str = SEPARATE,
        is_feature_holder: bool = True,
        fallback: bool = False,
    ) -> None:
        super().__init__(
            feature_key=feature_key,
            name=name,
            schedule_timeout=schedule_timeout,
            is_feature_trainable=is_feature_trainable and is_feature_holder,
            scheme=scheme,
            limits=limits,
        )
        self.is_feature_holder = is_feature_holder
        self.max_rounds = max_rounds
        self.calculation_timeout = calculation_timeout
        self.log_rounds = log_rounds
        self.projection = projection
        self.projection_lr = projection_lr
        self.may_train = may_train
        self.fusion = fusion
        self.gradient_noise = gradient_noise
        self.label_privacy = label_privacy
        self.fallback = fallback

    # What the user implements ----------------------------------------------------------------------------------------

    @abstractmethod
    def build_infer_model(self) -> nn.Module:
        """The top model, from the fused features to the output."""

    @abstractmethod
    def build_infer_optimizer(self, infer_model: nn.Module) -> Optimizer:
        """The optimizer of the top model."""

    @abstractmethod
    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> Any:
        """Fuse, run the top model, and call `self.optimizer.zero_grad()`, `loss.backward()`, `self.optimizer.step()`.

        May return the loss; otherwise it is taken from the call of `backward()`.
        """

    @abstractmethod
    def test(
        self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[torch.Tensor]
    ) -> None:
        """Evaluate; called without gradients and with both models in eval mode."""

    def predict_a_batch(self, feature_projection: dict[str, torch.Tensor]) -> torch.Tensor:
        """Optional: the outputs [batch, ...] for a batch of features of all parties, as in `test`.

            fused = torch.cat([feature_projection[key] for key in ("host", "clinic")], dim=1)
            return self.infer_model(fused)

        By default `test` is run for the batch up to where it calls `infer_model`, whose output is taken.
        """
        raise NotImplementedError

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Optional: names of the outputs, to be predicted in place of numbers; empty: an output is no class."""
        return None

    @property
    def has_predict_a_batch(self) -> bool:
        """Whether `predict_a_batch` is overridden."""
        return type(self).predict_a_batch is not HeteroNNHostScheduler.predict_a_batch

    def build_fallback_model(self) -> nn.Module:
        """Optional: with `fallback`, the head over the Host's own features: [batch, width] float32 on the CPU.

        By default one linear layer: as wide as the outputs of the last linear layer of the bottom model, and of
        `infer_model`.
        """
        return default_head(self.feature_model, self.infer_model)

    def build_fallback_optimizer(self, fallback_model: nn.Module) -> Optimizer | None:
        """Optional: of that head. By default Adam with a learning rate of 0.01."""
        return Adam(fallback_model.parameters(), lr=FALLBACK_RATE)

    def fallback_loss(self, outputs: torch.Tensor, labels: Any) -> torch.Tensor:
        """Optional: of that head on a batch. Both are on the CPU; labels as `train_a_batch` gets them.

        By default `label_privacy.loss` where labels are protected, else the cross-entropy of several outputs, or of one
        as the logit of class 1.
        """
        if self.label_privacy is not None:
            return self.label_privacy.loss(outputs, labels)
        if outputs.ndim == 2 and outputs.shape[1] > 1:
            return functional.cross_entropy(outputs, labels)
        wanted = labels.reshape(len(labels)).to(outputs.dtype)
        if bool(((wanted < 0) | (wanted > 1)).any()):
            raise ConfigurationError(
                "fallback_loss takes one output for the logit of class 1, and some labels are not between 0 and 1: "
                "implement fallback_loss(self, outputs, labels)"
            )
        return functional.binary_cross_entropy_with_logits(outputs.reshape(len(wanted)), wanted)

    @property
    def has_fallback(self) -> bool:
        """Whether a fallback head is trained."""
        return self.fallback

    def predict(self, ids: Sequence[str], task_id: str = PLACEHOLDER, fallback: bool = False) -> Predictions:
        """Predict samples with what a finished task has trained, together with all its collaborators, who must serve.

        Args:
            ids: of the samples; those that not all parties hold are reported as missing.
            task_id: as for `launch_task`; the placeholder stands for the only finished task here.
            fallback: predict with the fallback head, from the Host's own features. Nobody else is asked.

        Returns:
            An output for each id, or the reason why there is none, in the order of `ids`.

        Raises:
            TaskFailed: the session ended without a result; all parties hear the same reason.
        """
        ensure_visible()
        with one_line_errors():
            if fallback:
                return predicting_alone(self, task_id).predict(ids)
            return predicting_host(self, task_id).predict(ids)

    def evaluate(self, ids: Sequence[str], task_id: str = PLACEHOLDER) -> Evaluation | NumberEvaluation:
        """Predict samples whose labels the iterators yield, and say how good that is. All collaborators must serve.

        Args:
            ids, task_id: as for `predict`.

        Returns:
            `Evaluation` of classes: accuracy, AUC, confusion, calibration. `NumberEvaluation` where `class_names` is
            empty: errors, and the variance explained. With a fallback head also its accuracy, or error.

        Raises:
            ConfigurationError: a label is missing, or is no class number; or none of the ids could be predicted.
            MissingExtra: torchmetrics is not installed.
            TaskFailed: as `predict`.
        """
        with one_line_errors():
            check_torchmetrics()
            return evaluated(self, task_id, self.predict(ids, task_id))

    def predict_online(self, task_id: str = PLACEHOLDER, fallback: bool = False) -> PredictionService:
        """Predict with a session that stays open, as long as its `with` block; collaborators may come and go meanwhile.

            with MyHost("hospital_a", max_rounds=5).predict_online("stroke-study") as service:
                service.predict(["107000"])["107000"]

        Args:
            task_id: as for `launch_task`; the placeholder stands for the only finished task here.
            fallback: whenever not all collaborators are there, predict with the fallback head instead of waiting.
        """
        ensure_visible()
        with one_line_errors():
            return prediction_service(self, task_id, fallback)

    def serve_predictions(
        self,
        task_id: str = PLACEHOLDER,
        http: str = "127.0.0.1:8080",
        token_file: Path | str | None = None,
        tls: tuple[Path | None, Path | None] = (None, None),
        allow_remote: bool = False,
        wait_seconds: float | None = None,
        fallback: bool = False,
    ) -> None:
        """Predict over HTTP until SIGTERM, Ctrl-C or `stop_serving`; collaborators may come and go meanwhile.

        Args:
            task_id: as for `launch_task`; the placeholder stands for the only finished task here.
            http: where to listen: address and port.
            token_file: of the token that clients show; made where there is none. Default: among the task's predictions.
            tls: the server's certificate and key (PEM files).
            allow_remote: other machines may reach it; needs `tls`.
            wait_seconds: that a request waits for its answer.
            fallback: see `predict_online`. Such answers have `"source": "fallback"`.

        Raises:
            MissingExtra: starlette, uvicorn or prometheus-client is missing.
        """
        ensure_visible()
        with one_line_errors():
            try:
                from secure_hfl.serving.server import HttpServer, options_of
            except ModuleNotFoundError as error:
                raise MissingExtra(f"--http needs {error.name}: pip install 'secure-hfl[http]'") from None
            service = prediction_service(self, task_id, fallback)
            file = Path(token_file or service.directory / "http.token")
            server = self._server = HttpServer(service, options_of(http, file, tls, allow_remote, wait_seconds))
            server.run()

    def export(self, directory: Path | str, task_id: str = PLACEHOLDER, onnx: bool = False) -> list[Exported]:
        """Write the Host's models of a finished task: safetensors, programs of `torch.export`, and ONNX if asked for.

        Args:
            directory: where to; made if need be.
            task_id: as for `launch_task`; the placeholder stands for the only finished task here.

        Returns:
            What was written, and what could not be, and why.

        Raises:
            MissingExtra: ONNX needs onnx and onnxscript.
        """
        ensure_visible()
        with one_line_errors():
            return export_host(self, task_id, Path(directory), onnx)

    def is_task_finished(self) -> bool:
        """Asked after every round. By default true when the configured max rounds are reached."""
        return self._is_reach_max_rounds()

    @property
    def decides_when_finished(self) -> bool:
        """Whether the user has overridden `is_task_finished`."""
        return type(self).is_task_finished is not HeteroNNHostScheduler.is_task_finished

    def _is_reach_max_rounds(self) -> bool:
        return self.current_round >= self.max_rounds

    def validate_context(self) -> None:
        """Check what a run needs. Override to add checks, and call `super().validate_context()` first."""
        super().validate_context()
        for name, low in (("max_rounds", 0), ("log_rounds", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise ConfigurationError(f"{name} must be an integer of at least {low}, not {value!r}")
        if self.max_rounds == 0 and not self.decides_when_finished:
            raise ConfigurationError("max_rounds must be at least 1, or override is_task_finished")
        if not 0 < self.calculation_timeout < MAX_TIMEOUT:
            raise ConfigurationError(f"calculation_timeout must be positive seconds, not {self.calculation_timeout}")
        if not 0 <= self.projection_lr < 1e6:
            raise ConfigurationError(f"projection_lr must be a learning rate, not {self.projection_lr}")
        if self.fallback and not self.is_feature_holder:
            raise ConfigurationError("fallback needs features of the Host's own, and it has none")
        self._check_protection()

    def _check_protection(self) -> None:
        """The arguments that decide what others see."""
        projection = self.projection
        if projection is not None and projection is not False:
            for width in projection.values() if isinstance(projection, Mapping) else [projection]:
                if width is not True and not (type(width) is int and 1 <= width <= MAX_WIDTH):
                    raise ConfigurationError(f"a projection's width must be True or 1 to {MAX_WIDTH}, not {width!r}")
        if self.fusion not in FUSIONS:
            raise ConfigurationError(f"fusion must be {' or '.join(map(repr, FUSIONS))}, not {self.fusion!r}")
        may_train = self.may_train
        if may_train is not None and (
            not isinstance(may_train, (set, frozenset, list, tuple)) or any(type(key) is not str for key in may_train)
        ):
            raise ConfigurationError(f"may_train must be a set of names or None, not {may_train!r}")
        if self.gradient_noise is not None and not isinstance(self.gradient_noise, GradientNoise):
            raise ConfigurationError(
                "gradient_noise must be GaussianNoise(clip, sigma), MaxNormNoise(), MarvellNoise(ratio) or None, not "
                f"{self.gradient_noise!r}"
            )
        if self.label_privacy is not None and not isinstance(self.label_privacy, RandomizedResponse):
            raise ConfigurationError(
                f"label_privacy must be RandomizedResponse(epsilon, classes) or None, not {self.label_privacy!r}"
            )

    def check_feature_width(self, feature_key: str, width: int) -> None:
        """Told, before training, how wide each party's features are. Override to expect something of them."""

    # What the engine provides ----------------------------------------------------------------------------------------

    @property
    def optimizer(self) -> SecureOptimizer:
        """Drives the feature, projection and infer optimizers of the task."""
        return self._models.optimizer

    @property
    def infer_model(self) -> nn.Module:
        """The top model."""
        return self._models.infer_model

    @property
    def _models(self) -> HostModels:
        models = self._running.models
        if not isinstance(models, HostModels):
            raise ConfigurationError("this scheduler is not running as a host")
        return models

    def _make_run(self, reference: str) -> Run:
        return host_run(self, reference)


class HeteroNNLabelHostScheduler(HeteroNNHostScheduler):
    """A Host that has labels and no features: `HeteroNNHostScheduler` with `is_feature_holder=False`.

    Its iterators yield the labels of each batch, and nothing else.
    """

    def __init__(self, feature_key: str, *others: Any, **named: Any) -> None:
        super().__init__(feature_key, *others, **{**named, "is_feature_holder": False})

    def build_feature_model(self) -> nn.Module:
        """Never called: there is no feature."""
        raise NotImplementedError

    def build_feature_optimizer(self, feature_model: nn.Module) -> Optimizer | None:
        """Never called: there is no feature."""
        raise NotImplementedError
