"""What is found wrong with one transcript while it is read."""

from __future__ import annotations

from protocols.transcript.errors import TranscriptError
from protocols.transcript.format import RunningHash
from protocols.transcript.report import Finding

MAX_FINDINGS = 100
"""Findings kept of one file; the first say most."""


class FindingLog:
    """The findings of one file, each at the line that has been read last.

    Args:
        file: what findings call it.
        running: counts its lines.

    Attributes:
        findings: so far, at most `MAX_FINDINGS`.
    """

    def __init__(self, file: str, running: RunningHash) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self._running = running

    @property
    def line(self) -> int:
        """The number of the line that has been read last, from 1."""
        return self._running.lines

    def report(self, error: TranscriptError) -> None:
        """Keep a finding."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding.of(error, self.file, self._running.lines))
