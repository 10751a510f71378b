"""The parties sign for each other what has crossed the wire between them, at every boundary of phases and rounds.

    both sides    Checkpoint          signature of the head of what I have sent             ----->
                                      compare with what I have received, verify             <-----
    both sides    Countersignature    signature of the same statement                       ----->
                                      compare with my Checkpoint, verify                    <-----

Afterwards neither can deny, drop, change or reorder anything up to here: each holds the other's signature of both
chains. One flight and a half; both sides take the same steps.

**Leaks** nothing. **Reference** Haber, Stornetta, How to Time-Stamp a Digital Document (1991).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hmac import compare_digest

from protocols.core.envelope import Phase
from protocols.core.errors import VerificationFailed
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send, Steps, received
from protocols.transcript.certificates import Certificate
from protocols.transcript.chain import Chain, statement
from protocols.transcript.messages import Checkpoint, Countersignature

Sign = Callable[[bytes], bytes]
"""Signs bytes with a party's key: ECDSA P-256, SHA-256, DER."""


class HeadSigner:
    """Signs one party's heads in one conversation, and checks what the peer signs.

    Args:
        party: which side this is.
        sign: this party's signature.
        peer: the other's certificate.
        agreement: digest of the terms that both agreed on.
        writer_digest: of what this party's transcript says of its writer.

    Attributes:
        chains: of what each has sent; the recorder appends to them.
    """

    def __init__(self, party: Sender, sign: Sign, peer: Certificate, agreement: bytes, writer_digest: bytes) -> None:
        self.chains: Mapping[Sender, Chain] = {sender: Chain(agreement, sender) for sender in Sender}
        self._party, self._sign, self._peer = party, sign, peer
        self._agreement, self._writer_digest = agreement, writer_digest
        self._peer_writer_digest: bytes | None = None
        self._signable: dict[int, bytes] = {}

    def sign_head(self, phase: Phase, round_number: int) -> Checkpoint:
        """Sign what this party has sent."""
        count, head = self.chains[self._party].at
        signed = statement(self._agreement, self._writer_digest, self._party, phase, round_number, count, head)
        return Checkpoint(count, head, self._writer_digest, self._sign(signed))

    def note_received(self) -> None:
        """The peer's `Checkpoint` has come, and is not yet in the chain: keep the heads that it may be about."""
        self._signable = dict(self.chains[self._party.other].recent)

    def received_head(self, count: int) -> bytes:
        """The head of what was received, `count` messages, when the peer's last `Checkpoint` came.

        Raises:
            VerificationFailed: it is not about everything that was received before it.
        """
        head = self._signable.get(count)
        if head is None:
            raise VerificationFailed("the peer's signed head leaves out messages that it has sent, or has not yet sent")
        return head

    def countersign(self, phase: Phase, round_number: int, theirs: Checkpoint) -> Countersignature:
        """Sign what the peer has signed.

        Raises:
            VerificationFailed: it is about something else than was received, is not the peer's signature, or the peer
                says something else of itself than before.
        """
        if not compare_digest(theirs.head, self.received_head(theirs.count)):
            raise VerificationFailed("the peer's signed head is about other messages than were received from it")
        signed = self._statement(self._party.other, phase, round_number, theirs)
        self._peer.verify(signed, theirs.signature)
        if self._peer_writer_digest is None:
            self._peer_writer_digest = theirs.record
        if not compare_digest(self._peer_writer_digest, theirs.record):
            raise VerificationFailed("the peer's signed head is about another transcript than its first one")
        return Countersignature(theirs.count, theirs.head, self._sign(signed))

    def check_answer(self, phase: Phase, round_number: int, own: Checkpoint, answer: Countersignature) -> None:
        """Raise `VerificationFailed` unless the peer has signed what this party has signed."""
        if answer.count != own.count or not compare_digest(answer.head, own.head):
            raise VerificationFailed("the peer countersigned other messages than were sent to it")
        self._peer.verify(self._statement(self._party, phase, round_number, own), answer.signature)

    def _statement(self, sender: Sender, phase: Phase, round_number: int, signed: Checkpoint) -> bytes:
        return statement(self._agreement, signed.record, sender, phase, round_number, signed.count, signed.head)


def exchange_signed_heads(signer: HeadSigner, phase: Phase, round_number: int) -> Steps[None]:
    """One exchange. The recorder must observe all its messages, at this phase and round.

    Raises:
        VerificationFailed: the peer signs something else than what was received from it or sent to it; the task must
            stop, and both transcripts say why.
    """
    own = signer.sign_head(phase, round_number)
    yield Send(own)
    theirs = received((yield Receive(Checkpoint)), Checkpoint)
    yield Send(signer.countersign(phase, round_number, theirs))
    answer = received((yield Receive(Countersignature)), Countersignature)
    signer.check_answer(phase, round_number, own, answer)
