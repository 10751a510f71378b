"""A session in memory that counts common ids, with both ends' transcripts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.harness.pump import C, H
from protocols.core.envelope import Phase
from protocols.core.randomness import OsRandomness
from protocols.overlap import Opening, OverlapAnswer, OverlapCount, OverlapOpen, Terms, overlap_id
from protocols.psi import hash_ids
from protocols.task.agreement import HostAgreement, HostPlan
from protocols.task.manifest import Manifest
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import CollaboratorRounds, HostRounds
from tests.protocols.prediction_task import Prediction
from tests.protocols.task_line import Line
from tests.protocols.whole_task import Case, Saved

PAIR = overlap_id(bytes(32))
CHUNK = 3


def opened(size: int, terms: Terms, pair: bytes = PAIR, chunk: int = CHUNK) -> OverlapOpen:
    """What a party says first."""
    return OverlapOpen(size, chunk, terms.least, terms.round_to, pair)


def host_steps(ids: Sequence[str], terms: Terms, pair: bytes = PAIR) -> Any:
    """The Host's part: the opening, and the count."""
    opening = Opening(opened(len(ids), terms, pair), 1000)
    role = OverlapCount(hash_ids(pair, ids), OsRandomness(), terms, chunk=CHUNK)
    peer = yield from opening.run()
    opening.admit(peer)
    return (yield from role.run(peer))


def collaborator_steps(ids: Sequence[str], terms: Terms, pair: bytes = PAIR) -> Any:
    """The Collaborator's."""
    opening = Opening(opened(len(ids), terms, pair), 1000)
    role = OverlapAnswer(hash_ids(pair, ids), OsRandomness(), terms, chunk=CHUNK)
    peer = yield from opening.run()
    opening.admit(peer)
    return (yield from role.run(peer))


class Counted(Prediction):
    """A session, before anything is trained.

    Args:
        host, others: their ids.
        terms: of all.

    Attributes:
        sizes: what the host, and each collaborator, has learned.
    """

    def __init__(self, case: Case, host: Sequence[str], others: Sequence[str], terms: Terms) -> None:
        super().__init__(case, Saved(b"", ResumePoint(Phase.SETUP), {}), hello_trained=b"")
        self.ids, self.terms = (host, others), terms
        self.sizes: Collection[tuple[int, int]] = ()

    def run(self) -> Counted:
        """All of it."""
        self.join()
        self.go_to(Phase.PSI)
        self.sizes = [
            tuple(line.wire.talk(*(part(ids, self.terms, overlap_id(self.manifest.pair(line.name)))
                                   for part, ids in zip((host_steps, collaborator_steps), self.ids, strict=True))))
            for line in self.lines
        ]  # fmt: skip
        self.sign()
        self.rounds = HostRounds(self.case.names, is_prediction=True)
        for line in self.lines:
            line.rounds = CollaboratorRounds()
        self.finish()
        return self

    def plan(self, plan: HostPlan) -> HostPlan:
        """See the base."""
        return replace(plan, is_overlap=True, trained=b"")

    def decide(self, host: HostAgreement) -> Manifest:
        """See the base."""
        return host.decide(None, OsRandomness())

    def hello(self, line: Line) -> Any:
        """See the base."""
        return replace(super().hello(line), is_overlap=True)

    @property
    def files(self) -> tuple[bytes, bytes]:
        """The first line's transcripts."""
        return self.wire.files[H], self.wire.files[C]
