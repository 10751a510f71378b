"""Two recorders in memory, and what is in flight between them."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Any

from protocols.catalogue import MESSAGE_TYPES
from protocols.core.envelope import Envelope, Phase
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send, Steps
from protocols.transcript.checkpoints import exchange_checkpoints
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.recorder import TranscriptRecorder
from protocols.wire.varint import LENGTH, VARINT, write_tag, write_varint
from secure_hfl.identity import Identity
from secure_hfl.transport import secure_hfl_pb2
from secure_hfl.transport.codec import Catalogue, encode

H, C = Sender.HOST, Sender.COLLABORATOR


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


class Cut(Exception):
    """The connection is gone, with everything in flight."""


class Wire:
    """Two recorders and what is in flight between them.

    Args:
        cut_at: so many messages are sent or received; then the connection is cut.
    """

    def __init__(self, cut_at: int | None = None, **recorder: Any) -> None:
        self.cut_at, self.events = cut_at, 0
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
        self._count()
        envelope = Envelope(self.sequences[sender], *(place or self.place), message)
        self.sequences[sender] += 1
        data = wire_bytes(envelope)
        self.files[sender] += self.recorders[sender].observe(True, envelope, data)
        self.inboxes[sender.other].append((envelope, data))

    def receive(self, receiver: Sender) -> Message:
        self._count()
        envelope, data = self.inboxes[receiver].popleft()
        self.files[receiver] += self.recorders[receiver].observe(False, envelope, data)
        return envelope.message

    def _count(self) -> None:
        if self.events == self.cut_at:
            raise Cut
        self.events += 1

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
