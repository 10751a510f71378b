"""Where fuzzing starts from: valid messages, runs, invites, certificates and transcripts, made when they are asked for.

Keys are fresh in every process: an input says what to change in what is made here, so it does the same elsewhere.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.harness.known_messages import MESSAGE_TYPES, known_catalogue
from benchmarks.harness.pump import Wire, identity
from protocols.core.envelope import Envelope, Phase, Place
from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.lookup import (
    LookupPoints,
    LookupRefused,
    LookupReplies,
    PopulationDigests,
    PopulationOpen,
    RequestsOver,
    RowsAsked,
    RowsRefused,
)
from protocols.overlap import OverlapDigests, OverlapOpen, OverlapPoints, OverlapSize
from protocols.psi.bucket_messages import PsiBuckets, PsiBucketsTaken
from protocols.schemes.shares.test_messages import MarkQuery
from protocols.task.abort import Abort
from protocols.task.manifest import Hello, Manifest
from protocols.task.resumption import POSITION_BYTES
from protocols.task.sum_keys import SumKey, SumKeys
from protocols.transcript.chain import Chain, digest_of, seal_data, statement
from protocols.transcript.errors import MalformedTranscript
from protocols.transcript.format import RunningHash, SignedHead, parse, signed_head_text
from protocols.wire.codec import encode
from secure_hfl.identity import Identity
from secure_hfl.tasks import Invite
from secure_hfl.tasks.record import Participant
from tests.fuzz.formats import read_der, read_protobuf, read_words, write_der, write_json, write_words
from tests.fuzz.recipe import Tree
from tests.protocols.transcript.recorded_runs import texts_of, transcripts
from tests.protocols.whole_task import Case, Task

# Messages -------------------------------------------------------------------------------------------------------------


@lru_cache
def examples() -> dict[type[Message], Message]:
    """A message of every type, out of real runs, with its ciphertexts cut short: the codec does not look into them."""
    key, signature = bytes(range(32)), bytes(range(70))
    found: dict[type[Message], Message] = {
        Abort: Abort("stopped by its user", "host", "Stopped"),
        SumKey: SumKey(key, signature),
        SumKeys: SumKeys((key, key), (signature, signature)),
        PopulationOpen: PopulationOpen(9, 4, key),
        PopulationDigests: PopulationDigests(1, key),
        LookupPoints: LookupPoints(key),
        LookupReplies: LookupReplies(key),
        LookupRefused: LookupRefused(3),
        RowsAsked: RowsAsked(key[:8]),
        RowsRefused: RowsRefused(key[2:3]),
        RequestsOver: RequestsOver(2),
        PsiBuckets: PsiBuckets(3, 40, 30, 1, bytes(32)),
        PsiBucketsTaken: PsiBucketsTaken(True, 1),
        MarkQuery: MarkQuery(3, (bytes(40),), key),
        OverlapOpen: OverlapOpen(9, 4, 5, 10, key),
        OverlapPoints: OverlapPoints(1, key),
        OverlapDigests: OverlapDigests(1, key),
        OverlapSize: OverlapSize(8),
    }
    for scheme, trainable in (("plain", True), ("bfv", True), ("masked", True), ("plain", False)):
        for envelope in (envelope for sent in run(scheme, trainable).values() for envelope, _ in sent):
            found.setdefault(type(envelope.message), _cut_short(envelope.message))
    return found


def _cut_short(message: Message) -> Message:
    changes: dict[str, Any] = {}
    for field in fields(message):
        value = getattr(message, field.name)
        if field.name == "parts":
            changes[field.name] = (value[0][:40],) * getattr(message, "count", 1)  # as many triples as there are
        elif field.name == "public_key":
            changes[field.name] = value[:40]
    return replace(message, **changes)


def tree_of(message: Message) -> Tree:
    """A message's fields."""
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {"": type(message).__name__, **listed}


MAX_MESSAGE = 2 << 20
"""Bytes of a message that an edit may make: a recipe can repeat ciphertexts, and bounds on memory are for parsers."""

_PLANS = {plan.type.__name__: plan for plan in known_catalogue().plans.values()}


def message_of(tree: Tree) -> Message | None:
    """The message with these fields as it comes from the wire; None if the codec would refuse it, or it is huge."""
    plan = _PLANS.get(str(tree.get(""))) if isinstance(tree, dict) else None
    if plan is None:
        return None
    out: list[Any] = []
    try:
        for field in plan.fields:
            value = tree.get(field.name)
            field.write(tuple(value) if isinstance(value, list) else value, out)
        return plan.read(memoryview(b"".join(out))) if sum(map(len, out)) <= MAX_MESSAGE else None
    except (InvalidInput, MalformedMessage):
        return None


@lru_cache
def envelopes() -> tuple[bytes, ...]:
    """One of every message type."""
    messages = [*map(examples().__getitem__, MESSAGE_TYPES), *_resumed()]
    return tuple(encode(Envelope(0, Phase.TRAIN, 1, 2, message), known_catalogue()) for message in messages)


def _resumed() -> tuple[Message, Message]:
    """The messages by which an interrupted task goes on."""
    hello, manifest = examples()[Hello], examples()[Manifest]
    tag, seam = bytes(range(32)), bytes(POSITION_BYTES)
    return (
        replace(hello, is_resuming=True, checkpoints=(tag, bytes(32)), seam=seam),
        replace(manifest, resumed_from=tag, resumed_phase=int(Phase.TRAIN), resumed_round=1, seams=(seam,)),
    )


@lru_cache
def envelope_trees() -> tuple[Tree, ...]:
    """Their fields, those of their messages, and those of the tensors in these."""
    return tuple(read_protobuf(data, 2) for data in envelopes())


# Runs -----------------------------------------------------------------------------------------------------------------


class _KeptWire(Wire):
    """Keeps what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[Sender, list[tuple[Envelope, bytes]]] = {sender: [] for sender in Sender}

    def send(self, sender: Sender, message: Message, place: Place | None = None) -> None:
        super().send(sender, message, place)
        self.sent[sender].append(self.inboxes[sender.other][-1])


@lru_cache
def run(scheme: str = "plain", trainable: bool = True) -> dict[Sender, list[tuple[Envelope, bytes]]]:
    """What both ends of a whole task sent."""
    wire = _KeptWire()
    Task(Case(scheme, trainable, rounds=1, batches=(4, 2), skip=1), wires=[wire]).run()
    return wire.sent


@lru_cache
def stream_tree(sender: Sender) -> Tree:
    """The first messages of a party in scheme plain, up to its first batch."""
    return [read_protobuf(data, 2) for _, data in run()[sender][:16]]


# Transcripts ----------------------------------------------------------------------------------------------------------

TRANSCRIPTS = (
    Case("plain", rounds=1, batches=(4, 2)),
    Case("masked", rounds=1, batches=(4,)),
    Case("bfv", rounds=1, batches=(4,)),
    Case("plain", trainable=False, rounds=2, batches=(4, 2)),
)


_PARAMETERS = "scheme_parameters"
"""JSON within the JSON."""


def transcript_tree(file: bytes) -> Tree:
    """The lines without check values, as words; of the first lines the JSON."""
    lines: list[Tree] = []
    for text in texts_of(file):
        kind, _, value = text.partition(b" ")
        lines.append([kind, json.loads(value)] if kind in (b"agreed", b"own") else read_words(text))
    agreed = lines[1][1]
    agreed[_PARAMETERS] = json.loads(agreed[_PARAMETERS] or "{}")
    return lines


def transcript_texts(tree: Tree) -> list[bytes]:
    """The lines' texts."""
    return [_text(line) for line in (tree if isinstance(tree, list) else [])]


def _text(line: Tree) -> bytes:
    if isinstance(line, list) and len(line) == 2 and isinstance(line[1], dict | list):
        record = line[1]
        if isinstance(record, dict) and isinstance(record.get(_PARAMETERS), dict | list):
            text = write_json(record[_PARAMETERS]).decode() if record[_PARAMETERS] else ""
            record = {**record, _PARAMETERS: text}
        line = [line[0], write_json(record, sort_keys=True, separators=(",", ":"))]
    return write_words(line).replace(b"\n", b"")


class _Sealer:
    """Writes any lines as the file of a party that has both parties' keys."""

    def __init__(self, with_keys: bool) -> None:
        self._with_keys, self._running, self._agreement = with_keys, RunningHash(), b""
        self._chains: dict[Sender, Chain] = {}
        self._heads: dict[Sender, dict[int, bytes]] = {}
        self._signed: dict[Sender, tuple[bytes, bytes]] = {}
        self._record = b""

    def line(self, text: bytes) -> bytes:
        """The line of a text, signed anew if it says that it is signed."""
        kind, _, body = text.partition(b" ")
        if kind == b"agreed":
            self._agreement = digest_of("agreed", body)
            self._chains = {sender: Chain(self._agreement, sender) for sender in Sender}
        elif kind == b"own":
            self._record = digest_of("own", body)
        elif kind == b"e" and self._chains and text[2:3] in (b"h", b"c"):
            sender = Sender(text[2:3].decode())
            self._heads[sender] = dict(self._chains[sender].recent)
            self._chains[sender].append(text, text.split(b" ")[4:5] == [b"8"])
        elif kind == b"seal" and self._with_keys:
            text = b"seal " + identity("host").sign(seal_data(self._running.value)).hex().encode()
        elif kind in (b"checkpoint", b"countersignature") and self._with_keys and self._chains:
            with suppress(MalformedTranscript):
                signed = parse(text, 0)
                text = signed_head_text(self._again(signed)) if isinstance(signed, SignedHead) else text
        return self._running.write(text)

    def _again(self, old: SignedHead) -> SignedHead:
        # The line follows its message's entry, so a checkpoint is about the message before that.
        sender = old.sender
        if old.writer_digest is not None:
            head = self._heads.get(sender, {}).get(old.messages, old.head)
            self._signed[sender] = head, self._record if sender is Sender.HOST else old.writer_digest
        head, record = self._signed.get(sender, (old.head, b""))
        signer = sender.other if old.writer_digest is None else sender
        data = statement(self._agreement, record, sender, old.phase, old.round, old.messages, head)
        signature = identity(signer.role).sign(data)
        return old._replace(head=head, writer_digest=old.writer_digest and record, signature=signature)


def resealed(texts: list[bytes], with_keys: bool) -> bytes:
    """The file of any lines: check values that hold, and with both parties' keys heads and signatures as well."""
    sealer = _Sealer(with_keys)
    return b"".join(map(sealer.line, texts))


@lru_cache
def transcript_trees() -> tuple[Tree, ...]:
    """The host's, of a task of each kind."""
    return tuple(transcript_tree(transcripts(case)[0]) for case in TRANSCRIPTS)


# Invites and certificates ---------------------------------------------------------------------------------------------


@lru_cache
def invite() -> bytes:
    """For two collaborators."""
    parties = [
        Participant(name=name, role="collaborator" if name != "host" else "host", certificate_pem=pem)
        for name in ("host", "collaborator", "third")
        for pem in (identity(name).certificate_pem,)
    ]
    made = Invite(
        version=1,
        task_id="a" * 26,
        name="digits",
        scheme="bfv",
        address="localhost:50051",
        host=parties[0],
        collaborators=tuple(parties[1:]),
    )
    return made.model_dump_json().encode()


@lru_cache
def invite_tree() -> Tree:
    """What is in it."""
    return json.loads(invite())


@lru_cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@lru_cache
def certificate_tree() -> Tree:
    """A party's certificate, with one more extension of every kind that has a shape of its own."""
    pem = Identity.create("party").certificate_pem
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    tree = read_der(der)
    own = _key().public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    tree[0][1][0][1][6] = read_der(own)[0]
    return tree


def signed_certificate(tree: Tree) -> bytes:
    """The certificate in DER form, its signature made anew over whatever it says now."""
    with suppress(LookupError, TypeError):
        tree[0][1][2] = [3, b"\0" + _key().sign(write_der([tree[0][1][0]]), ec.ECDSA(hashes.SHA256()))]
    return write_der(tree)
