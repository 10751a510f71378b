"""Checks one transcript, line by line as it comes; can follow a file that still grows.

    auditor = FileAuditor("host.transcript")
    for line in lines: auditor.feed(line)          findings so far: auditor.findings
    auditor.finish()                               the end of the file: what is missing

Memory is constant, but for the tags of fresh messages (`FreshTags`), of which a repetition is to be found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from protocols.core.envelope import Phase
from protocols.core.errors import InvalidInput, MessageOutOfOrder
from protocols.core.ledger import Content
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Bounds, TaskSizes
from protocols.core.wire_format import wire_format
from protocols.layer.messages import FeatureShape
from protocols.schemes.registry import known_types, registered_names, registered_scheme
from protocols.task.abort import Abort
from protocols.task.history import History
from protocols.task.manifest import Hello
from protocols.task.order import TaskOrder
from protocols.task.resumption import ResumePoint, Seam
from protocols.transcript.chain import Chain, seal_data
from protocols.transcript.errors import (
    BrokenChain,
    IllegalOrder,
    ImpossibleSize,
    IncompleteTranscript,
    MalformedTranscript,
    PlaintextInSecureTask,
    RepeatedContent,
    Severity,
    TranscriptError,
)
from protocols.transcript.format import HEADER, MAX_LINE, NONE, Entry, Preamble, Record, Running, Seal, Signed, parse
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.records import Agreed, Own
from protocols.transcript.report import FileSummary, Finding
from protocols.transcript.seam import seam_of
from protocols.transcript.signatures import Signatures
from protocols.wire.sizes import body, header

MAX_FINDINGS = 100
"""Findings kept of one file; the first say most."""


class FreshTags:
    """Where each fresh message was seen, over all runs that are audited together."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, int]] = {}

    def add(self, tag: bytes, file: str, line: int) -> tuple[str, int] | None:
        """Remember a tag; where it was before, if it was."""
        before = self._seen.setdefault(tag, (file, line))
        return None if before == (file, line) else before


class FileAuditor:
    """One transcript.

    Args:
        name: for findings.
        fresh: tags to compare with and add to; None: this file's are not looked at.
        past: what the conversations before it have established; what this one does is added. None: they are unknown.
        marks: of which chains and counts to keep the heads.

    Attributes:
        findings: so far, at most `MAX_FINDINGS`.
        agreed, own: from the file's first lines, once read.
        signatures: what they come to.
        traffic: [messages, bytes] by (sender, type, phase, round).
        heads: those of `marks`.
    """

    def __init__(
        self,
        name: str,
        fresh: FreshTags | None = None,
        past: History | None = None,
        marks: Collection[tuple[Sender, int]] = (),
    ) -> None:
        self.name = name
        self.findings: list[Finding] = []
        self.agreed: Agreed | None = None
        self.own: Own | None = None
        self.traffic: dict[tuple[Sender, str, int, int], list[int]] = {}
        self.signatures = Signatures(self.report)
        self.heads: dict[tuple[Sender, int], bytes] = {}
        self.is_over = self._is_torn = False
        self._fresh, self._marks = fresh, marks
        self._past = History(is_whole=False) if past is None else past
        self._running = Running()
        self._chains: dict[Sender, Chain] = {}
        self._agreement = b""
        self._order: TaskOrder | None = None
        self._sizes: TaskSizes | None = None
        self._types: Mapping[str, type[Message]] = {}
        self._may_be_plaintext = False
        self._gaps: set[Sender] = set()
        self._candidates: dict[Sender, dict[int, bytes]] = {}
        self._owed: Entry | None = None
        self._sealed = self._messages = self._aborts = 0

    # Lines -----------------------------------------------------------------------------------------------------------

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
            if self._running.lines <= 3:
                self._begin(text)
                return None
            record = parse(text, self._running.lines)
            return self._take(record, text, before)
        except MalformedTranscript as error:
            self.report(error)
            self.is_over = True
            return None

    def report(self, error: TranscriptError) -> None:
        """Keep a finding."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding.of(error, self.name, self._running.lines))

    def _begin(self, text: bytes) -> None:
        number = self._running.lines
        if number == 1:
            if text != HEADER:
                raise MalformedTranscript("this is not a transcript of a version known here", HEADER.decode(), line=1)
            return
        record = parse(text, number)
        wanted = "agreed" if number == 2 else "own"
        if not isinstance(record, Preamble) or record.kind != wanted:
            raise MalformedTranscript("the file's first lines are not in order", wanted, line=number)
        try:
            if number == 3:
                self.own = Own.parse(record.text)
                self.signatures.records[self.own.sender] = self.own.digest()
                return
            self.agreed = Agreed.parse(record.text)
            self._prepare(self.agreed)
        except InvalidInput as error:
            raise MalformedTranscript(f"{wanted}: {error}", line=number) from error

    def _prepare(self, agreed: Agreed) -> None:
        self._agreement = agreed.digest()
        self.signatures.begin(agreed)
        self._chains = {sender: Chain(self._agreement, sender) for sender in Sender}
        self.heads = {(sender, 0): chain.at[1] for sender, chain in self._chains.items()}
        point, past = agreed.resume_point, self._past
        if point is not None:
            self._check_point(agreed.resumed_from, point)
        past.rewind(point)
        self._types = known_types(agreed.scheme)
        try:
            scheme = registered_scheme(agreed.scheme)
            self._may_be_plaintext = scheme.is_plaintext
            self._order = TaskOrder(scheme.order(agreed.is_trainable), point, past)
            self._sizes = TaskSizes(agreed, scheme.sizes(agreed.scheme_parameters))
            if past.shape is not None:
                self._sizes.note(Sender.COLLABORATOR, FeatureShape, past.shape)
        except InvalidInput as error:
            past.is_whole = False
            meaning = "Another version of the program, or a scheme from elsewhere: order and sizes are not checked."
            self.report(IllegalOrder(str(error), meaning=meaning, severity=Severity.WARNING))

    def _check_point(self, tag: str, point: ResumePoint) -> None:
        if self._past.is_whole and not self._past.has(point):
            problem = f"the task goes on from {point}, which was not reached before"
            self.report(IllegalOrder(problem, "a place in one of the conversations before"))
        elif not self._past.names(tag, point):
            self.report(IllegalOrder("one checkpoint has two places", "the place that it was resumed from before"))

    def _take(self, record: Record, text: bytes, running: bytes) -> tuple[Entry, bytes] | None:
        if isinstance(record, Entry):
            if not self._sealed:
                raise MalformedTranscript("what was agreed on is not sealed", "a seal", line=self._running.lines)
            self._entry(record, text)
            return record, text
        if isinstance(record, Seal):
            self._seal(record, running)
        elif isinstance(record, Signed) and self._owed is not None:
            owed, self._owed = self._owed, None
            self._signed(record, owed)
        else:
            raise MalformedTranscript(
                "a line that does not belong here", "see docs/transcript-format.md", line=self._running.lines
            )
        return None

    # Messages --------------------------------------------------------------------------------------------------------

    def _entry(self, entry: Entry, text: bytes) -> None:
        kind = self._types.get(entry.type)
        if kind is None:
            raise self._unknown(entry.type)
        declared = wire_format(kind)
        is_fresh = declared.ledger.is_fresh
        if len(declared.recorded) != len(entry.facts) or is_fresh == (entry.tag == NONE):
            raise MalformedTranscript(
                f"{entry.type} with other fields than such a message has", line=self._running.lines
            )
        if self._owed is not None:
            self._missing_signature()
        self._messages += 1
        if entry.overtook:
            self._overtaking(entry, kind)
        else:
            self._chain(entry, kind, text)
            self._check_order(entry, kind)
        self._check_size(entry, kind, declared.bounds)
        is_plaintext = declared.ledger.content is Content.PLAINTEXT
        if is_plaintext and self.agreed is not None and not self._may_be_plaintext:
            problem = f"{entry.type} in a task of scheme {self.agreed.scheme}"
            self.report(PlaintextInSecureTask(problem, "ciphertexts", entry=str(entry)))
        if is_fresh and self._fresh is not None:
            self._check_fresh(entry)
        if kind is FeatureShape:
            self._past.shape = entry.facts[0], entry.facts[1]
        counted = self.traffic.setdefault((entry.sender, entry.type, entry.phase, entry.round), [0, 0])
        counted[0] += 1
        counted[1] += entry.length

    def _unknown(self, kind: str) -> MalformedTranscript:
        scheme, meaning = "" if self.agreed is None else self.agreed.scheme, None
        if scheme not in registered_names():
            meaning = f"Audit where scheme {scheme!r} is installed: nothing from this line on was looked at here."
        return MalformedTranscript(
            f"{kind} is no message that is known here", meaning=meaning, line=self._running.lines
        )

    def _chain(self, entry: Entry, kind: type[Message], text: bytes) -> None:
        sender, chain = entry.sender, self._chains[entry.sender]
        if entry.sequence != chain.at[0] and sender not in self._gaps:
            self._gaps.add(sender)
            expected = f"message {chain.at[0]}"
            self.report(IllegalOrder(f"message {entry.sequence} of the {sender.role}", expected, entry=str(entry)))
        if kind is Checkpoint:
            self._candidates[sender] = dict(chain.recent)
        if kind is Checkpoint or kind is Countersignature:
            self._owed = entry
        elif kind is Abort:
            self._aborts += 1
        chain.append(text, entry.phase == Phase.OFFLINE)
        count, head = chain.at
        if (sender, count) in self._marks:
            self.heads[sender, count] = head

    def _overtaking(self, entry: Entry, kind: type[Message]) -> None:
        self._aborts += 1
        is_own = self.own is not None and entry.sender is self.own.sender
        if kind is not Abort or is_own or entry.sequence <= self._chains[entry.sender].at[0]:
            raise MalformedTranscript("only a received Abort overtakes other messages", line=self._running.lines)

    def _check_order(self, entry: Entry, kind: type[Message]) -> None:
        if self._order is None:
            return
        try:
            self._order.step(entry.sender, kind, (entry.phase, entry.round, entry.batch), entry.facts)
        except MessageOutOfOrder as error:
            self.report(IllegalOrder(str(error), "see protocols/task/order.py", entry=str(entry)))
            self._order, self._past.is_whole = None, False  # nothing that follows can be judged

    def _check_size(self, entry: Entry, kind: type[Message], limits: Bounds | None) -> None:
        if self._sizes is None:
            return
        try:
            bounds = None if limits is None else limits(self._sizes, entry.sender, entry.facts)
            self._sizes.note(entry.sender, kind, entry.facts)
        except InvalidInput as error:
            self.report(ImpossibleSize(f"this task cannot have such a message: {error}", entry=str(entry)))
            return
        if bounds is None:
            return
        head = header(entry.sequence, entry.phase, entry.round, entry.batch)
        low, high = head + body(bounds[0]), head + body(bounds[1])
        if not low <= entry.length <= high:
            wanted = f"{low} bytes" if low == high else f"{low} to {high} bytes"
            self.report(ImpossibleSize(f"{entry.length} bytes", wanted, entry=str(entry)))

    def _check_fresh(self, entry: Entry) -> None:
        if self._fresh is None:
            return
        before = self._fresh.add(entry.tag, self.name, self._running.lines)
        if before is not None:
            file, line = before
            self.report(RepeatedContent(f"ends in the same bytes as line {line} of {file}", entry=str(entry)))

    # Signatures ------------------------------------------------------------------------------------------------------

    def _missing_signature(self) -> None:
        owed, self._owed = self._owed, None
        self.report(BrokenChain("the line with its signature does not follow", entry=str(owed)))

    def _seal(self, seal: Seal, running: bytes) -> None:
        if self.own is None:
            return
        self.signatures.verify(self.own.sender, seal_data(running), seal.signature, "the writer's seal")
        self._sealed = self._running.lines

    def _signed(self, signed: Signed, owed: Entry) -> None:
        is_checkpoint = signed.record is not None
        signer = signed.sender if is_checkpoint else signed.sender.other
        wanted = "Checkpoint" if is_checkpoint else "Countersignature"
        place = (owed.type, owed.sender, owed.phase, owed.round, owed.facts)
        if place != (wanted, signer, signed.phase, signed.round, (signed.messages,)):
            self.report(BrokenChain("the line does not say what the message before it says", entry=str(owed)))
        elif is_checkpoint:
            self.signatures.checkpoint(signed, self._candidates[signed.sender].get(signed.messages))
        else:
            self.signatures.countersignature(signed)

    # The end ---------------------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Whether the task has ended as it should: both have signed in phase FINISH."""
        return len(self.signatures.ended) == len(Sender)

    def count(self, sender: Sender) -> int:
        """Messages of a sender so far."""
        return self._chains[sender].at[0] if self._chains else 0

    @property
    def digest(self) -> bytes:
        """Of what was agreed on; empty before that."""
        return self._agreement

    @property
    def position(self) -> Seam | None:
        """How far its writer got, as `protocols.transcript.seam.position` says it."""
        return None if self.own is None else seam_of(self._agreement, self._chains, self.own.sender)

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing shows that the peer has seen the manifest, or that anything but the joining was sent."""
        own = None if self.own is None else self.own.sender
        kinds = (Hello.__name__, Abort.__name__)
        return all(phase == Phase.JOIN and (sender is own or kind in kinds) for sender, kind, phase, _ in self.traffic)

    def finish(self, is_followed: bool = False) -> None:
        """There are no more lines.

        Args:
            is_followed: the run goes on in another conversation, which says how far this one went.
        """
        if self._order is not None:
            self._order.finish()
        if self._is_torn and not is_followed:
            self.report(IncompleteTranscript("the last line has no end", "whole lines", line=self._running.lines + 1))
        self.is_over = True
        if self.agreed is None or self.own is None or not self._sealed:
            self.report(IncompleteTranscript("the file ends before the first message", "what was agreed on, sealed"))
            return
        if is_followed:
            return
        left = [self.count(sender) - self.signatures.covered[sender] for sender in Sender]
        if not self.is_finished:
            ended = "was aborted" if self._aborts else "is not finished"
            problem = f"the task {ended}; {sum(left)} messages are not yet signed by both"
            self.report(IncompleteTranscript(problem, "TaskFinished, and the last checkpoint"))
        if self._sealed != self._running.lines:
            problem = f"{self._running.lines - self._sealed} lines follow the writer's last seal"
            self.report(IncompleteTranscript(problem, "a seal at the end"))

    def summary(self) -> FileSummary:
        """What this file is."""
        writer = "" if self.own is None else self.own.writer
        covered = (self.signatures.covered[Sender.HOST], self.signatures.covered[Sender.COLLABORATOR])
        return FileSummary(
            self.name, writer, self._running.lines, self._messages, covered, self._sealed, self.is_finished
        )
