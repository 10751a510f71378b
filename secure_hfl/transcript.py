"""Keeps the transcript of one peer on disk, while a task runs.

    <task directory>/transcripts/<peer>-<n>.transcript      one a peer and conversation, 0600, append-only

Every message is recorded before it leaves, and a received one before the next leaves or is waited for (`Observers`).
Lines go to the operating system at once: a killed process leaves a file that verifies up to its last whole line. Signed
heads are forced to disk.
A task that goes on after an interruption does so in another conversation, and says in it how far the file before goes.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path

from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import InvalidInput, SecureHflError, WrongSession
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.steps import Steps
from protocols.task.resumption import TranscriptPosition
from protocols.transcript.continuation_check import MAY_DIFFER
from protocols.transcript.format import lines_of
from protocols.transcript.messages import Countersignature
from protocols.transcript.position import position_of
from protocols.transcript.preamble import AgreedTerms
from protocols.transcript.recorder import TranscriptRecorder
from protocols.transcript.signing import exchange_signed_heads
from protocols.wire.varint import Buffer
from secure_hfl.errors import TranscriptNotWritten
from secure_hfl.identity import Identity
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.traffic import Direction
from secure_hfl.version import __version__

PACKAGES = ("cryptography", "gmpy2", "grpcio", "numpy", "phe", "tenseal", "torch")


class Transcript:
    """One peer's transcript, attached to its channel.

    Args:
        directory: where transcripts of the task are kept.
        channel: the open channel; nothing may have been sent or received on it yet.
        role: "host" or "collaborator", this party's.
        identity: signs.
        peer_certificate: PEM.
        seed: of a reproducible run, or None. Only its hash is recorded.

    Attributes:
        path: the file.
    """

    def __init__(
        self,
        directory: Path,
        channel: Channel,
        role: str,
        identity: Identity,
        peer_certificate: bytes,
        seed: int | None,
    ) -> None:
        commitment = "" if seed is None else hashlib.sha256(f"secure-hfl seed {seed}".encode()).hexdigest()
        self._recorder = TranscriptRecorder(
            Sender[role.upper()], identity.certificate_pem, peer_certificate, identity.sign, _versions(), commitment
        )
        self._peer, self._settle = channel.peer, channel.settle
        self._lock = threading.Lock()  # a reader's thread may still have a last message when the run closes the file
        self.path, self._descriptor = _open_new(directory, channel.peer)
        channel.observers.append(self._observe)

    def exchange(self, phase: Phase, round_number: int) -> Steps[None]:
        """Sign, with the peer, everything up to here."""
        self._settle()
        return exchange_signed_heads(self._recorder.signer, phase, round_number)

    def sync(self) -> None:
        """Force what was written so far to disk: who can go on from here must be able to show how it got here.

        Raises:
            TranscriptNotWritten: the disk is full, or broken.
        """
        self._settle()
        try:
            if self._descriptor >= 0:
                os.fsync(self._descriptor)
        except OSError as error:
            raise self._not_written(error) from error

    def first_terms(self) -> AgreedTerms | None:
        """What the first conversation before this one was agreed on with; None if there was none."""
        earlier = [path for path in transcripts_of(self.path.parent, self._peer) if path != self.path]
        return next(filter(None, map(agreed_terms, earlier)), None)

    def check_terms_kept(self) -> None:
        """Compare what this conversation of a resumed run was agreed on with its first one.

        Not with the last one: that may be an attempt to resume which was refused for its terms.

        Raises:
            WrongSession: the terms are others; a run keeps them. Says which.
        """
        before, now = self.first_terms(), agreed_terms(self.path)
        if before is None or now is None:
            return
        for name, value in asdict(before).items():
            if name not in MAY_DIFFER and getattr(now, name) != value:
                numbers = "" if name.endswith("_certificate") else f" ({value} before, {getattr(now, name)} now)"
                raise WrongSession(
                    f"resume: the interrupted run with {self._peer} was agreed on with another {name}{numbers}. Resume "
                    "with the same options, or start all parties without --resume to begin anew"
                )

    def close(self) -> None:
        """Force what was written to disk; remove the file if no conversation came about. Safe to call twice."""
        with suppress(SecureHflError):  # that ended the run
            self._settle()
        with self._lock:
            if self._descriptor < 0:
                return
            os.fsync(self._descriptor)
            is_empty = not os.fstat(self._descriptor).st_size
            os.close(self._descriptor)
            self._descriptor = -1
            if is_empty:
                self.path.unlink(missing_ok=True)

    def _observe(self, direction: Direction, envelope: Envelope, data: Buffer) -> None:
        lines = self._recorder.observe(direction is Direction.SENT, envelope, memoryview(data))
        with self._lock:
            if not lines or self._descriptor < 0:
                return
            try:
                while lines:
                    lines = lines[os.write(self._descriptor, lines) :]
                if _is_boundary(envelope.message):
                    os.fsync(self._descriptor)
            except OSError as error:
                raise self._not_written(error) from error

    def _not_written(self, error: OSError) -> TranscriptNotWritten:
        return TranscriptNotWritten(
            f"the transcript {self.path} cannot be written: {error.strerror}; nothing goes on unrecorded"
        )


def _is_boundary(message: Message) -> bool:
    return isinstance(message, Countersignature)


def _open_new(directory: Path, peer: str) -> tuple[Path, int]:
    """A file that did not exist, numbered by conversation."""
    directory.mkdir(mode=0o700, exist_ok=True)
    name, number = _file_name(peer), 1
    while True:
        path = directory / f"{name}-{number}.transcript"
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            number += 1


def last_position(directory: Path, peer: str) -> TranscriptPosition | None:
    """How far this party's transcript of the last conversation with a peer goes; None if there was none.

    Args:
        directory: where transcripts of the task are kept.
        peer: as its channel calls it.
    """
    for path in reversed(transcripts_of(directory, peer)):
        with path.open("rb") as file:
            position = position_of(lines_of(iter(partial(file.read, 1 << 20), b"")))
        if position is not None:
            return position
    return None


def agreed_terms(path: Path) -> AgreedTerms | None:
    """What a transcript says that its conversation was agreed on with; None if it does not get so far."""
    with path.open("rb") as file:
        line = list(islice(file, 2))[-1:]
    text = b"".join(line).rpartition(b" ")[0]
    prefix = f"{AgreedTerms.line_name} ".encode()
    try:
        return AgreedTerms.parse(text.removeprefix(prefix).decode()) if text.startswith(prefix) else None
    except (InvalidInput, UnicodeDecodeError):
        return None


def transcripts_of(directory: Path, peer: str) -> list[Path]:
    """The files about a peer, the oldest first."""
    pattern = re.compile(re.escape(_file_name(peer)) + r"-([0-9]+)\.transcript")
    numbered = [(int(match[1]), path) for path in directory.glob("*") if (match := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def _file_name(peer: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", peer)


def _versions() -> Mapping[str, str]:
    found = {"secure-hfl": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
