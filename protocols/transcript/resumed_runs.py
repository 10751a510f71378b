"""One end's transcripts of a run, which may have been interrupted and gone on, read in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from protocols.core.sender import Sender
from protocols.task.history import History
from protocols.transcript.continuation_check import TERMS_LINE, ContinuationCheck, ReadTranscript
from protocols.transcript.errors import RepeatedContent
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.message_check import FreshTags
from protocols.transcript.opened_transcript import NamedHeads, OpenedTranscript
from protocols.transcript.preamble import AgreedTerms
from protocols.transcript.report import Finding, Resume


class RunAtOneEnd:
    """All conversations of a run, as one party has recorded them.

    Args:
        transcripts: of one writer.
        named: the heads that the transcripts of all ends name.
        fresh: as for `FileAuditor`.

    Attributes:
        files: read so far.
        resumes: where the run went on, and what was lost in transit, as far as this end can tell.
        by_conversation: the files by the digest of their terms.
        other_end: those of the other end.
    """

    def __init__(self, transcripts: Sequence[OpenedTranscript], named: NamedHeads, fresh: FreshTags | None) -> None:
        self.transcripts = transcripts
        self.files: list[FileAuditor] = []
        self.resumes: list[Resume] = []
        self.by_conversation: dict[bytes, FileAuditor] = {}
        self.other_end: Mapping[bytes, FileAuditor] = {}
        self._named, self._fresh, self._history = named, fresh, History()
        self._findings: list[Finding] = []
        self._sessions: set[str] = set()
        self._covered: list[tuple[int, dict[Sender, int]]] = []
        self._agreed: ReadTranscript | None = None
        """The last one with the run's own terms."""

    def begin_file(self) -> FileAuditor:
        """The auditor of the next file."""
        at = len(self.files)
        now = self.transcripts[at]
        before = self.transcripts[at - 1].digest if at else b""
        goes_on_from = b"" if now.last_position is None else now.last_position.agreement
        if goes_on_from != before or (not at and now.terms is not None and now.terms.resume_point is not None):
            self._history.is_whole = False
        file = FileAuditor(now.name, self._fresh, self._history, self._named.get(now.digest, ()))
        self.files.append(file)
        self.by_conversation[now.digest] = file
        return file

    def is_followed(self, at: int) -> bool:
        """Whether the run goes on in another conversation."""
        return at + 1 < len(self.transcripts)

    def finish_file(self) -> None:
        """The file that was begun last has been read: check whether it follows on the one before."""
        at = len(self.files) - 1
        self.files[at].finish(self.is_followed(at))
        now = ReadTranscript.of(self.files[at])
        if now is None:
            return
        self._check_session(now)
        check = ContinuationCheck(now, self.by_conversation, self.other_end)
        before = ReadTranscript.of(self.files[at - 1]) if at else None
        if not at:
            check.check_first()
        elif before is not None:
            check.check_follows(before, self._agreed or before)
        if not check.is_given_up:
            self._agreed = now
        self._findings += check.findings
        if check.covered is not None:
            self._covered.append((at - 1, check.covered))
        if at or now.terms.resume_point is not None:
            self._add_resume(now.file, now.terms, check.lost)

    def finish(self) -> None:
        """All files have been read. What both had when they were cut counts as signed once a later one is signed."""
        is_signed = False
        for at in reversed(range(len(self.files))):
            is_signed = is_signed or self.files[at].signatures.is_agreed
            for before, counts in self._covered if is_signed else ():
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
            if resume.file == self.transcripts[at + 1].name:
                counts = (resume.lost_from_host, resume.lost_from_collaborator)
                known = [lost.get(sender) if count is None else count for sender, count in zip(Sender, counts)]
                self.resumes[index] = replace(resume, lost_from_host=known[0], lost_from_collaborator=known[1])

    def _check_session(self, now: ReadTranscript) -> None:
        tag = now.terms.session_tag
        if tag in self._sessions:
            error = RepeatedContent("the session of an earlier conversation", "fresh nonces of both parties")
            self._findings.append(Finding.of(error, now.file.name, TERMS_LINE))
        self._sessions.add(tag)

    def _add_resume(self, file: FileAuditor, terms: AgreedTerms, lost: Mapping[Sender, int]) -> None:
        point = terms.resume_point
        phase, number, batch = ("", 0, 0) if point is None else (point.phase.name.lower(), point.round, point.batch)
        place = "the beginning" if point is None else str(point)
        counts = [lost.get(sender) for sender in Sender]
        self.resumes.append(Resume(len(self.files), file.name, place, phase, number, batch, *counts))
