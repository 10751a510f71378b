"""Whether the conversations of an interrupted run belong together, as one end's transcripts have them.

    conversation 1   ... messages, interrupted
    conversation 2   agreed on: both parties' seams (how far conversation 1 went), and the place to go on from
                     ... messages

The writer's seam is exactly where its file of the conversation before ends. The peer's seam agrees with that file: what
the peer received is the beginning of what was sent, and what was received is the beginning of what the peer sent. What
both have is signed, since both sign what was agreed on in conversation 2; the rest was lost in transit.

A conversation whose manifest never arrived exists at the host only. The collaborator's next seam is then the one that
it had before, and the host's names a conversation that the collaborator has never seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hmac import compare_digest
from itertools import chain, islice

from protocols.core.errors import InvalidInput
from protocols.core.sender import Sender
from protocols.task.history import History
from protocols.task.resumption import Seam
from protocols.transcript.ends import LOST_BY_SENDER
from protocols.transcript.errors import (
    BrokenChain,
    IllegalOrder,
    IncompleteTranscript,
    RepeatedContent,
    Severity,
    TranscriptError,
    TranscriptsDisagree,
)
from protocols.transcript.file_audit import FileAuditor, FreshTags
from protocols.transcript.records import Agreed, Own
from protocols.transcript.report import Finding, Resume

Marks = Mapping[bytes, set[tuple[Sender, int]]]
"""By conversation: of which chains and counts later seams name the head."""

MAY_DIFFER = ("manifest_digest", "session_tag", "resumed_from", "resumed_at", "host_seam", "collaborator_seam")
"""All else that was agreed on stays as it is while a run goes on."""

_AGREED_LINE = 2
_PREAMBLE = 3


@dataclass(frozen=True)
class Conversation:
    """One transcript, of which the first lines were looked at. Its check values are verified when it is read."""

    name: str
    lines: Iterable[bytes]
    agreed: Agreed | None
    writer: Sender | None

    @property
    def digest(self) -> bytes:
        """Which conversation it is of; empty if the file does not say."""
        return b"" if self.agreed is None else self.agreed.digest()

    @property
    def seam(self) -> Seam | None:
        """Where the writer says that its file of the conversation before ends."""
        return None if self.agreed is None or self.writer is None else self.agreed.seam(self.writer)


def opened(lines: Iterable[bytes], name: str) -> Conversation:
    """Look at the first lines of a transcript."""
    source = iter(lines)
    head = list(islice(source, _PREAMBLE))
    agreed, writer = None, None
    try:
        bodies = [line.rpartition(b" ")[0].partition(b" ")[2].decode() for line in head]
        agreed = Agreed.parse(bodies[1])
        writer = Own.parse(bodies[2]).sender
    except (InvalidInput, IndexError, UnicodeDecodeError):
        pass  # the auditor says what is wrong
    return Conversation(name, chain(head, source), agreed, writer)


def marks_of(conversations: Iterable[Conversation]) -> Marks:
    """What the seams in these conversations name."""
    marks: dict[bytes, set[tuple[Sender, int]]] = {}
    for each in conversations:
        for sender in Sender if each.agreed is not None else ():
            seam = each.agreed.seam(sender) if each.agreed is not None else None
            if seam is not None:
                marks.setdefault(seam.agreement, set()).update({(sender, seam.sent), (sender.other, seam.received)})
    return marks


class RunEnd:
    """One end's transcripts of a run, read in order.

    Args:
        conversations: of one writer.
        marks: `marks_of` all ends' conversations.
        fresh: as for `FileAuditor`.

    Attributes:
        files: read so far.
        resumes: where the run went on, and what was lost in transit, as far as this end can tell.
        by_digest: the files by conversation.
        elsewhere: those of the other end.
    """

    def __init__(self, conversations: Sequence[Conversation], marks: Marks, fresh: FreshTags | None) -> None:
        self.conversations = conversations
        self.files: list[FileAuditor] = []
        self.resumes: list[Resume] = []
        self.by_digest: dict[bytes, FileAuditor] = {}
        self.elsewhere: Mapping[bytes, FileAuditor] = {}
        self._marks, self._fresh, self._past = marks, fresh, History()
        self._findings: list[Finding] = []
        self._sessions: set[str] = set()
        self._covers: list[tuple[int, dict[Sender, int]]] = []

    def begin(self) -> FileAuditor:
        """The auditor of the next file."""
        at = len(self.files)
        now = self.conversations[at]
        before = self.conversations[at - 1].digest if at else b""
        named = b"" if now.seam is None else now.seam.agreement
        if named != before or (not at and now.agreed is not None and now.agreed.resume_point is not None):
            self._past.is_whole = False
        file = FileAuditor(now.name, self._fresh, self._past, self._marks.get(now.digest, ()))
        self.files.append(file)
        self.by_digest[now.digest] = file
        return file

    def is_followed(self, at: int) -> bool:
        """Whether the run goes on in another conversation."""
        return at + 1 < len(self.conversations)

    def end(self) -> None:
        """The file that was begun last has been read: whether it follows on the one before."""
        at = len(self.files) - 1
        file = self.files[at]
        file.finish(self.is_followed(at))
        if file.agreed is None or file.own is None:
            return
        if file.agreed.session_tag in self._sessions:
            self._add(RepeatedContent("the session of an earlier conversation", "fresh nonces of both parties"), file)
        self._sessions.add(file.agreed.session_tag)
        own, peer = (file.agreed.seam(sender) for sender in (file.own.sender, file.own.sender.other))
        if at:
            lost = self._check_follows(self.files[at - 1], file, own, peer)
        else:
            lost = {}
            self._check_first(file, own, peer)
        if at or file.agreed.resume_point is not None:
            self._resumed(file, file.agreed, lost)

    def finish(self) -> None:
        """All files have been read. What both had when they were cut counts as signed once a later one is signed."""
        is_signed = False
        for at in reversed(range(len(self.files))):
            is_signed = is_signed or self.files[at].signatures.is_agreed
            for before, counts in self._covers if is_signed else ():
                if before == at - 1:
                    self.files[before].signatures.cover(counts)

    def all_findings(self) -> list[Finding]:
        """What is wrong with the files, and between them."""
        return [finding for file in self.files for finding in file.findings] + self._findings

    def note_lost(self, at: int, lost: Mapping[Sender, int]) -> None:
        """What the comparison of both ends of a conversation shows to be lost, where this end alone could not tell."""
        if not self.is_followed(at):
            return
        for index, resume in enumerate(self.resumes):
            if resume.file == self.conversations[at + 1].name:
                counts = (resume.lost_from_host, resume.lost_from_collaborator)
                known = [lost.get(sender) if count is None else count for sender, count in zip(Sender, counts)]
                self.resumes[index] = replace(resume, lost_from_host=known[0], lost_from_collaborator=known[1])

    def _add(self, error: TranscriptError, file: FileAuditor, line: int = _AGREED_LINE) -> None:
        self._findings.append(Finding.of(error, file.name, line))

    def _resumed(self, file: FileAuditor, agreed: Agreed, lost: Mapping[Sender, int]) -> None:
        point = agreed.resume_point
        phase, number, batch = ("", 0, 0) if point is None else (point.phase.name.lower(), point.round, point.batch)
        place = "the beginning" if point is None else str(point)
        counts = [lost.get(sender) for sender in Sender]
        self.resumes.append(Resume(len(self.files), file.name, place, phase, number, batch, *counts))

    # How one conversation follows on another -------------------------------------------------------------------------

    def _check_first(self, file: FileAuditor, own: Seam | None, peer: Seam | None) -> None:
        if own is not None:
            self._missing(own, file, "")
        elif file.agreed is not None and file.agreed.resume_point is not None:
            problem = f"the task goes on from {file.agreed.resume_point}, but its beginning is not here"
            self._add(IncompleteTranscript(problem, "the conversations before", meaning=_REMOVED), file)
        elif peer is not None:
            self._check_unknown(None, file, peer)

    def _missing(self, seam: Seam, file: FileAuditor, after: str) -> None:
        where = f"between {after} and {file.name}" if after else f"before {file.name}"
        problem = f"a conversation {where} is missing: that of agreement {seam.agreement.hex()[:16]}"
        expected = f"its transcript, with {seam.sent} messages sent and {seam.received} received"
        self._add(IncompleteTranscript(problem, expected, meaning=_REMOVED), file)

    def _check_follows(
        self, before: FileAuditor, file: FileAuditor, own: Seam | None, peer: Seam | None
    ) -> dict[Sender, int]:
        """Returns what was lost in transit, by sender, as far as it can be told."""
        if before.agreed is None or before.own is None or file.agreed is None or file.own is None:
            return {}
        self._check_same(before, file)
        if own is None or own.agreement != before.digest:
            if own is None:
                problem = f"it does not go on from {before.name}: its writer had no conversation before"
                self._add(IncompleteTranscript(problem, "transcripts of one run", meaning=_REMOVED), file)
            else:
                self._missing(own, file, before.name)
            return {}
        if before.is_finished:
            # Another collaborator of the same host may not have heard of it.
            problem, severity = "the task goes on, although both had signed its end", Severity.NOTE
            self._add(IllegalOrder(problem, meaning="The end was lost elsewhere.", severity=severity), file)
        if own != before.position:
            has, said = before.position, f"{own.sent} messages sent and {own.received} received"
            counts = "nothing" if has is None else f"{has.sent} sent and {has.received} received"
            meaning = "The file was cut off or added to after the task had gone on."
            problem = f"{counts}; {file.name} goes on from other messages"
            self._add(BrokenChain(problem, said + ", with their heads", meaning=meaning), before, 0)
        party = file.own.sender.other
        if peer is not None and peer.agreement == before.digest:
            return self._check_peer(before, party, peer)
        if peer == before.agreed.seam(party) and before.is_unanswered:
            return {party.other: before.count(party.other), party: 0}
        if peer is not None and peer.agreement not in self.by_digest:
            self._check_unknown(before, file, peer)
            return {}
        problem = f"the {party.role} does not know of {before.name}, in which it had taken part"
        meaning = f"The {party.role}'s transcript of that conversation was lost or taken away."
        self._add(TranscriptsDisagree(problem, "its position in that conversation", meaning=meaning), file)
        return {}

    def _check_same(self, before: FileAuditor, file: FileAuditor) -> None:
        """What may not change while a run goes on."""
        if before.agreed is None or before.own is None or file.agreed is None or file.own is None:
            return
        pairs = [(name, getattr(before.agreed, name), getattr(file.agreed, name)) for name in vars(file.agreed)]
        pairs += [(name, getattr(before.own, name), getattr(file.own, name)) for name in ("writer", "seed_commitment")]
        changed = [name for name, was, now in pairs if name not in MAY_DIFFER and was != now]
        if changed:
            names = ", ".join(name.replace("_", " ") for name in changed)
            meaning = "These are not conversations of one run, or the parties went on under other terms."
            self._add(IllegalOrder(f"other than in {before.name}: {names}", "the same", meaning=meaning), file)

    def _check_unknown(self, before: FileAuditor | None, file: FileAuditor, peer: Seam) -> None:
        """The peer names a conversation that this end does not have: its manifest may never have arrived here."""
        if file.own is None:
            return
        known = self.elsewhere.get(peer.agreement)
        if known is not None and known.is_unanswered:
            return
        role = file.own.sender.other.role
        if file.own.sender is Sender.COLLABORATOR and peer.received <= 1:
            if before is None or all(before.count(each) == before.signatures.covered[each] for each in Sender):
                return
            problem = f"the {role} names a conversation whose manifest never arrived here, not {before.name}"
            meaning = f"The network was cut at that moment. The {role}'s transcripts tell what it had received before."
        else:
            problem = f"the {role} names a conversation that is missing here: agreement {peer.agreement.hex()[:16]}"
            meaning = _REMOVED
        self._add(IncompleteTranscript(problem, f"the {role}'s transcripts as well", meaning=meaning), file)

    def _check_peer(self, before: FileAuditor, party: Sender, peer: Seam) -> dict[Sender, int]:
        """The peer's seam against our file; `party` is the peer."""
        lost, covered = {}, {}
        for sender, said, head in (
            (party, peer.sent, peer.sent_head),
            (party.other, peer.received, peer.received_head),
        ):
            has, at = before.count(sender), before.heads.get((sender, said))
            problem = ""
            meaning = f"The {party.role} lost the end of its transcript, or put an older one in its place."
            if said < before.signatures.by[party][sender]:
                signed = before.signatures.by[party][sender]
                problem = f"{signed} messages of the {sender.role}, of which the {party.role} has signed for all"
            elif sender is party and said < has:
                problem, meaning = f"{has} messages of the {sender.role} were received", LOST_BY_SENDER
            elif sender is not party and said > has:
                problem, meaning = f"{has} messages were sent", LOST_BY_SENDER
            elif said <= has and (at is None or not compare_digest(at, head)):
                problem = f"of the {sender.role}'s first {said} messages the {party.role} has others than these"
                meaning = TranscriptsDisagree.meaning
            if problem:
                expected = f"as the {party.role}'s transcript says, which has {said}"
                self._add(TranscriptsDisagree(problem, expected, meaning=meaning), before, 0)
                continue
            lost[sender] = said - has if sender is party else has - said
            covered[sender] = min(said, has)
        self._covers.append((self.files.index(before), covered))
        return lost


_REMOVED = "A transcript was taken away, or left out here."
