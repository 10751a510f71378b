"""Writes one party's transcript of its conversation with one peer. Pure: it returns lines, the engine appends them.

    recorder = TranscriptRecorder(Sender.HOST, own, peer, identity.sign, software)
    file.write(recorder.observe(is_sent, envelope, wire_bytes))       for every message, in order per direction

Nothing comes out until the manifest has passed, because the chains start from it; then the few messages before it do.
A seal is written with what was agreed on, after every exchange of checkpoints, and after an Abort.

**Leaks** to whoever gets the file: names, certificates, parameters, sizes, and SHA-256 of what was sent. A digest lets
its reader confirm a guess of a whole message; of all messages only those of scheme "plain" can be guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from hmac import compare_digest

from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import CallOutOfOrder, MessageOutOfOrder, VerificationFailed, WrongSession
from protocols.core.sender import Sender
from protocols.core.wire_format import wire_format
from protocols.task.abort import Abort
from protocols.task.manifest import Hello, Manifest
from protocols.transcript.certificates import Certificate
from protocols.transcript.chain import Chain, seal_data, statement
from protocols.transcript.format import HEADER, TAG_BYTES, Running, Signed, checkpoint_text, entry_text
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.records import Agreed, Own

Sign = Callable[[bytes], bytes]

MAX_WAITING = 8
"""Messages that may come before the manifest; there is one, Hello."""


class TranscriptRecorder:
    """One transcript. `observe` is called by one thread at a time; the rest may be called beside it.

    Args:
        party: which side this is.
        own_certificate, peer_certificate: PEM.
        sign: signs bytes with this party's key (ECDSA P-256, SHA-256, DER).
        software: versions by name.
        seed_commitment: of a reproducible run, hexadecimal, or empty.

    Raises:
        InvalidInput: a certificate or a version cannot be used.
    """

    def __init__(
        self,
        party: Sender,
        own_certificate: bytes,
        peer_certificate: bytes,
        sign: Sign,
        software: Mapping[str, str],
        seed_commitment: str = "",
    ) -> None:
        self.party = party
        self.own = Own(party.role, dict(software), seed_commitment)
        self.agreed: Agreed | None = None
        self._record, self._agreement = self.own.digest(), b""
        self._certificates = {party: Certificate(own_certificate), party.other: Certificate(peer_certificate)}
        self._sign = sign
        self._running = Running()
        self._waiting: list[tuple[Sender, Envelope, bytes]] = []
        self._counts = dict.fromkeys(Sender, 0)
        self._chains: dict[Sender, Chain] = {}
        self._countersigned = dict.fromkeys(Sender, 0)
        self._candidates: dict[int, bytes] = {}
        self._collaborator, self._collaborator_seam = "", b""
        self._peer_record: bytes | None = None

    # What the channel calls ------------------------------------------------------------------------------------------

    def observe(self, is_sent: bool, envelope: Envelope, data: bytes | memoryview) -> bytes:
        """Record one message.

        Args:
            is_sent: by this party; else it was received.
            envelope: the message and its place.
            data: the exact wire bytes.

        Returns:
            What to append to the file; may be empty at the beginning.

        Raises:
            InvalidInput: the type is not declared with `@wire`, so nobody has said what it shows.
            CallOutOfOrder: a message before this one was not observed, or the manifest did not come first.
            WrongSession: the host's manifest is not about this collaborator.
        """
        sender = self.party if is_sent else self.party.other
        text = self._entry(sender, envelope, data)
        if self._chains:
            return self._chained(sender, envelope, text)
        if len(self._waiting) >= MAX_WAITING:
            problem = "a transcript starts with the manifest; other messages have come before it"
            raise CallOutOfOrder(problem) if sender is self.party else MessageOutOfOrder(problem)
        self._waiting.append((sender, envelope, text))
        message = envelope.message
        if isinstance(message, Hello):
            self._collaborator, self._collaborator_seam = message.feature_key, message.seam
        if not isinstance(message, Manifest):
            return b""
        waiting, self._waiting = self._waiting, []
        return self._begin(sender, message) + b"".join(self._chained(*each) for each in waiting)

    def _entry(self, sender: Sender, envelope: Envelope, data: bytes | memoryview) -> bytes:
        message = envelope.message
        declared = wire_format(type(message))
        sequence = envelope.sequence
        overtakes = sequence > self._counts[sender] and type(message) is Abort
        if sequence != self._counts[sender] and not overtakes:
            raise CallOutOfOrder(f"message {sequence} was observed instead of message {self._counts[sender]}")
        fresh = message.nonce if isinstance(message, Hello) else data[-TAG_BYTES:]
        tag = sha256(fresh).hexdigest()[:16] if declared.ledger.is_fresh else ""
        digest = sha256(data).hexdigest()
        place = (int(envelope.phase), envelope.round, envelope.batch)
        text = entry_text(sender, sequence, declared.name, place, len(data), declared.record(message), tag, digest)
        if overtakes:
            return b"x" + text[1:]
        self._counts[sender] = sequence + 1
        return text

    def _begin(self, sender: Sender, manifest: Manifest) -> bytes:
        if self._collaborator not in manifest.feature_keys:
            problem = "a manifest that does not list the collaborator, or comes before its Hello"
            if sender is self.party:
                raise CallOutOfOrder(f"this party sent {problem}")
            raise WrongSession(f"the {sender.role} sent {problem}")
        certificates = (self._certificates[Sender.HOST], self._certificates[Sender.COLLABORATOR])
        agreed = Agreed.of(manifest, self._collaborator, self._collaborator_seam, *certificates)
        self._agreement = agreed.digest()
        lines = (HEADER, f"agreed {agreed.text()}".encode(), f"own {self.own.text()}".encode())
        written = b"".join(map(self._running.write, lines)) + self._seal()
        self._chains = {sender: Chain(self._agreement, sender) for sender in Sender}
        self.agreed = agreed
        return written

    def _chained(self, sender: Sender, envelope: Envelope, text: bytes) -> bytes:
        message, chain = envelope.message, self._chains[sender]
        if isinstance(message, Checkpoint) and sender is not self.party:
            self._candidates = dict(chain.recent)
        if text.startswith(b"e"):
            chain.append(text, envelope.phase is Phase.OFFLINE)
        written = self._running.write(text)
        place = (int(envelope.phase), envelope.round)
        if isinstance(message, Checkpoint):
            signed = Signed(sender, *place, message.count, message.head, message.record, message.signature)
            return written + self._running.write(checkpoint_text(signed))
        if isinstance(message, Countersignature):
            signed = Signed(sender.other, *place, message.count, message.head, None, message.signature)
            written += self._running.write(checkpoint_text(signed))
            self._countersigned[sender] += 1
            # Another thread may observe the peer's before ours is sent: whichever is last ends the exchange.
            return written + self._seal() if len(set(self._countersigned.values())) == 1 else written
        return written + self._seal() if isinstance(message, Abort) else written

    def _seal(self) -> bytes:
        return self._running.write(b"seal " + self._sign(seal_data(self._running.value)).hex().encode())

    # What the exchange of checkpoints calls (checkpoints.py) ---------------------------------------------------------

    def checkpoint(self, phase: Phase, round_number: int) -> Checkpoint:
        """Sign what this party has sent. Raises `CallOutOfOrder` before the manifest."""
        count, head = self._chain(self.party).at
        signed = statement(self._agreement, self._record, self.party, phase, round_number, count, head)
        return Checkpoint(count, head, self._record, self._sign(signed))

    def received_head(self, count: int) -> bytes:
        """The head of what was received, `count` messages, when the peer's last checkpoint came.

        Raises:
            VerificationFailed: that checkpoint is not about everything that was received before it.
        """
        head = self._candidates.get(count)
        if head is None:
            raise VerificationFailed("the peer's checkpoint leaves out messages that it has sent, or has not yet sent")
        return head

    def statement(self, sender: Sender, phase: Phase, round_number: int, signed: Checkpoint) -> bytes:
        """What a checkpoint of this task's chain of `sender` signs."""
        return statement(self._agreement, signed.record, sender, phase, round_number, signed.count, signed.head)

    def keep_record(self, record: bytes) -> None:
        """Remember what the peer says of itself. Raises `VerificationFailed` if it has said something else before."""
        if self._peer_record is None:
            self._peer_record = record
        if not compare_digest(self._peer_record, record):
            raise VerificationFailed("the peer's checkpoint is about another transcript than its first one")

    def verify(self, data: bytes, signature: bytes) -> None:
        """Raise `VerificationFailed` unless the peer has signed these bytes."""
        self._certificates[self.party.other].verify(data, signature)

    def sign(self, data: bytes) -> bytes:
        """This party's signature."""
        return self._sign(data)

    def _chain(self, sender: Sender) -> Chain:
        if not self._chains:
            raise CallOutOfOrder("the manifest has not passed yet: there is nothing to sign")
        return self._chains[sender]
