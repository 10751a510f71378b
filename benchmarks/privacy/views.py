"""What each party sees of a training run: a scheme's real roles, the real `SecureOptimizer` and `HostBatch`.

Both parties are in this process and their messages go through memory. Kept are the gradients da that the collaborator
received and the Host's z and dz, batch by batch; z of every sample in a test round at the end; and where a setting asks
for it, z of the test rows after every round.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from torch.optim import SGD

from benchmarks.harness.pump import pump, replay
from benchmarks.privacy.scores import auc
from protocols.core.randomness import SeededRandomness
from protocols.core.steps import Steps
from protocols.layer.interface import CollaboratorLayer, LayerSpec
from secure_hfl.engine.batch import HostBatch
from secure_hfl.optimizer import SecureOptimizer, gradients_of
from secure_hfl.privacy.defence import BatchNoise, GradientNoise
from secure_hfl.privacy.randomized_response import LabelDraws, RandomizedResponse
from secure_hfl.schemes import load_scheme

HOST, OTHER = "host", "collaborator"
PROJECTION_LR = 0.01
"""Of the layer, a scheduler's default."""

Array = NDArray[Any]
Bottom = Callable[[], nn.Module]


@dataclass(frozen=True)
class Task:
    """A data set cut into two parties' columns, and the models.

    Args:
        name: for the table.
        host, other: columns [n, ...] float32 of the Host and the collaborator.
        labels: [n] int64.
        train: the first so many rows are trained on, the rest tests.
        host_bottom, other_bottom: make the bottom models.
        widths: of the bottom models' outputs, Host first.
        rows, epochs, learning_rate: of the training.
    """

    name: str
    host: torch.Tensor
    other: torch.Tensor
    labels: torch.Tensor
    train: int
    host_bottom: Bottom
    other_bottom: Bottom
    widths: tuple[int, int]
    rows: int
    epochs: int
    learning_rate: float

    @property
    def classes(self) -> int:
        """2 for a binary task."""
        return int(self.labels.max()) + 1


@dataclass(frozen=True)
class Setting:
    """How it is trained.

    Args:
        scheme: its name.
        projection: width of the layer; None: no layer (scheme "plain" only).
        trainable: whether the collaborator's bottom model is trained.
        noise: makes the Host's `gradient_noise`.
        privacy: the Host's `label_privacy`.
        corrects: whether the loss is the one that it provides.
        seed: of everything.
        batches: stop after so many; 0: train all epochs.
        every_round: a test round after each epoch.
        projection_lr: of the layer.
        stands_still: a bottom model in eval mode that is trained at a learning rate of 0. Its features stay, and the
            layer moves: what a frozen one's did up to protocol version 2.
    """

    scheme: str = "plain"
    projection: int | None = None
    trainable: bool = True
    noise: Callable[[], GradientNoise | None] = lambda: None
    privacy: RandomizedResponse | None = None
    corrects: bool = True
    seed: int = 1
    batches: int = 0
    every_round: bool = False
    projection_lr: float = PROJECTION_LR
    stands_still: bool = False


@dataclass
class Views:
    """What was seen, and what to judge by.

    Attributes:
        batches: for each training batch, its rows and the gradient that the collaborator received, or None.
        dz: the gradients before noise, batch by batch.
        projections: batch by batch, z [B, o] and the truth behind it [B, d].
        rounds: the same of the test rows after each epoch, if `Setting.every_round`.
        labels: what was trained on, in place of the task's [n].
        z: the Host's view of all rows in a test round [n, o].
        a: the truth behind it [n, d].
        bottom: the collaborator's model at the end; `fresh` as it began.
        accuracy, score: of the task on its test rows; the score is the AUC of a binary task.
    """

    batches: list[tuple[Array, Array | None]] = field(default_factory=list)
    dz: list[Array] = field(default_factory=list)
    projections: list[tuple[Array, Array]] = field(default_factory=list)
    rounds: list[tuple[Array, Array]] = field(default_factory=list)
    labels: Array = field(default_factory=lambda: np.empty(0))
    z: Array = field(default_factory=lambda: np.empty(0))
    a: Array = field(default_factory=lambda: np.empty(0))
    bottom: nn.Module = field(default_factory=nn.Identity)
    fresh: nn.Module = field(default_factory=nn.Identity)
    accuracy: float = 0.0
    score: float = 0.0


class Wire:
    """In place of a session's link: a conversation with the collaborator's role, in memory."""

    def __init__(self, collaborator: CollaboratorLayer) -> None:
        self.collaborator = collaborator
        self.gradient: Array | None = None

    def run(self, steps: Steps[Any]) -> None:
        """The Host's half of what the collaborator has no part in."""
        replay(steps)

    def start(self, steps: Steps[Any]) -> Wire:
        """The Host's half of a batch's end against ours."""
        self.gradient = pump(steps, self._backward_and_settle()).right
        return self

    def pass_tests(self) -> None:
        """It is over."""

    def finish(self) -> None:
        """It is over."""

    def _backward_and_settle(self) -> Steps[Any]:
        gradient = yield from self.collaborator.backward()
        yield from self.collaborator.settle()
        return gradient


class Run:
    """One training run."""

    def __init__(self, task: Task, setting: Setting) -> None:
        self.task, self.setting, self.views = task, setting, Views()
        torch.manual_seed(setting.seed)
        self.own, self.other = task.host_bottom(), task.other_bottom()
        width = setting.projection or task.widths[1]
        outputs = task.classes if task.classes > 2 else 1
        self.top = nn.Sequential(nn.Linear(task.widths[0] + width, 20), nn.ReLU(), nn.Linear(20, outputs))
        self.views.fresh = copy.deepcopy(self.other)
        self.noise = setting.noise()
        self.labels = self._labels()
        self.views.labels = self.labels.numpy()
        spec = LayerSpec(
            OTHER, task.widths[1], setting.projection, task.rows, setting.trainable, bytes(32), setting.seed
        )
        scheme = load_scheme(setting.scheme)
        self.layer, self.far = scheme.host_layer(spec), scheme.collaborator_layer(spec)
        pump(self.layer.setup(), self.far.setup())
        layers = [] if setting.projection is None else [OTHER]
        sgd = [SGD(model.parameters(), task.learning_rate, momentum=0.9) for model in (self.own, self.top, self.other)]
        self.optimizer, self.other_optimizer = SecureOptimizer(sgd[0], sgd[1], layers, setting.projection_lr), sgd[2]
        if setting.stands_still:
            sgd[2].param_groups[0]["lr"] = 0.0

    def _labels(self) -> torch.Tensor:
        """Those of the training rows as they are drawn, the others as they are."""
        task, setting = self.task, self.setting
        if setting.privacy is None:
            return task.labels
        ids = range(task.train)
        draws = LabelDraws(setting.privacy, SeededRandomness(setting.seed, "label privacy").seed(), ids)
        return torch.cat([draws(task.labels[: task.train], ids, task.train), task.labels[task.train :]])

    def train(self) -> Views:
        """All of it."""
        task, batches = self.task, 0
        order = torch.Generator().manual_seed(self.setting.seed)
        for epoch in range(task.epochs):
            for rows in torch.randperm(task.train, generator=order).split(task.rows):
                if self.setting.batches and batches == self.setting.batches:
                    break
                self._batch(rows, f"round {epoch}, batch {batches}")
                batches += 1
            self._test_round()
        self._test()
        self.views.bottom = self.other
        return self.views

    def _batch(self, rows: torch.Tensor, place: str) -> None:
        task = self.task
        self.own.train()
        self.other.train(self.setting.trainable and not self.setting.stands_still)
        features = self.other(task.other[rows])
        z = self._project(features, training=True)
        self.views.projections.append((z, features.detach().numpy()))
        wire, labels = Wire(self.far), self.labels[rows]
        noise = BatchNoise(self.noise, labels, [OTHER] if self.setting.trainable else [], self.setting.seed, place)
        own = self.own(task.host[rows])
        batch = HostBatch(HOST, own, {OTHER: z}, {OTHER: wire}, {OTHER: self.layer}, noise)  # type: ignore[dict-item]
        self.optimizer.open(batch)
        self.optimizer.zero_grad()
        self._loss(torch.cat([batch.leaves[HOST], batch.leaves[OTHER]], 1), labels).backward()
        self.views.dz.append(gradients_of(batch.leaves)[OTHER].numpy().copy())
        self.optimizer.step()
        self.optimizer.close()
        self.views.batches.append((rows.numpy(), wire.gradient))
        if wire.gradient is not None:
            self.other_optimizer.zero_grad()
            features.backward(torch.from_numpy(wire.gradient))
            self.other_optimizer.step()

    def _loss(self, fused: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        out = self.top(fused)
        if self.setting.privacy is not None and self.setting.corrects:
            return self.setting.privacy.loss(out, labels)
        if self.task.classes > 2:
            return F.cross_entropy(out, labels)
        return F.binary_cross_entropy_with_logits(out[:, 0], labels.float())

    def _project(self, features: torch.Tensor, training: bool) -> NDArray[np.float32]:
        values = features.detach().numpy()
        z: NDArray[np.float32] = pump(
            self.layer.forward(len(values), training), self.far.forward(values, training)
        ).left
        return z

    @torch.no_grad()
    def _test_round(self) -> None:
        """Over the test rows, if asked for."""
        if not self.setting.every_round:
            return
        self.other.eval()
        shown = []
        for rows in torch.arange(self.task.train, len(self.task.labels)).split(self.task.rows):
            features = self.other(self.task.other[rows])
            shown.append((self._project(features, training=False), features.numpy()))
        z, a = zip(*shown, strict=True)
        self.views.rounds.append((np.concatenate(z), np.concatenate(a)))

    @torch.no_grad()
    def _test(self) -> None:
        """A test round over all rows, the training rows too."""
        task, seen, true, outs = self.task, [], [], []
        self.own.eval()
        self.other.eval()
        # An encrypted layer is laid out for batches of `rows`; its spot check needs only a few.
        upto = task.rows if self.setting.scheme != "plain" else len(task.labels)
        for rows in torch.arange(upto).split(task.rows):
            features = self.other(task.other[rows])
            z = self._project(features, training=False)
            outs.append(self.top(torch.cat([self.own(task.host[rows]), torch.from_numpy(z)], 1)))
            seen.append(z)
            true.append(features.numpy())
        self.views.z, self.views.a = np.concatenate(seen), np.concatenate(true)
        out, labels = torch.cat(outs)[task.train :], task.labels[task.train : upto]
        if len(labels) and task.classes > 2:
            self.views.accuracy = self.views.score = float((out.argmax(1) == labels).float().mean())
        elif len(labels):
            self.views.accuracy = float(((out[:, 0] > 0) == (labels == 1)).float().mean())
            self.views.score = auc(out[:, 0].numpy(), labels.numpy() == 1)
