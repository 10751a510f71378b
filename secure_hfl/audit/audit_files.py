"""Audits transcripts that are files: read piece by piece, with the earlier runs that this one is compared with."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from protocols.transcript.auditor import audit_run
from protocols.transcript.compare_manifests import with_manifests_compared
from protocols.transcript.errors import Severity
from protocols.transcript.format import HEADER, lines_of
from protocols.transcript.message_check import FreshTags
from protocols.transcript.report import AuditReport
from secure_hfl.audit.file_chunks import TranscriptUnreadable, chunks_of
from secure_hfl.audit.find_run import FIRST, FoundRun, find_scheme_of, run_of
from secure_hfl.audit.timeline import Timeline

_MAGIC = HEADER.split(b" ")[0] + b" "


class Verdict(str, Enum):
    """What an audit comes to. Only HOLDS is a success."""

    HOLDS = "holds"
    INCOMPLETE = "incomplete"
    FAILS = "does not hold"


@dataclass(frozen=True)
class Audited:
    """The audit of a run.

    Attributes:
        report: of the run.
        timeline: of its first transcript, if it was asked for.
        others: reports of the other runs, against which this one was compared.
        is_trusted: whether the parties' fingerprints were given, and not taken from the file.
        left_out: transcripts that go on from the same conversation as one of these.
    """

    report: AuditReport
    timeline: Timeline | None = None
    others: tuple[AuditReport, ...] = ()
    is_trusted: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Over everything that was given. That another run was stopped early says nothing against this one."""
        if any(_is_wrong(report) for report in (self.report, *self.others)):
            return Verdict.FAILS
        return Verdict.HOLDS if self.report.holds else Verdict.INCOMPLETE


def audit_files(
    transcript: Path,
    peer: Path | None = None,
    others: Sequence[Path] = (),
    trusted: Collection[str] = (),
    *,
    with_timeline: bool = False,
) -> Audited:
    """Audit the transcripts of one end of a run, or those of both its ends.

    A run that was interrupted and went on has several transcripts at each end; each argument is any one of them, and
    the rest are found beside it.

    Args:
        transcript: of one end.
        peer: of the other end of the same run.
        others: one transcript each of other runs; what must be used once may not be in several of them. Those of other
            collaborators of the same task must have its manifests.
        trusted: fingerprints that the parties are known to have.
        with_timeline: also collect what a drawing needs; a quarter slower.

    Raises:
        TranscriptUnreadable: a file is missing, is not a transcript, or is given twice.
    """
    first, second = run_of(transcript), None if peer is None else run_of(peer)
    if peer is not None and second is not None:
        _two_ends(first, peer, second)
    found = [run_of(path) for path in others]
    runs = [first, *([second] if second else []), *found]
    names = names_for(path for run in runs for path in run.paths)
    fresh = FreshTags()
    agreed: dict[bytes, str] = {}
    reports = []
    for run in found:
        lines = _lines(run)
        reports.append(audit_run(lines, names=(_named(run, names), []), fresh=fresh))
        _only_once(lines, agreed)
    timeline = Timeline() if with_timeline else None
    own = _lines(first, names, timeline)
    opposite = None if second is None else _lines(second)
    both = _named(first, names), [] if second is None else _named(second, names)
    report = audit_run(own, opposite, names=both, trusted=trusted, fresh=fresh)
    _only_once(own, agreed)
    report = with_manifests_compared(report, reports)
    left_out = tuple(str(path) for run in runs for path in run.left_out)
    return Audited(report, timeline, tuple(reports), bool(trusted), left_out)


def _two_ends(first: FoundRun, peer: Path, second: FoundRun) -> None:
    for path in first.paths:
        for other in second.paths:
            if os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
                problem = "is given twice" if len(first.paths) == 1 else "is of the same end"
                raise TranscriptUnreadable(f"{peer} {problem}; the second file is the other end's")


def _named(run: FoundRun, names: dict[Path, str]) -> list[str]:
    return [names[path] for path in run.paths]


def _lines(run: FoundRun, names: dict[Path, str] | None = None, timeline: Timeline | None = None) -> list[_Lines]:
    return [_Lines(path, (names or {}).get(path, ""), timeline) for path in run.paths]


def names_for(paths: Iterable[Path]) -> dict[Path, str]:
    """What to call files: their names, or where those are not distinct their paths."""
    distinct = dict.fromkeys(paths)
    short = len({path.name for path in distinct}) == len(distinct)
    return {path: path.name if short else str(path) for path in distinct}


class _Lines:
    """A transcript's lines, and what passes by while they are read: what the run is, and its timeline."""

    def __init__(self, path: Path, name: str, timeline: Timeline | None = None) -> None:
        self.path = path
        self._name, self._timeline = name, timeline
        self.agreed = b""

    def __iter__(self) -> Iterator[bytes]:
        lines = lines_of(chunks_of(self.path, first=FIRST))
        first = next(lines, b"")
        _require_transcript(first, self.path)
        yield first
        self.agreed = next(lines, b"")
        if self.agreed:
            find_scheme_of(self.agreed)
            yield self.agreed
        yield from lines if self._timeline is None else self._timeline.passing(lines, self._name)


def _require_transcript(line: bytes, path: Path) -> None:
    if not line:
        raise TranscriptUnreadable(f"{path} is empty: the peer has not joined, or had not when the task ended")
    if not line.startswith(_MAGIC):
        raise TranscriptUnreadable(f"{path} is not a transcript of secure-hfl")
    version = line[len(_MAGIC) :].split(b" ")[0]
    if version != HEADER[len(_MAGIC) :] and version.isdigit():
        raise TranscriptUnreadable(
            f"{path} is a transcript of version {version[:9].decode()}, which this program does not know"
        )


def _only_once(run: Iterable[_Lines], known: dict[bytes, str]) -> None:
    # Both ends of one run hold the same fresh messages: that must not look like a repetition.
    for lines in run:
        if lines.agreed in known:
            names = f"{known[lines.agreed]} and {lines.path.name}"
            raise TranscriptUnreadable(f"{names} are of one run; give one transcript of each other run")
    known.update({lines.agreed: lines.path.name for lines in run})


def _is_wrong(report: AuditReport) -> bool:
    return any(finding.severity is Severity.ERROR for finding in report.findings)
