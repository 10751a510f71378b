"""What the signatures in one transcript come to: who has signed for how much of what it lists."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest

from protocols.core.envelope import Phase
from protocols.core.errors import VerificationFailed
from protocols.core.sender import Sender
from protocols.core.sentence import say
from protocols.transcript.certificates import Certificate
from protocols.transcript.chain import seal_data, statement
from protocols.transcript.chain_check import ChainCheck
from protocols.transcript.errors import BrokenChain, InvalidTranscriptSignature
from protocols.transcript.finding_log import FindingLog
from protocols.transcript.format import Entry, Seal, SignedHead
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.preamble import AgreedTerms


class SignatureCheck:
    """Verifies signatures as they come.

    Args:
        log: takes what is wrong.

    Attributes:
        signed_by: by party, how many of each sender's messages it has validly signed for.
        covered: how many of each sender's messages both have signed for.
        writer_digests: by party, the digest of what its transcript says of it, as its signed heads have it.
        ended: whose chains both have signed in phase FINISH.
    """

    def __init__(self, log: FindingLog) -> None:
        self._log = log
        self.signed_by = {party: dict.fromkeys(Sender, 0) for party in Sender}
        self.covered = dict.fromkeys(Sender, 0)
        self.writer_digests: dict[Sender, bytes] = {}
        self.ended: set[Sender] = set()
        self._agreement = b""
        self._certificates: dict[Sender, Certificate] = {}
        self._signed_last: dict[Sender, SignedHead] = {}

    def begin(self, terms: AgreedTerms) -> None:
        """What all signatures are bound to."""
        self._agreement = terms.digest()
        self._certificates = {sender: terms.certificate(sender) for sender in Sender}

    @property
    def is_agreed(self) -> bool:
        """Whether both have signed anything, and with that the terms."""
        return all(self.covered.values())

    @property
    def is_finished(self) -> bool:
        """Whether both have signed both chains in phase FINISH."""
        return len(self.ended) == len(Sender)

    def cover(self, counts: Mapping[Sender, int]) -> None:
        """Both have signed for these messages in a later conversation."""
        self.covered = {sender: max(count, counts.get(sender, 0)) for sender, count in self.covered.items()}

    def verify(self, party: Sender, data: bytes, signature: bytes, what: str) -> bool:
        """Whether a party has signed these bytes."""
        try:
            self._certificates[party].verify(data, signature)
        except VerificationFailed:
            self._log.report(
                InvalidTranscriptSignature(
                    say("{what} does not hold", what=what), say("a signature of the {party}", party=say(party.role))
                )
            )
            return False
        return True

    def signed(self, signed: SignedHead, head: bytes | None) -> None:
        """A signed head, and what the head of so many messages is, if it can be about them here."""
        sender, digest = signed.sender, signed.writer_digest or b""
        self._signed_last[sender] = signed
        if head is None or not compare_digest(head, signed.head):
            problem = say(
                "the {sender}'s signed head over {messages} messages is not about those listed here",
                sender=say(sender.role),
                messages=signed.messages,
            )
            self._log.report(
                BrokenChain(problem, say("head {digits}", digits=head.hex()) if head else "the messages before it")
            )
            return
        if not compare_digest(self.writer_digests.setdefault(sender, digest), digest):
            problem = say("what the {sender}'s transcript says of its writer has changed", sender=say(sender.role))
            self._log.report(InvalidTranscriptSignature(problem, self.writer_digests[sender].hex()))
        if self.verify(sender, self._statement(signed, digest), signed.signature, say("a signed head's signature")):
            self.signed_by[sender][sender] = signed.messages

    def countersigned(self, signed: SignedHead) -> None:
        """The other party's signature of the head that the sender has signed last."""
        sender, own = signed.sender, self._signed_last.get(signed.sender)
        if own is None or own[:4] != signed[:4] or not compare_digest(own.head, signed.head):
            problem = say(
                "the {party} countersigned other messages than the {sender} had signed",
                party=say(sender.other.role),
                sender=say(sender.role),
            )
            self._log.report(BrokenChain(problem, "the same count and head"))
            return
        data = self._statement(signed, own.writer_digest or b"")
        if self.verify(sender.other, data, signed.signature, say("a countersignature")):
            self.signed_by[sender.other][sender] = signed.messages
            if self.signed_by[sender][sender] == signed.messages:
                self.covered[sender] = signed.messages
                self.ended |= {sender} if signed.phase == Phase.FINISH else set()

    def _statement(self, signed: SignedHead, writer_digest: bytes) -> bytes:
        return statement(
            self._agreement, writer_digest, signed.sender, signed.phase, signed.round, signed.messages, signed.head
        )


class SignatureLines:
    """The lines with signatures: whether each stands where it belongs.

    Args:
        chains: of the file.
        signatures: verifies what the lines say.
        log: takes what is wrong.

    Attributes:
        awaited: the message whose signature must be on the next line.
        sealed: lines up to the writer's last seal.
    """

    def __init__(self, chains: ChainCheck, signatures: SignatureCheck, log: FindingLog) -> None:
        self.awaited: Entry | None = None
        self.sealed = 0
        self._chains, self._signatures, self._log = chains, signatures, log

    def report_missing(self, awaited: Entry) -> None:
        """Something else has come."""
        self.awaited = None
        self._log.report(BrokenChain("the line with its signature does not follow", entry=str(awaited)))

    def seal(self, writer: Sender, seal: Seal, running: bytes) -> None:
        """The writer's signature over all lines before, whose hash is `running`."""
        self._signatures.verify(writer, seal_data(running), seal.signature, say("the writer's seal"))
        self.sealed = self._log.line

    def signed(self, signed: SignedHead, awaited: Entry) -> None:
        """The signature that was awaited."""
        self.awaited = None
        is_first = signed.writer_digest is not None
        signer = signed.sender if is_first else signed.sender.other
        wanted = (Checkpoint if is_first else Countersignature).__name__
        said = (awaited.type, awaited.sender, awaited.phase, awaited.round, awaited.recorded)
        if said != (wanted, signer, signed.phase, signed.round, (signed.messages,)):
            self._log.report(BrokenChain("the line does not say what the message before it says", entry=str(awaited)))
        elif is_first:
            self._signatures.signed(signed, self._chains.signable_head(signed.sender, signed.messages))
        else:
            self._signatures.countersigned(signed)
