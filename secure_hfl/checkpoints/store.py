"""The checkpoints of one party's task on disk.

    <directory>/checkpoint-<number>.bin       0600, the last two; numbers count up

    secure-hfl checkpoint 1        magic and version
    <SHA-256 of the rest, hex>
    {"owner": ..., "tag": ..., "place": [phase, round, batch], "saved_at": ...}
    the state, packed (see tree.py)

Two are kept because the parties do not save at the same instant: when one dies in between, the others still have the
one before. A file appears under its name when all of it is on the disk, and only then is the oldest one removed. So a
process killed at any moment leaves the last complete ones, and at most one `.part` file, which the next save removes.
"""

from __future__ import annotations

import errno
import hmac
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from protocols.core.envelope import Phase, Place
from secure_hfl.checkpoints.tree import pack, unpack
from secure_hfl.errors import CheckpointNotWritten, CheckpointRefused
from secure_hfl.files import PART, sync_directory, write_private
from secure_hfl.home import privacy_problem
from secure_hfl.log import logger
from secure_hfl.tasks.record import utc_now

KEPT = 2
MAGIC = b"secure-hfl checkpoint "
VERSION = MAGIC + b"1\n"

_NAME = re.compile(r"checkpoint-([1-9]\d{0,17})\.bin")
_DIGEST_LINE = 65
_MAX_HEAD_LINE = 1 << 20
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Saved:
    """A checkpoint that can be loaded.

    Attributes:
        tag: what the parties call it.
        place: where in the task it was saved.
        number: of its file.
    """

    tag: bytes
    place: Place
    number: int


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was loaded."""

    tag: bytes
    place: Place
    state: Mapping[str, Any] = field(repr=False)  # shares of the weights, and the key of the smoothing noise


class CheckpointStore:
    """The checkpoints of one task at one party. Only one process at a time saves (the task's run lock sees to it).

    Args:
        directory: where they are kept; made (0700) by the first save.
        owner: what a checkpoint must be of, compared field by field: task, role, party, scheme, certificate, ...
    """

    def __init__(self, directory: Path, owner: Mapping[str, str]) -> None:
        self._directory = directory
        self._owner = dict(owner)
        self._warned: set[str] = set()

    def save(self, tag: bytes, place: Place, state: Mapping[str, Any]) -> None:
        """Keep a state. It is on the disk when this returns; of the earlier ones, one is kept.

        Args:
            tag: what the parties call this checkpoint.
            place: where in the task it is.
            state: a tree as `pack` takes it.

        Raises:
            InvalidInput: something in the state cannot be kept. Says what, and where.
            CheckpointNotWritten: the disk is full, or the directory cannot be used. The earlier ones are untouched.
        """
        body = pack(dict(state))
        head = self._head_line(tag, place)
        digest = sha256(head)
        digest.update(body)
        lines = VERSION + digest.hexdigest().encode() + b"\n" + head
        try:
            self._prepare_directory()
            numbers = self._numbers()
            write_private(self._path(max(numbers, default=0) + 1), lines, body)
        except OSError as error:
            raise CheckpointNotWritten(
                f"no checkpoint can be written to {self._directory}: {error.strerror}; "
                "the earlier ones are kept. Check that the directory can be written and that the disk is not full"
            ) from error
        self._discard(self._path(number) for number in numbers[KEPT - 1 :])

    def available(self) -> tuple[Saved, ...]:
        """The checkpoints that can be loaded, the newest first, at most two.

        The others are logged, once, with the reason. Reads every file to its end, but holds none in memory.

        Raises:
            CheckpointRefused: the directory cannot be read.
        """
        found: list[Saved] = []
        for number in self._numbers():
            try:
                found.append(self._read(number)[0])
            except CheckpointRefused as error:
                if str(error) not in self._warned:
                    self._warned.add(str(error))
                    logger.warning(f"A checkpoint cannot be used: {error}")
            if len(found) == KEPT:
                break
        return tuple(found)

    def load(self, tag: bytes) -> Checkpoint:
        """The newest checkpoint with this tag.

        Raises:
            CheckpointRefused: there is none that can be used. Says what is wrong with those there are.
        """
        problems = []
        for number in self._numbers():
            try:
                saved, state = self._read(number, keep_state=True)
                if saved.tag == tag:
                    return Checkpoint(saved.tag, saved.place, unpack(state))
                problems.append(f"{self._path(number)} is another one ({saved.place})")
            except CheckpointRefused as error:
                problems.append(str(error))
        there = "; ".join(problems) or f"{self._directory} holds none"
        raise CheckpointRefused(f"the checkpoint that was asked for cannot be used: {there}")

    def drop_newer_than(self, tag: bytes) -> None:
        """Remove what is newer than the checkpoint with this tag, usable or not: training goes on from that one.

        Raises:
            CheckpointRefused: there is no usable checkpoint with this tag. Nothing was removed.
            CheckpointNotWritten: a file cannot be removed.
        """
        numbers = [saved.number for saved in self.available() if saved.tag == tag]
        if not numbers:
            raise CheckpointRefused(
                f"{self._directory} has no usable checkpoint with this tag, so none is newer than it"
            )
        self._discard(self._path(number) for number in self._numbers() if number > numbers[0])

    def clear(self) -> None:
        """Remove them all: a finished task keeps none.

        Raises:
            CheckpointNotWritten: a file cannot be removed.
        """
        self._discard(self._path(number) for number in self._numbers())
        if self._directory.is_dir():
            self._discard(self._directory.glob(f"*{PART}"))

    def move_newest(self, directory: Path) -> None:
        """Hand the newest usable checkpoint over to another directory (made, 0700), in place of what is there.

        Raises:
            CheckpointNotWritten: it cannot be moved.
        """
        found = self.available()
        if not found:
            return
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            for each in directory.iterdir():
                each.unlink()
            self._path(found[0].number).replace(directory / "checkpoint-1.bin")
            sync_directory(directory)
        except OSError as error:
            raise CheckpointNotWritten(
                f"the last checkpoint cannot be moved to {directory}: {error.strerror}"
            ) from error

    # Inner parts -----------------------------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self._directory / f"checkpoint-{number}.bin"

    def _numbers(self) -> list[int]:
        """Of the files there are, the highest first."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointRefused(f"{self._directory} cannot be read: {error.strerror}") from error
        matches = (_NAME.fullmatch(name) for name in names)
        return sorted((int(match[1]) for match in matches if match), reverse=True)

    def _prepare_directory(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if problem := privacy_problem(self._directory, self._directory.stat()):
            raise CheckpointNotWritten(f"no checkpoint is written: {problem}")
        self._remove(self._directory.glob(f"checkpoint-*{PART}"))

    def _remove(self, paths: Iterator[Path]) -> None:
        gone = list(paths)
        for path in gone:
            path.unlink(missing_ok=True)
        if gone:
            sync_directory(self._directory)

    def _discard(self, paths: Iterator[Path]) -> None:
        try:
            self._remove(paths)
        except OSError as error:
            raise CheckpointNotWritten(
                f"checkpoints in {self._directory} cannot be removed: {error.strerror}"
            ) from error

    def _head_line(self, tag: bytes, place: Place) -> bytes:
        head = {
            "owner": self._owner,
            "tag": tag.hex(),
            "place": [int(place.phase), place.round, place.batch],
            "saved_at": utc_now().isoformat(timespec="seconds"),
        }
        return json.dumps(head).encode() + b"\n"

    def _read(self, number: int, keep_state: bool = False) -> tuple[Saved, bytes]:
        """A checkpoint that has been checked, and its packed state if that is to be kept."""
        path = self._path(number)
        with _opened(path) as file:
            if (line := file.readline(len(VERSION))) != VERSION:
                raise CheckpointRefused(f"{path} {_other_version(line)}")
            digest_line, head_line = file.readline(_DIGEST_LINE), file.readline(_MAX_HEAD_LINE)
            digest, state = sha256(head_line), b""
            if keep_state:
                state = file.read()
                digest.update(state)
            else:
                while block := file.read(_BLOCK):
                    digest.update(block)
        if not hmac.compare_digest(digest.hexdigest().encode() + b"\n", digest_line):
            raise CheckpointRefused(f"{path} is torn: its content does not have the SHA-256 it had when it was written")
        try:
            head = json.loads(head_line)
            phase, round_number, batch = head["place"]
            saved = Saved(bytes.fromhex(head["tag"]), Place(Phase(phase), round_number, batch), number)
            owner = dict(head["owner"])
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointRefused(f"{path} is not a checkpoint that this program wrote") from error
        for name in {**self._owner, **owner}:
            if owner.get(name) != self._owner.get(name):
                theirs, ours = owner.get(name, "nothing"), self._owner.get(name, "nothing")
                raise CheckpointRefused(f"{path} is foreign: its {name} is {theirs}, this party's is {ours}")
        return saved, state


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A checkpoint's file for reading, if it is a plain file that nobody else has access to."""
    try:
        # Without O_NONBLOCK, opening a named pipe waits for its other end.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointRefused(f"{path} is not a plain file")
            if problem := privacy_problem(path, status):
                raise CheckpointRefused(str(problem))
            yield file
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise CheckpointRefused(f"{path} cannot be read: {why}") from error


def _other_version(line: bytes) -> str:
    if line.startswith(MAGIC):
        version = line.removeprefix(MAGIC).decode("ascii", "replace").strip()
        return f"is of format {version!r}, this version of secure-hfl knows '1': use the one that wrote it"
    return "is torn, or is not a checkpoint: it does not begin as one"
