"""How far a transcript goes: what its writer says of it when it goes on with the task in another conversation.

The next Hello or Manifest carries it (`protocols.task.resumption.TranscriptPosition`), and so both sign it there, as a
part of the terms (preamble.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocols.core.errors import InvalidInput
from protocols.core.sender import Sender
from protocols.task.resumption import TranscriptPosition
from protocols.transcript.chain import Chain, digest_of
from protocols.transcript.errors import MalformedTranscript
from protocols.transcript.format import HEADER, RunningHash
from protocols.transcript.preamble import WriterInfo

_SENDERS = {b"e h": Sender.HOST, b"e c": Sender.COLLABORATOR}


def position_of(lines: Iterable[bytes]) -> TranscriptPosition | None:
    """How far the writer of a transcript got, by its whole lines up to the first whose check value does not fit.

    Args:
        lines: with their ends; the last may be torn, as a killed process leaves it.

    Returns:
        None if the manifest is not among them: there was no conversation yet.
    """
    running, writer, has_manifest = RunningHash(), None, False
    chains: dict[Sender, Chain] = {}
    agreement = b""
    try:
        for line in lines:
            text = running.read(line)
            if running.lines > 3:
                sender = _SENDERS.get(text[:3])
                if sender is not None:
                    chains[sender].append(text, False)
                    has_manifest = has_manifest or text.split(b" ", 4)[3] == b"Manifest"
            elif running.lines == 1 and text != HEADER:
                return None
            elif running.lines == 2:
                agreement = digest_of("agreed", text.partition(b" ")[2])
                chains = {sender: Chain(agreement, sender) for sender in Sender}
            elif running.lines == 3:
                writer = WriterInfo.parse(text.partition(b" ")[2].decode()).sender
    except (MalformedTranscript, InvalidInput, UnicodeDecodeError):
        pass
    if writer is None or not has_manifest:
        return None
    return position_in(chains, agreement, writer)


def position_in(chains: Mapping[Sender, Chain], agreement: bytes, writer: Sender) -> TranscriptPosition:
    """How far both chains go, as the writer of their transcript says it."""
    return TranscriptPosition(agreement, *chains[writer].at, *chains[writer.other].at)
