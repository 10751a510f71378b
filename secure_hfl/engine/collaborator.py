"""A collaborator's run: follows the host."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import nn

from protocols.agreement import NONCE_BYTES, PROTOCOL_VERSION, CollaboratorAgreement, Hello
from protocols.alignment import BatchOpen, CollaboratorAlignment, EpochEnd, SplitDigest
from protocols.envelope import Phase
from protocols.errors import MessageOutOfOrder
from protocols.message import Array
from protocols.projection.masked import MaskedCollaborator
from protocols.projection.roles import CollaboratorProjection, FeatureShape, ProjectionSpec
from protocols.randomness import OsRandomness
from protocols.steps import received
from protocols.training import FinishAcknowledged, RoundStart, TaskFinished
from secure_hfl.engine.offline import CollaboratorPreparation
from secure_hfl.engine.psi import run_collaborator_psi
from secure_hfl.engine.run import TaskRun, check_features
from secure_hfl.errors import PeerFault, UserCodeError
from secure_hfl.log import logger
from secure_hfl.metrics import RoundMetrics
from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
from secure_hfl.session import Link
from secure_hfl.transport.client import connect


def with_grace(timeout: float) -> float:
    """A collaborator waits longer than the host would, so that the host's explanation arrives first."""
    return timeout + min(60.0, 2.0 + timeout / 4)


class CollaboratorRun(TaskRun[HeteroNNCollaboratorScheduler]):
    """One task, from joining the host to results."""

    role = "collaborator"
    link: Link
    projection: CollaboratorProjection
    optimizer: torch.optim.Optimizer | None
    _preparation: CollaboratorPreparation | None = None

    def _work(self) -> None:
        self._join()
        self._agree()
        self._intersect_and_split()
        self.go_to(Phase.SETUP)
        self.optimizer = self.build_feature_part()
        first = self._set_up()
        self._follow(first)

    def _join(self) -> None:
        host = next(participant for participant in self.record.participants if participant.role == "host")
        timeout = self.scheduler.schedule_timeout
        logger.info(f"Joining task {self.record.task_id} at {self.record.address}.")
        channel = connect(
            self.record.address, self.record.task_id, self.identity, host.certificate_pem, timeout, host.name
        )
        # The host answers once everyone has joined, which may take its whole schedule_timeout.
        self.link = Link(channel, with_grace(timeout))
        channel.on_failure(self.interrupter.task_failed)
        self.links = {self.link.name: self.link}
        self.keep_transcript(self.link, host.certificate_pem)

    def _agree(self) -> None:
        hello = Hello(
            protocol_version=PROTOCOL_VERSION,
            task_id=self.record.task_id,
            feature_key=self.party,
            scheme=self.scheme.name,
            is_feature_trainable=self.scheduler.is_feature_trainable,
            is_reproducible=self.options.seed is not None,
            nonce=OsRandomness().bytes(NONCE_BYTES),
        )
        self.go_to(Phase.JOIN)
        self.manifest = self.link.run(CollaboratorAgreement(hello, self.scheme.parameters()).run())
        self.checkpoint()
        self.link.timeout = with_grace(self.manifest.calculation_timeout)
        logger.info(f"All have joined: {', '.join(self.manifest.feature_keys)}; the scheme is {self.scheme.name}.")

    def _intersect_and_split(self) -> None:
        self.go_to(Phase.PSI)
        self.id_intersection = run_collaborator_psi(self, self.local_ids())
        self.checkpoint()
        self.go_to(Phase.ALIGN)
        self.split()
        own = SplitDigest.of(self.manifest.session, self.train_ids, self.test_ids)
        self.link.run(CollaboratorAlignment(own).run())
        self.checkpoint()

    def _set_up(self) -> Iterator[torch.Tensor]:
        """Take the first training batch to learn how wide the features are; it is used in round 1 as it is."""
        self.current_round = 1
        self.go_to(Phase.SETUP)
        self.set_mode(training=True)
        iterator = self._features(training=True)
        first = next(iterator, None)
        if first is None:
            raise UserCodeError("iterate_train_feature yielded no batch")
        rows, width = first.shape
        self.link.send(FeatureShape(rows, width))
        self.projection = self.scheme.collaborator(self._spec(rows, width))
        self.link.run(self.projection.setup())
        self.checkpoint()
        self.keep_stock([self.projection.prepare])
        if isinstance(self.projection, MaskedCollaborator):
            self._preparation = CollaboratorPreparation(self.link.offline_lane(), self.projection.triples)
            self._preparation.start()
        return chain([first], iterator)

    def _spec(self, rows: int, width: int) -> ProjectionSpec:
        manifest = self.manifest
        configured = manifest.projection_widths[manifest.feature_keys.index(self.party)]
        return ProjectionSpec(
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

    def _follow(self, first: Iterator[torch.Tensor]) -> None:
        """Do what the host says until the task is finished."""
        prepared: Iterator[torch.Tensor] | None = first
        while True:
            envelope = self.link.receive_anywhere(RoundStart, TaskFinished)
            command = envelope.message
            if isinstance(command, TaskFinished):
                self.go_to(Phase.FINISH)
                self.save()
                if self._preparation is not None:
                    self.metrics.offline_seconds += self._preparation.seconds
                self.link.send(FinishAcknowledged(command.rounds))
                self.checkpoint()
                return
            training = envelope.phase == Phase.TRAIN
            expected = len(self.metrics.rounds) + (1 if training else 0)
            if envelope.phase not in (Phase.TRAIN, Phase.TEST) or envelope.round != expected:
                error = MessageOutOfOrder(f"{envelope.phase.name} round {envelope.round} after round {expected - 1}")
                raise PeerFault(self.link.name, error)
            max_batches = received(command, RoundStart).max_batches
            self._round(training, envelope.round, max_batches, prepared if training else None)
            if training:
                prepared = None

    def _round(self, training: bool, number: int, max_batches: int, prepared: Iterator[torch.Tensor] | None) -> None:
        self.current_round = number
        self.go_to(Phase.TRAIN if training else Phase.TEST, number)
        self.set_mode(training)
        bytes_before = self.bytes_now()
        self.watch.take()
        iterator = self._features(training) if prepared is None else prepared
        count = 0
        with self.watch("total"):
            while not max_batches or count < max_batches:
                self.go_to(self.place.phase, number, count)
                with self.watch("bottom model and data"):
                    features = next(iterator, None)
                if features is None:
                    break
                self._batch(features, training)
                count += 1
                sent, got = self.bytes_now()
                self.progress.emit("batch", round=number, batch=count, training=training, sent=sent, received=got)
            self.go_to(self.place.phase, number, count)
            self.link.send(EpochEnd(count))
            self.checkpoint()
        if training:
            self.metrics.rounds.append(RoundMetrics(round=number, batches=count))
            self.store.record_round(self.record.task_id, number)
        self.account(self.metrics.rounds[-1], training, bytes_before)

    def _batch(self, features: torch.Tensor, training: bool) -> None:
        with self.watch("send"):
            values = features.detach().to("cpu", torch.float32).contiguous().numpy()
            self.link.send(BatchOpen(rows=len(values), ids=self.take_batch_ids()))
            self.link.run(self.projection.forward(values, training))
        self.stock.wake()
        if not training:
            return
        with self.watch("wait for the gradient"):
            gradient = self.link.run(self.projection.backward())
        if gradient is not None and self.optimizer is not None:
            with self.watch("bottom model, backward and step"):
                self.optimizer.zero_grad()
                if features.requires_grad:
                    # A received array is read-only, and torch wants to own what it may write.
                    features.backward(torch.from_numpy(gradient.copy()).to(features.device, features.dtype))
                self.optimizer.step()
        with self.watch("wait for the next weights"):
            self.link.run(self.projection.settle())

    def _models(self) -> dict[str, nn.Module]:
        return {"feature_model": self.feature_model}

    def _projections(self) -> dict[str, dict[str, Array]]:
        return {self.party: self.projection.weights()}
