"""Whole tasks in memory, in one thread: every party's real roles, and a recorder at each end of each connection.

Task(Case("masked", names=("patient", "shop"))).run()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.harness.pump import C, H, Wire, complete, identity, pinned
from protocols.core.envelope import Phase, Place
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Steps, received
from protocols.layer.interface import CollaboratorOfflinePhase, LayerSpec
from protocols.layer.messages import FeatureShape
from protocols.layer.pads import total
from protocols.psi import PsiReceiver, PsiSender, hash_ids
from protocols.schemes.registry import registered_scheme
from protocols.task.agreement import CollaboratorAgreement, HostAgreement, HostPlan
from protocols.task.alignment import CollaboratorAlignment, HostAlignment, SplitDigest
from protocols.task.manifest import PROTOCOL_VERSION, Hello, Manifest
from protocols.task.resumption import ResumePoint, checkpoint_tag
from protocols.task.rounds import CollaboratorRounds, HostRounds
from protocols.task.sum_keys import CollaboratorSumKeys, HostSumKeys
from protocols.transcript.certificates import Certificate
from secure_hfl.identity import digest_of
from tests.protocols.kept_layers import layer_ends, parameters_of
from tests.protocols.psi.helpers import Bucketed, Half
from tests.protocols.task_line import Line

HOST = "hospital"


@dataclass(frozen=True)
class Case:
    """A task.

    Attributes:
        batches: rows of each training batch; the first is what triples are made for.
        skip: the batch of each round on which the host does not step.
        names: of the collaborators.
        tests_every_round: else the last one alone.
        is_summed: the host gets the sum of the collaborators' projections only.
        buckets: in how many PSI runs; 0: in one over all ids.
    """

    scheme: str = "bfv"
    trainable: bool = True
    d: int = 3
    o: int = 2
    batches: tuple[int, ...] = (4, 4, 3)
    rounds: int = 2
    has_projection: bool = True
    skip: int = -1
    names: tuple[str, ...] = ("patient",)
    tests_every_round: bool = False
    is_summed: bool = False
    buckets: int = 0

    def __str__(self) -> str:
        """For test reports: the scheme, and what is not as usual."""
        usual = type(self)()
        words = {"trainable": "trained", "has_projection": "with a layer"}
        shown = [self.scheme]
        for name, value in vars(self).items():
            if name == "scheme" or value == getattr(usual, name):
                continue
            if isinstance(value, bool):
                shown.append(f"{'' if value else 'not '}{words.get(name, name.replace('_', ' '))}")
            else:
                shown.append(f"{name} {' '.join(map(str, value)) if isinstance(value, tuple) else value}")
        return ", ".join(shown)


def ids_of(party: int) -> list[str]:
    """What a party holds; the host is number 0. All hold id5, id6 and id7."""
    return [f"id{i}" for i in (range(10) if not party else range(6 - party, 12 - party))]


@dataclass(frozen=True)
class Saved:
    """All parties' checkpoints of one place. `states`: the layer's, of the host and the collaborator, by name."""

    tag: bytes
    point: ResumePoint
    states: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Before:
    """What a conversation goes on from: a checkpoint, or None for the beginning, and where all transcripts end.

    Attributes:
        positions: of both ends of each connection, by the collaborator's name.
    """

    saved: Saved | None = None
    positions: Mapping[str, Mapping[Sender, bytes]] = field(default_factory=dict)
    conversations: int = 0

    def position(self, name: str, sender: Sender) -> bytes:
        """How far a party's transcript of the conversation before goes."""
        return self.positions[name][sender] if name in self.positions else b""


class Task:
    """Runs one case from Hello to the last countersignature.

    Args:
        before: as `Before`.
        every: batches of a training round between two checkpoints.
        wires: to talk over, one for each collaborator.

    Attributes:
        saved: the checkpoints that were made, the newest last.
    """

    def __init__(
        self, case: Case, before: Before = Before(), every: int = 0, wires: Sequence[Wire] | None = None
    ) -> None:
        self.case, self.before, self.every = case, before, every
        order = registered_scheme(case.scheme).task_order
        wires = wires or [Wire(order=order, names=(H.role, key)) for key in (C.role, *case.names[1:])]
        self.lines = [Line(at, *each) for at, each in enumerate(zip(case.names, wires, strict=True), 1)]
        self.saved: list[Saved] = []
        self.manifest: Manifest
        self.rounds: HostRounds

    @property
    def wire(self) -> Wire:
        """The first collaborator's."""
        return self.lines[0].wire

    def run(self) -> Task:
        """All of it."""
        point = None if self.before.saved is None else self.before.saved.point
        self.join()
        if point is None:
            self.intersect()
        if point is None or not point.is_set_up:
            self.align()
            self.set_up()
        else:
            self.set_up_again()
        self.rounds = HostRounds(self.case.names, point)
        for line in self.lines:
            line.rounds = CollaboratorRounds(point)
        behind = ResumePoint(Phase.SETUP) if point is None or not point.is_set_up else point
        for number in range(max(behind.round, 1), self.case.rounds + 1):
            if number > behind.round or behind.batch:
                self.round(Phase.TRAIN, self.case.batches)
                behind = ResumePoint(Phase.TRAIN, number)
            is_tested = self.case.tests_every_round or number == self.case.rounds
            if is_tested and behind.phase is not Phase.TEST:
                self.round(Phase.TEST, (4, 2))
        self.finish()
        return self

    def go_to(self, phase: Phase) -> None:
        """All parties speak of this phase from now on."""
        for line in self.lines:
            line.wire.place = Place(phase)

    def sign(self) -> None:
        """Every pair signs what has crossed its wire."""
        for line in self.lines:
            line.wire.checkpoint()

    def save(self, phase: Phase, number: int = 0, batch: int = 0) -> None:
        """All parties make a checkpoint."""
        point = ResumePoint(phase, number, batch)
        lines = self.lines if point.is_set_up else []
        states = {line.name: (line.host.state(), line.collaborator.state()) for line in lines}
        self.saved.append(Saved(checkpoint_tag(self.manifest.session, point), point, states))

    # Before the rounds -----------------------------------------------------------------------------------------------

    def join(self) -> None:
        """The agreement."""
        case, saved = self.case, self.before.saved
        points = {} if saved is None else {saved.tag: saved.point}
        parameters, is_resuming = parameters_of(case.scheme), self.before.conversations > 0
        offers = tuple(points.items())
        known = {line.name: C.role if line is self.lines[0] else line.name for line in self.lines}
        plan = HostPlan("task", HOST, case.scheme, parameters, False, 30.0, pinned(known), is_resuming, offers)
        plan = replace(plan, is_summed=case.is_summed)
        host = HostAgreement(plan, case.names)
        joins = [
            CollaboratorAgreement(self.hello(line), (parameters,), plan.pinned, line.name, points)
            for line in self.lines
        ]
        joining = [line.here(join.run()) for line, join in zip(self.lines, joins, strict=True)]
        heard = [line.at_host(host.hello_from(line.name)) for line in self.lines]
        complete([*heard, *joining], heard)
        for name in case.names:
            host.admit(name)
        widths = [case.o] * len(self.lines) if case.has_projection else None
        positions = {name: self.before.position(name, H) for name in case.names}
        self.manifest = host.decide(widths, OsRandomness(), positions)
        results = complete([*joining, *(line.at_host(host.conclude(line.name)) for line in self.lines)])
        assert all(manifest == self.manifest for manifest in results[: len(joining)])
        if case.is_summed:
            self.agree_on_pads()
        self.sign()

    def agree_on_pads(self) -> None:
        """The collaborators, through the host."""
        keys = [identity(C.role if line is self.lines[0] else line.name) for line in self.lines]
        known = {digest_of(each.certificate_pem): Certificate(each.certificate_pem) for each in keys}
        roles = [
            CollaboratorSumKeys(self.manifest, line.name, known, key.sign, OsRandomness())
            for line, key in zip(self.lines, keys, strict=True)
        ]
        relay = HostSumKeys(self.manifest)
        agreeing = [line.here(role.run()) for line, role in zip(self.lines, roles, strict=True)]
        hearing = [line.at_host(relay.hear(line.name)) for line in self.lines]
        complete([*hearing, *agreeing], hearing)
        telling = [line.at_host(relay.tell()) for line in self.lines]
        for line, pads in zip(self.lines, complete([*agreeing, *telling])):
            line.pads = pads

    def hello(self, line: Line) -> Hello:
        """What a collaborator says of itself."""
        case, saved = self.case, self.before.saved
        return Hello(
            PROTOCOL_VERSION,
            "task",
            line.name,
            case.scheme,
            case.trainable,
            False,
            OsRandomness().bytes(32),
            self.before.conversations > 0,
            () if saved is None else (saved.tag,),
            self.before.position(line.name, C),
        )

    def intersect(self) -> None:
        """PSI of the host with all, both directions of each at once."""
        self.go_to(Phase.PSI)
        pairs = [self.manifest.pair(line.name) for line in self.lines]
        if self.case.buckets:
            self._intersect_in_buckets(pairs)
            return
        hosts = [PsiReceiver(hash_ids(pair, ids_of(0)), OsRandomness(), chunk=4) for pair in pairs]
        own = [hash_ids(pair, ids_of(line.number)) for pair, line in zip(pairs, self.lines, strict=True)]
        others = [PsiSender(hashed, OsRandomness(), chunk=4) for hashed in own]
        receiving = [line.at_host(role.receive()) for line, role in zip(self.lines, hosts, strict=True)]
        sending = [line.at_host(role.send()) for line, role in zip(self.lines, hosts, strict=True)]
        answering = [line.here(_answers(role)) for line, role in zip(self.lines, others, strict=True)]
        pairwise = complete([*receiving, *sending, *answering])[: len(hosts)]
        final = frozenset.intersection(*pairwise)
        for line, host, other in zip(self.lines, hosts, others, strict=True):
            _, line.learnt = complete([line.at_host(host.tell(final)), line.here(other.learn())])
            assert line.learnt == final == set.intersection(*(set(ids_of(n)) for n in range(len(self.lines) + 1)))
        self.sign()
        self.save(Phase.PSI)

    def _intersect_in_buckets(self, pairs: list[bytes]) -> None:
        for line, pair in zip(self.lines, pairs, strict=True):
            own, other = Half(list(ids_of(0))), Half(list(ids_of(line.number)))
            run = Bucketed(own, other, pair, (line.at_host, line.here), self.case.buckets)
            run.open()
            run.agree()
            run.run_all()
            line.learnt = run.tell(run.pairwise)
            assert line.learnt == run.pairwise == set(ids_of(0)) & set(ids_of(line.number))
        self.sign()
        self.save(Phase.PSI)

    def align(self) -> None:
        """All parties compare their splits."""
        self.go_to(Phase.ALIGN)
        own = SplitDigest.of(self.manifest.session, ["id5", "id6"], ["id7"])
        self.talk(lambda line: (HostAlignment(own, line.name).run(), CollaboratorAlignment(own).run()))
        self.sign()

    def set_up(self) -> None:
        """Layers, and one-time masks for all that is to come."""
        case = self.case
        self.go_to(Phase.SETUP)
        for line in self.lines:
            line.wire.tell(C, FeatureShape(case.batches[0], case.d))
            self.build(line)
        self.talk(lambda line: (line.host.setup(), line.collaborator.setup()))
        self.prepare()
        self.sign()
        self.save(Phase.SETUP)

    def set_up_again(self) -> None:
        """Fresh keys, and the shares as they were."""
        assert self.before.saved is not None
        states = self.before.saved.states
        self.go_to(Phase.SETUP)
        for line in self.lines:
            self.build(line)
        self.talk(lambda line: (line.host.resume(states[line.name][0]), line.collaborator.resume(states[line.name][1])))
        self.sign()
        self.prepare()

    def build(self, line: Line) -> None:
        """The layer's ends."""
        case = self.case
        width = case.o if case.has_projection else None
        session = self.manifest.session
        summands = len(self.lines) if case.is_summed else 1
        line.spec = LayerSpec(
            *(line.name, case.d, width, case.batches[0], case.trainable, session), summands=summands, pads=line.pads
        )
        self.make_layers(line, self.before.conversations * len(self.lines) + line.number - 1)

    def make_layers(self, line: Line, number: int) -> None:
        """Both ends of its layer, with keys of this number."""
        line.host, line.collaborator = layer_ends(self.case.scheme, line.spec, number)

    def prepare(self) -> None:
        """One-time masks, in the lane of their own, if the scheme has any."""
        rounds, skips = self.case.rounds, self.case.skip
        for line in self.lines:
            phase = line.host.offline
            if phase is not None:
                for training, count in ((True, 5 * rounds + skips + 1), (False, 3 * rounds)):
                    steps = phase.generate(phase.kind(training), count), serves(line.collaborator.offline)
                    line.wire.talk(*steps, place=Place(Phase.OFFLINE))

    def talk(self, both: Any) -> list[Any]:
        """Every line's two conversations, all lines at once; what the host's returned."""
        pairs = [(line, *both(line)) for line in self.lines]
        hosts = [line.at_host(steps) for line, steps, _ in pairs]
        return complete([*hosts, *(line.here(steps) for line, _, steps in pairs)])[: len(hosts)]

    # Rounds ----------------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Everybody speaks of the place where its role stands."""
        for line in self.lines:
            line.wire.places = {H: self.rounds.place, C: line.rounds.place}

    def round(self, phase: Phase, batches: Sequence[int]) -> None:
        """One pass over the batches, at all parties."""
        host, training = self.rounds, phase is Phase.TRAIN
        host.begin_round(phase, checkpoint_every=self.every if training else 0)
        for line in self.lines:
            line.wire.places[H] = host.place
        wanted = complete(
            [
                *(line.here(line.rounds.next_round()) for line in self.lines),
                *(line.at_host(host.start(line.name)) for line in self.lines),
            ]
        )
        if training:
            for layer in (each for line in self.lines for each in (line.host, line.collaborator)):
                layer.begin_round(host.place.round)
        for rows in batches[wanted[0].first_batch :]:
            self.follow()
            self.open(rows)
            self.batch(rows, training)
            due = wanted[0].checkpoint_every if training else 0
            if due and (host.batches + 1) % due == 0:
                self.mark()
            for rounds in (host, *(line.rounds for line in self.lines)):
                rounds.batch_done()
            if due and host.batches % due == 0:
                self.save(phase, host.place.round, host.batches)
        self.follow()
        self.open(None)
        if training:
            self.mark()
        self.sign()
        self.save(phase, host.place.round)

    def mark(self) -> None:
        """What the layers say before a checkpoint."""
        self.talk(lambda line: (line.host.before_checkpoint(), line.collaborator.before_checkpoint()))

    def open(self, rows: int | None) -> None:
        """Everyone says what its next batch is; None: that there is none."""
        host = self.rounds
        self.talk(
            lambda line: (
                host.opened_by(line.name),
                line.rounds.end_round() if rows is None else line.rounds.open_batch(rows),
            )
        )
        host.align(rows)

    def batch(self, rows: int, training: bool) -> None:
        """What the scheme says about one."""
        number = self.rounds.batches
        seed = number if training else number + 50
        shown = self.talk(
            lambda line: (
                (line.host.forward_padded if self.case.is_summed else line.host.forward)(rows, training),
                line.collaborator.forward(line.features(rows, seed), training),
            )
        )
        if self.case.is_summed:
            shown = [self.lines[0].host.decode_sum(total(shown))] * len(self.lines)
        for line, z in zip(self.lines, shown, strict=True):
            line.shown.append(z)
        if training:
            skips = number == self.case.skip
            gradients = [np.full(z.shape, 0.01, np.float32) for z in shown]
            self.talk(
                lambda line: (
                    line.host.skip() if skips else line.host.backward(gradients[line.number - 1], 0.1),
                    closing(line.collaborator),
                )
            )

    def finish(self) -> None:
        """The farewell."""
        host = self.rounds
        host.finish()
        for line in self.lines:
            line.wire.places[H] = host.place
        asked = [line.here(line.rounds.next_round()) for line in self.lines]
        leaving = [line.at_host(host.farewell(line.name)) for line in self.lines]
        assert complete([*asked, *leaving], asked) == [None] * len(asked)
        self.follow()
        complete([*leaving, *(line.here(line.rounds.farewell()) for line in self.lines)])
        self.sign()


def _answers(role: PsiSender) -> Steps[None]:
    yield from role.send()
    yield from role.answer()


def serves(phase: CollaboratorOfflinePhase) -> Steps[None]:
    """The collaborator's answer to one request of the offline phase."""
    request = received((yield Receive(phase.request_type)), phase.request_type)
    yield from phase.serve(request)


def closing(collaborator: Any) -> Steps[Any]:
    yield from collaborator.backward()
    yield from collaborator.settle()
