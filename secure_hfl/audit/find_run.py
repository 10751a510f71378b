"""Finds the other conversations of a run that was interrupted, in the directory of one of its transcripts.

Each transcript names the conversation before it by the digest of its terms (`TranscriptPosition`), and is itself named
by the one after it. So runs that were started anew stay apart, and what somebody took away is missing by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from protocols.core.errors import InvalidInput
from protocols.transcript.errors import MalformedTranscript
from protocols.transcript.format import PreambleLine, lines_of, parse
from protocols.transcript.opened_transcript import OpenedTranscript, open_transcript
from protocols.transcript.position import position_of
from protocols.transcript.preamble import AgreedTerms
from secure_hfl.audit.file_chunks import TranscriptUnreadable, chunks_of
from secure_hfl.schemes import find_scheme

FIRST = 1 << 14
"""Bytes in which the first lines of a transcript are looked for at once."""

_NAME = re.compile(r"(.*)-([1-9][0-9]{0,8})\.transcript", re.DOTALL)


@dataclass(frozen=True)
class FoundRun:
    """One end's transcripts of a run, in order.

    Attributes:
        left_out: transcripts that go on from the same conversation as one of these: the run has two futures.
    """

    paths: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()


def run_of(path: Path) -> FoundRun:
    """The run that a transcript belongs to. A file that says nothing of itself is a run of its own."""
    start = _look(path)
    if start is None:
        return FoundRun((path,))
    known = [start, *(each for each in map(_look, _beside(path)) if each is not None)]
    links = [each for each in known if each.transcript.writer is start.transcript.writer]
    found, left_out = [start], []
    while before := _with_digest(links, found[0]):
        found.insert(0, before)
    while after := _going_on_from(links, found[-1]):
        found.append(after[0])
        left_out += after[1:]
    return FoundRun(tuple(each.path for each in found), tuple(each.path for each in left_out))


def find_scheme_of(terms: bytes) -> None:
    """Import the scheme that a transcript's second line names, if an installed package brings it.

    A line that says nothing of the kind is the auditor's to refuse.
    """
    with suppress(MalformedTranscript, InvalidInput):
        line = parse(terms.rpartition(b" ")[0], 2)
        if isinstance(line, PreambleLine):
            find_scheme(AgreedTerms.parse(line.json).scheme)


def next_number(path: Path) -> Path | None:
    """What the next conversation with the same peer is called; None for a file with another kind of name."""
    match = _NAME.fullmatch(path.name)
    return None if match is None else path.with_name(f"{match[1]}-{int(match[2]) + 1}.transcript")


def goes_on_from(path: Path, before: Path) -> bool | None:
    """Whether a transcript says that it goes on from another; None as long as it says nothing."""
    one, other = _look(path), _look(before)
    if one is None or other is None:
        return None
    return _follows(one.transcript, other.transcript)


@dataclass(frozen=True)
class _Found:
    path: Path
    transcript: OpenedTranscript


def _look(path: Path) -> _Found | None:
    try:
        transcript = open_transcript(lines_of(chunks_of(path, FIRST)), path.name)
    except TranscriptUnreadable:
        return None
    return None if transcript.terms is None or transcript.writer is None else _Found(path, transcript)


def _beside(path: Path) -> Iterable[Path]:
    """Transcripts with the same peer, the newest first; all, if the name does not say which peer it is."""
    match = _NAME.fullmatch(path.name)

    def number(other: Path) -> int:
        named = _NAME.fullmatch(other.name)
        return int(named[2]) if named is not None else 0

    def belongs(other: Path) -> bool:
        named = _NAME.fullmatch(other.name)
        return match is None or (named is not None and named[1] == match[1])

    try:
        found = [each for each in path.parent.glob("*.transcript") if belongs(each) and each.is_file()]
    except OSError:
        return []
    return sorted((each for each in found if each != path), key=lambda each: (-number(each), each.name))


def _follows(one: OpenedTranscript, other: OpenedTranscript) -> bool:
    return one.last_position is not None and one.last_position.agreement == other.digest


def _with_digest(links: list[_Found], after: _Found) -> _Found | None:
    return next((each for each in links if _follows(after.transcript, each.transcript)), None)


def _going_on_from(links: list[_Found], before: _Found) -> list[_Found]:
    """The newest first. Copies of one conversation count once, and a file that was cut off before its manifest not."""
    following = {
        each.transcript.digest: each for each in reversed(links) if _follows(each.transcript, before.transcript)
    }
    newest_first = list(reversed(following.values()))
    if len(newest_first) > 1:
        begun = [each for each in newest_first if position_of(lines_of(chunks_of(each.path))) is not None]
        return begun or newest_first[:1]
    return newest_first
