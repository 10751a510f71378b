"""Makes an opening of what was kept: one file, signed by this party's key, that a judge reads with `audit --judge`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from protocols.core.errors import SecureHflError
from protocols.core.sender import Sender
from protocols.judge.opening import (
    MESSAGE,
    NOTE,
    Frame,
    InvalidOpening,
    frames_of,
    note_frame,
    opening_pieces,
    read_note,
)
from protocols.layer.messages import SecretsCommitment
from protocols.layer.secrets import salt_of
from protocols.transcript.format import lines_of
from protocols.transcript.opened_transcript import open_transcript
from protocols.wire.codec import Catalogue, peek
from secure_hfl.audit.file_chunks import chunks_of
from secure_hfl.files import PART
from secure_hfl.identity import Identity
from secure_hfl.judge.kept_rounds import SET_UP, kept_files

WARNING = (
    "This file shows whoever reads it the key of your session, and with it everything that the other side's messages "
    "of that session hold; your features or gradients of the round; and your share of the weights. Together with what "
    "the other side knows it gives the weights, and with them features of ALL rounds. Give it to a judge whom you "
    "trust with that, and never to the other side."
)


class NothingKept(SecureHflError):
    """There is nothing to open. Says what there is."""


def open_round(directory: Path, number: int, sender: Sender, identity: Identity, out: Path, peer: str = "") -> Path:
    """Write the opening of a round.

    Args:
        directory: of the task.
        number: the round.
        sender: which side this party is.
        identity: signs.
        out: a file that does not exist.
        peer: which of several; the start of its transcript's name.

    Returns:
        The transcript of the conversation that was opened.

    Raises:
        NothingKept: the round was not kept, or is ambiguous.
        OSError: a file cannot be read or written.
    """
    kept = _find(directory / "kept", number, peer)
    transcript = directory / "transcripts" / f"{kept.name}.transcript"
    agreement = open_transcript(lines_of(chunks_of(transcript)), transcript.name).digest
    if not agreement:
        raise NothingKept(f"{transcript} is missing or damaged; without it nobody can judge what was kept")
    temporary = out.with_name(out.name + PART)
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for piece in opening_pieces(agreement, sender, number, frames_to_open(kept, number), identity.sign):
            file.write(piece)
    temporary.replace(out)
    return transcript


def _find(directory: Path, number: int, peer: str) -> Path:
    """The newest conversation that has this round, of the one peer that has any."""
    having = [each for each in directory.glob("*") if number in kept_files(each) and each.name.startswith(peer)]
    by_peer: dict[str, list[tuple[int, Path]]] = {}
    for each in having:
        name, _, conversation = each.name.rpartition("-")
        by_peer.setdefault(name, []).append((int(conversation) if conversation.isdecimal() else 0, each))
    if len(by_peer) > 1:
        raise NothingKept(f"round {number} was kept with {', '.join(sorted(by_peer))}; say which with --peer")
    if not by_peer:
        rounds = sorted({kept for each in directory.glob("*") for kept in kept_files(each) if kept > SET_UP})
        there = f"kept are rounds {', '.join(map(str, rounds))}" if rounds else "nothing was kept"
        raise NothingKept(f"round {number} was not kept: {there}. A run keeps rounds with --keep-for-judge")
    return max(next(iter(by_peer.values())))[1]


def frames_to_open(directory: Path, number: int) -> Iterator[bytes]:
    """Those of the set-up and the round; and what shows that the next one begins where this one ends."""
    files = kept_files(directory)
    for each in (SET_UP, number):
        if each in files:
            data = files[each].read_bytes()
            yield from (data[frame.start : frame.end] for frame in _whole(data))
    if number + 1 in files:
        yield from _next_round(files[number + 1].read_bytes())


def _next_round(data: bytes) -> Iterator[bytes]:
    """The commitments of the next round, and the salt of this party's; its seed stays secret."""
    catalogue = Catalogue([SecretsCommitment])
    for frame in _whole(data):
        if frame.kind == MESSAGE and peek(frame.data, catalogue) is SecretsCommitment:
            yield data[frame.start : frame.end]
        if frame.kind == NOTE and frame.head.get("name") == "secrets":
            note = read_note(frame)
            salt = np.frombuffer(salt_of(note.arrays["seed"].tobytes()), np.uint8)
            yield note_frame("next", {"salt": salt})


def _whole(data: bytes) -> Iterator[Frame]:
    """The frames of a file; a process that was killed may have left the last one torn."""
    frames = frames_of(memoryview(data))
    while True:
        try:
            frame = next(frames, None)
        except InvalidOpening:
            return
        if frame is None:
            return
        yield frame
