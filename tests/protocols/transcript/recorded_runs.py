"""Whole tasks in memory: both ends' real roles, a recorder at each end, and the two transcripts that come out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from protocols.core.envelope import Phase
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.bfv import BfvBackend, BfvSecret
from protocols.he.paillier import PaillierBackend, PaillierSecretSide
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import FeatureShape
from protocols.layer.parameters import LayerParameters
from protocols.psi import PsiDigests, PsiOpen, PsiPoints, PsiReceiver, PsiResult, PsiSender, hash_ids
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.triples import TEST, TRAIN
from protocols.schemes.plain.collaborator import PlainCollaborator
from protocols.schemes.plain.host import PlainHost
from protocols.task.abort import Abort
from protocols.task.agreement import CollaboratorAgreement, make_manifest
from protocols.task.alignment import BatchOpen, CollaboratorAlignment, EpochEnd, HostAlignment, SplitDigest
from protocols.task.manifest import PROTOCOL_VERSION, Hello, Manifest, ManifestAccepted
from protocols.task.resumption import ResumePoint, checkpoint_tag
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.audit import audit
from protocols.transcript.chain import Chain, digest_of, seal_data, statement
from protocols.transcript.errors import Severity
from protocols.transcript.format import Running, Signed, checkpoint_text, lines_of, parse
from protocols.transcript.records import Own
from protocols.transcript.report import AuditReport
from secure_hfl.identity import Identity
from tests.protocols.he import bfv_helpers, paillier_helpers
from tests.protocols.schemes.masked.helpers import answering
from tests.protocols.transcript.wire_lengths import C, H, Wire, identity

BOUNDS = LayerParameters(check_every=2)


@dataclass(frozen=True)
class Case:
    """A task. `batches`: rows of each training batch; the first is what triples are made for."""

    scheme: str = "bfv"
    trainable: bool = True
    d: int = 3
    o: int = 2
    batches: tuple[int, ...] = (4, 4, 3)
    rounds: int = 2
    has_projection: bool = True
    skip: int = -1


def parameters_of(scheme: str) -> str:
    layer = json.loads(BOUNDS.canonical())
    names = {"bfv": ("encryption", TRAINING), "paillier": ("encryption", PAILLIER_2048), "masked": ("triples", TRIPLES)}
    if scheme not in names:
        return ""
    key, chosen = names[scheme]
    return json.dumps({key: chosen.name, "layer": layer})


@dataclass(frozen=True)
class Saved:
    """Both parties' checkpoints of one place."""

    tag: bytes
    point: ResumePoint
    states: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Before:
    """What a conversation goes on from: a checkpoint, or None for the beginning, and both parties' seams."""

    saved: Saved | None = None
    seams: Mapping[Sender, bytes] = field(default_factory=lambda: dict.fromkeys(Sender, b""))
    conversations: int = 0


class Task:
    """Runs one case from Hello to the last countersignature.

    Args:
        before: as `Before`.
        every: batches of a training round between two checkpoints.
        wire: to talk over.

    Attributes:
        saved: the checkpoints that were made, the newest last.
    """

    def __init__(self, case: Case, before: Before = Before(), every: int = 0, wire: Wire | None = None) -> None:
        self.case, self.wire = case, wire or Wire()
        self.before, self.every = before, every
        self.saved: list[Saved] = []

    def run(self) -> Task:
        point = None if self.before.saved is None else self.before.saved.point
        self.join()
        if point is None:
            self.intersect()
        if point is None or not point.is_set_up:
            self.align()
            self.set_up()
        else:
            self.set_up_again()
        behind = ResumePoint(Phase.SETUP) if point is None or not point.is_set_up else point
        for number in range(max(behind.round, 1), self.case.rounds + 1):
            if number > behind.round or behind.batch:
                self.round(Phase.TRAIN, number, self.case.batches, behind.batch)
                behind = ResumePoint(Phase.TRAIN, number)
            if number == self.case.rounds and behind.phase is not Phase.TEST:
                self.round(Phase.TEST, number, (4, 2))
        self.finish()
        return self

    def save(self, phase: Phase, number: int = 0, batch: int = 0) -> None:
        """Both parties make a checkpoint."""
        point = ResumePoint(phase, number, batch)
        states = (self.host.state(), self.collaborator.state()) if point.is_set_up else ()
        self.saved.append(Saved(checkpoint_tag(self.manifest.session, point), point, states))

    def join(self) -> None:
        case, wire, saved = self.case, self.wire, self.before.saved
        tags = () if saved is None else (saved.tag,)
        hello = Hello(
            PROTOCOL_VERSION,
            "task",
            "patient",
            case.scheme,
            case.trainable,
            False,
            OsRandomness().bytes(32),
            self.before.conversations > 0,
            tags,
            self.before.seams[C],
        )
        points = {} if saved is None else {saved.tag: saved.point}
        self.manifest = wire.talk(
            _host_agreement(case, self.before),
            CollaboratorAgreement(hello, parameters_of(case.scheme), points).run(),
        )[0]
        wire.checkpoint()

    def intersect(self) -> None:
        wire = self.wire
        wire.place = (Phase.PSI, 0, 0)
        session = self.manifest.session
        host = PsiReceiver(hash_ids(session, [f"id{i}" for i in range(10)]), OsRandomness(), chunk=4)
        other = PsiSender(hash_ids(session, [f"id{i}" for i in range(5, 12)]), OsRandomness(), chunk=4)
        for sender, role in ((H, host), (C, other)):
            wire.send(sender, role.open())
            for points in role.masked_points():
                wire.send(sender, points)
        host.receive_open(received(wire.receive(H), PsiOpen))
        other.receive_open(received(wire.receive(C), PsiOpen))
        host.receive_points(received(wire.receive(H), PsiPoints) for _ in range(2))
        for digests in other.replies(received(wire.receive(C), PsiPoints) for _ in range(3)):
            wire.send(C, digests)
        host.receive_digests(received(wire.receive(H), PsiDigests) for _ in range(3))
        wire.send(H, host.result(host.intersection()))
        other.receive_result(received(wire.receive(C), PsiResult))
        wire.checkpoint()
        self.save(Phase.PSI)

    def align(self) -> None:
        self.wire.place = (Phase.ALIGN, 0, 0)
        own = SplitDigest.of(self.manifest.session, ["id5", "id6"], ["id7"])
        self.wire.talk(HostAlignment(own, "patient").run(), CollaboratorAlignment(own).run())
        self.wire.checkpoint()

    def set_up(self) -> None:
        case, wire = self.case, self.wire
        wire.place = (Phase.SETUP, 0, 0)
        wire.tell(C, FeatureShape(case.batches[0], case.d))
        self.build()
        wire.talk(self.host.setup(), self.collaborator.setup())
        self.prepare(TRAIN, 5 * case.rounds + case.skip + 1)
        self.prepare(TEST, 3)
        wire.checkpoint()
        self.save(Phase.SETUP)

    def build(self) -> None:
        case = self.case
        width = case.o if case.has_projection else None
        spec = LayerSpec("patient", case.d, width, case.batches[0], case.trainable, self.manifest.session)
        self.host, self.collaborator = _ends(case.scheme, spec, self.before.conversations)

    def set_up_again(self) -> None:
        """Fresh keys, and the shares as they were."""
        assert self.before.saved is not None
        host, collaborator = self.before.saved.states
        self.wire.place = (Phase.SETUP, 0, 0)
        self.build()
        self.wire.talk(self.host.resume(host), self.collaborator.resume(collaborator))
        self.wire.checkpoint()
        self.prepare(TRAIN, 5 * self.case.rounds + self.case.skip + 1)
        self.prepare(TEST, 3)

    def prepare(self, kind: str, count: int) -> None:
        """One-time masks, in the lane of their own."""
        if isinstance(self.host, MaskedHost):
            steps = self.host.triples.generate(kind, count), answering(self.collaborator.triples)
            self.wire.talk(*steps, place=(Phase.OFFLINE, 0, 0))

    def round(self, phase: Phase, number: int, batches: Sequence[int], first: int = 0) -> None:
        case, wire, training = self.case, self.wire, phase is Phase.TRAIN
        wire.place = (phase, number, 0)
        wire.tell(H, RoundStart(0, first, self.every if training else 0))
        count = first
        for rows in batches[first:]:
            wire.place = (phase, number, count)
            wire.tell(C, BatchOpen(rows, b""))
            features = np.random.default_rng(count).normal(size=(rows, case.d)).astype(np.float32)
            z, _ = wire.talk(self.host.forward(rows, training), self.collaborator.forward(features, training))
            if training:
                dz = np.full(z.shape, 0.01, np.float32)
                back = self.host.skip() if count == case.skip else self.host.backward(dz, 0.1)
                wire.talk(back, _closing(self.collaborator))
            count += 1
            if training and self.every and count % self.every == 0:
                self.save(phase, number, count)
        wire.place = (phase, number, count)
        wire.tell(C, EpochEnd(count))
        wire.checkpoint()
        self.save(phase, number)

    def finish(self) -> None:
        wire = self.wire
        wire.place = (Phase.FINISH, 0, 0)
        wire.tell(H, TaskFinished(self.case.rounds))
        wire.tell(C, FinishAcknowledged(self.case.rounds))
        wire.checkpoint()


def _closing(collaborator: Any) -> Steps[Any]:
    yield from collaborator.backward()
    yield from collaborator.settle()


def _ends(scheme: str, spec: LayerSpec, conversations: int = 0) -> tuple[Any, Any]:
    if scheme == "plain":
        return PlainHost(spec), PlainCollaborator(spec)
    backend: Any = KeptPaillier(conversations) if scheme == "paillier" else KeptBfv(scheme, conversations)
    if scheme == "masked":
        return MaskedHost(spec, backend, BOUNDS), MaskedCollaborator(spec, backend, BOUNDS)
    return EncryptedHost(spec, backend, BOUNDS), EncryptedCollaborator(spec, backend, BOUNDS)


class KeptBfv(BfvBackend):
    """BFV whose two key pairs are made once for all first conversations, once for all second ones, and so on."""

    def __init__(self, scheme: str, conversations: int) -> None:
        self._set = TRIPLES if scheme == "masked" else TRAINING
        vars(self).update(vars(bfv_helpers.backend(self._set)))
        self._count = 2 * conversations

    def generate(self, randomness_label: str = "") -> BfvSecret:
        self._count += 1
        return bfv_helpers.secret(self._set, self._count - 1)


class KeptPaillier(PaillierBackend):
    """Paillier, 2048 bits, likewise."""

    def __init__(self, conversations: int) -> None:
        super().__init__(PAILLIER_2048)
        self._count = 2 * conversations

    def generate(self, randomness_label: str = "") -> PaillierSecretSide:
        self._count += 1
        return paillier_helpers.secret(number=self._count - 1)


def _host_agreement(case: Case, before: Before) -> Steps[Manifest]:
    hello = received((yield Receive(Hello)), Hello)
    widths = [case.o] if case.has_projection else None
    resumed = None if before.saved is None else (before.saved.tag, before.saved.point)
    manifest = make_manifest(
        [hello],
        "hospital",
        parameters_of(case.scheme),
        widths,
        30.0,
        OsRandomness(),
        resumed,
        [before.seams[H]],
    )
    yield Send(manifest)
    yield Receive(ManifestAccepted)
    return manifest


@lru_cache
def transcripts(case: Case = Case()) -> tuple[bytes, bytes]:
    """The host's and the collaborator's transcript of one run of a case."""
    wire = Task(case).run().wire
    return wire.files[H], wire.files[C]


def aborted(case: Case, after: int, overtakes: bool) -> tuple[bytes, bytes]:
    """A run that the host stops in its first round; the Abort may overtake `after` messages of it."""
    task = Task(case)
    task.join()
    wire = task.wire
    wire.place = (Phase.PSI, 0, 0)
    role = PsiReceiver(hash_ids(task.manifest.session, [f"id{i}" for i in range(10)]), OsRandomness(), chunk=1)
    wire.send(H, role.open())
    for points in list(role.masked_points())[:after]:
        wire.send(H, points)
    wire.send(H, Abort("stopped by its user", "hospital", "Stopped"))
    if overtakes:
        wire.inboxes[C].rotate(1)
    while wire.inboxes[C]:
        wire.receive(C)
        if overtakes:
            break
    return wire.files[H], wire.files[C]


def check(one: bytes, other: bytes | None = None, **options: Any) -> AuditReport:
    """Audit whole files."""
    second = None if other is None else lines_of([other])
    return audit(lines_of([one]), second, names=("host", "collaborator"), **options)


# Forgers: what somebody can do to a file, with whose keys -------------------------------------------------------------


def texts_of(file: bytes) -> list[bytes]:
    """The lines without their check values."""
    return [line.rpartition(b" ")[0] for line in file.splitlines()]


def rebuild(texts: list[bytes], keys: dict[Sender, Identity]) -> bytes:
    """The file of these lines, with check values, chains and whatever can be signed with these keys made anew.

    Signatures of parties whose key is not there stay as they are, with the heads that they sign.
    """
    running, chains, heads, records = Running(), {}, {}, {}
    agreement, writer, out = b"", H, b""
    for number, text in enumerate(texts, 1):
        kind, _, body = text.partition(b" ")
        if number == 2:
            agreement = digest_of("agreed", body)
            chains = {sender: Chain(agreement, sender) for sender in Sender}
            heads = {sender: [chains[sender].at[1]] for sender in Sender}
        elif number == 3:
            writer = Own.parse(body.decode()).sender
            records[writer] = digest_of("own", body)
        elif kind == b"e":
            sender = Sender(text[2:3].decode())
            chains[sender].append(text, False)
            heads[sender].append(chains[sender].at[1])
        elif kind == b"seal" and writer in keys:
            text = b"seal " + keys[writer].sign(seal_data(running.value)).hex().encode()
        elif kind in (b"checkpoint", b"countersignature"):
            signed = parse(text, number)
            assert isinstance(signed, Signed)
            text = checkpoint_text(_signed_again(signed, keys, agreement, records, heads[signed.sender]))
        out += running.write(text)
    return out


def _signed_again(
    old: Signed, keys: dict[Sender, Identity], agreement: bytes, records: dict[Sender, bytes], heads: list[bytes]
) -> Signed:
    is_checkpoint = old.record is not None
    signer = old.sender if is_checkpoint else old.sender.other
    if is_checkpoint:
        records.setdefault(old.sender, old.record or b"")
    if signer not in keys:
        return old
    head = heads[min(old.messages, len(heads) - 1)]
    data = statement(agreement, records[old.sender], old.sender, old.phase, old.round, old.messages, head)
    record = records[old.sender] if is_checkpoint else None
    return old._replace(head=head, record=record, signature=keys[signer].sign(data))


def key_of(*senders: Sender) -> dict[Sender, Identity]:
    """Keys of these parties."""
    return {sender: identity(sender.role) for sender in senders}


def kinds(report: AuditReport) -> set[str]:
    """What kinds of findings a report has, notes left out."""
    return {finding.kind for finding in report.findings if finding.severity is not Severity.NOTE}
