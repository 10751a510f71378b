"""The host's rounds: training and testing with everyone in lockstep, and the farewell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from protocols.core.envelope import Phase
from protocols.core.message import Array
from protocols.core.wording import plural
from protocols.layer.interface import HostLayer
from protocols.layer.pads import total
from protocols.task.manifest import SUM_KEY
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import HostRounds
from secure_hfl.engine.batch import HostBatch, received_features
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.layers import Layers
from secure_hfl.engine.measurements import Pass
from secure_hfl.engine.models import HostModels
from secure_hfl.engine.offline_phase import HostOfflineWork, Outlook, wait_for_units
from secure_hfl.engine.peers import FLUSH_SECONDS
from secure_hfl.engine.recovery import first_round
from secure_hfl.engine.training_watch import TrainingWatch
from secure_hfl.engine.user_code import UserCode, iterator_name, own_batch
from secure_hfl.engine.workbench import TaskState, Workbench, is_due
from secure_hfl.log import logger
from secure_hfl.metrics import RoundMetrics
from secure_hfl.privacy.defence import BatchNoise
from secure_hfl.privacy.randomized_response import LabelDraws
from secure_hfl.work_clock import span

OwnBatch = tuple[torch.Tensor, Any]


class OwnBatches:
    """The host's batches: features and labels, checked.

    Attributes:
        draws: what replaces training labels, if they are protected.
    """

    def __init__(self, user: UserCode, state: TaskState, models: HostModels) -> None:
        self._user, self._state, self._models = user, state, models
        self.draws: LabelDraws | None = None

    def iterate(self, training: bool) -> Iterator[OwnBatch]:
        """The user's iterator of a round."""
        name = iterator_name(training)
        ids = self._state.train_ids if training else self._state.test_ids
        for batch in self._user.batches(training, self._models.feature_model, ids):
            features, labels = own_batch(name, batch, self._user.is_feature_holder)
            confirmed = self._user.take_confirmed_ids()
            if training and self.draws is not None:
                labels = self.draws(labels, confirmed, len(features))
            yield features, labels


class HostTraining:
    """All rounds of one conversation.

    Args:
        bench: what the run works with.
        scheduler: the user's.
        models: the host's.
        layers: the host's sides of the projection layers.
        batches: the host's own.

    Attributes:
        offline: what training waits for, in a scheme with an offline phase.
    """

    _rounds: HostRounds

    def __init__(
        self,
        bench: Workbench,
        scheduler: HostScheduler,
        models: HostModels,
        layers: Layers[HostLayer],
        batches: OwnBatches,
    ) -> None:
        self._bench, self._scheduler, self._models = bench, scheduler, models
        self._layers, self._batches = layers, batches
        self._links = bench.peers.links
        self._metrics = bench.measurements.metrics
        self._options = bench.assignment.options
        self.offline: HostOfflineWork | None = None
        self._steps = 0
        manifest = bench.state.manifest
        self._is_summed = manifest.is_summed
        self._rate_limits = {key: manifest.limits(key).projection_lr for key in manifest.feature_keys}

    # What is to come -------------------------------------------------------------------------------------------------

    @property
    def outlook(self) -> Outlook:
        """What the rest of the task will use of what is made ahead of time."""
        state = self._bench.state
        rows = next(iter(self._layers.specs.values())).rows
        train, test = (-(-len(ids) // rows) for ids in (state.train_ids, state.test_ids))
        limit = self._options.batches
        batches = train if limit is None else min(train, limit), test if self._scheduler.log_rounds else 0
        stock = self._bench.assignment.limits.stock_bytes
        left = self._rounds_left()
        if left is None:
            return Outlook(rows, batches, (None, None), stock)
        return Outlook(rows, batches, (len(left), sum(self._is_test_due(n) or n == left[-1] for n in left)), stock)

    def _rounds_left(self) -> range | None:
        """Their numbers, if the user does not decide as they go. One that is over may still have its test before it."""
        last = self._options.rounds
        if last is None:
            last = None if self._scheduler.decides_when_finished else self._scheduler.max_rounds
        return None if last is None else range(max(1, len(self._metrics.rounds)), last + 1)

    def _is_test_due(self, number: int) -> bool:
        """Whether this round is followed by a test, as far as the configuration says."""
        every = self._scheduler.log_rounds
        return every > 0 and (number == 1 or number % every == 0)

    def _is_finished(self, number: int) -> bool:
        if self._options.rounds is not None:
            return number >= self._options.rounds
        if self._bench.user.call("is_task_finished", self._scheduler.is_task_finished):
            return True
        declared = self._bench.state.manifest.max_rounds
        is_over = bool(declared) and number >= declared
        if is_over and self._scheduler.decides_when_finished:
            logger.warning(
                f"The task ends behind round {number}, the last that was agreed on, although is_task_finished says no. "
                "More rounds need a new task, with a larger max_rounds."
            )
        return is_over

    # Rounds ----------------------------------------------------------------------------------------------------------

    def run(self, point: ResumePoint | None, begun: Iterator[OwnBatch] | None) -> None:
        """Train until the task is finished.

        Args:
            point: where the task was resumed; None: it starts.
            begun: the iterator of the first round to train, if it has been started.
        """
        self._rounds = HostRounds(list(self._links), point)
        number, behind, _ = first_round(point)
        while True:
            self._bench.state.current_round = number
            if behind is None:
                with self._bench.recovery.shutdown.training():
                    self._train_round(number, begun)
                begun = None
            is_tested = behind is Phase.TEST
            if self._is_test_due(number) and not is_tested:
                self._test(number)
                is_tested = True
            finished = self._is_finished(number)
            if finished and not is_tested and self._scheduler.log_rounds:
                self._test(number)
            if finished:
                self._say_goodbye()
                return
            number, behind = number + 1, None

    def _train_round(self, number: int, begun: Iterator[OwnBatch] | None) -> None:
        bench, metrics = self._bench, self._metrics
        every = bench.checkpoints.every(self._options.checkpoint_every, metrics.rounds)
        self._start_round(Phase.TRAIN, self._options.batches or 0, every)
        for layer in self._layers.by_key.values():
            layer.begin_round(number)
        done = RoundMetrics(round=number, batches=self._rounds.batches)
        if begun is None:
            bench.user_state.begin_round()
            begun = self._batches.iterate(training=True)
        with bench.measurements.one_pass() as pass_:
            for own, labels, collected in self._lockstep(begun, training=True):
                loss = self._train_batch(own, labels, collected)
                done.batches += 1
                metrics.batch_losses.append(loss)
                self._tell(done, loss, pass_)
                if is_due(done.batches, every):
                    self._before_checkpoint()
                bench.batch_done(number, done.batches, every)
            self._before_checkpoint()
            bench.peers.sign()
        if done.batches and not self._steps:
            logger.warning(f"Round {number}: self.optimizer.step() was called in no batch, so nothing was trained.")
        self._steps = 0
        metrics.rounds.append(done)
        bench.measurements.account(done, True, pass_)
        bench.assignment.store.record_round(bench.assignment.record.task_id, number)
        logger.info(f"Round {number}: {plural(done.batches, 'batch')} in {done.train_seconds:.2f} s.")
        bench.keep(ResumePoint(Phase.TRAIN, number), done.batches)

    def _before_checkpoint(self) -> None:
        """What each collaborator's layer says before one."""
        layers = self._layers.by_key
        for begun in [link.start(layers[key].before_checkpoint()) for key, link in self._links.items()]:
            begun.finish()

    def _tell(self, done: RoundMetrics, loss: float, pass_: Pass) -> None:
        known = self._metrics.rounds[0].batches if self._metrics.rounds else None
        total = known if known is not None and known >= done.batches else self._options.batches
        sent, got = self._bench.peers.bytes_now()
        crossed = {"sent": sent, "received": got, "work": pass_.clock.seconds}
        self._bench.progress.emit("batch", round=done.round, batch=done.batches, batches=total, loss=loss, **crossed)

    def _train_batch(self, own: torch.Tensor, labels: Any, collected: Mapping[str, Array]) -> float:
        bench, optimizer = self._bench, self._models.optimizer
        trained = [key for key, spec in self._layers.specs.items() if spec.trainable]
        shown = [SUM_KEY] if self._is_summed else trained
        place = str(bench.peers.place)
        noise = BatchNoise(self._scheduler.gradient_noise, labels, shown, self._options.seed, place)
        party, layers = bench.assignment.party, self._layers.by_key
        batch = HostBatch(party, own, collected, self._links, layers, noise, self._rate_limits, self._is_summed)
        optimizer.open(batch)
        own_model = self._models.feature_model.parameters()
        watch = TrainingWatch(own_model, optimizer.before_backward, batch.backward_own)
        with watch, span("top"), torch.enable_grad():
            seen = self._shown(batch.leaves)
            returned = bench.user.call("train_a_batch", self._scheduler.train_a_batch, seen, labels)
        if optimizer.close():
            self._steps += 1
        else:
            batch.skip()
        if self._models.fallback is not None:
            with span("top"):
                self._models.fallback.train(own, labels, len(self._metrics.batch_losses) + 1)
        loss: float = watch.value(returned)
        return loss

    def _shown(self, features: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the user's methods get of all parties' features: not those of a host that has none."""
        party, is_holder = self._bench.assignment.party, self._bench.user.is_feature_holder
        return {key: each for key, each in features.items() if is_holder or key != party}

    def _test(self, number: int) -> None:
        bench, party = self._bench, self._bench.assignment.party
        self._start_round(Phase.TEST)
        features: list[dict[str, torch.Tensor]] = []
        all_labels: list[Any] = []
        with bench.measurements.one_pass() as pass_, torch.no_grad():
            for own, labels, collected in self._lockstep(self._batches.iterate(training=False), training=False):
                others = {key: received_features(values, own) for key, values in collected.items()}
                features.append(self._shown({party: own, **others}))
                all_labels.append(labels)
            bench.peers.sign()
            bench.user.call("test", self._scheduler.test, features, all_labels)
        done = self._metrics.rounds[-1]
        done.accuracy = self._metrics.last_scalar("test_results/accuracy", number)
        done.average_loss = self._metrics.last_scalar("test_results/average_loss", number)
        bench.measurements.account(done, False, pass_)
        bench.keep(ResumePoint(Phase.TEST, number))

    def _start_round(self, phase: Phase, limit: int = 0, every: int = 0) -> None:
        self._models.set_mode(training=phase is Phase.TRAIN)
        self._rounds.begin_round(phase, limit, every)
        self._follow()
        for key, link in self._links.items():
            link.run(self._rounds.start(key))

    def _follow(self) -> None:
        """Messages are of the place where the rounds are."""
        place = self._rounds.place
        self._bench.peers.go_to(place.phase, place.round, place.batch)

    def _lockstep(
        self, iterator: Iterator[OwnBatch], training: bool
    ) -> Iterator[tuple[torch.Tensor, Any, dict[str, Array]]]:
        """Our batches with everyone's projected features, until all iterators end together."""
        rounds, links, layers = self._rounds, self._links, self._layers.by_key
        limit = (self._options.batches or 0) if training else 0
        while True:
            self._follow()
            with span("bottom forward"):
                own = None if limit and rounds.batches == limit else next(iterator, None)
            # Not before: the bottom model wants the interpreter for itself, and now we wait.
            self._bench.background.wake()
            for key, link in links.items():
                link.run(rounds.opened_by(key))
            rounds.align(None if own is None else len(own[0]), self._bench.user.take_batch_ids())
            if own is None:
                return
            rows = len(own[0])
            with span("scheme, other"):
                new_rows = {key: link.run(layers[key].new_rows(rows)) for key, link in links.items()}
            if self.offline is not None:
                with span("wait"):
                    wait_for_units(self.offline, layers, training, new_rows)
            with span("scheme, other"):
                collected = self._summed(rows, training) if self._is_summed else self._separate(rows, training)
            yield own[0], own[1], collected
            rounds.batch_done()

    def _separate(self, rows: int, training: bool) -> dict[str, Array]:
        """Everyone's projected features."""
        layers, links = self._layers.by_key, self._links
        begun = {key: link.start(layers[key].forward(rows, training)) for key, link in links.items()}
        return {key: conversation.finish() for key, conversation in begun.items()}

    def _summed(self, rows: int, training: bool) -> dict[str, Array]:
        """Their sum: each by itself is under a pad that only the other collaborators' cancel."""
        layers, links = self._layers.by_key, self._links
        begun = [link.start(layers[key].forward_padded(rows, training)) for key, link in links.items()]
        padded = [conversation.finish() for conversation in begun]
        return {SUM_KEY: next(iter(layers.values())).decode_sum(total(padded))}

    def _say_goodbye(self) -> None:
        bench = self._bench
        bench.background.stop()
        bench.save_results(self._models)
        self._rounds.finish()
        self._follow()
        for farewell in [link.start(self._rounds.farewell(key)) for key, link in self._links.items()]:
            farewell.finish()
        bench.checkpoints.settle()
        bench.peers.sign()
        for link in self._links.values():
            link.channel.close(FLUSH_SECONDS)
