"""Audits transcripts that are files: read piece by piece, with the earlier runs that this one is compared with."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from protocols.errors import SecureHflError
from protocols.transcript.audit import audit
from protocols.transcript.errors import Severity
from protocols.transcript.file_audit import FreshTags
from protocols.transcript.format import HEADER, lines_of
from protocols.transcript.report import AuditReport
from secure_hfl.audit.timeline import Timeline

CHUNK = 1 << 20
_MAGIC = HEADER.split(b" ")[0] + b" "


class TranscriptUnreadable(SecureHflError):
    """A file cannot be read, or is not what it is given as."""


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
    """

    report: AuditReport
    timeline: Timeline | None = None
    others: tuple[AuditReport, ...] = ()
    is_trusted: bool = False

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
    """Audit the transcript of one run, or those of both its ends.

    Args:
        transcript: of one end.
        peer: of the other end of the same run.
        others: one transcript each of other runs; what must be used once may not be in several of them.
        trusted: fingerprints that the parties are known to have.
        with_timeline: also collect what a drawing needs; a quarter slower.

    Raises:
        TranscriptUnreadable: a file is missing, is not a transcript, or is given twice.
    """
    names = names_for([transcript, *([peer] if peer else []), *others])
    fresh = FreshTags()
    agreed: dict[bytes, str] = {}
    reports = []
    for path in others:
        lines = _Lines(path)
        reports.append(audit(lines, names=(names[path], ""), fresh=fresh))
        _only_once(lines.agreed, names[path], agreed)
    timeline = Timeline() if with_timeline else None
    first = _Lines(transcript, timeline)
    if peer is None:
        report = audit(first, names=(names[transcript], ""), trusted=trusted, fresh=fresh)
    else:
        if os.path.exists(peer) and os.path.samefile(transcript, peer):
            raise TranscriptUnreadable(f"{peer} is given twice; the second file is the other end's")
        both = names[transcript], names[peer]
        report = audit(first, _Lines(peer), names=both, trusted=trusted, fresh=fresh)
    _only_once(first.agreed, names[transcript], agreed)
    return Audited(report, timeline, tuple(reports), bool(trusted))


def names_for(paths: Iterable[Path]) -> dict[Path, str]:
    """What to call files: their names, or where those are not distinct their paths."""
    distinct = dict.fromkeys(paths)
    short = len({path.name for path in distinct}) == len(distinct)
    return {path: path.name if short else str(path) for path in distinct}


def chunks_of(file: BinaryIO, path: Path, size: int = CHUNK) -> Iterator[bytes]:
    """A file's pieces. Raises `TranscriptUnreadable`."""
    try:
        while chunk := file.read(size):
            yield chunk
    except OSError as error:
        raise TranscriptUnreadable(f"{path}: {error.strerror}") from error


def open_file(path: Path) -> BinaryIO:
    """Open for reading. Raises `TranscriptUnreadable`."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise TranscriptUnreadable(f"{path}: {error.strerror}") from error


class _Lines:
    """A transcript's lines, and what passes by while they are read: what the run is, and its timeline."""

    def __init__(self, path: Path, timeline: Timeline | None = None) -> None:
        self._path, self._timeline = path, timeline
        self.agreed = b""

    def __iter__(self) -> Iterator[bytes]:
        with open_file(self._path) as file:
            lines = lines_of(chunks_of(file, self._path))
            first = next(lines, b"")
            _require_transcript(first, self._path)
            yield first
            self.agreed = next(lines, b"")
            if self.agreed:
                yield self.agreed
            yield from lines if self._timeline is None else self._timeline.passing(lines)


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


def _only_once(agreed: bytes, name: str, known: dict[bytes, str]) -> None:
    # Both ends of one run hold the same fresh messages: that must not look like a repetition.
    if agreed in known:
        raise TranscriptUnreadable(f"{known[agreed]} and {name} are of one run; give one transcript of each other run")
    known[agreed] = name


def _is_wrong(report: AuditReport) -> bool:
    return any(finding.severity is Severity.ERROR for finding in report.findings)
