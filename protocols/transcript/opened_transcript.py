"""Transcripts of which the first lines were looked at, to find out which of them are of one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from protocols.core.errors import InvalidInput
from protocols.core.sender import Sender
from protocols.task.resumption import TranscriptPosition
from protocols.transcript.preamble import AgreedTerms, WriterInfo

NamedHeads = Mapping[bytes, set[tuple[Sender, int]]]
"""By conversation: the chains and counts whose heads later conversations name."""

_PREAMBLE_LINES = 3


@dataclass(frozen=True)
class OpenedTranscript:
    """One transcript. Its check values are verified when it is read.

    Attributes:
        lines: all of them, the first ones included.
        terms, writer: as its first lines have them; None if they cannot be read.
    """

    name: str
    lines: Iterable[bytes]
    terms: AgreedTerms | None
    writer: Sender | None

    @property
    def digest(self) -> bytes:
        """Which conversation it is of; empty if the file does not say."""
        return b"" if self.terms is None else self.terms.digest()

    @property
    def last_position(self) -> TranscriptPosition | None:
        """Where the writer says that its file of the conversation before ends."""
        return None if self.terms is None or self.writer is None else self.terms.last_position(self.writer)


def open_transcript(lines: Iterable[bytes], name: str) -> OpenedTranscript:
    """Look at the first lines."""
    source = iter(lines)
    first = list(islice(source, _PREAMBLE_LINES))
    terms, writer = None, None
    try:
        texts = [line.rpartition(b" ")[0].partition(b" ")[2].decode() for line in first]
        terms = AgreedTerms.parse(texts[1])
        writer = WriterInfo.parse(texts[2]).sender
    except (InvalidInput, IndexError, UnicodeDecodeError):
        pass  # the auditor says what is wrong
    return OpenedTranscript(name, chain(first, source), terms, writer)


def named_heads(transcripts: Iterable[OpenedTranscript]) -> NamedHeads:
    """The heads of which these transcripts say that conversations before them ended there."""
    named: dict[bytes, set[tuple[Sender, int]]] = {}
    for terms in (each.terms for each in transcripts if each.terms is not None):
        for sender in Sender:
            last = terms.last_position(sender)
            if last is not None:
                named.setdefault(last.agreement, set()).update({(sender, last.sent), (sender.other, last.received)})
    return named
