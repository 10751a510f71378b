"""The host's run: leads the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from protocols.agreement import Hello, ManifestAccepted, check_hello, make_manifest
from protocols.alignment import BatchOpen, EpochEnd, HostAlignment, Misaligned, SplitDigest, compare_batches
from protocols.envelope import Phase
from protocols.errors import MessageOutOfOrder, SecureHflError, VerificationFailed
from protocols.masking.triples import TEST, TRAIN
from protocols.message import Array
from protocols.projection.masked import MaskedHost
from protocols.projection.roles import FeatureShape, HostProjection, ProjectionSpec
from protocols.randomness import OsRandomness
from protocols.steps import received
from protocols.training import FinishAcknowledged, RoundStart, TaskFinished
from secure_hfl.engine.batch import HostBatch, LossRecorder
from secure_hfl.engine.offline import Demand, HostPreparation
from secure_hfl.engine.psi import run_host_psi
from secure_hfl.engine.run import FLUSH_SECONDS, TaskRun, check_features
from secure_hfl.errors import ConfigurationError, PeerFault, PeerRefused, UserCodeError
from secure_hfl.log import logger
from secure_hfl.metrics import RoundMetrics
from secure_hfl.optimizer import SecureOptimizer
from secure_hfl.schedulers.host import HeteroNNHostScheduler
from secure_hfl.session import Link
from secure_hfl.transport.server import PartyServer, listen_address

OwnBatch = tuple[torch.Tensor, Any]


class HostRun(TaskRun[HeteroNNHostScheduler]):
    """One task, from waiting for the collaborators to results."""

    role = "host"
    infer_model: nn.Module
    optimizer: SecureOptimizer
    _server: PartyServer | None = None
    _preparation: HostPreparation | None = None

    def _work(self) -> None:
        self._join()
        self._agree()
        self._intersect_and_split()
        self._build()
        first = self._set_up()
        self._rounds(first)
        self._say_goodbye()

    def _close(self) -> None:
        super()._close()
        if self._server is not None:
            self._server.stop()

    # Joining ---------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        scheduler = self.scheduler
        self._server = PartyServer(listen_address(self.record.address), self.identity)
        participants = {p.name: p.certificate_pem for p in self.record.participants if p.role == "collaborator"}
        lobby = self._server.open_task(self.record.task_id, participants)
        logger.info(f"Waiting at {self.record.address} for {', '.join(participants)}.")
        try:
            channels = lobby.wait(scheduler.schedule_timeout)
        except PeerRefused:
            # Those who came hear who did not.
            self.links = {name: Link(channel, FLUSH_SECONDS) for name, channel in lobby.arrived().items()}
            raise
        self.links = {name: Link(channel, scheduler.calculation_timeout) for name, channel in channels.items()}
        for name, link in self.links.items():
            self.keep_transcript(link, participants[name])
            link.channel.on_failure(self._poison_others)
            link.channel.on_failure(self.interrupter.task_failed)

    def _poison_others(self, error: SecureHflError) -> None:
        """One peer failed: nobody waits for the others any more."""
        for link in self.links.values():
            link.channel.fail(error)

    def _agree(self) -> None:
        self.go_to(Phase.JOIN)
        hellos: list[Hello] = []
        by_key: dict[str, Link] = {}
        for link in self.links.values():
            hello = received(link.receive(Hello), Hello)
            check_hello(hello, self.record.task_id, self.scheme.name, self.options.seed is not None)
            hellos.append(hello)
            by_key[hello.feature_key] = link
        widths = self._projection_widths([hello.feature_key for hello in hellos])
        self.manifest = make_manifest(
            hellos,
            self.party,
            self.scheme.parameters(),
            widths,
            float(self.scheduler.calculation_timeout),
            OsRandomness(),
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
        self.checkpoint()
        logger.info(f"All have joined: {', '.join(by_key)}; the scheme is {self.scheme.name}.")

    def _projection_widths(self, keys: list[str]) -> list[int] | None:
        """The manifest's widths: 0 for "as wide as the features", None for no layer."""
        asked = self.scheduler.projection if self.options.projection is None else self.options.projection
        if asked is None:
            asked = self.scheme.needs_projection
        if asked is False:
            if self.scheme.needs_projection:
                raise ConfigurationError(f"scheme {self.scheme.name!r} needs the projection layer")
            return None
        if isinstance(asked, Mapping):
            strangers = set(asked) - set(keys)
            if strangers:
                raise ConfigurationError(f"projection names {sorted(strangers)}, the collaborators are {sorted(keys)}")
            return [_width(asked.get(key, True)) for key in keys]
        return [_width(asked)] * len(keys)

    # Preparing -------------------------------------------------------------------------------------------------------

    def _intersect_and_split(self) -> None:
        self.go_to(Phase.PSI)
        self.id_intersection = run_host_psi(self, self.local_ids())
        self.checkpoint()
        self.go_to(Phase.ALIGN)
        self.split()
        own = SplitDigest.of(self.manifest.session, self.train_ids, self.test_ids)
        for link in self.links.values():
            link.run(HostAlignment(own, link.name).run())
        self.checkpoint()

    def _build(self) -> None:
        self.go_to(Phase.SETUP)
        scheduler = self.scheduler
        feature_optimizer = self.build_feature_part()
        self.infer_model = self.build_model("build_infer_model")
        infer_optimizer = self.build_optimizer("build_infer_optimizer", self.infer_model)
        layers = list(self.links) if self.manifest.has_projection else []
        self.optimizer = SecureOptimizer(feature_optimizer, infer_optimizer, layers, scheduler.projection_lr)

    def _set_up(self) -> Iterator[OwnBatch]:
        """Learn how wide everyone's features are, and make the projection layers."""
        self.current_round = 1
        self.go_to(Phase.SETUP)
        self.set_mode(training=True)
        iterator = self._own_batches(training=True)
        first = next(iterator, None)
        if first is None:
            raise UserCodeError("iterate_train_feature yielded no batch")
        self._specs: dict[str, ProjectionSpec] = {}
        self.projections: dict[str, HostProjection] = {}
        for key, link in self.links.items():
            shape = received(link.receive(FeatureShape), FeatureShape)
            if shape.rows != len(first[0]):
                raise Misaligned(
                    f"the host's first batch has {len(first[0])} samples, {key}'s has {shape.rows}. "
                    "Use the same batch size"
                )
            self._specs[key] = self._spec(key, shape)
            self.projections[key] = self.scheme.host(self._specs[key])
            link.run(self.projections[key].setup())
        self.checkpoint()
        self.keep_stock([projection.prepare for projection in self.projections.values()])
        self._prepare_masks(len(first[0]))
        return chain([first], iterator)

    def _prepare_masks(self, rows: int) -> None:
        """For scheme "masked": make a round's triples now, and the rest beside training."""
        pools = {key: layer.triples for key, layer in self.projections.items() if isinstance(layer, MaskedHost)}
        if not pools:
            return
        train, test = (-(-len(ids) // rows) for ids in (self.train_ids, self.test_ids))
        limit, every = self.options.batches, self.scheduler.log_rounds
        a_round = {TRAIN: train if limit is None else min(train, limit), TEST: test if every else 0}
        rounds = self._known_rounds()
        tests = None if rounds is None else sum(self._is_test_due(n) or n == rounds for n in range(1, rounds + 1))
        times = {TRAIN: rounds, TEST: tests}
        lanes = [
            (self.links[key].offline_lane(), pool, Demand.of(self._specs[key], a_round, times))
            for key, pool in pools.items()
        ]
        self._preparation = HostPreparation(lanes, self.scheduler.calculation_timeout)
        self._preparation.start()
        logger.info("Making one-time masks for the first round.")
        self._preparation.wait_for_round()

    def _wait_for_masks(self, training: bool, rows: int) -> None:
        if self._preparation is not None:
            for at, layer in enumerate(self.projections.values()):
                if isinstance(layer, MaskedHost):
                    self._preparation.wait_for(at, *layer.needs(training, rows))

    def _known_rounds(self) -> int | None:
        """How many rounds there will be, if the user does not decide as they go."""
        if self.options.rounds is not None:
            return self.options.rounds
        return None if self.scheduler.decides_when_finished else self.scheduler.max_rounds

    def _spec(self, key: str, shape: FeatureShape) -> ProjectionSpec:
        manifest = self.manifest
        at = manifest.feature_keys.index(key)
        return ProjectionSpec(
            feature_key=key,
            width_in=shape.width,
            width_out=(manifest.projection_widths[at] or shape.width) if manifest.has_projection else None,
            rows=shape.rows,
            trainable=manifest.trainable[at],
            session=manifest.session,
            seed=self.options.seed,
        )

    def set_mode(self, training: bool) -> None:
        """The top model follows."""
        super().set_mode(training)
        self.infer_model.train(training)

    # Rounds ----------------------------------------------------------------------------------------------------------

    def _rounds(self, first: Iterator[OwnBatch]) -> None:
        prepared: Iterator[OwnBatch] | None = first
        number = 0
        while True:
            number += 1
            self.current_round = number
            self._train(number, prepared)
            prepared = None
            tested = self._is_test_due(number)
            if tested:
                self._test(number)
            finished = self._is_finished(number)
            if finished and not tested and self.scheduler.log_rounds:
                self._test(number)
            if finished:
                return

    def _is_test_due(self, number: int) -> bool:
        every = self.scheduler.log_rounds
        return every > 0 and (number == 1 or number % every == 0)

    def _is_finished(self, number: int) -> bool:
        if self.options.rounds is not None:
            return number >= self.options.rounds
        return bool(self.user("is_task_finished", self.scheduler.is_task_finished))

    def _train(self, number: int, prepared: Iterator[OwnBatch] | None) -> None:
        self._start_round(Phase.TRAIN, number)
        bytes_before = self.bytes_now()
        self.watch.take()
        metrics = RoundMetrics(round=number, batches=0)
        iterator = self._own_batches(training=True) if prepared is None else prepared
        with self.watch("total"):
            for own, labels, collected in self._lockstep(iterator, Phase.TRAIN, number):
                loss = self._train_batch(own, labels, collected)
                metrics.batches += 1
                self.metrics.batch_losses.append(loss)
                total = self._expected_batches(metrics.batches)
                sent, got = self.bytes_now()
                self.progress.emit(
                    "batch", round=number, batch=metrics.batches, batches=total, loss=loss, sent=sent, received=got
                )
            self.checkpoint()
        self.metrics.rounds.append(metrics)
        self.account(metrics, True, bytes_before)
        self.store.record_round(self.record.task_id, number)
        logger.info(f"Round {number}: {metrics.batches} batches in {metrics.train_seconds:.2f} s.")

    def _train_batch(self, own: torch.Tensor, labels: Any, collected: Mapping[str, Array]) -> float:
        batch = HostBatch(self.party, own, collected, self.links, self.projections, self.watch)
        self.optimizer.open(batch)
        with LossRecorder() as recorder, self.watch("top model"), torch.enable_grad():
            before = dict(self.watch.seconds)
            returned = self.user("train_a_batch", self.scheduler.train_a_batch, dict(batch.leaves), labels)
            # What step() spent is counted under its own steps.
            inside = sum(self.watch.seconds.values()) - sum(before.values())
        self.watch.add("top model", -inside)
        if not self.optimizer.close():
            batch.skip()
        self.stock.wake()
        loss: float = recorder.value(returned)
        return loss

    def _test(self, number: int) -> None:
        self._start_round(Phase.TEST, number)
        bytes_before = self.bytes_now()
        self.watch.take()
        features: list[dict[str, torch.Tensor]] = []
        all_labels: list[Any] = []
        with self.watch("total"), torch.no_grad():
            for own, labels, collected in self._lockstep(self._own_batches(training=False), Phase.TEST, number):
                others = {key: torch.tensor(values, device=own.device) for key, values in collected.items()}
                features.append({self.party: own, **others})
                all_labels.append(labels)
            self.checkpoint()
            self.user("test", self.scheduler.test, features, all_labels)
        metrics = self.metrics.rounds[-1]
        metrics.accuracy = self.metrics.last_scalar("test_results/accuracy", number)
        metrics.average_loss = self.metrics.last_scalar("test_results/average_loss", number)
        self.account(metrics, False, bytes_before)

    def _start_round(self, phase: Phase, number: int) -> None:
        training = phase == Phase.TRAIN
        self.set_mode(training)
        self.go_to(phase, number)
        for link in self.links.values():
            link.send(RoundStart((self.options.batches or 0) if training else 0))

    def _lockstep(
        self, iterator: Iterator[OwnBatch], phase: Phase, number: int
    ) -> Iterator[tuple[torch.Tensor, Any, dict[str, Array]]]:
        """Our batches with everyone's projected features, until all iterators end together."""
        training = phase == Phase.TRAIN
        limit = (self.options.batches or 0) if training else 0
        count = 0
        while True:
            self.go_to(phase, number, count)
            with self.watch("bottom model and data"):
                own = None if limit and count == limit else next(iterator, None)
            with self.watch("wait for features"):
                opened = {key: link.receive(BatchOpen, EpochEnd) for key, link in self.links.items()}
            self._check_aligned(own, opened, count)
            if own is None:
                return
            rows = len(own[0])
            with self.watch("wait for masks"):
                self._wait_for_masks(training, rows)
            with self.watch("wait for features"):
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
            self.metrics.offline_seconds += self._preparation.seconds
        self.save()
        self.go_to(Phase.FINISH)
        for link in self.links.values():
            link.send(TaskFinished(self.current_round))
        for link in self.links.values():
            received(link.receive(FinishAcknowledged), FinishAcknowledged)
        self.checkpoint()
        for link in self.links.values():
            link.channel.close(FLUSH_SECONDS)

    def _models(self) -> dict[str, nn.Module]:
        return {"feature_model": self.feature_model, "infer_model": self.infer_model}

    def _projections(self) -> dict[str, dict[str, Array]]:
        return {key: projection.weights() for key, projection in self.projections.items()}


def _width(asked: int) -> int:
    """The manifest's width: True is "as wide as the features", written 0."""
    return 0 if asked is True else int(asked)
