"""The host's part of a run: it waits for the collaborators, and leads the task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain

from protocols.core.envelope import Phase
from protocols.core.errors import PeerViolation, SecureHflError
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.core.sender import Sender
from protocols.core.steps import received
from protocols.core.wording import plural
from protocols.layer.interface import HostLayer, LayerSpec
from protocols.layer.messages import FeatureShape
from protocols.task.agreement import HostAgreement, HostPlan
from protocols.task.alignment import HostAlignment, Misaligned, SplitDigest
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import Manifest
from protocols.task.resumption import ResumePoint
from protocols.task.sum_keys import HostSumKeys
from protocols.task.terms import Pinned
from secure_hfl.checkpoints.snapshot import Snapshot
from secure_hfl.engine.assignment import find_assignment
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.door import Door
from secure_hfl.engine.host_rounds import HostTraining, OwnBatch, OwnBatches
from secure_hfl.engine.layers import Layers, layer_spec
from secure_hfl.engine.link import Link
from secure_hfl.engine.models import HostModels
from secure_hfl.engine.offline_phase import host_offline_work
from secure_hfl.engine.peers import FLUSH_SECONDS
from secure_hfl.engine.psi import run_host_psi
from secure_hfl.engine.psi_files import Ids
from secure_hfl.engine.psi_work import PsiOutcome, PsiWork
from secure_hfl.engine.run import Run
from secure_hfl.engine.terms import check_before_waiting, check_plan, declared_by, is_summed, trainers
from secure_hfl.engine.widths import projection_widths, with_option
from secure_hfl.engine.workbench import Workbench
from secure_hfl.errors import ConfigurationError, PeerFault, PeerRefused, UserCodeError
from secure_hfl.executor import Executor
from secure_hfl.identity import digest_of
from secure_hfl.log import logger
from secure_hfl.privacy.accounting import why_no_run_claim
from secure_hfl.privacy.randomized_response import LabelDraws


def fail_all(bench: Workbench, failed: Link, error: SecureHflError) -> None:
    """A link has failed: nobody waits for the others any more; whose fault it is, all hear."""
    if isinstance(error, PeerViolation):
        error = PeerFault(failed.name, error)
    bench.peers.fail(error)
    bench.user.interrupter.task_failed(error)


def relay_sum_keys(links: Mapping[str, Link], manifest: Manifest) -> None:
    """Those by which the collaborators hide their projections from us."""
    relay = HostSumKeys(manifest)
    for name, link in links.items():
        link.run(relay.hear(name))
    for link in links.values():
        link.run(relay.tell())


class Host:
    """The role. Used by `Run`.

    Args:
        bench: what the run works with.
        scheduler: the user's.
        door: where the collaborators come in.

    Attributes:
        models: the host's.
    """

    def __init__(self, bench: Workbench, scheduler: HostScheduler, door: Door) -> None:
        self._bench = bench
        self._scheduler = scheduler
        self.models = HostModels(bench.user)
        self._layers: Layers[HostLayer] = Layers()
        bench.layers = self._layers
        self._batches = OwnBatches(bench.user, bench.state, self.models)
        self._door = door
        self._seams: dict[str, bytes] = {}
        self._begun: Iterator[OwnBatch] | None = None
        """The iterator of the first round to train, if it has been started."""
        self._training: HostTraining | None = None

    def close(self) -> None:
        """Stop listening."""
        self._training = None  # and what it has made ahead
        self._door.close()

    # Joining ---------------------------------------------------------------------------------------------------------

    def join(self) -> None:
        """See `Role`."""
        peers, task = self._bench.peers, self._bench.assignment
        check_before_waiting(self._scheduler, task)
        if self._bench.recovery.is_resuming:
            self._bench.checkpoints.label_key.check(self._label_protection)
        certificates = self._door.certificates
        self._door.on_change = peers.is_here
        logger.info(f"Waiting at {task.record.address} for {', '.join(certificates)}.")
        try:
            channels = self._door.wait(self._bench.user.schedule_timeout)
        except PeerRefused:
            # Those who came hear who did not.
            peers.links = {name: Link(channel, FLUSH_SECONDS) for name, channel in self._door.arrived().items()}
            raise
        peers.links = {name: Link(channel, self._scheduler.calculation_timeout) for name, channel in channels.items()}
        for link in peers.links.values():
            link.hold_to(LiveOrder(Sender.HOST, task.scheme.task_order))
        if self._bench.recovery.is_resuming:
            self._seams = {name: peers.last_position(link) for name, link in peers.links.items()}
        for name, link in peers.links.items():
            peers.record(link, certificates[name])
            link.channel.on_failure(partial(self._one_failed, link))

    def _one_failed(self, failed: Link, error: SecureHflError) -> None:
        fail_all(self._bench, failed, error)

    def agree(self) -> Manifest:
        """See `Role`."""
        bench, task, peers = self._bench, self._bench.assignment, self._bench.peers
        is_resuming = bench.recovery.is_resuming
        links = dict(peers.links)
        if is_resuming and (before := peers.first_parameters()) in task.scheme.accepted_parameters():
            task.scheme.adopt(before)
        declared = declared_by(self._scheduler, task.options, task.record.terms)
        plan = HostPlan(
            task_id=task.record.task_id,
            feature_key=task.party,
            scheme=task.scheme.name,
            scheme_parameters=task.scheme.parameters(),
            is_reproducible=task.options.seed is not None,
            calculation_timeout=float(self._scheduler.calculation_timeout),
            pinned=self._pinned(links),
            is_resuming=is_resuming,
            checkpoints=tuple(bench.checkpoints.offers().items()) if is_resuming else (),
            declared=declared,
            may_train=trainers(self._scheduler, task),
            is_summed=is_summed(self._scheduler, task),
        )
        agreement = HostAgreement(plan, list(links))
        peers.go_to(Phase.JOIN)
        keys = {}
        for name, link in links.items():
            keys[name] = link.run(agreement.hello_from(name)).feature_key
            agreement.admit(name)
        asked = with_option(self._scheduler.projection, task.options.projection)
        widths = projection_widths(asked, task.scheme, list(keys.values()))
        check_plan(declared, widths, task)
        manifest = agreement.decide(widths, OsRandomness(), self._seams)
        bench.adopt(manifest)
        for accepted in [link.start(agreement.conclude(name)) for name, link in links.items()]:
            accepted.finish()
        for name, link in links.items():
            link.name = keys[name]  # from here on parties are known by their feature keys, as in the user's code
        peers.links = {link.name: link for link in links.values()}
        if is_resuming:
            peers.check_terms_kept()
        if manifest.is_summed:
            relay_sum_keys(peers.links, manifest)
        peers.sign()
        logger.info(f"All have joined: {', '.join(peers.links)}; the scheme is {task.scheme.name}.")
        return manifest

    def _pinned(self, names: Iterable[str]) -> Pinned:
        """The certificates by which everyone has come in."""
        certificates = self._door.certificates
        others = {name: digest_of(certificates[name]) for name in names}
        return Pinned(digest_of(self._bench.assignment.identity.certificate_pem), others)

    # Preparing -------------------------------------------------------------------------------------------------------

    def intersect(self, ids: Ids, executor: Executor) -> PsiOutcome:
        """See `Role`."""
        bench = self._bench
        most = bench.assignment.limits.ids
        work = PsiWork(bench.state.manifest, ids, executor, bench.progress, bench.psi_files, most)
        return run_host_psi(bench.peers.links.values(), work)

    def align(self) -> None:
        """See `Role`."""
        state = self._bench.state
        own = SplitDigest.of(state.manifest.session, state.train_ids, state.test_ids)
        for link in self._bench.peers.links.values():
            link.run(HostAlignment(own, link.name).run())

    def _build(self) -> None:
        keys, has_layers = list(self._bench.peers.links), self._bench.state.manifest.has_projection
        rate = self._scheduler.projection_lr
        loss = self._scheduler.fallback_loss if self._scheduler.has_fallback else None
        self.models.build(keys if has_layers else [], rate, [] if has_layers else keys, loss)
        self._protect_labels()
        self._bench.user_state.hold(self.models.by_name(), self.models.optimizers())

    @property
    def _label_protection(self) -> Mapping[str, float]:
        privacy = self._scheduler.label_privacy
        return {} if privacy is None else privacy.parameters

    def _protect_labels(self) -> None:
        """As the scheduler asks for, under the key that the task began with."""
        bench, seed, privacy = self._bench, self._bench.assignment.options.seed, self._scheduler.label_privacy
        randomness = OsRandomness() if seed is None else SeededRandomness(seed, "label privacy")
        key = bench.checkpoints.label_key.open(self._label_protection, randomness)
        if privacy is None:
            self._say_what_noise_bounds()
            return
        self._batches.draws = LabelDraws(privacy, key, bench.state.train_ids)
        bench.measurements.metrics.label_epsilon = float(privacy.epsilon) if seed is None else None
        if seed is not None:
            logger.warning("With a seed, label_privacy protects nothing: whoever knows the seed can undo it.")

    def _say_what_noise_bounds(self) -> None:
        """Where it is all that protects labels."""
        noise = self._scheduler.gradient_noise
        head = self.models.infer_model.parameters()
        learns = self._bench.user.is_trainable or any(parameter.requires_grad for parameter in head)
        if noise is not None and (reason := why_no_run_claim(noise, learns)):
            logger.warning(f"gradient_noise: {reason}.")

    def set_up(self) -> None:
        """Learn how wide everyone's features are, and make the projection layers."""
        self._build()
        self.models.set_mode(training=True)
        self._bench.user_state.begin_round(with_models=True)
        iterator = self._batches.iterate(training=True)
        first = next(iterator, None)
        if first is None:
            raise UserCodeError("iterate_train_feature yielded no batch")
        self._begun = chain([first], iterator)
        rows, width = first[0].shape
        self._bench.look_at_first_batch(self.models, first[0])
        if self.models.fallback is not None:
            self.models.fallback.outputs(first[0])  # fails now, if it does not fit
        if self._bench.user.is_feature_holder:
            self._scheduler.check_feature_width(self._bench.assignment.party, width)
        for key, link in self._bench.peers.links.items():
            shape = received(link.receive(FeatureShape), FeatureShape)
            if shape.rows != rows:
                raise Misaligned(
                    f"the host's first batch has {plural(rows, 'sample')}, {key}'s has {shape.rows:,}. "
                    "Use the same batch size"
                )
            self._bench.assignment.limits.check_features(shape.rows, shape.width)
            self._scheduler.check_feature_width(key, shape.width)
            link.run(self._new_layer(self._spec(key, shape.rows, shape.width)).setup())

    def set_up_again(self, snapshot: Snapshot) -> None:
        """See `Role`."""
        kept = snapshot.at_set_up()
        self._bench.peers.go_to(Phase.SETUP)
        if not self.models.is_built:
            self._build()
        for key, link in self._bench.peers.links.items():
            layer = self._new_layer(self._spec(key, *kept.shapes[key]))
            link.run(layer.resume(kept.layer(key)))
        self.models.set_mode(training=True)
        self._begun = self._bench.go_on(snapshot, lambda: self._batches.iterate(training=True))

    def _spec(self, key: str, rows: int, width: int) -> LayerSpec:
        bench = self._bench
        budget = bench.checkpoints.spent.budget(key, "host")
        seed, limits = bench.assignment.options.seed, bench.assignment.limits
        samples = bench.state.samples
        spec = layer_spec(bench.state.manifest, key, rows, width, seed, samples, budget, limits.stock_bytes)
        limits.check_layer(spec)
        self._check_same_width(spec)
        return replace(spec, witness=bench.peers.witness(key))

    def _check_same_width(self, spec: LayerSpec) -> None:
        """Of projections that are added, where they are as wide as the features."""
        others = self._layers.specs.values()
        if spec.summands > 1 and any(each.width_out != spec.width_out for each in others):
            widths = ", ".join(f"{each.width_out} of {each.feature_key}" for each in (*others, spec))
            raise ConfigurationError(
                f"fusion: projections that are added have one width, these have {widths}. Set projection to a number"
            )

    def _new_layer(self, spec: LayerSpec) -> HostLayer:
        return self._layers.add(spec, self._bench.assignment.scheme.host_layer(spec))

    # Training --------------------------------------------------------------------------------------------------------

    def start_background(self, is_first: bool) -> None:
        """See `Role`."""
        bench, layers = self._bench, self._layers.by_key
        bench.background.precompute([layer.prepare for layer in layers.values()])
        self._training = HostTraining(bench, self._scheduler, self.models, self._layers, self._batches)
        timeout = self._scheduler.calculation_timeout
        work = host_offline_work(bench.peers.links, layers, self._training.outlook, timeout)
        if work is None:
            return
        bench.background.work_offline(work)
        self._training.offline = work
        if is_first:
            logger.info("Making one-time masks for the first round.")
            work.wait_for_round()

    def train(self, point: ResumePoint | None) -> None:
        """See `Role`."""
        begun, self._begun = self._begun, None
        if self._training is not None:
            self._training.run(point, begun)


def host_run(scheduler: HostScheduler, reference: str) -> Run:
    """A host's run. Arguments and errors as `find_assignment`."""
    bench = Workbench(scheduler, find_assignment(scheduler, "host", reference))
    return Run(bench, Host(bench, scheduler, Door(bench.assignment)))
