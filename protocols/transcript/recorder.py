"""Writes one party's transcript of its conversation with one peer. Pure: it returns lines, the engine appends them.

    recorder = TranscriptRecorder(Sender.HOST, own, peer, identity.sign, software)
    file.write(recorder.observe(is_sent, envelope, wire_bytes))       for every message, in order per direction

Nothing comes out until the manifest has passed, because the chains start from it; then the few messages before it do.
A seal is written with what was agreed on, after every exchange of signed heads, and after an Abort.

**Leaks** to whoever gets the file: names, certificates, parameters, sizes, and SHA-256 of what was sent. A digest lets
its reader confirm a guess of a whole message; of all messages only those of scheme "plain" can be guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import CallOutOfOrder, MessageOutOfOrder, WrongSession
from protocols.core.sender import Sender
from protocols.core.wire_format import wire_format
from protocols.task.abort import Abort
from protocols.task.manifest import Hello, Manifest
from protocols.transcript.certificates import Certificate
from protocols.transcript.chain import seal_data
from protocols.transcript.format import HEADER, TAG_BYTES, RunningHash, SignedHead, entry_text, signed_head_text
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.preamble import AgreedTerms, WriterInfo
from protocols.transcript.signing import HeadSigner, Sign

MAX_WAITING = 8
"""Messages that may come before the manifest; there is one, Hello."""


class TranscriptRecorder:
    """One transcript. `observe` is called by one thread at a time; the signer may work beside it.

    Args:
        party: which side this is.
        own_certificate, peer_certificate: PEM.
        sign: with this party's key.
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
        self._party, self._sign = party, sign
        self._writer = WriterInfo(party.role, dict(software), seed_commitment)
        self._certificates = {party: Certificate(own_certificate), party.other: Certificate(peer_certificate)}
        self._running = RunningHash()
        self._counts = dict.fromkeys(Sender, 0)
        self._countersigned = dict.fromkeys(Sender, 0)
        self._before_manifest: list[tuple[Sender, Envelope, bytes]] = []
        self._hello: Hello | None = None
        self._signer: HeadSigner | None = None

    @property
    def signer(self) -> HeadSigner:
        """Signs, and checks the peer's signatures. Raises `CallOutOfOrder` before the manifest."""
        if self._signer is None:
            raise CallOutOfOrder("the manifest has not passed yet: there is nothing to sign")
        return self._signer

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
        sender = self._party if is_sent else self._party.other
        text = self._entry(sender, envelope, data)
        if self._signer is not None:
            return self._chained(self._signer, sender, envelope, text)
        if len(self._before_manifest) >= MAX_WAITING:
            problem = "a transcript starts with the manifest; other messages have come before it"
            raise CallOutOfOrder(problem) if sender is self._party else MessageOutOfOrder(problem)
        self._before_manifest.append((sender, envelope, text))
        message = envelope.message
        if isinstance(message, Hello):
            self._hello = message
        if not isinstance(message, Manifest):
            return b""
        first, signer = self._begin(sender, message)
        waiting, self._before_manifest = self._before_manifest, []
        return first + b"".join(self._chained(signer, *each) for each in waiting)

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

    def _begin(self, sender: Sender, manifest: Manifest) -> tuple[bytes, HeadSigner]:
        hello = self._hello
        if hello is None or hello.feature_key not in manifest.feature_keys:
            problem = "a manifest that does not list the collaborator, or comes before its Hello"
            if sender is self._party:
                raise CallOutOfOrder(f"this party sent {problem}")
            raise WrongSession(f"the {sender.role} sent {problem}")
        certificates = (self._certificates[Sender.HOST], self._certificates[Sender.COLLABORATOR])
        terms = AgreedTerms.of(manifest, hello.feature_key, hello.seam, *certificates)
        lines = (HEADER, terms.line(), self._writer.line())
        written = b"".join(map(self._running.write, lines)) + self._seal()
        peer, writer_digest = self._certificates[self._party.other], self._writer.digest()
        self._signer = HeadSigner(self._party, self._sign, peer, terms.digest(), writer_digest)
        return written, self._signer

    def _chained(self, signer: HeadSigner, sender: Sender, envelope: Envelope, text: bytes) -> bytes:
        message = envelope.message
        if isinstance(message, Checkpoint) and sender is not self._party:
            signer.note_received()
        if text.startswith(b"e"):
            signer.chains[sender].append(text, envelope.phase is Phase.OFFLINE)
        written = self._running.write(text)
        place = (int(envelope.phase), envelope.round)
        if isinstance(message, Checkpoint):
            signed = SignedHead(sender, *place, message.count, message.head, message.record, message.signature)
            return written + self._running.write(signed_head_text(signed))
        if isinstance(message, Countersignature):
            signed = SignedHead(sender.other, *place, message.count, message.head, None, message.signature)
            written += self._running.write(signed_head_text(signed))
            self._countersigned[sender] += 1
            # Another thread may observe the peer's before ours is sent: whichever is last ends the exchange.
            return written + self._seal() if len(set(self._countersigned.values())) == 1 else written
        return written + self._seal() if isinstance(message, Abort) else written

    def _seal(self) -> bytes:
        return self._running.write(b"seal " + self._sign(seal_data(self._running.value)).hex().encode())
