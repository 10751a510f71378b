"""Checks one transcript, line by line as it comes; can follow a file that still grows.

    auditor = FileAuditor("host.transcript")
    for line in lines: auditor.feed(line)          findings so far: auditor.findings
    auditor.finish()                               the end of the file: what is missing

Memory is constant, but for the tags of fresh messages (`FreshTags`), of which a repetition is to be found.
"""

from __future__ import annotations

from collections.abc import Collection

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput
from protocols.core.sender import Sender
from protocols.core.sentence import say
from protocols.task.abort import Abort
from protocols.task.history import History
from protocols.task.resumption import TranscriptPosition
from protocols.transcript.chain_check import ChainCheck
from protocols.transcript.errors import IncompleteTranscript, MalformedTranscript
from protocols.transcript.finding_log import FindingLog
from protocols.transcript.format import (
    HEADER,
    MAX_LINE,
    Entry,
    Line,
    PreambleLine,
    RunningHash,
    Seal,
    SignedHead,
    parse,
)
from protocols.transcript.message_check import FreshTags, MessageCheck, TypeRule
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.preamble import AgreedTerms, WriterInfo
from protocols.transcript.report import FileSummary, Finding
from protocols.transcript.signature_check import SignatureCheck, SignatureLines
from protocols.transcript.traffic_count import TrafficCount

_PREAMBLE_LINES = 3


class FileAuditor:
    """One transcript.

    Args:
        name: for findings.
        fresh: tags to compare with and add to; None: this file's are not looked at.
        history: what the conversations before it have reached; what this one does is added. None: they are unknown.
        named: of which chains and counts to keep the heads, because other conversations name them.

    Attributes:
        terms, writer: from the file's first lines, once read.
        chains, signatures, traffic: what the file's messages come to.
        is_over: nothing that follows is looked at.
    """

    def __init__(
        self,
        name: str,
        fresh: FreshTags | None = None,
        history: History | None = None,
        named: Collection[tuple[Sender, int]] = (),
    ) -> None:
        self._running = RunningHash()
        self._log = FindingLog(name, self._running)
        self.terms: AgreedTerms | None = None
        self.writer: WriterInfo | None = None
        self.chains = ChainCheck(named, self._log)
        self.signatures = SignatureCheck(self._log)
        self.traffic = TrafficCount()
        self.is_over = self._is_torn = False
        self._signature_lines = SignatureLines(self.chains, self.signatures, self._log)
        self._messages = MessageCheck(History(is_whole=False) if history is None else history, fresh, self._log)

    @property
    def name(self) -> str:
        """What findings call it."""
        return self._log.file

    @property
    def findings(self) -> list[Finding]:
        """So far, at most `MAX_FINDINGS`."""
        return self._log.findings

    def feed(self, line: bytes) -> tuple[Entry, bytes] | None:
        """Check the next line; the message that it lists, with the line's text, if it lists one."""
        if self.is_over:
            return None
        if not line.endswith(b"\n") and len(line) <= MAX_LINE:
            self.is_over = self._is_torn = True
            return None
        before = self._running.value
        try:
            text = self._running.read(line)
            number = self._running.lines
            if number <= _PREAMBLE_LINES:
                self._begin(text, number)
                return None
            parsed = parse(text, number)
            if isinstance(parsed, Entry):
                self._entry(parsed, text)
                return parsed, text
            self._signature_line(parsed, before)
        except MalformedTranscript as error:
            self._log.report(error)
            self.is_over = True
        return None

    def _begin(self, text: bytes, number: int) -> None:
        if number == 1:
            if text != HEADER:
                raise MalformedTranscript("this is not a transcript of a version known here", HEADER.decode(), line=1)
            return
        line = parse(text, number)
        wanted = (AgreedTerms if number == 2 else WriterInfo).line_name
        if not isinstance(line, PreambleLine) or line.name != wanted:
            raise MalformedTranscript("the file's first lines are not in order", wanted, line=number)
        try:
            if number == 2:
                self._begin_with(AgreedTerms.parse(line.json))
            else:
                self.writer = WriterInfo.parse(line.json)
                self.signatures.writer_digests[self.writer.sender] = self.writer.digest()
        except InvalidInput as error:
            raise MalformedTranscript(say("{wanted}: {error}", wanted=wanted, error=str(error)), line=number) from error

    def _begin_with(self, terms: AgreedTerms) -> None:
        self.terms = terms
        self.signatures.begin(terms)
        self.chains.begin(terms.digest())
        self._messages.begin(terms)

    def _entry(self, entry: Entry, text: bytes) -> None:
        lines = self._signature_lines
        if not lines.sealed:
            raise MalformedTranscript("what was agreed on is not sealed", "a seal", line=self._running.lines)
        rule = self._messages.rule_of(entry)
        if lines.awaited is not None:
            lines.report_missing(lines.awaited)
        if entry.overtook:
            self._check_overtaking(entry, rule)
        else:
            if rule.message_type is Checkpoint:
                self.chains.note_signing(entry.sender)
            if rule.message_type is Checkpoint or rule.message_type is Countersignature:
                lines.awaited = entry
            self.chains.append(entry, text)
        self._messages.check(entry, rule)
        self.traffic.add(entry)

    def _check_overtaking(self, entry: Entry, rule: TypeRule) -> None:
        is_own = self.writer is not None and entry.sender is self.writer.sender
        is_ahead = entry.sequence > self.chains.count(entry.sender)
        if rule.message_type is not Abort or is_own or not is_ahead:
            raise MalformedTranscript("only a received Abort overtakes other messages", line=self._running.lines)

    def _signature_line(self, line: Line, running: bytes) -> None:
        lines = self._signature_lines
        if isinstance(line, Seal):
            if self.writer is not None:
                lines.seal(self.writer.sender, line, running)
        elif isinstance(line, SignedHead) and lines.awaited is not None:
            lines.signed(line, lines.awaited)
        else:
            problem = "a line that does not belong here"
            raise MalformedTranscript(problem, "see docs/transcript-format.md", line=self._running.lines)

    # What the file comes to ------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Whether the task has ended as it should: both have signed in phase FINISH."""
        return self.signatures.is_finished

    @property
    def is_sealed(self) -> bool:
        """Whether the writer's seal is on the last line."""
        return self._signature_lines.sealed == self._running.lines

    @property
    def position(self) -> TranscriptPosition | None:
        """How far its writer got."""
        return None if self.writer is None else self.chains.position(self.writer.sender)

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing shows that the peer has seen the manifest, or that anything but the joining was sent."""
        return self.traffic.is_joining_only(None if self.writer is None else self.writer.sender)

    @property
    def is_agreement_only(self) -> bool:
        """Whether nothing but the agreement was sent: no id, no feature."""
        return not self.traffic.is_behind_joining

    @property
    def shown(self) -> dict[Sender, Distance] | None:
        """What each party's messages show of its secrets, as a statistical distance; None: nobody here can say."""
        return self._messages.shown

    def finish(self, is_followed: bool = False) -> None:
        """There are no more lines.

        Args:
            is_followed: the run goes on in another conversation, which says how far this one went.
        """
        self._messages.finish()
        lines, sealed = self._running.lines, self._signature_lines.sealed
        if self._is_torn and not is_followed:
            self._log.report(IncompleteTranscript("the last line has no end", "whole lines", line=lines + 1))
        self.is_over = True
        if self.terms is None or self.writer is None or not sealed:
            wanted = "what was agreed on, sealed"
            self._log.report(IncompleteTranscript("the file ends before the first message", wanted))
            return
        if is_followed:
            return
        if not self.is_finished:
            ended = say("was aborted") if self.traffic.has_abort else say("is not finished")
            left = sum(self.chains.count(sender) - self.signatures.covered[sender] for sender in Sender)
            problem = say("the task {ended}; {left} messages are not yet signed by both", ended=ended, left=left)
            self._log.report(IncompleteTranscript(problem, "TaskFinished, and the last signed heads"))
        if not self.is_sealed:
            problem = say("{n} lines follow the writer's last seal", n=lines - sealed)
            self._log.report(IncompleteTranscript(problem, "a seal at the end"))

    def summary(self) -> FileSummary:
        """What this file is."""
        return FileSummary(
            name=self.name,
            writer="" if self.writer is None else self.writer.writer,
            lines=self._running.lines,
            messages=self.traffic.messages,
            signed_by_both=(self.signatures.covered[Sender.HOST], self.signatures.covered[Sender.COLLABORATOR]),
            sealed_lines=self._signature_lines.sealed,
            is_finished=self.is_finished,
        )
