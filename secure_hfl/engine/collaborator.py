"""A collaborator's part of a run: it joins the host, and follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

import torch

from protocols.core.envelope import Phase
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.layer.interface import CollaboratorLayer
from protocols.layer.messages import FeatureShape
from protocols.layer.pads import Pads
from protocols.task.agreement import CollaboratorAgreement
from protocols.task.alignment import CollaboratorAlignment, SplitDigest
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello, Manifest
from protocols.task.resumption import ResumePoint
from protocols.task.sum_keys import CollaboratorSumKeys
from protocols.task.terms import Pinned
from protocols.transcript.certificates import Certificate
from protocols.wire.codec import Catalogue
from secure_hfl.checkpoints.snapshot import Snapshot
from secure_hfl.engine.assignment import Assignment, find_assignment
from secure_hfl.engine.collaborator_rounds import CollaboratorTraining, OwnFeatures
from secure_hfl.engine.contract import CollaboratorScheduler
from secure_hfl.engine.layers import Layers, layer_spec
from secure_hfl.engine.link import Link
from secure_hfl.engine.models import CollaboratorModels
from secure_hfl.engine.offline_phase import CollaboratorOfflineWork
from secure_hfl.engine.psi import run_collaborator_psi
from secure_hfl.engine.psi_files import Ids
from secure_hfl.engine.psi_work import PsiOutcome, PsiWork
from secure_hfl.engine.recovery import retry
from secure_hfl.engine.run import Run
from secure_hfl.engine.terms import limits_of
from secure_hfl.engine.workbench import Workbench
from secure_hfl.errors import UserCodeError
from secure_hfl.executor import Executor
from secure_hfl.identity import digest_of
from secure_hfl.log import logger
from secure_hfl.tasks import TaskRecord
from secure_hfl.tasks.record import Participant
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.client import connect


def with_grace(timeout: float) -> float:
    """A collaborator waits longer than the host would, so that the host's explanation arrives first."""
    return timeout + min(60.0, 2.0 + timeout / 4)


def host_of(record: TaskRecord) -> Participant:
    """Who hosts a task."""
    return next(participant for participant in record.participants if participant.role == "host")


def to_the_host(assignment: Assignment) -> Callable[[float], Channel]:
    """Opens a channel to the host of a task, given how many seconds that may take. Raises `PeerRefused`."""
    record, identity = assignment.record, assignment.identity
    host, catalogue = host_of(record), Catalogue(assignment.scheme.all_messages())
    certificate, proxy = host.certificate_pem, assignment.options.proxy

    def attempt(seconds: float) -> Channel:
        to = (record.address, record.task_id, identity, certificate, seconds, host.name)
        return connect(*to, catalogue=catalogue, proxy=proxy)

    return attempt


def agree_on_pads(link: Link, task: Assignment, manifest: Manifest) -> Pads:
    """With the other collaborators, through the host, which learns none of them."""
    pems = [each.certificate_pem for each in task.record.collaborators]
    certificates = {digest_of(pem): Certificate(pem) for pem in pems}
    agreement = CollaboratorSumKeys(manifest, task.party, certificates, task.identity.sign, OsRandomness())
    return link.run(agreement.run())


class Collaborator:
    """The role. Used by `Run`.

    Args:
        bench: what the run works with.
        scheduler: the user's.
        connect: opens a channel to the host, given how many seconds that may take.

    Attributes:
        models: the collaborator's.
    """

    _link: Link

    def __init__(self, bench: Workbench, scheduler: CollaboratorScheduler, connect: Callable[[float], Channel]) -> None:
        self._bench = bench
        self._scheduler = scheduler
        self._connect = connect
        self.models = CollaboratorModels(bench.user)
        self._layers: Layers[CollaboratorLayer] = Layers()
        bench.layers = self._layers
        self._features = OwnFeatures(bench.user, bench.state, self.models)
        self._seam = b""
        self._pads: Pads | None = None
        self._begun: Iterator[torch.Tensor] | None = None
        """The iterator of the first round to train, if it has been started."""

    def close(self) -> None:
        """There is nothing that outlives a conversation."""

    # Joining ---------------------------------------------------------------------------------------------------------

    def join(self) -> None:
        """See `Role`."""
        bench, record = self._bench, self._bench.assignment.record
        timeout = bench.user.schedule_timeout
        logger.info(f"Joining task {record.task_id} at {record.address}.")
        # A host refuses us as long as it serves other tasks only, or has not noticed that we lost the connection.
        channel = retry(self._connect, timeout)
        # The host answers once everyone has joined, which may take its whole schedule_timeout.
        self._link = Link(channel, with_grace(timeout))
        self._link.hold_to(LiveOrder(Sender.COLLABORATOR, bench.assignment.scheme.task_order))
        channel.on_failure(bench.user.interrupter.task_failed)
        bench.peers.links = {self._link.name: self._link}
        bench.peers.is_here(self._link.name)
        self._seam = bench.peers.last_position(self._link) if bench.recovery.is_resuming else b""
        bench.peers.record(self._link, host_of(record).certificate_pem)

    def agree(self) -> Manifest:
        """See `Role`."""
        bench, task = self._bench, self._bench.assignment
        is_resuming = bench.recovery.is_resuming
        points = bench.checkpoints.offers() if is_resuming else {}
        is_trainable = self._scheduler.is_feature_trainable
        has_shown = is_resuming and not is_trainable and bench.checkpoints.spent.has_begun(task.party)
        if has_shown:  # weights that are drawn anew would be another look at the same features
            points = {tag: point for tag, point in points.items() if point.is_set_up}
        limits = limits_of(self._scheduler, task)
        hello = Hello(
            protocol_version=PROTOCOL_VERSION,
            task_id=task.record.task_id,
            feature_key=task.party,
            scheme=task.scheme.name,
            is_feature_trainable=is_trainable,
            is_reproducible=task.options.seed is not None,
            nonce=OsRandomness().bytes(NONCE_BYTES),
            is_resuming=is_resuming,
            checkpoints=tuple(points),
            seam=self._seam,
            width_limit=limits.width,
            round_limit=limits.rounds,
            rate_limit=limits.projection_lr,
            row_limit=limits.rows,
            id_limit=limits.ids,
            least_others=limits.least_others,
        )
        bench.peers.go_to(Phase.JOIN)
        others = {each.name: digest_of(each.certificate_pem) for each in task.record.collaborators}
        pinned = Pinned(digest_of(host_of(task.record).certificate_pem), others)
        accepted, name = task.scheme.accepted_parameters(), task.record.party
        agreement = CollaboratorAgreement(hello, accepted, pinned, name, points, has_shown)
        manifest = self._link.run(agreement.run())
        bench.adopt(manifest)
        if is_resuming:
            bench.peers.check_terms_kept()
        self._pads = agree_on_pads(self._link, task, manifest) if manifest.is_summed else None
        bench.peers.sign()
        self._link.timeout = with_grace(manifest.calculation_timeout)
        logger.info(f"All have joined: {', '.join(manifest.feature_keys)}; the scheme is {task.scheme.name}.")
        return manifest

    # Preparing -------------------------------------------------------------------------------------------------------

    def intersect(self, ids: Ids, executor: Executor) -> PsiOutcome:
        """See `Role`."""
        bench = self._bench
        most = bench.assignment.limits.ids
        work = PsiWork(bench.state.manifest, ids, executor, bench.progress, bench.psi_files, most)
        return run_collaborator_psi(self._link, bench.assignment.party, work)

    def align(self) -> None:
        """See `Role`."""
        state = self._bench.state
        own = SplitDigest.of(state.manifest.session, state.train_ids, state.test_ids)
        self._link.run(CollaboratorAlignment(own).run())

    def _build(self) -> None:
        self.models.build()
        self._bench.user_state.hold(self.models.by_name(), self.models.optimizers())

    def set_up(self) -> None:
        """Take the first training batch to learn how wide the features are; it is used in round 1 as it is."""
        self._build()
        self.models.set_mode(training=True)
        self._bench.user_state.begin_round(with_models=True)
        iterator = self._features.iterate(training=True)
        first = next(iterator, None)
        if first is None:
            raise UserCodeError("iterate_train_feature yielded no batch")
        self._begun = chain([first], iterator)
        rows, width = first.shape
        self._bench.look_at_first_batch(self.models, first)
        party = self._bench.assignment.party
        terms = self._bench.state.manifest.pair_terms(party)
        terms.limits.check_shape(party, rows, terms.width or width)
        self._link.send(FeatureShape(rows, width))
        self._link.run(self._new_layer(rows, width).setup())

    def set_up_again(self, snapshot: Snapshot) -> None:
        """See `Role`."""
        kept, key = snapshot.at_set_up(), self._bench.assignment.party
        self._bench.peers.go_to(Phase.SETUP)
        if not self.models.is_built:
            self._build()
        self._link.run(self._new_layer(*kept.shapes[key]).resume(kept.layer(key)))
        self.models.set_mode(training=True)
        self._begun = self._bench.go_on(snapshot, lambda: self._features.iterate(training=True))
        self.models.forget_gradients()

    def _new_layer(self, rows: int, width: int) -> CollaboratorLayer:
        task, state = self._bench.assignment, self._bench.state
        budget = self._bench.checkpoints.spent.budget(task.party, "collaborator")
        seed, limits = task.options.seed, task.limits
        spec = layer_spec(state.manifest, task.party, rows, width, seed, state.samples, budget, limits.stock_bytes)
        limits.check_layer(spec)
        spec = replace(spec, witness=self._bench.peers.witness(self._link.name), pads=self._pads)
        return self._layers.add(spec, task.scheme.collaborator_layer(spec))

    @property
    def _layer(self) -> CollaboratorLayer:
        (layer,) = self._layers.by_key.values()
        return layer

    # Training --------------------------------------------------------------------------------------------------------

    def start_background(self, is_first: bool) -> None:
        """See `Role`."""
        background = self._bench.background
        background.precompute([self._layer.prepare])
        if self._layer.offline is not None:
            background.work_offline(CollaboratorOfflineWork(self._link.offline_lane(), self._layer.offline))

    def train(self, point: ResumePoint | None) -> None:
        """See `Role`."""
        begun, self._begun = self._begun, None
        training = CollaboratorTraining(self._bench, self.models, self._link, self._layer, self._features)
        training.run(point, begun)


def collaborator_run(scheduler: CollaboratorScheduler, reference: str) -> Run:
    """A collaborator's run. Arguments and errors as `find_assignment`."""
    assignment = find_assignment(scheduler, "collaborator", reference)
    bench = Workbench(scheduler, assignment)
    return Run(bench, Collaborator(bench, scheduler, to_the_host(assignment)))
