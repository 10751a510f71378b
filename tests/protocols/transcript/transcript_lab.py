"""Whole tasks in memory: both ends' real roles, a recorder at each end, and the two transcripts that come out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from protocols.agreement import PROTOCOL_VERSION, CollaboratorAgreement, Hello, Manifest, ManifestAccepted, make_manifest
from protocols.alignment import BatchOpen, CollaboratorAlignment, EpochEnd, HostAlignment, SplitDigest
from protocols.catalogue import MESSAGE_TYPES
from protocols.control import Abort
from protocols.envelope import Envelope, Phase
from protocols.he.bfv import BfvBackend, BfvSecret
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.masking.triples import TEST, TRAIN
from protocols.message import Message
from protocols.projection.encrypted import EncryptedCollaborator, EncryptedHost
from protocols.projection.masked import MaskedCollaborator, MaskedHost
from protocols.projection.parameters import ProjectionParameters
from protocols.projection.plain import PlainCollaborator, PlainHost
from protocols.projection.roles import FeatureShape, ProjectionSpec
from protocols.psi import PsiDigests, PsiOpen, PsiPoints, PsiReceiver, PsiResult, PsiSender
from protocols.randomness import OsRandomness
from protocols.steps import Receive, Send, Steps, received
from protocols.training import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.audit import audit
from protocols.transcript.chain import Chain, Sender, digest_of, seal_data, statement
from protocols.transcript.checkpoints import exchange_checkpoints
from protocols.transcript.errors import Severity
from protocols.transcript.format import Running, Signed, checkpoint_text, lines_of, parse
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.recorder import TranscriptRecorder
from protocols.transcript.records import Own
from protocols.transcript.report import AuditReport
from secure_hfl.identity import Identity
from secure_hfl.transport import secure_hfl_pb2
from secure_hfl.transport.codec import Catalogue, encode
from secure_hfl.transport.wire import LENGTH, VARINT, write_tag, write_varint
from tests.protocols.he import bfv_lab
from tests.protocols.masking_lab import answering
from tests.protocols.projection_lab import kept

H, C = Sender.HOST, Sender.COLLABORATOR
BOUNDS = ProjectionParameters(check_every=2)


@lru_cache
def identity(name: str) -> Identity:
    """A party's key, made once."""
    return Identity.create(name)


@lru_cache
def catalogue() -> Catalogue:
    """The message types that the .proto file has."""
    envelope: Any = secure_hfl_pb2.Envelope.DESCRIPTOR
    names = {field.message_type.name for field in envelope.oneofs_by_name["body"].fields}
    return Catalogue([kind for kind in MESSAGE_TYPES if kind.__name__ in names], envelope)


def wire_bytes(envelope: Envelope) -> bytes:
    """The codec's bytes; of messages that the catalogue does not have, the same by hand."""
    message = envelope.message
    if type(message) in catalogue().plans:
        return encode(envelope, catalogue())
    assert isinstance(message, (Checkpoint, Countersignature))
    body = write_tag(1, VARINT) + write_varint(message.count)
    names = ["head", "record", "signature"] if isinstance(message, Checkpoint) else ["head", "signature"]
    for number, name in enumerate(names, 2):
        value = getattr(message, name)
        body += write_tag(number, LENGTH) + write_varint(len(value)) + value
    head = b""
    for number, value in enumerate((envelope.sequence, int(envelope.phase), envelope.round, envelope.batch), 1):
        if value:
            head += write_tag(number, VARINT) + write_varint(value)
    return head + write_tag(20, LENGTH) + write_varint(len(body)) + body


class Wire:
    """Two recorders and what is in flight between them."""

    def __init__(self, **recorder: Any) -> None:
        self.recorders = {
            sender: TranscriptRecorder(
                sender,
                identity(sender.role).certificate_pem,
                identity(sender.other.role).certificate_pem,
                identity(sender.role).sign,
                {"secure-hfl": "0.1.0", "python": "3.11"},
                **recorder,
            )
            for sender in Sender
        }
        self.files = {sender: b"" for sender in Sender}
        self.inboxes: dict[Sender, deque[tuple[Envelope, bytes]]] = {sender: deque() for sender in Sender}
        self.sequences = dict.fromkeys(Sender, 0)
        self.place = (Phase.JOIN, 0, 0)

    def send(self, sender: Sender, message: Message, place: tuple[Phase, int, int] | None = None) -> None:
        envelope = Envelope(self.sequences[sender], *(place or self.place), message)
        self.sequences[sender] += 1
        data = wire_bytes(envelope)
        self.files[sender] += self.recorders[sender].observe(True, envelope, data)
        self.inboxes[sender.other].append((envelope, data))

    def receive(self, receiver: Sender) -> Message:
        envelope, data = self.inboxes[receiver].popleft()
        self.files[receiver] += self.recorders[receiver].observe(False, envelope, data)
        return envelope.message

    def tell(self, sender: Sender, message: Message) -> None:
        self.send(sender, message)
        self.receive(sender.other)

    def talk(self, host: Steps[Any], collaborator: Steps[Any], place: tuple[Phase, int, int] | None = None) -> Any:
        """Run both ends; what they return."""
        ends = {H: _End(host), C: _End(collaborator)}
        while not all(end.is_over for end in ends.values()):
            moved = [self._advance(sender, end, place) for sender, end in ends.items()]
            assert any(moved), "both ends wait for each other"
        return ends[H].result, ends[C].result

    def _advance(self, sender: Sender, end: _End, place: tuple[Phase, int, int] | None) -> bool:
        if end.is_over:
            return False
        if isinstance(end.step, Send):
            self.send(sender, end.step.message, place)
            end.go(None)
            return True
        if not self.inboxes[sender]:
            return False
        message = self.receive(sender)
        assert isinstance(end.step, Receive)
        assert isinstance(message, end.step.types), f"{type(message).__name__} instead of {end.step.names}"
        end.go(message)
        return True

    def checkpoint(self) -> None:
        phase, number, _ = self.place
        self.talk(*(exchange_checkpoints(self.recorders[sender], phase, number) for sender in Sender))


class _End:
    def __init__(self, steps: Steps[Any]) -> None:
        self.steps, self.is_over, self.result = steps, False, None
        self.step: Send | Receive | None = None
        self.go(None)

    def go(self, answer: Message | None) -> None:
        try:
            self.step = self.steps.send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            self.is_over, self.result = True, end.value


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


class Task:
    """Runs one case from Hello to the last countersignature."""

    def __init__(self, case: Case) -> None:
        self.case, self.wire = case, Wire()

    def run(self) -> Task:
        self.join()
        self.intersect()
        self.align()
        self.set_up()
        for number in range(1, self.case.rounds + 1):
            self.round(Phase.TRAIN, number, self.case.batches)
            if number == self.case.rounds:
                self.round(Phase.TEST, number, (4, 2))
        self.finish()
        return self

    def join(self) -> None:
        case, wire = self.case, self.wire
        hello = Hello(PROTOCOL_VERSION, "task", "patient", case.scheme, case.trainable, False, OsRandomness().bytes(32))
        self.manifest = wire.talk(
            _host_agreement(case), CollaboratorAgreement(hello, parameters_of(case.scheme)).run()
        )[0]
        wire.checkpoint()

    def intersect(self) -> None:
        wire = self.wire
        wire.place = (Phase.PSI, 0, 0)
        session = self.manifest.session
        host = PsiReceiver(session, [f"id{i}" for i in range(10)], OsRandomness(), chunk=4)
        other = PsiSender(session, [f"id{i}" for i in range(5, 12)], OsRandomness(), chunk=4)
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

    def align(self) -> None:
        self.wire.place = (Phase.ALIGN, 0, 0)
        own = SplitDigest.of(self.manifest.session, ["id5", "id6"], ["id7"])
        self.wire.talk(HostAlignment(own, "patient").run(), CollaboratorAlignment(own).run())
        self.wire.checkpoint()

    def set_up(self) -> None:
        case, wire = self.case, self.wire
        wire.place = (Phase.SETUP, 0, 0)
        wire.tell(C, FeatureShape(case.batches[0], case.d))
        width = case.o if case.has_projection else None
        spec = ProjectionSpec("patient", case.d, width, case.batches[0], case.trainable, self.manifest.session)
        self.host, self.collaborator = _ends(case.scheme, spec)
        wire.talk(self.host.setup(), self.collaborator.setup())
        self.prepare(TRAIN, 5 * case.rounds + case.skip + 1)
        self.prepare(TEST, 3)
        wire.checkpoint()

    def prepare(self, kind: str, count: int) -> None:
        """One-time masks, in the lane of their own."""
        if isinstance(self.host, MaskedHost):
            steps = self.host.triples.generate(kind, count), answering(self.collaborator.triples)
            self.wire.talk(*steps, place=(Phase.OFFLINE, 0, 0))

    def round(self, phase: Phase, number: int, batches: Iterable[int]) -> None:
        case, wire, training = self.case, self.wire, phase is Phase.TRAIN
        wire.place = (phase, number, 0)
        wire.tell(H, RoundStart(0))
        count = 0
        for rows in batches:
            wire.place = (phase, number, count)
            wire.tell(C, BatchOpen(rows, b""))
            features = np.random.default_rng(count).normal(size=(rows, case.d)).astype(np.float32)
            z, _ = wire.talk(self.host.forward(rows, training), self.collaborator.forward(features, training))
            if training:
                dz = np.full(z.shape, 0.01, np.float32)
                back = self.host.skip() if count == case.skip else self.host.backward(dz, 0.1)
                wire.talk(back, _closing(self.collaborator))
            count += 1
        wire.place = (phase, number, count)
        wire.tell(C, EpochEnd(count))
        wire.checkpoint()

    def finish(self) -> None:
        wire = self.wire
        wire.place = (Phase.FINISH, 0, 0)
        wire.tell(H, TaskFinished(self.case.rounds))
        wire.tell(C, FinishAcknowledged(self.case.rounds))
        wire.checkpoint()


def _closing(collaborator: Any) -> Steps[Any]:
    yield from collaborator.backward()
    yield from collaborator.settle()


def _ends(scheme: str, spec: ProjectionSpec) -> tuple[Any, Any]:
    if scheme == "plain":
        return PlainHost(spec), PlainCollaborator(spec)
    if scheme == "masked":
        backend = KeptTriples()
        return MaskedHost(spec, backend, BOUNDS), MaskedCollaborator(spec, backend, BOUNDS)
    return EncryptedHost(spec, kept(scheme), BOUNDS), EncryptedCollaborator(spec, kept(scheme), BOUNDS)


class KeptTriples(BfvBackend):
    """BFV for triples whose two key pairs are made once."""

    def __init__(self) -> None:
        vars(self).update(vars(bfv_lab.backend(TRIPLES)))
        self._count = 0

    def generate(self, randomness_label: str = "") -> BfvSecret:
        self._count += 1
        return bfv_lab.secret(TRIPLES, self._count % 2)


def _host_agreement(case: Case) -> Steps[Manifest]:
    hello = received((yield Receive(Hello)), Hello)
    widths = [case.o] if case.has_projection else None
    manifest = make_manifest([hello], "hospital", parameters_of(case.scheme), widths, 30.0, OsRandomness())
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
    role = PsiReceiver(task.manifest.session, [f"id{i}" for i in range(10)], OsRandomness(), chunk=1)
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
