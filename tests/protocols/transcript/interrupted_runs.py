"""Whole tasks in memory whose connection is cut, again and again, and which go on from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from benchmarks.harness.pump import C, Cut, H, Wire
from protocols.core.sender import Sender
from protocols.transcript.auditor import audit_run
from protocols.transcript.format import lines_of
from protocols.transcript.position import position_of
from protocols.transcript.report import AuditReport
from tests.protocols.whole_task import Before, Case, Saved, Task


class Run:
    """Conversations of one case.

    Args:
        every: batches between two checkpoints inside a training round.

    Attributes:
        files: each end's transcripts. A conversation whose manifest did not arrive has none at that end.
        saved: the checkpoints that all have, the newest last.
        events: messages sent and received in the last conversation.
    """

    def __init__(self, case: Case, every: int = 1) -> None:
        self.case, self.every = case, every
        self.files: dict[Sender, list[bytes]] = {sender: [] for sender in Sender}
        self.saved: list[Saved] = []
        self.conversations = self.events = 0

    def converse(self, cut_at: int | None = None, older: int = 0) -> bool:
        """One conversation; whether it came to the end of the task.

        Args:
            cut_at: messages sent and received before the connection is cut.
            older: how many of the newest checkpoints somebody lacks.
        """
        self.saved = self.saved[: len(self.saved) - older]
        before = Before(self.saved[-1] if self.saved else None, {"patient": self.last_positions()}, self.conversations)
        task = Task(self.case, before, self.every, [Wire(cut_at)])
        self.conversations += 1
        try:
            task.run()
        except Cut:
            return False
        finally:
            self.events = task.wire.events
            self.saved += task.saved
            for sender in Sender:
                if task.wire.files[sender]:
                    self.files[sender].append(task.wire.files[sender])
        return True

    def last_positions(self) -> dict[Sender, bytes]:
        """What each would say of its last transcript."""
        return {sender: encoded_position(files[-1]) if files else b"" for sender, files in self.files.items()}


def encoded_position(file: bytes) -> bytes:
    """The position of a transcript."""
    position = position_of(lines_of([file]))
    assert position is not None
    return position.encode()


@lru_cache
def length(case: Case) -> int:
    """How many messages are sent and received in a run without interruption."""
    run = Run(case)
    assert run.converse()
    return run.events


@lru_cache
def interrupted(case: Case, cuts: tuple[int, ...], older: int = 0, every: int = 1) -> tuple[list[bytes], list[bytes]]:
    """Each end's transcripts of a run with a cut after so many messages of each conversation but the last."""
    run = Run(case, every)
    for number, cut in enumerate(cuts):
        if run.converse(cut, older if number else 0):
            return run.files[H], run.files[C]
    assert run.converse(None, older if cuts else 0)
    return run.files[H], run.files[C]


def check_run(
    files: Sequence[bytes], others: Sequence[bytes] | None = None, name: str = "host", **options: Any
) -> AuditReport:
    """Audit whole files; they are called host-1, host-2, ..."""
    second = "collaborator" if name == "host" else "host"
    names = [
        [f"{each}-{n}" for n in range(1, 1 + len(given or ()))] for each, given in ((name, files), (second, others))
    ]
    opposite = None if others is None else [lines_of([each]) for each in others]
    return audit_run([lines_of([each]) for each in files], opposite, names=(names[0], names[1]), **options)
