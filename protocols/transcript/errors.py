"""What can be wrong with a transcript. The type says what kind of thing it is; the auditor turns each into a finding.

TranscriptError
├── MalformedTranscript     the file is not in the format, or was changed without rebuilding its check values
├── InvalidTranscriptSignature    a signature, certificate or record does not belong here
├── BrokenChain             a signed head is not about the messages that the file lists
├── TranscriptsDisagree     the two ends do not list the same messages
├── IllegalOrder            a message that the transition tables do not allow there
├── ImpossibleSize          a length other than the task's parameters imply
├── RepeatedContent         something that must be fresh came twice
├── PlaintextInSecureTask   a message in the clear in a task that was to be encrypted
└── IncompleteTranscript    nothing contradicts anything, but the end is missing
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from protocols.core.errors import ProtocolError


class Severity(str, Enum):
    """How bad."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class TranscriptError(ProtocolError):
    """Something about a transcript.

    Args:
        problem: what was found.
        expected: what should have been there.
        meaning: what it may mean.
        line: line of the file, from 1; 0 for the file as a whole.
        entry: which message, in words.
        severity: other than the kind's.
    """

    severity: Severity = Severity.ERROR
    meaning: ClassVar[str] = ""

    def __init__(
        self,
        problem: str,
        expected: str = "",
        *,
        line: int = 0,
        entry: str = "",
        meaning: str | None = None,
        severity: Severity | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem, self.expected, self.line, self.entry = problem, expected, line, entry
        self.may_mean = type(self).meaning if meaning is None else meaning
        if severity is not None:
            self.severity = severity


class MalformedTranscript(TranscriptError):
    """The file is not in the format, or a byte of it was changed."""

    meaning = "The file was damaged or edited here. What stands before this line still holds; nothing after it counts."


class InvalidTranscriptSignature(TranscriptError):
    """A signature, certificate or signed record does not hold."""

    meaning = "Somebody without the party's key wrote or changed this, or the wrong certificate is in the file."


class BrokenChain(TranscriptError):
    """What was signed is not what the file lists."""

    meaning = "Messages before this were changed, left out, added or moved after both parties had signed them."


class TranscriptsDisagree(TranscriptError):
    """The two ends list different messages."""

    meaning = "One of the two parties changed its transcript, or the network delivered something that was not sent."


class ManifestsDiffer(TranscriptError):
    """Two collaborators of one task accepted different manifests."""

    meaning = "The host made each believe in another task: other parties, other terms, or another way to hide features."


class IllegalOrder(TranscriptError):
    """A message that may not come there."""

    meaning = "A party did not follow the protocol, or messages were left out of, added to or moved in the transcript."


class OlderVersion(TranscriptError):
    """A run of an earlier protocol version: what that promised by order and sizes is no longer known here."""

    meaning = "All else was checked: chains, signatures, both ends, what may be used once. Order and sizes were not."
    severity = Severity.WARNING


class ImpossibleSize(TranscriptError):
    """A length that the parameters do not give."""

    meaning = "The message did not hold what its type says, for instance data hidden in a ciphertext's place."


class RepeatedContent(TranscriptError):
    """Something one-time came twice."""

    meaning = (
        "A ciphertext, mask or nonce was used twice: a broken source of randomness, a restored machine image, or a "
        "replay. What it hid may be exposed."
    )


class ShownTooMuch(TranscriptError):
    """The run's statistical distance is beyond what a run may have."""

    meaning = "A party went on though what it had shown of its secrets was used up: its program was changed."


class PlaintextInSecureTask(TranscriptError):
    """Data in the clear in a task that was agreed on as encrypted."""

    meaning = "Features or gradients left a party unprotected, against what both had agreed on."


class IncompleteTranscript(TranscriptError):
    """The end is missing, or not yet signed by both."""

    severity = Severity.WARNING
    meaning = "The task was stopped or is still running; or somebody cut the end off. The other end's transcript tells."
