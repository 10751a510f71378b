"""Keeps the transcript of one peer on disk, while a task runs.

    <task directory>/transcripts/<peer>-<run>.transcript      one a peer and run, 0600, append-only

Every message is recorded as it is sent or received, before anything else happens with it, and handed to the operating
system at once: a killed process leaves a file that verifies up to its last whole line. Checkpoints are forced to disk.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from protocols.envelope import Envelope, Phase
from protocols.message import Message
from protocols.steps import Steps
from protocols.transcript.chain import Sender
from protocols.transcript.checkpoints import exchange_checkpoints
from protocols.transcript.messages import Countersignature
from protocols.transcript.recorder import TranscriptRecorder
from secure_hfl import __version__
from secure_hfl.errors import TranscriptNotWritten
from secure_hfl.identity import Identity
from secure_hfl.transport.channel import Channel, Direction
from secure_hfl.transport.wire import Buffer

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
        self.path, self._descriptor = _open_new(directory, channel.peer)
        channel.observers.append(self._observe)

    def exchange(self, phase: Phase, round_number: int) -> Steps[None]:
        """Sign, with the peer, everything up to here."""
        return exchange_checkpoints(self._recorder, phase, round_number)

    def close(self) -> None:
        """Force what was written to disk. Safe to call twice."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _observe(self, direction: Direction, envelope: Envelope, data: Buffer) -> None:
        lines = self._recorder.observe(direction is Direction.SENT, envelope, memoryview(data))
        if not lines or self._descriptor < 0:
            return
        try:
            while lines:
                lines = lines[os.write(self._descriptor, lines) :]
            if _is_boundary(envelope.message):
                os.fsync(self._descriptor)
        except OSError as error:
            raise TranscriptNotWritten(
                f"the transcript {self.path} cannot be written: {error.strerror}; nothing goes on unrecorded"
            ) from error


def _is_boundary(message: Message) -> bool:
    return isinstance(message, Countersignature)


def _open_new(directory: Path, peer: str) -> tuple[Path, int]:
    """A file that did not exist, numbered by run."""
    directory.mkdir(mode=0o700, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", peer)
    run = 1
    while True:
        path = directory / f"{name}-{run}.transcript"
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            run += 1


def _versions() -> Mapping[str, str]:
    found = {"secure-hfl": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
