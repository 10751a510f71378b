"""How one conversation of an interrupted run follows on the one before, as one end's transcripts have it.

    conversation 1   ... messages, interrupted
    conversation 2   the terms: both parties' positions (how far conversation 1 went), and the place to go on from
                     ... messages

The writer's position is exactly where its file of the conversation before ends. The peer's agrees with that file: what
the peer received is the beginning of what was sent, and what was received is the beginning of what the peer sent. What
both have is signed, since both sign the terms of conversation 2; the rest was lost in transit.

A conversation whose manifest never arrived exists at the host only. The collaborator's next position is then the one
that it had before, and the host's names a conversation that the collaborator has never seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest

from protocols.core.sender import Sender
from protocols.core.sentence import say
from protocols.task.resumption import TranscriptPosition
from protocols.transcript.compare_ends import LOST_BY_SENDER
from protocols.transcript.errors import (
    BrokenChain,
    IllegalOrder,
    IncompleteTranscript,
    Severity,
    TranscriptError,
    TranscriptsDisagree,
)
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.preamble import AgreedTerms, WriterInfo
from protocols.transcript.report import Finding

MAY_DIFFER = ("manifest_digest", "session_tag", "resumed_from", "resumed_at", "host_seam", "collaborator_seam")
"""All other terms stay as they are while a run goes on."""

TERMS_LINE = 2
_WHOLE_FILE = 0
_REMOVED = "A transcript was taken away, or left out here."


@dataclass(frozen=True)
class ReadTranscript:
    """A transcript that was read, and whose first lines are whole."""

    file: FileAuditor
    terms: AgreedTerms
    writer: WriterInfo

    @classmethod
    def of(cls, file: FileAuditor) -> ReadTranscript | None:
        """None if they are not."""
        return None if file.terms is None or file.writer is None else cls(file, file.terms, file.writer)

    @property
    def peer(self) -> Sender:
        """Who does not write it."""
        return self.writer.sender.other

    @property
    def own_position(self) -> TranscriptPosition | None:
        """How far the writer had come in its conversation before."""
        return self.terms.last_position(self.writer.sender)

    @property
    def peer_position(self) -> TranscriptPosition | None:
        """How far the peer had."""
        return self.terms.last_position(self.peer)


class ContinuationCheck:
    """Of one conversation.

    Args:
        now: its transcript.
        own_end, other_end: transcripts of the run by conversation, as far as they were read.

    Attributes:
        findings: what does not fit.
        lost: by sender, messages of the conversation before that were lost in transit, as far as that can be told.
        covered: by sender, messages of the conversation before that both have; None if that cannot be told.
        is_given_up: it was an attempt to go on under other terms, which ended with the agreement.
    """

    def __init__(
        self, now: ReadTranscript, own_end: Mapping[bytes, FileAuditor], other_end: Mapping[bytes, FileAuditor]
    ) -> None:
        self.findings: list[Finding] = []
        self.lost: dict[Sender, int] = {}
        self.covered: dict[Sender, int] | None = None
        self.is_given_up = False
        self._now, self._own_end, self._other_end = now, own_end, other_end

    def check_first(self) -> None:
        """There is no transcript before it here."""
        now = self._now
        own, peer = now.own_position, now.peer_position
        if own is not None:
            self._missing(own, say("before {now}", now=now.file.name))
        elif now.terms.resume_point is not None:
            problem = say(
                "the task goes on from {resume_point}, but its beginning is not here",
                resume_point=str(now.terms.resume_point),
            )
            self._add(IncompleteTranscript(problem, "the conversations before", meaning=_REMOVED))
        elif peer is not None:
            self._check_unknown(None, peer)

    def check_follows(self, before: ReadTranscript, agreed: ReadTranscript) -> None:
        """It goes on from the transcript before it.

        Args:
            before: that transcript.
            agreed: the last one whose terms are the run's: `before`, if that was no attempt that was given up.
        """
        now = self._now
        own, peer = now.own_position, now.peer_position
        self._check_same(agreed)
        if own is None:
            problem = say("it does not go on from {name}: its writer had no conversation before", name=before.file.name)
            self._add(IncompleteTranscript(problem, "transcripts of one run", meaning=_REMOVED))
            return
        if own.agreement != before.file.chains.agreement:
            self._missing(own, say("between {before} and {now}", before=before.file.name, now=now.file.name))
            return
        if before.file.is_finished:
            # Another collaborator of the same host may not have heard of it.
            note, severity = "the task goes on, although both had signed its end", Severity.NOTE
            self._add(IllegalOrder(note, meaning="The end was lost elsewhere.", severity=severity))
        if own != before.file.position:
            self._add_cut_off(before, own)
        if peer is not None and peer.agreement == own.agreement:
            self._check_peer(before, peer)
        elif peer == before.terms.last_position(now.peer) and before.file.is_unanswered:
            self.lost = {now.writer.sender: before.file.chains.count(now.writer.sender), now.peer: 0}
        elif peer is not None and peer.agreement not in self._own_end:
            self._check_unknown(before, peer)
        else:
            role = now.peer.role
            problem = say(
                "the {party} does not know of {name}, in which it had taken part",
                party=say(role),
                name=before.file.name,
            )
            meaning = say("The {party}'s transcript of that conversation was lost or taken away.", party=say(role))
            self._add(TranscriptsDisagree(problem, "its position in that conversation", meaning=meaning))

    def _add(self, error: TranscriptError) -> None:
        self.findings.append(Finding.of(error, self._now.file.name, TERMS_LINE))

    def _add_to(self, before: ReadTranscript, error: TranscriptError) -> None:
        self.findings.append(Finding.of(error, before.file.name, _WHOLE_FILE))

    def _missing(self, position: TranscriptPosition, where: str) -> None:
        problem = say(
            "a conversation {where} is missing: that of agreement {digest}",
            where=where,
            digest=position.agreement.hex()[:16],
        )
        expected = say(
            "its transcript, with {sent} messages sent and {received} received",
            sent=position.sent,
            received=position.received,
        )
        self._add(IncompleteTranscript(problem, expected, meaning=_REMOVED))

    def _add_cut_off(self, before: ReadTranscript, own: TranscriptPosition) -> None:
        has = before.file.position
        counts = say("nothing")
        if has is not None:
            counts = say("{sent} sent and {received} received", sent=has.sent, received=has.received)
        problem = say("{counts}; {name} goes on from other messages", counts=counts, name=self._now.file.name)
        expected = say(
            "{sent} messages sent and {received} received, with their heads", sent=own.sent, received=own.received
        )
        meaning = "The file was cut off or added to after the task had gone on."
        self._add_to(before, BrokenChain(problem, expected, meaning=meaning))

    def _check_same(self, before: ReadTranscript) -> None:
        """What may not change while a run goes on."""
        now = self._now
        pairs = [(name, getattr(before.terms, name), getattr(now.terms, name)) for name in vars(now.terms)]
        pairs += [
            (name, getattr(before.writer, name), getattr(now.writer, name)) for name in ("writer", "seed_commitment")
        ]
        changed = [name for name, was, is_now in pairs if name not in MAY_DIFFER and was != is_now]
        names = ", ".join(name.replace("_", " ") for name in changed)
        if changed and now.file.is_agreement_only:
            self.is_given_up = True
            problem = say(
                "an attempt to go on under other terms than in {name} ({names}), which was refused",
                name=before.file.name,
                names=names,
            )
            meaning = "Nothing but the agreement was exchanged in it. What follows is held to the terms before."
            self._add(IllegalOrder(problem, meaning=meaning, severity=Severity.NOTE))
        elif changed:
            meaning = "These are not conversations of one run, or the parties went on under other terms."
            self._add(
                IllegalOrder(
                    say("other than in {name}: {names}", name=before.file.name, names=names),
                    "the same",
                    meaning=meaning,
                )
            )

    def _check_unknown(self, before: ReadTranscript | None, peer: TranscriptPosition) -> None:
        """The peer names a conversation that this end does not have: its manifest may never have arrived here."""
        known = self._other_end.get(peer.agreement)
        if known is not None and known.is_unanswered:
            return
        role = self._now.peer.role
        if self._now.peer is Sender.HOST and peer.received <= 1:
            if before is None or all(_is_covered(before.file, sender) for sender in Sender):
                return
            problem: str = say(
                "the {party} names a conversation whose manifest never arrived here, not {name}",
                party=say(role),
                name=before.file.name,
            )
            meaning: str = say(
                "The network was cut at that moment. The {party}'s transcripts tell what it had received before.",
                party=say(role),
            )
        else:
            problem = say(
                "the {party} names a conversation that is missing here: agreement {digest}",
                party=say(role),
                digest=peer.agreement.hex()[:16],
            )
            meaning = _REMOVED
        self._add(
            IncompleteTranscript(problem, say("the {party}'s transcripts as well", party=say(role)), meaning=meaning)
        )

    def _check_peer(self, before: ReadTranscript, peer: TranscriptPosition) -> None:
        """The peer's position against the transcript before."""
        self.covered = {}
        party = self._now.peer
        for sender, said, head in (
            (party, peer.sent, peer.sent_head),
            (party.other, peer.received, peer.received_head),
        ):
            error = self._contradiction(before.file, sender, said, head)
            if error is not None:
                self._add_to(before, error)
                continue
            has = before.file.chains.count(sender)
            self.lost[sender] = said - has if sender is party else has - said
            self.covered[sender] = min(said, has)

    def _contradiction(self, before: FileAuditor, sender: Sender, said: int, head: bytes) -> TranscriptsDisagree | None:
        """What is wrong with the peer having this many messages of a sender, with this head."""
        party = self._now.peer
        has, known = before.chains.count(sender), before.chains.heads.get((sender, said))
        signed = before.signatures.signed_by[party][sender]
        if said < signed:
            problem: str = say(
                "{signed} messages of the {sender}, of which the {party} has signed for all",
                signed=signed,
                sender=say(sender.role),
                party=say(party.role),
            )
            meaning: str = say(
                "The {party} lost the end of its transcript, or put an older one in its place.", party=say(party.role)
            )
        elif sender is party and said < has:
            problem = say("{has} messages of the {sender} were received", has=has, sender=say(sender.role))
            meaning = LOST_BY_SENDER
        elif sender is not party and said > has:
            problem, meaning = say("{has} messages were sent", has=has), LOST_BY_SENDER
        elif said <= has and (known is None or not compare_digest(known, head)):
            problem = say(
                "of the {sender}'s first {said} messages the {party} has others than these",
                sender=say(sender.role),
                said=said,
                party=say(party.role),
            )
            meaning = TranscriptsDisagree.meaning
        else:
            return None
        return TranscriptsDisagree(
            problem,
            say("as the {party}'s transcript says, which has {said}", party=say(party.role), said=said),
            meaning=meaning,
        )


def _is_covered(file: FileAuditor, sender: Sender) -> bool:
    return file.chains.count(sender) == file.signatures.covered[sender]
