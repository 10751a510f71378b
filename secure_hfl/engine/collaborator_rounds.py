"""A collaborator's rounds: as the host says, until the task is finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch

from protocols.core.envelope import Phase
from protocols.layer.interface import CollaboratorLayer
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import CollaboratorRounds, Round
from secure_hfl.engine.bottom_step import step_bottom_model
from secure_hfl.engine.link import Link
from secure_hfl.engine.measurements import Pass
from secure_hfl.engine.models import CollaboratorModels
from secure_hfl.engine.recovery import first_round
from secure_hfl.engine.user_code import UserCode, check_features, iterator_name
from secure_hfl.engine.workbench import TaskState, Workbench, is_due
from secure_hfl.metrics import RoundMetrics
from secure_hfl.work_clock import span


class OwnFeatures:
    """A collaborator's batches, checked."""

    def __init__(self, user: UserCode, state: TaskState, models: CollaboratorModels) -> None:
        self._user, self._state, self._models = user, state, models

    def iterate(self, training: bool) -> Iterator[torch.Tensor]:
        """The user's iterator of a round."""
        name = iterator_name(training)
        ids = self._state.train_ids if training else self._state.test_ids
        for batch in self._user.batches(training, self._models.feature_model, ids):
            features = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            yield check_features(name, features)


class CollaboratorTraining:
    """All rounds of one conversation.

    Args:
        bench: what the run works with.
        models: the collaborator's.
        link: to the host.
        layer: this side of the projection layer.
        features: this party's batches.
    """

    _rounds: CollaboratorRounds

    def __init__(
        self,
        bench: Workbench,
        models: CollaboratorModels,
        link: Link,
        layer: CollaboratorLayer,
        features: OwnFeatures,
    ) -> None:
        self._bench, self._models, self._features = bench, models, features
        self._link, self._layer = link, layer
        self._metrics = bench.measurements.metrics

    def run(self, point: ResumePoint | None, begun: Iterator[torch.Tensor] | None) -> None:
        """Do what the host says until the task is finished.

        Args:
            point: where the task was resumed; None: it starts.
            begun: the iterator of the first round to train, if it has been started.
        """
        self._rounds = CollaboratorRounds(point)
        self._bench.state.current_round = first_round(point)[0]
        while True:
            wanted = self._link.run(self._rounds.next_round())
            if wanted is None:
                self._say_goodbye()
                return
            training = wanted.phase is Phase.TRAIN
            self._round(wanted, begun if training else None)
            if training:
                begun = None

    def _round(self, wanted: Round, begun: Iterator[torch.Tensor] | None) -> None:
        bench, number = self._bench, wanted.number
        training = wanted.phase is Phase.TRAIN
        bench.state.current_round = number
        bench.peers.go_to(wanted.phase, number)
        self._models.set_mode(training)
        if training:
            self._layer.begin_round(number)
        with bench.measurements.one_pass() as pass_:
            self._batches(wanted, begun, pass_)
            count = self._rounds.batches
            self._link.run(self._rounds.end_round())
            if training:
                self._link.run(self._layer.before_checkpoint())
            bench.peers.sign()
        if training:
            self._metrics.rounds.append(RoundMetrics(round=number, batches=count))
            bench.assignment.store.record_round(bench.assignment.record.task_id, number)
        bench.measurements.account(self._metrics.rounds[-1], training, pass_)
        bench.keep(ResumePoint(wanted.phase, number), count)

    def _batches(self, wanted: Round, iterator: Iterator[torch.Tensor] | None, pass_: Pass) -> None:
        """One round's."""
        bench, rounds = self._bench, self._rounds
        training = wanted.phase is Phase.TRAIN
        if iterator is None:
            bench.user_state.begin_round()
            iterator = self._features.iterate(training)
        with bench.recovery.shutdown.training() if training else nullcontext():
            features = self._next(iterator)
            while features is not None:
                self._batch(features, training)
                self._tell(wanted.number, pass_)
                # The host refreshes its share meanwhile. A checkpoint is of before the next batch is drawn.
                is_ahead = training and not is_due(rounds.batches + 1, wanted.checkpoint_every)
                features = self._next(iterator) if is_ahead else None
                self._conclude(wanted)
                if not is_ahead:
                    features = self._next(iterator)
        self._follow()

    def _next(self, iterator: Iterator[torch.Tensor]) -> torch.Tensor | None:
        """Our next batch's features; None behind the last one that there is, or that the host wants."""
        rounds, peers = self._rounds, self._bench.peers
        if not rounds.may_draw:
            return None
        place, peers.place = (
            peers.place,
            rounds.place_drawn,
        )  # of what goes wrong in it; messages are of the batch before
        with span("bottom forward"):
            features = next(iterator, None)
        peers.place = place
        return features

    def _tell(self, number: int, pass_: Pass) -> None:
        sent, got = self._bench.peers.bytes_now()
        crossed = {"sent": sent, "received": got, "work": pass_.clock.seconds}
        self._bench.progress.emit("batch", round=number, batch=self._rounds.batches + 1, **crossed)

    def _conclude(self, wanted: Round) -> None:
        """What remains of a batch once the bottom model has been stepped."""
        bench, rounds = self._bench, self._rounds
        if wanted.phase is Phase.TRAIN:
            with span("scheme, other"):
                self._link.run(self._layer.settle())
            count = rounds.batches + 1
            if is_due(count, wanted.checkpoint_every):
                self._link.run(self._layer.before_checkpoint())
            bench.batch_done(wanted.number, count, wanted.checkpoint_every)
        rounds.batch_done()

    def _follow(self) -> None:
        """Messages are of the place where the rounds are."""
        place = self._rounds.place
        self._bench.peers.go_to(place.phase, place.round, place.batch)

    def _batch(self, features: torch.Tensor, training: bool) -> None:
        self._follow()
        link, layer, optimizer = self._link, self._layer, self._models.optimizer
        with span("scheme, other"):
            values = features.detach().to("cpu", torch.float32).contiguous().numpy()
            link.run(self._rounds.open_batch(len(values), self._bench.user.take_batch_ids()))
            link.run(layer.forward(values, training))
        self._bench.background.wake()
        if not training:
            return
        with span("scheme, other"):
            gradient = link.run(layer.backward())
        if optimizer is not None:
            with span("backward and step"):
                step_bottom_model(features, gradient, optimizer)

    def _say_goodbye(self) -> None:
        bench = self._bench
        bench.peers.go_to(Phase.FINISH)
        bench.save_results(self._models)
        bench.checkpoints.settle()
        self._link.run(self._rounds.farewell())
        bench.peers.sign()
