"""A collaborator's run: follows the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from itertools import chain

import torch
from torch import nn

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.steps import received
from protocols.layer.interface import CollaboratorLayer, LayerSpec
from protocols.layer.messages import FeatureShape
from protocols.task.agreement import CollaboratorAgreement
from protocols.task.alignment import BatchOpen, CollaboratorAlignment, EpochEnd, SplitDigest
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.wire.codec import Catalogue
from secure_hfl.engine.link import Link
from secure_hfl.engine.offline_phase import CollaboratorPreparation
from secure_hfl.engine.psi import run_collaborator_psi
from secure_hfl.engine.recovery import first_round, retry
from secure_hfl.engine.run import TaskRun
from secure_hfl.engine.user_code import check_features
from secure_hfl.errors import PeerFault, UserCodeError
from secure_hfl.log import logger
from secure_hfl.metrics import RoundMetrics, RunMetrics
from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.client import connect
from secure_hfl.work_clock import span


def with_grace(timeout: float) -> float:
    """A collaborator waits longer than the host would, so that the host's explanation arrives first."""
    return timeout + min(60.0, 2.0 + timeout / 4)


class CollaboratorRun(TaskRun[HeteroNNCollaboratorScheduler]):
    """One task, from joining the host to results."""

    role = "collaborator"
    link: Link
    projection: CollaboratorLayer
    optimizer: torch.optim.Optimizer | None
    _preparation: CollaboratorPreparation | None = None
    _prepared: Iterator[torch.Tensor] | None = None
    """The iterator of the first round to train, if it has been started."""

    def _join(self) -> None:
        host = next(participant for participant in self.record.participants if participant.role == "host")
        timeout = self.scheduler.schedule_timeout
        logger.info(f"Joining task {self.record.task_id} at {self.record.address}.")

        def attempt(seconds: float) -> Channel:
            return connect(
                self.record.address,
                self.record.task_id,
                self.identity,
                host.certificate_pem,
                seconds,
                host.name,
                catalogue=catalogue,
            )

        catalogue = Catalogue(self.scheme.all_messages())
        # A host refuses us as long as it serves other tasks only, or has not noticed that we lost the connection.
        channel = retry(attempt, timeout)
        # The host answers once everyone has joined, which may take its whole schedule_timeout.
        self.link = Link(channel, with_grace(timeout))
        self.link.hold_to(LiveOrder(Sender.COLLABORATOR, self.scheme.order))
        channel.on_failure(self.interrupter.task_failed)
        self.links = {self.link.name: self.link}
        self._seam = self.last_position(self.link)
        self.keep_transcript(self.link, host.certificate_pem)

    def _agree(self) -> None:
        points = self.checkpoints.offers() if self.is_resuming else {}
        hello = Hello(
            protocol_version=PROTOCOL_VERSION,
            task_id=self.record.task_id,
            feature_key=self.party,
            scheme=self.scheme.name,
            is_feature_trainable=self.scheduler.is_feature_trainable,
            is_reproducible=self.options.seed is not None,
            nonce=OsRandomness().bytes(NONCE_BYTES),
            is_resuming=self.is_resuming,
            checkpoints=tuple(points),
            seam=self._seam,
        )
        self.go_to(Phase.JOIN)
        self.manifest = self.link.run(CollaboratorAgreement(hello, self.scheme.parameters(), points).run())
        self.sign()
        self.link.timeout = with_grace(self.manifest.calculation_timeout)
        logger.info(f"All have joined: {', '.join(self.manifest.feature_keys)}; the scheme is {self.scheme.name}.")

    def _intersect(self) -> None:
        self.go_to(Phase.PSI)
        try:
            self.id_intersection = run_collaborator_psi(self, self.local_ids())
        finally:
            self.executor.close()  # its processes have nothing left to do, and hold memory

    def _align(self) -> None:
        self.go_to(Phase.ALIGN)
        self.split()
        own = SplitDigest.of(self.manifest.session, self.train_ids, self.test_ids)
        self.link.run(CollaboratorAlignment(own).run())
        self.sign()

    def _set_up(self) -> None:
        """Take the first training batch to learn how wide the features are; it is used in round 1 as it is."""
        self.current_round = 1
        self.go_to(Phase.SETUP)
        self.optimizer = self.build_feature_part()
        self.set_mode(training=True)
        self.checkpoints.begin_first_round()
        iterator = self._features(training=True)
        first = next(iterator, None)
        if first is None:
            raise UserCodeError("iterate_train_feature yielded no batch")
        self._prepared = chain([first], iterator)
        rows, width = first.shape
        self.link.send(FeatureShape(rows, width))
        self.specs[self.party] = self._spec(rows, width)
        self.projection = self.scheme.collaborator(self.specs[self.party])
        self.link.run(self.projection.setup())

    def _set_up_again(self, point: ResumePoint) -> None:
        self.go_to(Phase.SETUP)
        self.checkpoints.restore_split()
        if not hasattr(self, "optimizer"):
            self.optimizer = self.build_feature_part()
        self.specs[self.party] = self._spec(*self.checkpoints.shape_of(self.party))
        self.projection = self.scheme.collaborator(self.specs[self.party])
        self.link.run(self.projection.resume(self.checkpoints.layer_of(self.party)))
        self._prepared = self.resume_iterator(point, lambda: self._features(training=True))

    def _start_background(self, is_first: bool) -> None:
        self.precompute([self.projection.prepare])
        if self.projection.offline is not None:
            self._preparation = CollaboratorPreparation(self.link.offline_lane(), self.projection.offline)
            self._preparation.start()

    def _spec(self, rows: int, width: int) -> LayerSpec:
        manifest = self.manifest
        configured = manifest.projection_widths[manifest.feature_keys.index(self.party)]
        return LayerSpec(
            feature_key=self.party,
            width_in=width,
            width_out=(configured or width) if manifest.has_projection else None,
            rows=rows,
            trainable=self.scheduler.is_feature_trainable,
            session=manifest.session,
            seed=self.options.seed,
        )

    def _features(self, training: bool) -> Iterator[torch.Tensor]:
        name = "iterate_train_feature" if training else "iterate_test_feature"
        for batch in self.batches(training):
            features = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            yield check_features(name, features)

    def _train(self, point: ResumePoint | None) -> None:
        """Do what the host says until the task is finished."""
        self.current_round, _, first_batch = first_round(point)
        while True:
            envelope = self.link.receive_anywhere(RoundStart, TaskFinished)
            command = envelope.message
            if isinstance(command, TaskFinished):
                self.go_to(Phase.FINISH)
                self.save()
                self.checkpoints.settle()
                self.link.send(FinishAcknowledged(command.rounds))
                self.sign()
                return
            training = envelope.phase == Phase.TRAIN
            expected = len(self.metrics.rounds) + (1 if training else 0)
            if envelope.phase not in (Phase.TRAIN, Phase.TEST) or (envelope.round, envelope.batch) != (expected, 0):
                error = MessageOutOfOrder(f"{envelope.phase.name} round {envelope.round} after round {expected - 1}")
                raise PeerFault(self.link.name, error)
            start = received(command, RoundStart)
            if start.first_batch != (first_batch if training else 0):
                error = MessageOutOfOrder(f"RoundStart from batch {start.first_batch}, but {first_batch} are done")
                raise PeerFault(self.link.name, error)
            self._round(training, envelope.round, start)
            if training:
                first_batch = 0

    def _round(self, training: bool, number: int, start: RoundStart) -> None:
        self.current_round = number
        self.go_to(Phase.TRAIN if training else Phase.TEST, number)
        self.set_mode(training)
        with self.one_pass() as done:
            count = self._batches(training, number, start)
            self.link.send(EpochEnd(count))
            self.sign()
        if training:
            self.metrics.rounds.append(RoundMetrics(round=number, batches=count))
            self.store.record_round(self.record.task_id, number)
        self.account(self.metrics.rounds[-1], training, done)
        self.keep(ResumePoint(Phase.TRAIN if training else Phase.TEST, number), count)

    def _batches(self, training: bool, number: int, start: RoundStart) -> int:
        """One round's; how many there were, those before an interruption included."""
        iterator: Iterator[torch.Tensor] | None = None
        if training:
            iterator, self._prepared = self._prepared, None
        if iterator is None:
            self.checkpoints.begin_round()
            iterator = self._features(training)
        count = start.first_batch
        with self.shutdown.training() if training else nullcontext():
            while not start.max_batches or count < start.max_batches:
                self.go_to(self.place.phase, number, count)
                with span("bottom forward"):
                    features = next(iterator, None)
                if features is None:
                    break
                self._batch(features, training)
                count += 1
                sent, got = self.bytes_now()
                self.progress.emit("batch", round=number, batch=count, training=training, sent=sent, received=got)
                if training:
                    self.batch_done(number, count, start.checkpoint_every)
        self.go_to(self.place.phase, number, count)
        return count

    def _batch(self, features: torch.Tensor, training: bool) -> None:
        with span("scheme, other"):
            values = features.detach().to("cpu", torch.float32).contiguous().numpy()
            self.link.send(BatchOpen(rows=len(values), ids=self.take_batch_ids()))
            self.link.run(self.projection.forward(values, training))
        self.precomputation.wake()
        if not training:
            return
        with span("scheme, other"):
            gradient = self.link.run(self.projection.backward())
        if gradient is not None and self.optimizer is not None:
            with span("backward and step"):
                self.optimizer.zero_grad()
                if features.requires_grad:
                    # A received array is read-only, and torch wants to own what it may write.
                    features.backward(torch.from_numpy(gradient.copy()).to(features.device, features.dtype))
                self.optimizer.step()
        with span("scheme, other"):
            self.link.run(self.projection.settle())

    def _disconnect(self) -> None:
        if self._preparation is not None:
            self.metrics.offline_seconds += self._preparation.seconds
            self._preparation = None
        super()._disconnect()

    def metrics_so_far(self) -> RunMetrics:
        """With the time of making triples."""
        metrics = super().metrics_so_far()
        metrics.offline_seconds += self._preparation.seconds if self._preparation is not None else 0.0
        return metrics

    def models(self) -> dict[str, nn.Module]:
        """See the base."""
        return {"feature_model": self.feature_model}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """See the base."""
        return {} if self.optimizer is None else {"feature_optimizer": self.optimizer}

    def layers(self) -> Mapping[str, CollaboratorLayer]:
        """See the base."""
        return {self.party: self.projection}
