"""A Collaborator serves predictions: it waits for the Host, session after session, until it is stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import torch

from protocols.core.envelope import Phase
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.wording import plural
from protocols.layer.interface import CollaboratorLayer
from protocols.layer.messages import FeatureShape
from protocols.layer.pads import Pads
from protocols.task.abort import AbortCode
from protocols.task.agreement import CollaboratorAgreement
from protocols.task.alignment import OrderedIds, ids_digest
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello, Manifest
from protocols.task.rounds import CollaboratorRounds
from secure_hfl.engine.collaborator import agree_on_pads, host_of, to_the_host, with_grace
from secure_hfl.engine.contract import CollaboratorScheduler
from secure_hfl.engine.layers import Layers, layer_spec
from secure_hfl.engine.link import Link
from secure_hfl.engine.models import CollaboratorModels
from secure_hfl.engine.offline_phase import CollaboratorOfflineWork
from secure_hfl.engine.psi import run_collaborator_psi
from secure_hfl.engine.recovery import FIRST_DELAY, LONGEST_DELAY
from secure_hfl.engine.run_view import RunView
from secure_hfl.engine.shutdown import ShuttingDown
from secure_hfl.engine.terms import limits_of
from secure_hfl.engine.workbench import Workbench
from secure_hfl.errors import ConfigurationError, PeerRefused, TaskFailed, TaskStateError
from secure_hfl.failed_test import FailedTest
from secure_hfl.log import logger
from secure_hfl.prediction.assignment import PredictionAssignment, find_prediction
from secure_hfl.prediction.budget import COUNTS, PredictionBudget
from secure_hfl.prediction.features import Rows
from secure_hfl.prediction.online_collaborator import OnlineCollaborator
from secure_hfl.prediction.party import ROWS, PredictingParty, batches_of, rows_of, show
from secure_hfl.prediction.shown_rows import SHOWN, ShownRows
from secure_hfl.prediction.trained import Training
from secure_hfl.tasks import run_lock
from secure_hfl.transport.channel import Channel

ATTEMPT = 10.0
"""Seconds of one attempt to reach the Host, between which a stop is noticed."""

SERVING = "serving.lock"
"""Who serves the task holds it (secure_hfl/tasks/run_lock.py)."""


class PredictionServer:
    """A Collaborator with a finished task.

    Args:
        scheduler: the user's.
        assignment, training: what it predicts with.
        connect: opens a channel to the host; default: over the network.

    Attributes:
        served: sessions that have ended well.
    """

    def __init__(
        self,
        scheduler: CollaboratorScheduler,
        assignment: PredictionAssignment,
        training: Training,
        connect: Callable[[float], Channel] | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._connect = connect or to_the_host(assignment)
        bench = self._bench = Workbench(scheduler, assignment)
        self._layers: Layers[CollaboratorLayer] = Layers()
        bench.layers = self._layers
        models = CollaboratorModels(bench.user)
        self.view = RunView(bench, models)
        show(scheduler, self.view)
        self.party = PredictingParty(scheduler, assignment, training, bench, models, models.build)
        self._failed_test = FailedTest(assignment.directory)
        self._pads: Pads | None = None
        self.served = 0
        self._is_stopping = False
        self._is_in_session = False

    def stop(self) -> None:
        """Serve no further session; one that is under way goes on to its end, or on line to where all is signed."""
        self._is_stopping = True

    def serve(self, sessions: int | None = None) -> None:
        """Serve the Host, session after session.

        Args:
            sessions: how many; None: until SIGTERM, Ctrl-C or `stop`.

        Raises:
            TaskStateError: the Host has failed a test, in this session or an earlier one; or a live process serves the
                task already.
        """
        record, done = self._bench.assignment.record, 0
        task, host = record.task_id, record.address
        try:
            with self._alone(task), self._stoppable():
                logger.info(f"Serving predictions of task {task} to {host}; Ctrl-C or SIGTERM stops.")
                self._failed_test.check_serving()
                while not self._is_stopping and (sessions is None or done < sessions):
                    channel = self._next_host()
                    if channel is None:
                        break
                    done += 1
                    self._one(channel)
                    self._failed_test.check_serving()
        except (ShuttingDown, KeyboardInterrupt):
            if self._is_in_session:
                raise
        logger.info(f"Stopped after {plural(self.served, 'session')}.")

    @contextmanager
    def _alone(self, task: str) -> Iterator[None]:
        """One process serves a task: two would each count what they show, and one of the counts would be lost."""
        lock = self._bench.assignment.directory / SERVING
        if not run_lock.acquire(lock):
            raise TaskStateError(f"process {run_lock.holder(lock)} serves task {task} already; stop that one first")
        try:
            yield
        finally:
            run_lock.release(lock)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C end what waits; a session they let go on, once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self._is_stopping or not self._is_in_session:
                raise ShuttingDown if number == signal.SIGTERM else KeyboardInterrupt
            logger.info("Stopping after this session.")
            self.stop()

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _next_host(self) -> Channel | None:
        """A channel to the Host once it asks; None: this party is to stop."""
        delay = FIRST_DELAY
        while not self._is_stopping:
            try:
                return self._connect(ATTEMPT)
            except PeerRefused:
                time.sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY)
        return None

    def _one(self, channel: Channel) -> None:
        self._is_in_session = True
        try:
            with self.party.session(self._failed_test):
                count = self._session(channel)
            self.served += 1
            logger.info(f"Session {self.served}: {plural(count, 'sample')}.")
        except TaskFailed as error:
            if self._is_stopping:
                logger.info(f"A session was ended: {error}")
            elif error.code == AbortCode.WRONG_SESSION:
                logger.warning(f"A session was refused: {error}")
            elif error.code == AbortCode.CONNECTION_LOST and self._bench.peers.place.phase is Phase.JOIN:
                logger.info("The Host went away before a session began.")
            else:
                logger.error(f"A session failed: {error}")
        finally:
            self._is_in_session = False

    # One session -----------------------------------------------------------------------------------------------------

    def _session(self, channel: Channel) -> int:
        bench, task = self._bench, self._bench.assignment
        link = Link(channel, with_grace(self._scheduler.schedule_timeout))
        link.hold_to(LiveOrder(Sender.COLLABORATOR, task.scheme.prediction_order))
        link.on_question = self._failed_test.answer_owed
        channel.on_failure(bench.user.interrupter.task_failed)
        bench.peers.links = {link.name: link}
        bench.peers.record(link, host_of(task.record).certificate_pem)
        manifest = bench.state.manifest = self._agree(link)
        limits = manifest.limits(task.party)
        budget = PredictionBudget(task.directory / COUNTS, task.party, limits)
        if manifest.is_online:
            return self._serve_online(link, manifest, budget)
        outcome = self.party.intersect(
            self.party.local_ids,
            lambda work: run_collaborator_psi(link, task.party, work),
            task.limits.ids,
            budget.ask,
        )
        found = [str(each) for each in OrderedIds(outcome.intersection)]
        rounds = CollaboratorRounds()
        if found:
            budget.predict(found)
            rows = self._rows(found)
            size, width = rows_of(manifest, len(found)), rows.features.shape[1]
            layer = self._set_up(link, manifest, (size, width), len(found))
            self._round(link, manifest, layer, rounds, rows)
        self._farewell(link, rounds)
        self.party.settle([task.party])
        return len(found)

    def _rows(self, ids: Sequence[str]) -> Rows:
        """What this party shows for these ids: always the same bits for the same id, where they go under noise."""
        rows, task = self.party.features.of(ids), self._bench.assignment
        features = rows.plain
        if not task.scheme.is_plaintext:
            shown = ShownRows(task.directory / SHOWN, self.party.training.digest)
            features = torch.from_numpy(shown.settle(rows.ids, features.numpy()))
        return replace(rows, features=features)

    def _agree(self, link: Link) -> Manifest:
        bench, task, training = self._bench, self._bench.assignment, self.party.training
        limits = limits_of(self._scheduler, task).of_a_prediction
        hello = Hello(
            protocol_version=PROTOCOL_VERSION,
            task_id=task.record.task_id,
            feature_key=task.party,
            scheme=task.scheme.name,
            is_feature_trainable=False,
            is_reproducible=False,
            nonce=OsRandomness().bytes(NONCE_BYTES),
            width_limit=limits.width,
            row_limit=limits.rows,
            least_others=limits.least_others,
            trained=training.digest,
            prediction_limit=limits.predictions,
            asked_limit=limits.asked_a_day,
        )
        bench.peers.go_to(Phase.JOIN)
        accepted = task.scheme.accepted_parameters()
        agreement = CollaboratorAgreement(hello, accepted, self.party.pinned(), task.record.party)
        manifest = link.run(agreement.run())
        task.scheme.adopt(manifest.scheme_parameters)
        self._check_as_trained(manifest)
        self._pads = agree_on_pads(link, task, manifest) if manifest.is_summed else None
        bench.peers.sign()
        link.timeout = with_grace(manifest.calculation_timeout)
        return manifest

    def _check_as_trained(self, manifest: Manifest) -> None:
        said, terms = manifest.pair_terms(self._bench.assignment.party).width, self.party.training.terms
        width = terms.projection_width if manifest.has_projection else 0
        if (said, manifest.has_projection) != (width, terms.has_projection):
            raise ConfigurationError("the host's manifest has another projection layer than was trained")
        if manifest.is_summed != terms.is_summed:
            raise ConfigurationError(
                "the host's manifest asks for each projection by itself, and the training was with a sum of all; no "
                "feature was sent"
                if terms.is_summed
                else "the host's manifest asks for a sum of all projections, and the training was with each by itself"
            )

    def _serve_online(self, link: Link, manifest: Manifest, budget: PredictionBudget) -> int:
        """A session that stays open; how many rows were shown in it."""
        ids = self.party.all_ids
        session = OnlineCollaborator(
            self.party, link, manifest, budget, lambda: self._is_stopping, self._rows, self._pads
        )
        session.register(ids)
        shape = rows_of(manifest, ROWS), self.party.features.of(ids[:1]).features.shape[1]
        session.serve(self._set_up(link, manifest, shape, shape[0]), shape[0])
        self.party.settle([self._bench.assignment.party])
        return session.rows

    def _set_up(self, link: Link, manifest: Manifest, shape: tuple[int, int], count: int) -> CollaboratorLayer:
        """Fresh keys for the layer, and the share as it was, for batches [rows, columns]; signed."""
        bench, task = self._bench, self._bench.assignment
        bench.peers.go_to(Phase.SETUP)
        batch, width = shape
        link.send(FeatureShape(batch, width))
        budget = bench.checkpoints.spent.budget(task.party, "collaborator")
        samples, limits = (0, count), task.limits
        spec = layer_spec(manifest, task.party, batch, width, None, samples, budget, limits.stock_bytes)
        limits.check_layer(spec)
        spec = replace(spec, witness=bench.peers.witness(link.name), pads=self._pads)
        layer = self._layers.add(spec, task.scheme.prediction_collaborator(spec))
        link.run(layer.resume(self.party.state.layer(task.party)))
        bench.peers.sign()
        bench.background.precompute([layer.prepare])
        if layer.offline is not None:
            bench.background.work_offline(CollaboratorOfflineWork(link.offline_lane(), layer.offline))
        return layer

    def _round(
        self, link: Link, manifest: Manifest, layer: CollaboratorLayer, rounds: CollaboratorRounds, rows: Rows
    ) -> None:
        bench = self._bench
        link.run(rounds.next_round())
        for piece in batches_of(rows.ids, rows_of(manifest, len(rows.ids))):
            self._follow(rounds)
            ids, features = rows.ids[piece], rows.features[piece].contiguous().numpy()
            digest = ids_digest(manifest.session, "batch", ids)
            if self._pads is not None:
                self._pads.bind(digest)
            link.run(rounds.open_batch(len(ids), digest))
            link.run(layer.forward(features, False))
            bench.background.wake()
            rounds.batch_done()
        self._follow(rounds)
        link.run(rounds.end_round())
        bench.peers.sign()

    def _follow(self, rounds: CollaboratorRounds) -> None:
        place = rounds.place
        self._bench.peers.go_to(place.phase, place.round, place.batch)

    def _farewell(self, link: Link, rounds: CollaboratorRounds) -> None:
        link.run(rounds.next_round())
        self._bench.peers.go_to(Phase.FINISH)
        link.run(rounds.farewell())
        self._bench.peers.sign()


def prediction_server(scheduler: CollaboratorScheduler, reference: str) -> PredictionServer:
    """The Collaborator of a finished task. Errors as `find_prediction`."""
    return PredictionServer(scheduler, *find_prediction(scheduler, "collaborator", reference))
