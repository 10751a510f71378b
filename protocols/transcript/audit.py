"""Audits the transcript of one party, or those of both ends together.

    report = audit(lines_of(chunks_of_host_file), lines_of(chunks_of_collaborator_file))

One file shows what its writer cannot have made up: everything up to the last checkpoint is signed by the other party.
Both files together show the rest: every message that one sent, the other received, byte for byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from protocols.envelope import Phase
from protocols.ledger import LEDGER, ledger_of_run
from protocols.transcript.chain import Sender
from protocols.transcript.errors import (
    IncompleteTranscript,
    InvalidTranscriptSignature,
    TranscriptError,
    TranscriptsDisagree,
)
from protocols.transcript.file_audit import FileAuditor, FreshTags
from protocols.transcript.format import Entry
from protocols.transcript.report import AuditReport, Finding, Party, Traffic

MAX_APART = 1 << 16
"""Messages by which one end's file may run ahead of the other's while they are compared."""

_TYPES = {kind.__name__: kind for kind in LEDGER}


def audit(
    lines: Iterable[bytes],
    other: Iterable[bytes] | None = None,
    *,
    names: tuple[str, str] = ("first", "second"),
    trusted: Collection[str] = (),
    fresh: FreshTags | None = None,
) -> AuditReport:
    """Check one run.

    Args:
        lines: a transcript's lines with their ends (`protocols.transcript.format.lines_of`).
        other: those of the other end.
        names: what findings call the two.
        trusted: fingerprints (SHA-256, hexadecimal) of the certificates that the parties are known to have; without
            them the certificates in the file are taken for theirs.
        fresh: tags of other runs, to find what was used in more than one; this run's are added.

    Returns:
        What was found. Whatever the files hold, it is a finding and not an exception.
    """
    files = [FileAuditor(names[0], FreshTags() if fresh is None else fresh)]
    if other is None:
        for line in lines:
            files[0].feed(line)
        findings = _finish(files)
    else:
        files.append(FileAuditor(names[1]))
        ends = _Ends(files)
        ends.read((iter(lines), iter(other)))
        findings = _finish(files) + ends.finish()
    known = {fingerprint.replace(":", "").lower() for fingerprint in trusted}
    findings += [finding for file in files for finding in _strangers(file, known)]
    return _report(files, findings)


def _finish(files: list[FileAuditor]) -> list[Finding]:
    for file in files:
        file.finish()
    return [finding for file in files for finding in file.findings]


def _strangers(file: FileAuditor, known: Collection[str]) -> Iterable[Finding]:
    if file.agreed is None or not known:
        return
    for sender in Sender:
        fingerprint = file.agreed.certificate(sender).fingerprint
        if fingerprint not in known:
            problem = f"the {sender.role}'s certificate is {fingerprint}"
            yield Finding.of(InvalidTranscriptSignature(problem, "a certificate that is known"), file.name, 2)


class _Ends:
    """Compares what one end lists with what the other lists, message by message, in each direction."""

    def __init__(self, files: list[FileAuditor]) -> None:
        self._files = files
        self._findings: list[Finding] = []
        self._ahead: dict[Sender, deque[tuple[Entry, bytes]]] = {sender: deque() for sender in Sender}
        self._leader = dict.fromkeys(Sender, 0)
        self._differ: set[Sender] = set()
        self._overtook: dict[Sender, bytes] = {}

    def read(self, lines: tuple[Iterable[bytes], Iterable[bytes]]) -> None:
        """Feed both files, so that neither gets far ahead of the other."""
        sources = [iter(each) for each in lines]
        is_open = [True, True]
        while any(is_open):
            apart = sum(len(queue) * (1 - 2 * self._leader[sender]) for sender, queue in self._ahead.items())
            at = 1 if apart > 0 else 0
            if not is_open[at]:
                at = 1 - at
            line = next(sources[at], None)
            if line is None:
                is_open[at] = False
                continue
            taken = self._files[at].feed(line)
            if taken is not None:
                self._compare(at, *taken)
            is_open[at] = not self._files[at].is_over

    def _compare(self, at: int, entry: Entry, text: bytes) -> None:
        sender = entry.sender
        if entry.overtook:
            self._overtook[sender] = text[1:]
            return
        if sender in self._differ:
            return
        queue = self._ahead[sender]
        if not queue or self._leader[sender] == at:
            self._leader[sender] = at
            if len(queue) >= MAX_APART:
                self._disagree(sender, entry, at, "the two ends are too far apart to be compared", "as many messages")
            else:
                queue.append((entry, text))
            return
        expected, expected_text = queue.popleft()
        if expected_text != text:
            what = f"the {sender.role} sent or the other end received something else"
            self._disagree(sender, entry, at, what, f"{expected} with digest {expected.digest.decode()}")

    def _disagree(self, sender: Sender, entry: Entry, at: int, problem: str, expected: str) -> None:
        self._differ.add(sender)
        self._ahead[sender].clear()
        self._add(TranscriptsDisagree(problem, expected, entry=str(entry)), at)

    def _add(self, error: TranscriptError, at: int) -> None:
        self._findings.append(Finding.of(error, self._files[at].name))

    def finish(self) -> list[Finding]:
        """What the two ends do not agree on."""
        one, other = self._files
        if one.agreed is None or other.agreed is None or one.own is None or other.own is None:
            return self._findings
        if one.agreed != other.agreed or one.own.writer == other.own.writer:
            self._add(TranscriptsDisagree("these are not the two ends of one run", "one task, session and manifest"), 1)
            return self._findings
        for at, file in enumerate(self._files):
            self._check_record(at, file)
        for sender in Sender:
            if sender not in self._differ:
                self._check_ends(sender)
        return self._findings

    def _check_record(self, at: int, file: FileAuditor) -> None:
        """What one file says of itself must be what its checkpoints said to the other end."""
        told = self._files[1 - at].record_of(file.own.sender) if file.own is not None else None
        if told is not None and file.own is not None and told != file.own.digest():
            self._add(TranscriptsDisagree("what the file says of its writer is not what it had told the peer"), at)

    def _check_ends(self, sender: Sender) -> None:
        leader = self._leader[sender]
        rest = [text for _, text in self._ahead[sender]]
        if sender in self._overtook:
            if self._overtook[sender] not in [text[1:] for text in rest]:
                self._disagree_on_abort(sender)
                return
            rest = rest[:-1] if rest[-1][1:] == self._overtook[sender] else rest
        if not rest:
            return
        longer, shorter = self._files[leader], self._files[1 - leader]
        party = shorter.own.sender if shorter.own is not None else sender
        signed, has = longer.signed_by[party][sender], shorter.count(sender)
        problem = f"{len(rest)} messages of the {sender.role} are missing at the end"
        if signed > has:
            meaning = "The end was cut off, or an older version of the file was put in its place."
            expected = f"{signed} messages: the {party.role} itself has signed so many"
            self._add(TranscriptsDisagree(problem, expected, meaning=meaning), 1 - leader)
        else:
            self._add(IncompleteTranscript(problem, f"{has + len(rest)} messages, as at the other end"), 1 - leader)

    def _disagree_on_abort(self, sender: Sender) -> None:
        writer = Sender.HOST if self._files[0].own and self._files[0].own.sender is Sender.HOST else Sender.COLLABORATOR
        at = 0 if writer is sender else 1
        self._add(TranscriptsDisagree("an Abort that the other end received is not among those sent"), at)


def _report(files: list[FileAuditor], findings: list[Finding]) -> AuditReport:
    first = files[0]
    agreed = first.agreed
    traffic = tuple(
        Traffic(sender.role, kind, Phase(phase).name.lower(), number, *counted)
        for (sender, kind, phase, number), counted in first.traffic.items()
    )
    order = {file.name: at for at, file in enumerate(files)}
    ordered = sorted(findings, key=lambda finding: (order.get(finding.file, 0), finding.line))
    summaries = tuple(file.summary() for file in files)
    if agreed is None:
        return AuditReport("", "", "", (), summaries, tuple(ordered), traffic, None)
    software = {file.own.sender: dict(file.own.software) for file in files if file.own is not None}
    parties = tuple(
        Party(agreed.name(sender), sender.role, agreed.certificate(sender).fingerprint, software.get(sender, {}))
        for sender in Sender
    )
    crossed = {sender: {_TYPES[key[1]] for key in first.traffic if key[0] is sender} for sender in Sender}
    ledger = ledger_of_run(agreed.host, agreed.collaborator, crossed[Sender.HOST], crossed[Sender.COLLABORATOR])
    return AuditReport(
        agreed.task_id,
        agreed.scheme,
        agreed.scheme_parameters,
        parties,
        summaries,
        tuple(ordered),
        traffic,
        ledger,
    )
