"""Keeps, while a task runs, what this party would open to a judge: the exact bytes of messages, and its own inputs.

    <task directory>/kept/<peer>-<n>/0.kept       the set-up of one conversation: 0600, in a directory 0700
    <task directory>/kept/<peer>-<n>/<round>.kept likewise a round, and the shares that it begins with

`<peer>-<n>` is the name of the conversation's transcript. Files are frames of protocols/judge/opening.py, and SECRET:
the key of the session, features or gradients, and the share of the weights. Nothing is kept unless the party asks for
it. A round goes once the next one has closed, which is when both have signed it.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from protocols.core.envelope import Envelope, Phase
from protocols.core.message import Array, Message
from protocols.core.sender import Sender
from protocols.core.witness import Witness
from protocols.judge.opening import message_frame, message_pieces, note_frame
from protocols.transcript.messages import Countersignature
from protocols.wire.varint import Buffer
from secure_hfl.errors import TranscriptNotWritten
from secure_hfl.transport.traffic import Direction

SET_UP = 0
KEPT = "kept"
"""The directory, in a task's."""
_ROUNDS = (Phase.TRAIN, Phase.TEST)
_NAME = re.compile(r"(0|[1-9][0-9]{0,9})\.kept")


def delete_kept(task_directory: Path) -> tuple[int, int]:
    """Delete all that a task's directory keeps for a judge. Returns how many files went, and their bytes."""
    sizes = kept_sizes(task_directory)
    if sizes:
        shutil.rmtree(task_directory / KEPT)
    return len(sizes), sum(sizes)


def kept_sizes(task_directory: Path) -> list[int]:
    """Bytes of every file that a task's directory keeps for a judge."""
    return [path.stat().st_size for path in (task_directory / KEPT).glob("*/*") if _NAME.fullmatch(path.name)]


class KeptRounds(Witness):
    """What is kept of one conversation. Observes its channel, and is the witness of its layer.

    Args:
        directory: for this conversation; must not exist.
        party: which side this is.
        carried: messages of which the last one stays in force until the next, so that a round begins with it.
        keeps_all: no round goes.
    """

    is_keeping = True

    def __init__(
        self, directory: Path, party: Sender, carried: tuple[type[Message], ...], keeps_all: bool = False
    ) -> None:
        self.directory = directory
        self._party, self._carried_types, self._keeps_all = party, carried, keeps_all
        self._lock = threading.Lock()
        self._descriptor, self._number = -1, -1
        self._carried: dict[type[Message], bytes] = {}
        self._closing = dict.fromkeys(Sender, 0)

    def note(self, name: str, **values: Array) -> None:
        """See the base. Secrets of a round begin it."""
        number = values.get("round") if name == "secrets" else None
        with self._lock:
            self._begin(self._number if number is None else int(number[0]))
            self._write(note_frame(name, values))

    def observe(self, direction: Direction, envelope: Envelope, data: Buffer) -> None:
        """Keep a message, if it is of the set-up or of a round."""
        if envelope.phase is not Phase.SETUP and envelope.phase not in _ROUNDS:
            return
        sender = self._party if direction is Direction.SENT else self._party.other
        message_type = type(envelope.message)
        with self._lock:
            self._begin(envelope.round)
            self._write(*message_pieces(sender, data))
            if message_type in self._carried_types:
                self._carried[message_type] = message_frame(sender, data)
            if message_type is Countersignature and envelope.phase in _ROUNDS:
                self._close_round(sender, envelope.round)

    def close(self) -> None:
        """The conversation is over. Safe to call twice."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _begin(self, number: int) -> None:
        """The file of this round, unless it is the one under way, or an earlier one's."""
        number = max(number, SET_UP)
        if number <= self._number:
            return
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._descriptor >= 0:
                os.close(self._descriptor)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor, self._number = os.open(self.directory / f"{number}.kept", flags, 0o600), number
        except OSError as error:
            raise self._not_written(error) from error
        for carried in self._carried.values():
            self._write(carried)

    def _write(self, *pieces: Buffer) -> None:
        if self._descriptor < 0:
            return
        try:
            written = os.writev(self._descriptor, pieces)
            left = memoryview(b"".join(pieces))[written:] if written < sum(map(len, pieces)) else b""
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            raise self._not_written(error) from error

    def _not_written(self, error: OSError) -> TranscriptNotWritten:
        return TranscriptNotWritten(
            f"what --keep-for-judge keeps in {self.directory} cannot be written: {error.strerror}; run without it, or "
            "make room"
        )

    def _close_round(self, sender: Sender, number: int) -> None:
        """Both have signed this round: those before it can go."""
        self._closing[sender] = number
        if self._keeps_all or set(self._closing.values()) != {number}:
            return
        for kept, path in kept_files(self.directory).items():
            if SET_UP < kept < number:
                path.unlink(missing_ok=True)


def kept_files(directory: Path) -> Mapping[int, Path]:
    """What is kept in a conversation's directory, by round; 0 is its set-up."""
    found = {path: _NAME.fullmatch(path.name) for path in directory.glob("*.kept")}
    return {int(match[1]): path for path, match in sorted(found.items()) if match is not None}
