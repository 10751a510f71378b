"""Checks one transcript, line by line as it comes; can follow a file that still grows.

    auditor = FileAuditor("host.transcript")
    for line in lines: auditor.feed(line)          findings so far: auditor.findings
    auditor.finish()                               the end of the file: what is missing

Memory is constant, but for the tags of fresh messages (`FreshTags`), of which a repetition is to be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest

from protocols.control import Abort
from protocols.envelope import Phase
from protocols.errors import InvalidInput, MessageOutOfOrder, VerificationFailed
from protocols.ledger import LEDGER, Content
from protocols.message import Message
from protocols.transcript.certificates import Certificate
from protocols.transcript.chain import Chain, Sender, seal_data, statement
from protocols.transcript.errors import (
    BrokenChain,
    IllegalOrder,
    ImpossibleSize,
    IncompleteTranscript,
    InvalidTranscriptSignature,
    MalformedTranscript,
    PlaintextInSecureTask,
    RepeatedContent,
    Severity,
    TranscriptError,
)
from protocols.transcript.facts import FACTS
from protocols.transcript.format import HEADER, MAX_LINE, NONE, Entry, Preamble, Record, Running, Seal, Signed, parse
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.order import TaskOrder
from protocols.transcript.records import Agreed, Own
from protocols.transcript.report import FileSummary, Finding
from protocols.transcript.sizes import TaskSizes, body, header

MAX_FINDINGS = 100
"""Findings kept of one file; the first say most."""


@dataclass(frozen=True)
class _Plan:
    """What is known of a message type."""

    type: type[Message]
    facts: int
    is_fresh: bool
    is_plaintext: bool


_PLANS: Mapping[str, _Plan] = {
    kind.__name__: _Plan(kind, len(FACTS[kind][0]) if kind in FACTS else 0, e.is_fresh, e.content is Content.PLAINTEXT)
    for kind, e in LEDGER.items()
}


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

    Attributes:
        findings: so far, at most `MAX_FINDINGS`.
        agreed, own: from the file's first lines, once read.
        signed_by: by party, how many of each sender's messages it has validly signed for.
        traffic: [messages, bytes] by (sender, type, phase, round).
    """

    def __init__(self, name: str, fresh: FreshTags | None = None) -> None:
        self.name = name
        self.findings: list[Finding] = []
        self.agreed: Agreed | None = None
        self.own: Own | None = None
        self.traffic: dict[tuple[Sender, str, int, int], list[int]] = {}
        self.signed_by = {party: dict.fromkeys(Sender, 0) for party in Sender}
        self.is_over = False
        self._fresh = fresh
        self._running = Running()
        self._certificates: dict[Sender, Certificate] = {}
        self._chains: dict[Sender, Chain] = {}
        self._order: TaskOrder | None = None
        self._sizes: TaskSizes | None = None
        self._gaps: set[Sender] = set()
        self._candidates: dict[Sender, dict[int, bytes]] = {}
        self._open: dict[Sender, Signed] = {}
        self._records: dict[Sender, bytes] = {}
        self._owed: Entry | None = None
        self._covered = dict.fromkeys(Sender, 0)
        self._ended: set[Sender] = set()
        self._sealed = self._messages = self._aborts = 0

    # Lines -----------------------------------------------------------------------------------------------------------

    def feed(self, line: bytes) -> tuple[Entry, bytes] | None:
        """Check the next line; the message that it lists, with the line's text, if it lists one."""
        if self.is_over:
            return None
        if not line.endswith(b"\n") and len(line) <= MAX_LINE:
            self.report(IncompleteTranscript("the last line has no end", "whole lines", line=self._running.lines + 1))
            self.is_over = True
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
                self._records[self.own.sender] = self.own.digest()
                return
            self.agreed = Agreed.parse(record.text)
            self._prepare(self.agreed)
        except InvalidInput as error:
            raise MalformedTranscript(f"{wanted}: {error}", line=number) from error

    def _prepare(self, agreed: Agreed) -> None:
        self._agreement = agreed.digest()
        self._certificates = {sender: agreed.certificate(sender) for sender in Sender}
        self._chains = {sender: Chain(self._agreement, sender) for sender in Sender}
        try:
            self._order = TaskOrder(agreed.scheme, agreed.is_trainable)
            self._sizes = TaskSizes(agreed)
        except InvalidInput as error:
            meaning = "Another version of the program, or a scheme from elsewhere: order and sizes are not checked."
            self.report(IllegalOrder(str(error), meaning=meaning, severity=Severity.WARNING))

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
                "a line that does not belong here", "see protocols/README.md", line=self._running.lines
            )
        return None

    # Messages --------------------------------------------------------------------------------------------------------

    def _entry(self, entry: Entry, text: bytes) -> None:
        plan = _PLANS.get(entry.type)
        if plan is None or plan.facts != len(entry.facts) or plan.is_fresh == (entry.tag == NONE):
            raise MalformedTranscript(
                f"{entry.type} with other fields than such a message has", line=self._running.lines
            )
        if self._owed is not None:
            self._missing_signature()
        self._messages += 1
        if entry.overtook:
            self._overtaking(entry, plan.type)
        else:
            self._chain(entry, plan.type, text)
            self._check_order(entry, plan.type)
        self._check_size(entry, plan.type)
        if plan.is_plaintext and self.agreed is not None and self.agreed.scheme != "plain":
            problem = f"{entry.type} in a task of scheme {self.agreed.scheme}"
            self.report(PlaintextInSecureTask(problem, "ciphertexts", entry=str(entry)))
        if plan.is_fresh and self._fresh is not None:
            self._check_fresh(entry)
        counted = self.traffic.setdefault((entry.sender, entry.type, entry.phase, entry.round), [0, 0])
        counted[0] += 1
        counted[1] += entry.length

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
            self.report(IllegalOrder(str(error), "see protocols/transcript/transitions.py", entry=str(entry)))
            self._order = None  # nothing that follows can be judged

    def _check_size(self, entry: Entry, kind: type[Message]) -> None:
        if self._sizes is None:
            return
        try:
            self._sizes.note(entry.sender, kind, entry.facts)
            bounds = self._sizes.bounds(entry.sender, kind, entry.facts)
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
        self._verify(self.own.sender, seal_data(running), seal.signature, "the writer's seal")
        self._sealed = self._running.lines

    def _verify(self, party: Sender, data: bytes, signature: bytes, what: str) -> bool:
        try:
            self._certificates[party].verify(data, signature)
        except VerificationFailed:
            self.report(InvalidTranscriptSignature(f"{what} does not hold", f"a signature of the {party.role}"))
            return False
        return True

    def _signed(self, signed: Signed, owed: Entry) -> None:
        is_checkpoint = signed.record is not None
        signer = signed.sender if is_checkpoint else signed.sender.other
        wanted = "Checkpoint" if is_checkpoint else "Countersignature"
        place = (owed.type, owed.sender, owed.phase, owed.round, owed.facts)
        if place != (wanted, signer, signed.phase, signed.round, (signed.messages,)):
            self.report(BrokenChain("the line does not say what the message before it says", entry=str(owed)))
        elif is_checkpoint:
            self._checkpoint(signed)
        else:
            self._countersignature(signed)

    def _checkpoint(self, signed: Signed) -> None:
        sender, record = signed.sender, signed.record or b""
        self._open[sender] = signed
        head = self._candidates[sender].get(signed.messages)
        if head is None or not compare_digest(head, signed.head):
            problem = f"the {sender.role}'s checkpoint over {signed.messages} messages is not about those listed here"
            self.report(BrokenChain(problem, f"head {head.hex()}" if head else "the messages before it"))
            return
        if not compare_digest(self._records.setdefault(sender, record), record):
            problem = f"what the {sender.role}'s transcript says of its writer has changed"
            self.report(InvalidTranscriptSignature(problem, self._records[sender].hex()))
        if self._verify(sender, self._statement(signed, record), signed.signature, "a checkpoint's signature"):
            self.signed_by[sender][sender] = signed.messages

    def _countersignature(self, signed: Signed) -> None:
        sender, checkpoint = signed.sender, self._open.get(signed.sender)
        if checkpoint is None or checkpoint[:4] != signed[:4] or not compare_digest(checkpoint.head, signed.head):
            problem = f"the {sender.other.role} countersigned other messages than the {sender.role} had signed"
            self.report(BrokenChain(problem, "the checkpoint's count and head"))
            return
        data = self._statement(signed, checkpoint.record or b"")
        if self._verify(sender.other, data, signed.signature, "a countersignature"):
            self.signed_by[sender.other][sender] = signed.messages
            if self.signed_by[sender][sender] == signed.messages:
                self._covered[sender] = signed.messages
                self._ended |= {sender} if signed.phase == Phase.FINISH else set()

    def _statement(self, signed: Signed, record: bytes) -> bytes:
        return statement(
            self._agreement, record, signed.sender, signed.phase, signed.round, signed.messages, signed.head
        )

    # The end ---------------------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Whether the task has ended as it should: both have signed in phase FINISH."""
        return len(self._ended) == len(Sender)

    def count(self, sender: Sender) -> int:
        """Messages of a sender so far."""
        return self._chains[sender].at[0] if self._chains else 0

    def record_of(self, party: Sender) -> bytes | None:
        """The digest of what a party says of itself, as its checkpoints in this file have it."""
        return self._records.get(party)

    def finish(self) -> None:
        """There are no more lines."""
        self.is_over = True
        if self.agreed is None or self.own is None or not self._sealed:
            self.report(IncompleteTranscript("the file ends before the first message", "what was agreed on, sealed"))
            return
        left = [self.count(sender) - self._covered[sender] for sender in Sender]
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
        covered = (self._covered[Sender.HOST], self._covered[Sender.COLLABORATOR])
        return FileSummary(
            self.name, writer, self._running.lines, self._messages, covered, self._sealed, self.is_finished
        )
