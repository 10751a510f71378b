"""What the signatures in one transcript come to: who has signed for how much of what it lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hmac import compare_digest

from protocols.core.envelope import Phase
from protocols.core.errors import VerificationFailed
from protocols.core.sender import Sender
from protocols.transcript.certificates import Certificate
from protocols.transcript.chain import statement
from protocols.transcript.errors import BrokenChain, InvalidTranscriptSignature, TranscriptError
from protocols.transcript.format import Signed
from protocols.transcript.records import Agreed


class Signatures:
    """Verifies them as they come.

    Args:
        report: takes what is wrong.

    Attributes:
        by: by party, how many of each sender's messages it has validly signed for.
        covered: how many of each sender's messages both have signed for.
        records: by party, the digest of what it says of itself, as its checkpoints have it.
        ended: whose chains both have signed in phase FINISH.
    """

    def __init__(self, report: Callable[[TranscriptError], None]) -> None:
        self._report = report
        self.by = {party: dict.fromkeys(Sender, 0) for party in Sender}
        self.covered = dict.fromkeys(Sender, 0)
        self.records: dict[Sender, bytes] = {}
        self.ended: set[Sender] = set()
        self._agreement = b""
        self._certificates: dict[Sender, Certificate] = {}
        self._open: dict[Sender, Signed] = {}

    def begin(self, agreed: Agreed) -> None:
        """What all signatures are bound to."""
        self._agreement = agreed.digest()
        self._certificates = {sender: agreed.certificate(sender) for sender in Sender}

    @property
    def is_agreed(self) -> bool:
        """Whether both have signed anything, and with that what was agreed on."""
        return all(self.covered.values())

    def cover(self, counts: Mapping[Sender, int]) -> None:
        """Both have signed for these messages in a later conversation."""
        self.covered = {sender: max(count, counts.get(sender, 0)) for sender, count in self.covered.items()}

    def verify(self, party: Sender, data: bytes, signature: bytes, what: str) -> bool:
        """Whether a party has signed these bytes."""
        try:
            self._certificates[party].verify(data, signature)
        except VerificationFailed:
            self._report(InvalidTranscriptSignature(f"{what} does not hold", f"a signature of the {party.role}"))
            return False
        return True

    def checkpoint(self, signed: Signed, head: bytes | None) -> None:
        """A checkpoint, and the head of so many messages as it says, if there can be one of them here."""
        sender, record = signed.sender, signed.record or b""
        self._open[sender] = signed
        if head is None or not compare_digest(head, signed.head):
            problem = f"the {sender.role}'s checkpoint over {signed.messages} messages is not about those listed here"
            self._report(BrokenChain(problem, f"head {head.hex()}" if head else "the messages before it"))
            return
        if not compare_digest(self.records.setdefault(sender, record), record):
            problem = f"what the {sender.role}'s transcript says of its writer has changed"
            self._report(InvalidTranscriptSignature(problem, self.records[sender].hex()))
        if self.verify(sender, self._statement(signed, record), signed.signature, "a checkpoint's signature"):
            self.by[sender][sender] = signed.messages

    def countersignature(self, signed: Signed) -> None:
        """The other party's signature of the sender's last checkpoint."""
        sender, checkpoint = signed.sender, self._open.get(signed.sender)
        if checkpoint is None or checkpoint[:4] != signed[:4] or not compare_digest(checkpoint.head, signed.head):
            problem = f"the {sender.other.role} countersigned other messages than the {sender.role} had signed"
            self._report(BrokenChain(problem, "the checkpoint's count and head"))
            return
        data = self._statement(signed, checkpoint.record or b"")
        if self.verify(sender.other, data, signed.signature, "a countersignature"):
            self.by[sender.other][sender] = signed.messages
            if self.by[sender][sender] == signed.messages:
                self.covered[sender] = signed.messages
                self.ended |= {sender} if signed.phase == Phase.FINISH else set()

    def _statement(self, signed: Signed, record: bytes) -> bytes:
        return statement(
            self._agreement, record, signed.sender, signed.phase, signed.round, signed.messages, signed.head
        )
