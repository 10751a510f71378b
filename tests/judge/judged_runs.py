"""Whole tasks in memory whose parties keep their rounds; and openings of them, honest or not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.pump import C, H, identity
from protocols.core.sender import Sender
from protocols.he.interface import Backend, CiphertextBundle, MatrixShape, OpenedKey
from protocols.judge.judge import judge
from protocols.judge.opening import opening_pieces, read_opening
from protocols.judge.verdict import Judgement
from protocols.layer.frozen import FrozenCollaborator, FrozenHost
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.registry import registered_scheme
from protocols.transcript.format import lines_of
from protocols.transcript.opened_transcript import open_transcript
from secure_hfl.judge.kept_rounds import KeptRounds
from secure_hfl.judge.open_round import frames_to_open
from tests.protocols.he.kept_keys import KeptBfv, KeptPaillier
from tests.protocols.kept_layers import BOUNDS
from tests.protocols.whole_task import Before, Case, Task

ROLES = {H: EncryptedHost, C: EncryptedCollaborator}
DEFAULT, UNBROKEN = Case(), Before()
NAMES = {H: "hospital", C: "patient"}


class KeptTask(Task):
    """A task whose parties keep all rounds under a directory. `roles`: in place of the honest ones."""

    def __init__(
        self, case: Case, directory: Path, roles: dict[Sender, Any] | None = None, before: Before = UNBROKEN
    ) -> None:
        super().__init__(case, before)
        self.roles = {**ROLES, **(roles or {})}
        carried = registered_scheme(case.scheme).carried
        self.kept = {sender: KeptRounds(directory / sender.role, sender, carried, True) for sender in Sender}
        for sender, kept in self.kept.items():
            self.wire.observers[sender].append(kept.observe)

    def build(self, line: Any) -> None:
        super().build(line)
        if line is not self.lines[0]:
            return
        backend = backend_of(self.case.scheme)
        ends = {
            sender: self.roles[sender](replace(line.spec, witness=kept), backend, BOUNDS)
            for sender, kept in self.kept.items()
        }
        line.host, line.collaborator = ends[H], ends[C]
        if not self.case.trainable:
            line.host = FrozenHost(line.spec, line.host)
            line.collaborator = FrozenCollaborator(line.spec, line.collaborator)


def backend_of(scheme: str) -> Backend:
    """With keys that are made once."""
    return KeptPaillier(0) if scheme == "paillier" else KeptBfv(pair=0)


class RememberedKey(OpenedKey):
    """An opened key that decrypts and checks a ciphertext once: what comes out depends on nothing else."""

    def __init__(self, key: OpenedKey) -> None:
        self._operand, self._reply = lru_cache(256)(key.operand), lru_cache(256)(key.reply)

    def operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        return self._operand(bundle, shape).copy()

    def reply(self, bundle: CiphertextBundle, shape: MatrixShape) -> NDArray[np.uint64]:
        return self._reply(bundle, shape).copy()


@lru_cache(16)
def opened_key(scheme: str, public_key: bytes, secret: bytes) -> OpenedKey:
    """A key that was opened, checked against the public one when it is seen first. An error is not remembered."""
    return RememberedKey(backend_of(scheme).open_key(public_key, secret))


def judges_backend(scheme: str) -> Backend:
    """One that a judge reads openings with, which are mostly of the same few runs."""
    backend = backend_of(scheme)
    backend.open_key = partial(opened_key, scheme)
    return backend


class Run:
    """A run that was kept."""

    def __init__(self, case: Case, roles: dict[Sender, Any] | None = None, before: Before = UNBROKEN) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="secure-hfl-judged-")  # goes with this object
        self.directory = Path(self._temporary.name)
        task = KeptTask(case, self.directory, roles, before)
        task.run()
        for kept in task.kept.values():
            kept.close()
        self.case, self.files = case, dict(task.wire.files)
        self.agreement = open_transcript(lines_of([self.files[H]]), "").digest

    def frames(self, sender: Sender, number: int) -> list[bytes]:
        """What a party would open."""
        return list(frames_to_open(self.directory / sender.role, number))

    def opening(
        self, sender: Sender, number: int, change: Callable[[list[bytes]], Sequence[bytes]] = list, signer: str = ""
    ) -> bytes:
        """A party's opening, with other frames if they are changed."""
        sign = identity(signer or sender.role).sign
        return b"".join(opening_pieces(self.agreement, sender, number, change(self.frames(sender, number)), sign))

    def judge(self, *openings: bytes, transcripts: Sequence[bytes] | None = None) -> Judgement:
        """What the judge says, given both transcripts unless others are."""
        given = list(self.files.values()) if transcripts is None else transcripts
        read = [read_opening(f"opening {at}", data) for at, data in enumerate(openings)]
        files = [(f"transcript {at}", lines_of([data])) for at, data in enumerate(given)]
        return judge(read, files, backend=judges_backend(self.case.scheme))

    def judged(self, number: int) -> Judgement:
        """Both openings of a round."""
        return self.judge(self.opening(H, number), self.opening(C, number))


@lru_cache
def run_of(case: Case = DEFAULT) -> Run:
    """An honest run of a case, made once."""
    return Run(case)
