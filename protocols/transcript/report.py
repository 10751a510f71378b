"""What an audit found, for people and programs. Frozen and plain, so that `dataclasses.asdict` gives the JSON."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from protocols.core.distance import Distance
from protocols.transcript.errors import OlderVersion, Severity, TranscriptError
from protocols.transcript.run_ledger import RunLedger

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or to be noted.

    Attributes:
        kind: name of the `TranscriptError`.
        file: which transcript.
        line: of the file, from 1; 0 for the whole.
        entry: which message, in words; may be empty.
        problem, expected, meaning: what was found, what should have been there, what it may mean.
    """

    kind: str
    severity: Severity
    file: str
    line: int
    entry: str
    problem: str
    expected: str
    meaning: str

    @classmethod
    def of(cls, error: TranscriptError, file: str, line: int = 0) -> Finding:
        """An error as a finding."""
        at = error.line or line
        kind, severity = type(error).__name__, error.severity
        return cls(kind, severity, file, at, error.entry, error.problem, error.expected, error.may_mean)

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        entry = f", {self.entry}" if self.entry else ""
        expected = f" Expected: {self.expected}." if self.expected else ""
        return f"{self.severity.value}: {place}{entry}: {self.problem}.{expected} {self.meaning}".rstrip()


@dataclass(frozen=True)
class Traffic:
    """Messages of one type, sender, phase and round. `bytes` without framing, TLS and HTTP/2."""

    sender: str
    type: str
    phase: str
    round: int
    messages: int
    bytes: int


@dataclass(frozen=True)
class Party:
    """Who one end is: feature key, role, and SHA-256 of its certificate, to be compared out of band."""

    name: str
    role: str
    fingerprint: str
    software: dict[str, str]


@dataclass(frozen=True)
class Resume:
    """An interruption, and where the run went on.

    Attributes:
        conversation: which one begins here; the first is 1.
        file: its transcript, at the first end.
        place: where, in words; phase, round, batch: likewise; phase is empty for the beginning.
        lost_from_host, lost_from_collaborator: messages that were sent before it and never received; None: unknown.
    """

    conversation: int
    file: str
    place: str
    phase: str
    round: int
    batch: int
    lost_from_host: int | None
    lost_from_collaborator: int | None


@dataclass(frozen=True)
class FileSummary:
    """One transcript.

    Attributes:
        name: as the caller calls it.
        writer: its party's role.
        lines, messages: how long it is.
        signed_by_both: messages (from the host, from the collaborator) up to the last countersigned head.
        sealed_lines: lines under the writer's last seal.
        is_finished: the task ended as it should, with everything signed by both.
        end: 0 for the first end's transcripts, 1 for the other end's.
        conversation: which of its end's this is, from 1.
    """

    name: str
    writer: str
    lines: int
    messages: int
    signed_by_both: tuple[int, int]
    sealed_lines: int
    is_finished: bool
    end: int = 0
    conversation: int = 1


@dataclass(frozen=True)
class SeenManifest:
    """The manifest that a conversation began with.

    Attributes:
        file: of its transcript.
        digest: SHA-256 of the manifest, hexadecimal.
        went_on: whether anything followed the joining, so that all collaborators had accepted it.
        collaborators: how many it names.
        says: what it says to all collaborators alike.
        terms: what holds between this collaborator and the host.
    """

    file: str
    digest: str
    went_on: bool
    collaborators: int
    says: dict[str, str]
    terms: Mapping[str, str]


@dataclass(frozen=True)
class AuditReport:
    """The outcome of an audit.

    Attributes:
        task_id, scheme, scheme_parameters: what the run was; empty if the file does not get that far.
        parties: host, then collaborator.
        files: one for each transcript: the first end's in order, then the other's.
        findings: all that are wrong or to be noted, by file and line; at most `MAX_FINDINGS` for a file.
        traffic: what crossed the wire, in order of first appearance.
        ledger: who learned what.
        resumes: where the run went on after interruptions.
        shown: by role, the statistical distance of what it sent from something that does not depend on its secrets;
            empty: nothing was hidden by noise, or by noise that is not known here.
        label_epsilon: the bound for each training label over the whole task, as the host declared it; 0: none.
        manifests: those of the first end's conversations.
    """

    task_id: str
    scheme: str
    scheme_parameters: str
    parties: tuple[Party, ...]
    files: tuple[FileSummary, ...]
    findings: tuple[Finding, ...]
    traffic: tuple[Traffic, ...]
    ledger: RunLedger | None
    resumes: tuple[Resume, ...] = ()
    label_epsilon: float = 0.0
    shown: dict[str, Distance] = field(default_factory=dict)
    manifests: tuple[SeenManifest, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether everything was checked that is still known of such a run, and nothing is wrong or missing."""
        return all(each.severity is Severity.NOTE or each.kind == OlderVersion.__name__ for each in self.findings)

    @property
    def is_of_older_version(self) -> bool:
        """Whether order and sizes were left out, because the protocol had others then."""
        return any(finding.kind == OlderVersion.__name__ for finding in self.findings)

    @property
    def first_end(self) -> tuple[FileSummary, ...]:
        """The first end's transcripts."""
        return tuple(file for file in self.files if file.end == 0)

    @property
    def has_both_ends(self) -> bool:
        """Whether the other end's transcripts were compared."""
        return any(file.end for file in self.files)

    @property
    def messages(self) -> int:
        """Messages in all conversations, as the first end lists them."""
        return sum(file.messages for file in self.first_end)

    @property
    def is_finished(self) -> bool:
        """Whether the task ended as it should, in its last conversation."""
        return self.first_end[-1].is_finished

    @property
    def by_type(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(messages, bytes) by (sender, type)."""
        return self._sum(lambda each: (each.sender, each.type))

    @property
    def by_round(self) -> dict[tuple[str, int], tuple[int, int]]:
        """(messages, bytes) by (phase, round)."""
        return self._sum(lambda each: (each.phase, each.round))

    def _sum(self, key: Callable[[Traffic], K]) -> dict[K, tuple[int, int]]:
        out: dict[K, tuple[int, int]] = {}
        for each in self.traffic:
            messages, size = out.get(key(each), (0, 0))
            out[key(each)] = (messages + each.messages, size + each.bytes)
        return out
