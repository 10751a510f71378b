"""The host's run: leads the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import nn

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder, PeerViolation, SecureHflError, VerificationFailed
from protocols.core.message import Array
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.steps import received
from protocols.layer.interface import HostLayer, LayerSpec
from protocols.layer.messages import FeatureShape
from protocols.task.agreement import check_hello, make_manifest
from protocols.task.alignment import BatchOpen, EpochEnd, HostAlignment, Misaligned, SplitDigest, compare_batches
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import Hello, ManifestAccepted
from protocols.task.resumption import ResumePoint, newest_common
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.wire.codec import Catalogue
from secure_hfl.engine.batch import HostBatch, LossRecorder
from secure_hfl.engine.link import Link
from secure_hfl.engine.masks import prepare_masks, wait_for_masks
from secure_hfl.engine.offline_phase import HostPreparation
from secure_hfl.engine.psi import run_host_psi
from secure_hfl.engine.recovery import first_round
from secure_hfl.engine.run import FLUSH_SECONDS, TaskRun
from secure_hfl.engine.user_code import check_features
from secure_hfl.engine.widths import projection_widths, with_option
from secure_hfl.errors import PeerFault, PeerRefused, UserCodeError
from secure_hfl.log import logger
from secure_hfl.metrics import RoundMetrics, RunMetrics
from secure_hfl.optimizer import SecureOptimizer
from secure_hfl.privacy.defence import BatchNoise
from secure_hfl.schedulers.host import HeteroNNHostScheduler
from secure_hfl.transport.server import Lobby, listen_address
from secure_hfl.transport.shared import SharedServer, shared_server
from secure_hfl.work_clock import span

OwnBatch = tuple[torch.Tensor, Any]


class HostRun(TaskRun[HeteroNNHostScheduler]):
    """One task, from waiting for the collaborators to results."""

    role = "host"
    infer_model: nn.Module
    optimizer: SecureOptimizer
    projections: dict[str, HostLayer]
    _server: SharedServer | None = None
    _lobby: Lobby | None = None
    _preparation: HostPreparation | None = None
    _prepared: Iterator[OwnBatch] | None = None
    """The iterator of the first round to train, if it has been started."""

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            if self._server is not None:
                self._server.stop()

    def _disconnect(self) -> None:
        if self._preparation is not None:
            self._preparation.stop()
            self.metrics.offline_seconds += self._preparation.seconds
            self._preparation = None
        super()._disconnect()

    # Joining ---------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        participants = {p.name: p.certificate_pem for p in self.record.participants if p.role == "collaborator"}
        if self._server is None or self._lobby is None:
            self._server = shared_server(listen_address(self.record.address), self.identity)
            self._lobby = self._server.open_task(
                self.record.task_id, participants, Catalogue(self.scheme.all_messages())
            )
        logger.info(f"Waiting at {self.record.address} for {', '.join(participants)}.")
        try:
            channels = self._lobby.wait(self.scheduler.schedule_timeout)
        except PeerRefused:
            # Those who came hear who did not.
            self.links = {name: Link(channel, FLUSH_SECONDS) for name, channel in self._lobby.arrived().items()}
            raise
        self.links = {name: Link(channel, self.scheduler.calculation_timeout) for name, channel in channels.items()}
        for link in self.links.values():
            link.hold_to(LiveOrder(Sender.HOST, self.scheme.order))
        self._seams = {name: self.last_position(link) for name, link in self.links.items()}
        for name, link in self.links.items():
            self.keep_transcript(link, participants[name])
            link.channel.on_failure(partial(self._one_failed, link))

    def _one_failed(self, failed: Link, error: SecureHflError) -> None:
        """Nobody waits for the others any more; whose fault it is, all hear."""
        if isinstance(error, PeerViolation):
            error = PeerFault(failed.name, error)
        for link in self.links.values():
            link.channel.fail(error)
        self.interrupter.task_failed(error)

    def _agree(self) -> None:
        self.go_to(Phase.JOIN)
        hellos: list[Hello] = []
        by_key: dict[str, Link] = {}
        for link in self.links.values():
            hello = received(link.receive(Hello), Hello)
            is_reproducible = self.options.seed is not None
            check_hello(hello, self.record.task_id, self.scheme.name, is_reproducible, self.is_resuming)
            hellos.append(hello)
            by_key[hello.feature_key] = link
        asked = with_option(self.scheduler.projection, self.options.projection)
        widths = projection_widths(asked, self.scheme, [hello.feature_key for hello in hellos])
        own = list(self.checkpoints.offers().items()) if self.is_resuming else []
        resumed = newest_common(own, {hello.feature_key: hello.checkpoints for hello in hellos})
        self.manifest = make_manifest(
            hellos,
            self.party,
            self.scheme.parameters(),
            widths,
            float(self.scheduler.calculation_timeout),
            OsRandomness(),
            resumed,
            [self._seams[link.channel.peer] for link in self.links.values()],
        )
        for link in self.links.values():
            link.send(self.manifest)
        for link in self.links.values():
            accepted = received(link.receive(ManifestAccepted), ManifestAccepted)
            if accepted.digest != self.manifest.digest():
                raise PeerFault(link.name, VerificationFailed("accepted another manifest than ours"))
        for key, link in by_key.items():
            link.name = key  # from here on parties are known by their feature keys, as in the user's code
        self.links = by_key
        self.sign()
        logger.info(f"All have joined: {', '.join(by_key)}; the scheme is {self.scheme.name}.")

    # Preparing -------------------------------------------------------------------------------------------------------

    def _intersect(self) -> None:
        self.go_to(Phase.PSI)
        try:
            self.id_intersection = run_host_psi(self, self.local_ids())
        finally:
            self.executor.close()  # its processes have nothing left to do, and hold memory

    def _align(self) -> None:
        self.go_to(Phase.ALIGN)
        self.split()
        own = SplitDigest.of(self.manifest.session, self.train_ids, self.test_ids)
        for link in self.links.values():
            link.run(HostAlignment(own, link.name).run())
        self.sign()

    def _build(self) -> None:
        scheduler = self.scheduler
        feature_optimizer = self.build_feature_part()
        self.infer_model = self.build_model("build_infer_model")
        infer_optimizer = self.build_optimizer("build_infer_optimizer", self.infer_model)
        layers = list(self.links) if self.manifest.has_projection else []
        self.optimizer = SecureOptimizer(feature_optimizer, infer_optimizer, layers, scheduler.projection_lr)

    def _set_up(self) -> None:
        """Learn how wide everyone's features are, and make the projection layers."""
        self.current_round = 1
        self.go_to(Phase.SETUP)
        self._build()
        self.set_mode(training=True)
        self.checkpoints.begin_first_round()
        iterator = self._own_batches(training=True)
        first = next(iterator, None)
        if first is None:
            raise UserCodeError("iterate_train_feature yielded no batch")
        self._prepared = chain([first], iterator)
        self.scheduler.check_feature_width(self.party, first[0].shape[1])
        self.projections = {}
        for key, link in self.links.items():
            shape = received(link.receive(FeatureShape), FeatureShape)
            if shape.rows != len(first[0]):
                raise Misaligned(
                    f"the host's first batch has {len(first[0])} samples, {key}'s has {shape.rows}. "
                    "Use the same batch size"
                )
            self.scheduler.check_feature_width(key, shape.width)
            self.specs[key] = self._spec(key, shape.rows, shape.width)
            self.projections[key] = self.scheme.host(self.specs[key])
            link.run(self.projections[key].setup())

    def _set_up_again(self, point: ResumePoint) -> None:
        self.go_to(Phase.SETUP)
        self.checkpoints.restore_split()
        if not hasattr(self, "optimizer"):
            self._build()
        self.projections = {}
        for key, link in self.links.items():
            self.specs[key] = self._spec(key, *self.checkpoints.shape_of(key))
            self.projections[key] = self.scheme.host(self.specs[key])
            link.run(self.projections[key].resume(self.checkpoints.layer_of(key)))
        self._prepared = self.resume_iterator(point, lambda: self._own_batches(training=True))

    def _start_background(self, is_first: bool) -> None:
        self.precompute([projection.prepare for projection in self.projections.values()])
        self._preparation = prepare_masks(self, is_first)

    def _spec(self, key: str, rows: int, width: int) -> LayerSpec:
        manifest = self.manifest
        at = manifest.feature_keys.index(key)
        return LayerSpec(
            feature_key=key,
            width_in=width,
            width_out=(manifest.projection_widths[at] or width) if manifest.has_projection else None,
            rows=rows,
            trainable=manifest.trainable[at],
            session=manifest.session,
            seed=self.options.seed,
        )

    def set_mode(self, training: bool) -> None:
        """The top model follows."""
        super().set_mode(training)
        self.infer_model.train(training)

    # Rounds ----------------------------------------------------------------------------------------------------------

    def _train(self, point: ResumePoint | None) -> None:
        number, behind, first_batch = first_round(point)
        while True:
            self.current_round = number
            if behind is None:
                with self.shutdown.training():
                    self._train_round(number, first_batch)
            tested = self.is_test_due(number)
            if tested and behind is not Phase.TEST:
                self._test(number)
            finished = self._is_finished(number)
            if finished and not tested and self.scheduler.log_rounds and behind is not Phase.TEST:
                self._test(number)
            if finished:
                self._say_goodbye()
                return
            number, behind, first_batch = number + 1, None, 0

    def is_test_due(self, number: int) -> bool:
        """Whether this round is followed by a test, as far as the configuration says."""
        every = self.scheduler.log_rounds
        return every > 0 and (number == 1 or number % every == 0)

    def _is_finished(self, number: int) -> bool:
        if self.options.rounds is not None:
            return number >= self.options.rounds
        return bool(self.user("is_task_finished", self.scheduler.is_task_finished))

    def _train_round(self, number: int, first_batch: int) -> None:
        every = self.checkpoints.every()
        self._start_round(Phase.TRAIN, number, first_batch, every)
        metrics = RoundMetrics(round=number, batches=first_batch)
        iterator, self._prepared = self._prepared, None
        if iterator is None:
            self.checkpoints.begin_round()
            iterator = self._own_batches(training=True)
        with self.one_pass() as done:
            for own, labels, collected in self._lockstep(iterator, Phase.TRAIN, number, first_batch):
                loss = self._train_batch(own, labels, collected)
                metrics.batches += 1
                self.metrics.batch_losses.append(loss)
                total = self._expected_batches(metrics.batches)
                sent, got = self.bytes_now()
                self.progress.emit(
                    "batch", round=number, batch=metrics.batches, batches=total, loss=loss, sent=sent, received=got
                )
                self.batch_done(number, metrics.batches, every)
            self.sign()
        self.metrics.rounds.append(metrics)
        self.account(metrics, True, done)
        self.store.record_round(self.record.task_id, number)
        logger.info(f"Round {number}: {metrics.batches} batches in {metrics.train_seconds:.2f} s.")
        self.keep(ResumePoint(Phase.TRAIN, number), metrics.batches)

    def _train_batch(self, own: torch.Tensor, labels: Any, collected: Mapping[str, Array]) -> float:
        shown = [key for key, spec in self.specs.items() if spec.trainable]
        noise = BatchNoise(self.scheduler.gradient_noise, labels, shown, self.options.seed, str(self.place))
        batch = HostBatch(self.party, own, collected, self.links, self.projections, noise)
        self.optimizer.open(batch)
        with LossRecorder() as recorder, span("top"), torch.enable_grad():
            returned = self.user("train_a_batch", self.scheduler.train_a_batch, dict(batch.leaves), labels)
        if not self.optimizer.close():
            batch.skip()
        loss: float = recorder.value(returned)
        return loss

    def _test(self, number: int) -> None:
        self._start_round(Phase.TEST, number)
        features: list[dict[str, torch.Tensor]] = []
        all_labels: list[Any] = []
        with self.one_pass() as done, torch.no_grad():
            for own, labels, collected in self._lockstep(self._own_batches(training=False), Phase.TEST, number):
                others = {key: torch.tensor(values, device=own.device) for key, values in collected.items()}
                features.append({self.party: own, **others})
                all_labels.append(labels)
            self.sign()
            self.user("test", self.scheduler.test, features, all_labels)
        metrics = self.metrics.rounds[-1]
        metrics.accuracy = self.metrics.last_scalar("test_results/accuracy", number)
        metrics.average_loss = self.metrics.last_scalar("test_results/average_loss", number)
        self.account(metrics, False, done)
        self.keep(ResumePoint(Phase.TEST, number))

    def _start_round(self, phase: Phase, number: int, first_batch: int = 0, every: int = 0) -> None:
        training = phase == Phase.TRAIN
        self.set_mode(training)
        self.go_to(phase, number)
        for link in self.links.values():
            link.send(RoundStart((self.options.batches or 0) if training else 0, first_batch, every))

    def _lockstep(
        self, iterator: Iterator[OwnBatch], phase: Phase, number: int, first_batch: int = 0
    ) -> Iterator[tuple[torch.Tensor, Any, dict[str, Array]]]:
        """Our batches with everyone's projected features, until all iterators end together."""
        training = phase == Phase.TRAIN
        limit = (self.options.batches or 0) if training else 0
        count = first_batch
        while True:
            self.go_to(phase, number, count)
            with span("bottom forward"):
                own = None if limit and count == limit else next(iterator, None)
            self.precomputation.wake()  # not before: the bottom model wants the interpreter for itself, and now we wait
            opened = {key: link.receive(BatchOpen, EpochEnd) for key, link in self.links.items()}
            self._check_aligned(own, opened, count)
            if own is None:
                return
            rows = len(own[0])
            if self._preparation is not None:
                with span("wait"):
                    wait_for_masks(self._preparation, self.projections, training, rows)
            with span("scheme, other"):
                begun = {
                    key: link.start(self.projections[key].forward(rows, training)) for key, link in self.links.items()
                }
                collected: dict[str, Array] = {key: conversation.finish() for key, conversation in begun.items()}
            yield own[0], own[1], collected
            count += 1

    def _check_aligned(self, own: OwnBatch | None, opened: Mapping[str, Any], count: int) -> None:
        own_ids = self.take_batch_ids()
        for key, message in opened.items():
            ended = isinstance(message, EpochEnd)
            if ended and message.batches != count:
                raise PeerFault(key, MessageOutOfOrder(f"EpochEnd after {message.batches} batches, but sent {count}"))
            if (own is None) != ended:
                ours, theirs = (f"{'' if over else 'more than '}{count} batches" for over in (own is None, ended))
                raise Misaligned(f"{self.place}: the host has {ours}, {key} has {theirs}. Use the same ids and sizes")
            if own is not None:
                compare_batches(len(own[0]), own_ids, message, key, str(self.place))

    def _own_batches(self, training: bool) -> Iterator[OwnBatch]:
        name = "iterate_train_feature" if training else "iterate_test_feature"
        for batch in self.batches(training):
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise UserCodeError(f"the host's {name} must yield (features, labels)")
            yield check_features(name, batch[0]), batch[1]

    def _expected_batches(self, so_far: int) -> int | None:
        """How many batches this round will have, where that is known."""
        known = self.metrics.rounds[0].batches if self.metrics.rounds else None
        return known if known is not None and known >= so_far else self.options.batches

    # Finishing -------------------------------------------------------------------------------------------------------

    def _say_goodbye(self) -> None:
        if self._preparation is not None:
            self._preparation.stop()
        self.save()
        self.go_to(Phase.FINISH)
        for link in self.links.values():
            link.send(TaskFinished(self.current_round))
        for link in self.links.values():
            received(link.receive(FinishAcknowledged), FinishAcknowledged)
        self.checkpoints.settle()
        self.sign()
        for link in self.links.values():
            link.channel.close(FLUSH_SECONDS)

    def metrics_so_far(self) -> RunMetrics:
        """With the time of making triples."""
        metrics = super().metrics_so_far()
        metrics.offline_seconds += self._preparation.seconds if self._preparation is not None else 0.0
        return metrics

    def models(self) -> dict[str, nn.Module]:
        """See the base."""
        return {"feature_model": self.feature_model, "infer_model": self.infer_model}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """See the base."""
        return {"optimizer": self.optimizer}

    def layers(self) -> Mapping[str, HostLayer]:
        """See the base."""
        return self.projections
