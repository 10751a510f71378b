"""The Host's dry run: features of the collaborators are made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from protocols.core.message import check_finite
from protocols.core.randomness import OsRandomness
from protocols.core.wording import plural
from protocols.task.manifest import SUM_KEY
from secure_hfl import run_options
from secure_hfl.dry_run.batches import as_array
from secure_hfl.dry_run.run import DryParty, RolePart
from secure_hfl.engine.batch import HostBatch, received_features
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.models import HostModels
from secure_hfl.engine.terms import check_sum
from secure_hfl.engine.training_watch import TrainingWatch
from secure_hfl.engine.user_code import iterator_name, own_batch
from secure_hfl.engine.widths import projection_widths, with_option
from secure_hfl.errors import UserCodeError
from secure_hfl.optimizer import gradients_of
from secure_hfl.privacy.randomized_response import LabelDraws
from secure_hfl.schemes import Scheme, load_scheme
from secure_hfl.tasks.record import SUM

UNKNOWN_WIDTH = 16
"""Of made-up features, where nothing says how wide they are."""


class Features(dict[str, torch.Tensor]):
    """A batch's features by key. Those of a collaborator that nobody has named are made when they are asked for."""

    def __init__(self, make: Callable[[str], torch.Tensor]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: str) -> torch.Tensor:
        self[key] = self._make(key)
        return self[key]


class DryBatch(HostBatch):
    """One training batch: what `self.optimizer` steps on. Gradients go nowhere but into the Host's own models."""

    def __init__(self, own_key: str, own: torch.Tensor, leaves: Features) -> None:
        super().__init__(own_key, own, {}, {}, {})
        self.leaves = leaves
        self.gradients: dict[str, torch.Tensor] = {}

    def step(self, learning_rates: Mapping[str, float], step_local: Callable[[], None]) -> None:
        """As in a real batch, but for what crosses the wire."""
        self.gradients = gradients_of(self.leaves, self.own_has_run)
        if self.own_has_run:
            del self.gradients[self._own_key]  # it is where it belongs
        for key, gradient in self.gradients.items():
            check_finite(f"gradient of the loss for feature_projection[{key!r}]", as_array(gradient))
        self.backward_own(again=False)
        step_local()


def known_peers(scheduler: HostScheduler, party: DryParty) -> dict[str, int]:
    """How wide what comes from collaborators is, as far as that is known before a batch: of each, or their sum."""
    widths = _known_widths(scheduler, party)
    if scheduler.fusion != SUM or not widths:
        return widths
    return {SUM_KEY: next(iter(widths.values()))}


def _known_widths(scheduler: HostScheduler, party: DryParty) -> dict[str, int]:
    given = dict(party.assumptions.peers)
    for key, width in given.items():
        scheduler.check_feature_width(key, width)
    rows = getattr(scheduler, "project_layer_config", ())
    given = given or {key: width for key, width, _ in rows if key != party.key}
    if given:
        asked = asked_widths(scheduler, party, list(given))
        widths = [out or width for width, out in zip(given.values(), asked or [0] * len(given))]
        if scheduler.fusion == SUM:
            check_sum(likely_scheme(scheduler, party), None if asked is None else widths, [party.key, *given])
        return dict(zip(given, widths))
    projection = scheduler.projection if isinstance(scheduler.projection, Mapping) else {}
    return {key: width for key, width in projection.items() if width is not True}


def asked_widths(scheduler: HostScheduler, party: DryParty, keys: Sequence[str]) -> list[int] | None:
    """As `projection_widths`, in the scheme that a script or an option says; else in this scheduler's likely one."""
    asked = with_option(scheduler.projection, run_options.current().projection)
    return projection_widths(asked, likely_scheme(scheduler, party), keys)


def likely_scheme(scheduler: HostScheduler, party: DryParty) -> Scheme:
    """That which a script or an option says; else one for the scheduler's projection."""
    return load_scheme(party.scheme or ("plain" if scheduler.projection is False else "bfv"))


class MadeUpPeers:
    """Collaborators' features, made up.

    Args:
        known: how wide those are that are known.
        asked: the scheduler's `projection`, the width of one that is not known, if it is a number.
        party: whose dry run it is.

    Attributes:
        widths: of all that there are so far.
    """

    def __init__(self, known: Mapping[str, int], asked: object, party: DryParty) -> None:
        self.widths = dict(known)
        self._asked, self._party = asked, party
        self._guessed: set[str] = set()
        self._is_reported = False

    def beside(self, own: torch.Tensor, training: bool) -> Features:
        """A batch's features of all parties; those of the Host are `own`."""

        def make(key: str) -> torch.Tensor:
            if key not in self.widths:
                self._check_may_guess(key)
                self.widths[key] = self._asked if type(self._asked) is int else own.shape[1] or UNKNOWN_WIDTH
                self._guessed.add(key)
            made_up = self._party.made_up(len(own), self.widths[key])
            return received_features(made_up.numpy(), own).requires_grad_(training)

        features = Features(make)
        if own.shape[1]:
            features[self._party.key] = own.detach().requires_grad_() if training else own
        for key in self.widths:
            features[key]
        return features

    def _check_may_guess(self, key: str) -> None:
        """Raise `KeyError`, as a real batch's features do, where all collaborators are known: none has this key."""
        party = self._party
        if party.assumptions.are_all_peers:
            known = ", ".join(map(repr, self.widths))
            detail = f"the Host asks for the features of {key!r}; the collaborators' scripts have feature_key {known}"
            party.findings.add("feature_key", "fail", detail)
            raise KeyError(key)

    def report(self) -> None:
        """Say which features were made up; once."""
        if self._is_reported:
            return
        self._is_reported = True
        findings = self._party.findings
        for key, width in self.widths.items():
            more = ", as the Host's own: name its width if that is wrong" if key in self._guessed else ""
            findings.add("feature_projection", "ok", f"made-up features of {key!r}, {width} wide{more}")
        if not self.widths:
            detail = "train_a_batch has asked for no collaborator's features: name those that there will be"
            findings.add("feature_projection", "warn", detail)


class HostPart(RolePart):
    """Of a Host."""

    _peers: MadeUpPeers

    def __init__(self, scheduler: HostScheduler, party: DryParty) -> None:
        self._scheduler = scheduler
        self._party = party
        self._models = HostModels(party.user)

    def build(self) -> HostModels:
        """See the base."""
        scheduler, party, models = self._scheduler, self._party, self._models
        with party.findings.step("projection"):
            self._peers = MadeUpPeers(known_peers(scheduler, party), scheduler.projection, party)
        party.shown.models, party.shown.collaborators = models, tuple(self._peers.widths)
        with party.findings.step("models"):
            loss = scheduler.fallback_loss if scheduler.has_fallback else None
            models.build(list(self._peers.widths), scheduler.projection_lr, fallback_loss=loss)
        party.report_model("build_feature_model", models.feature_model, models.optimizer.feature_optimizer)
        party.report_model("build_infer_model", models.infer_model, models.optimizer.infer_optimizer)
        return models

    def _own_batches(self, training: bool) -> Iterator[tuple[torch.Tensor, Any]]:
        name, batches = iterator_name(training), self._party.batches
        privacy = self._scheduler.label_privacy if training else None
        draws = None if privacy is None else LabelDraws(privacy, OsRandomness().seed(), self._party.shown.train_ids)
        for batch in batches.draw(training):
            features, labels = own_batch(name, batch, self._scheduler.is_feature_holder)
            features = batches.check(name, features)
            if hasattr(labels, "__len__") and len(labels) != len(features):
                raise UserCodeError(
                    f"{name} yielded {plural(len(features), 'row')} of features with {plural(len(labels), 'label')}"
                )
            if draws is not None:
                labels = draws(labels, batches.confirmed, len(features))
            yield features, labels

    # Training --------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """See the base."""
        party = self._party
        batches: list[torch.Tensor] = []
        losses: list[float] = []
        with party.findings.step("iterate_train_feature"):
            for own, labels in self._own_batches(training=True):
                if not batches and own.shape[1]:
                    self._scheduler.check_feature_width(party.key, own.shape[1])
                batches.append(own)
                try:
                    with party.findings.step("train_a_batch"):
                        losses.append(self._train_a_batch(own, labels))
                finally:
                    self._peers.report()
            party.batches.report("iterate_train_feature", batches)
        party.findings.add("train_a_batch", "ok", "losses " + ", ".join(f"{loss:.4g}" for loss in losses))

    def _train_a_batch(self, own: torch.Tensor, labels: Any) -> float:
        party, optimizer = self._party, self._models.optimizer
        leaves = self._peers.beside(own, training=True)
        batch = DryBatch(party.key, own, leaves)
        optimizer.open(batch)
        own_model = self._models.feature_model.parameters()
        with (
            TrainingWatch(own_model, optimizer.before_backward, batch.backward_own) as watch,
            torch.enable_grad(),
        ):
            returned = party.user.call("train_a_batch", self._scheduler.train_a_batch, leaves, labels)
        if not optimizer.close():
            detail = "self.optimizer.step() was not called, so nothing is trained on such a batch"
            party.findings.add("train_a_batch", "warn", detail)
        for key, gradient in batch.gradients.items():
            if not gradient.any():
                party.findings.add("train_a_batch", "warn", f"the loss does not depend on feature_projection[{key!r}]")
        party.check_parameters()
        loss: float = watch.value(returned)
        return loss

    # Testing ---------------------------------------------------------------------------------------------------------

    def test(self) -> None:
        """See the base."""
        party, findings, user = self._party, self._party.findings, self._party.user
        if not party.shown.test_ids:
            findings.add("test", "warn", "not called: split_dataset returned no test ids")
            return
        batches: list[torch.Tensor] = []
        features: list[dict[str, torch.Tensor]] = []
        all_labels: list[Any] = []
        with torch.no_grad():
            with findings.step("iterate_test_feature"):
                for own, labels in self._own_batches(training=False):
                    batches.append(own)
                    features.append(self._peers.beside(own, training=False))
                    all_labels.append(labels)
                party.batches.report("iterate_test_feature", batches)
            with findings.step("test"):
                user.call("test", self._scheduler.test, features, all_labels)
        written = ", ".join(f"{tag} {value:.4g}" for tag, value in party.shown.board.last_scalars().items())
        findings.add("test", "ok", written or "nothing was written to tb_writer")
        with findings.step("is_task_finished"):
            user.call("is_task_finished", self._scheduler.is_task_finished)
