"""Follows the transcript of a running task, and shows how it goes.

A file has no event for "something was appended" in the standard library, so the follower looks again after a short
wait. It ends when the task ends, when no live process runs the task any more (its run lock is free), or with Ctrl-C.
When the run is interrupted and goes on in another conversation, so does the follower.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.table import Table

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.core.wording import plural
from protocols.transcript.errors import BrokenChain, MalformedTranscript, TranscriptError
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.format import Entry, lines_of
from protocols.transcript.message_check import FreshTags
from protocols.transcript.messages import Countersignature
from protocols.transcript.report import Finding
from secure_hfl.audit.audit_files import Audited, audit_files
from secure_hfl.audit.file_chunks import open_file
from secure_hfl.audit.find_run import find_scheme_of, goes_on_from, next_number, run_of
from secure_hfl.audit.report_text import size
from secure_hfl.cli.output import plain, table
from secure_hfl.progress_view import LiveView
from secure_hfl.tasks import run_lock

LOOK_AGAIN = 0.2
"""Seconds between two looks at a file that has not grown."""

PIECE = 1 << 16
SHOWN_FINDINGS = 10

Wait = Callable[[], None]


def _sleep() -> None:
    time.sleep(LOOK_AGAIN)


def is_written(path: Path) -> bool:
    """Whether a live process may still append to this transcript.

    Transcripts lie in <task directory>/transcripts, beside the task's run lock. Where there is no lock, for instance
    next to a copy, nobody can tell, and the answer is yes.
    """
    path = path.resolve()
    lock = path.parent.parent / "run.lock"
    if not lock.exists():
        return True
    following = next_number(path)
    return run_lock.is_held(lock) and (following is None or not following.exists())


def watch(
    path: Path,
    console: Console,
    trusted: tuple[str, ...] = (),
    *,
    with_timeline: bool = False,
    wait: Wait = _sleep,
    is_live: Callable[[Path], bool] = is_written,
) -> Audited:
    """Follow a transcript to its end, then audit it as a whole.

    Args:
        path: the growing file, or an earlier one of the same run.
        console: where to show the progress; not a terminal: a line for each step.
        trusted: fingerprints that the parties are known to have.
        with_timeline: as for `audit_files`.
        wait: returns when it is time to look again.
        is_live: whether the file may still grow.

    Raises:
        TranscriptUnreadable: there is no such file, or it is not a transcript.
    """
    fresh = FreshTags()
    seen: list[Finding] = []
    followers = []
    now: Path | None = run_of(path).paths[-1]
    try:
        while now is not None:
            path, view = now, TranscriptView(now.name, console, fresh)
            followers.append(Follower(path, wait, is_live, view))
            try:
                _follow(path, followers[-1], view)
            finally:
                seen += view.findings
            now = None if view.is_over else _resumed_in(path, console, wait, is_live)
    except KeyboardInterrupt:
        pass
    audited = audit_files(path, trusted=trusted, with_timeline=with_timeline)
    return _with(audited, seen + [finding for follower in followers for finding in follower.check()])


def _follow(path: Path, follower: Follower, view: TranscriptView) -> None:
    with open_file(path) as file, view:
        for number, line in enumerate(lines_of(follower.pieces(file)), 1):
            if number == 2:
                find_scheme_of(line)
            view.feed(line)
            if view.is_over:
                return


def _resumed_in(path: Path, console: Console, wait: Wait, is_live: Callable[[Path], bool]) -> Path | None:
    """Where a run goes on whose transcript has ended; None if it does not, or not yet."""
    while True:
        paths = run_of(path).paths
        following = paths[paths.index(path) + 1 :]
        if following:
            console.print(plain(f"{path.name} was interrupted; the run goes on in {following[0].name}"))
            return following[0]
        newest = path
        while (later := next_number(newest)) is not None and later.exists():
            newest = later
        if newest == path:
            return None
        if goes_on_from(newest, path) is False:
            console.print(plain(f"{path.name} was interrupted; {newest.name} does not go on from it"))
            return None
        if not is_live(newest):
            return None
        wait()


def _with(audited: Audited, seen: list[Finding]) -> Audited:
    """The audit of the whole file, with what was wrong with it only while it was being watched."""
    report = audited.report
    passing = {"IncompleteTranscript"}
    missing = [each for each in seen if each not in report.findings and each.kind not in passing]
    return replace(audited, report=replace(report, findings=(*report.findings, *missing)))


class Follower:
    """A file's pieces as they come, and whether what was read stays what it was.

    Args:
        path: the file.
        wait, is_live: as for `watch`.
        view: shown anew whenever there is something, and asked whether the run has ended.
    """

    def __init__(self, path: Path, wait: Wait, is_live: Callable[[Path], bool], view: TranscriptView) -> None:
        self._path, self._wait, self._is_live, self._view = path, wait, is_live, view
        self._digest = hashlib.sha256()
        self._read = 0

    def pieces(self, file: BinaryIO) -> Iterator[bytes]:
        """Read on until the run is over or nobody writes any more."""
        while True:
            # Asked before reading: what the writer appended last is there when it has let go of the lock.
            may_grow = self._is_live(self._path)
            piece = file.read(PIECE)
            if piece:
                self._digest.update(piece)
                self._read += len(piece)
                yield piece
                self._view.show()
            elif not may_grow or self._was_replaced(file):
                return
            else:
                self._wait()

    def _was_replaced(self, file: BinaryIO) -> bool:
        now = os.fstat(file.fileno())
        try:
            return now.st_size < self._read or not os.path.samestat(now, os.stat(self._path))
        except FileNotFoundError:
            return True

    def check(self) -> list[Finding]:
        """Read again what was read before: an append-only file still begins with it."""
        digest, left = hashlib.sha256(), self._read
        with open_file(self._path) as file:
            while left and (piece := file.read(min(left, PIECE))):
                digest.update(piece)
                left -= len(piece)
        if left:
            return [self._finding(MalformedTranscript("the file has become shorter while it was being watched"))]
        if digest.digest() != self._digest.digest():
            return [self._finding(BrokenChain("the file was rewritten while it was being watched"))]
        return []

    def _finding(self, error: TranscriptError) -> Finding:
        finding = Finding.of(error, self._path.name)
        return replace(finding, expected="a file that only grows", meaning="Somebody replaced the evidence.")


class TranscriptView:
    """What is known so far of a growing transcript; in place on a terminal, else line by line."""

    def __init__(self, name: str, console: Console, fresh: FreshTags) -> None:
        self._auditor = FileAuditor(name, fresh)
        self._view = LiveView(console)
        self._now = (0, 0)
        self._signed_at: tuple[int, int] | None = None
        self._said = 0

    def __enter__(self) -> TranscriptView:
        self._view.__enter__()
        self.show()
        return self

    def __exit__(self, *exc: object) -> None:
        self._view.__exit__(*exc)

    @property
    def findings(self) -> list[Finding]:
        """So far."""
        return self._auditor.findings

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come: the run has ended and is sealed, or the file cannot be read on."""
        return self._auditor.is_over or (self._auditor.is_finished and self._auditor.is_sealed)

    def feed(self, line: bytes) -> None:
        """The next line."""
        taken = self._auditor.feed(line)
        if taken is None:
            return
        entry = taken[0]
        if entry.phase != Phase.OFFLINE and (entry.phase, entry.round) != self._now:
            self._now = (entry.phase, entry.round)
            self._view.line(plain(f"{self._name_of(self._now)}: {self._counts()}"))
        if entry.type == Countersignature.__name__ and self._is_countersigned(entry):
            self._signed_at = self._now

    def _is_countersigned(self, entry: Entry) -> bool:
        # Of the two countersignatures of a boundary, the one that this file's writer received.
        writer = self._auditor.writer
        return writer is not None and entry.sender is not writer.sender

    def show(self) -> None:
        """Draw, or say what was found since."""
        if self._view.moves:
            self._view.show(self._table(), at_once=True)
            return
        for finding in self.findings[self._said :]:
            self._view.line(plain(finding))
        self._said = len(self.findings)

    def _name_of(self, round_of_phase: tuple[int, int]) -> str:
        phase, number = round_of_phase
        name = Phase(phase).name.lower() if phase else "waiting for the first message"
        return f"{name}, round {number}" if number else name

    def _counts(self) -> str:
        parts = []
        for sender in Sender:
            count, total = self._auditor.chains.count(sender), self._auditor.traffic.bytes_of(sender)
            parts.append(f"{plural(count, 'message')} ({size(total)}) from the {sender.role}")
        return ", ".join(parts)

    def _table(self) -> Table:
        auditor, grid = self._auditor, table("", "", header=False)
        terms, covered = auditor.terms, auditor.signatures.covered
        if terms is not None:
            grid.add_row("Task", plain(f"{terms.task_id}, scheme {terms.scheme}"))
            grid.add_row("Parties", plain(f"{terms.host} (host), {terms.collaborator}"))
        grid.add_row("Now", self._name_of(self._now))
        grid.add_row("Crossed the wire", self._counts())
        signed = "nothing yet"
        if self._signed_at is not None:
            host, collaborator = covered[Sender.HOST], covered[Sender.COLLABORATOR]
            signed = f"to the end of {self._name_of(self._signed_at)}: {host:,} and {plural(collaborator, 'message')}"
        grid.add_row("Signed by both", signed)
        grid.add_row("Findings", plain(len(self.findings) or "none so far", "red" if self.findings else "green"))
        for finding in self.findings[:SHOWN_FINDINGS]:
            grid.add_row("", plain(finding, "red"))
        return grid
