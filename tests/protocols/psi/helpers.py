"""What the tests of PSI share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.pump import Conversation, complete, ends_of_nothing
from protocols.core.message import Message
from protocols.core.randomness import OsRandomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.psi import PsiOpen, PsiReceiver, PsiResult, PsiSender
from protocols.psi.bucketing import CollaboratorBucketing, Cut, HostBucketing
from protocols.psi.buckets import (
    Shape,
    bucket_numbers,
    bucket_pair,
    bucket_words,
    bucketing_domain,
    hash_bucket,
    key_of,
    shape_of,
)
from protocols.psi.ids import canonical
from protocols.psi.opening import Opening


@dataclass
class PsiRun:
    """Everything that crossed the wire in one PSI run, and what each side made of it."""

    from_host: list[Message]
    from_collaborator: list[Message]
    host_learns: frozenset[str]
    collaborator_learns: frozenset[str]


def send_and_answer(role: PsiSender) -> Steps[None]:
    """A collaborator's turn, as the engine takes it."""
    yield from role.send()
    yield from role.answer()


def run_psi(
    host: PsiReceiver,
    collaborator: PsiSender,
    final: Callable[[frozenset[str]], Collection[str]] = lambda pairwise: pairwise,
) -> PsiRun:
    """One whole run in memory; `final` makes the intersection of all parties out of the pairwise one."""
    ours, theirs = ends_of_nothing()
    answering = theirs.begin(send_and_answer(collaborator))
    pairwise, _, _ = complete([ours.begin(host.receive()), ours.begin(host.send()), answering])
    _, learnt = complete([ours.begin(host.tell(final(pairwise))), theirs.begin(collaborator.learn())])
    assert not ours.waiting
    assert not theirs.waiting
    return PsiRun(ours.sent, theirs.sent, pairwise, learnt)


def partition(nonce: bytes, ids: Sequence[str], buckets: int) -> list[tuple[str, ...]]:
    """Ids by bucket, in memory."""
    words = bucket_words(key_of(bucketing_domain("task", [bytes(32), bytes([1] * 32)]), nonce), canonical(ids))
    numbers = bucket_numbers(words, buckets).tolist()
    return [tuple(each for each, number in zip(ids, numbers, strict=True) if number == at) for at in range(buckets)]


@dataclass
class Half:
    """One party of a run in buckets.

    Attributes:
        kept: by bucket that is done: at the host positions and slots, at the collaborator its order.
        cut: what was agreed on.
        runs: buckets that were run.
    """

    ids: list[str]
    cut: Cut | None = None
    kept: dict[int, Any] = field(default_factory=dict)
    runs: list[int] = field(default_factory=list)

    def fits(self, nonce: bytes, size: int, buckets: int) -> bool:
        return max(map(len, partition(nonce, self.ids, buckets))) <= size

    def texts(self, index: int) -> tuple[str, ...]:
        assert self.cut is not None
        return partition(self.cut.nonce, self.ids, self.cut.shape.buckets)[index]


class Bucketed:
    """PSI in buckets between two parties in memory, as the engine does it.

    Args:
        host, other: the parties; what they have kept of a run before is gone on with.
        pair: of both.
        begin: starts a conversation at the host's end, and at the collaborator's.
        buckets: how many.
    """

    def __init__(
        self,
        host: Half,
        other: Half,
        pair: bytes,
        begin: tuple[Callable[[Steps[Any]], Conversation], Callable[[Steps[Any]], Conversation]],
        buckets: int,
    ) -> None:
        self.host, self.other, self.pair, self.begin, self.buckets = host, other, pair, begin, buckets
        self.shape = shape_of(len(host.ids), len(other.ids), buckets)

    def _complete(self, *talks: tuple[int, Steps[Any]]) -> list[Any]:
        return complete([self.begin[end](steps) for end, steps in talks])

    def open(self) -> None:
        halves = (self.host, self.other)
        said = [PsiOpen(len(half.ids), 4, self.pair) for half in halves]
        self._complete(*((end, Opening(message, 1 << 20).run()) for end, message in enumerate(said)))

    def agree(self) -> None:
        shape = self.shape
        first = self.host.cut and Cut(shape, self.host.cut.nonce, len(self.host.kept))
        proposing = HostBucketing(
            first or Cut(shape, OsRandomness().bytes(32)),
            lambda nonce, shape: self.host.fits(nonce, shape.host_size, shape.buckets),
            lambda: OsRandomness().bytes(32),
        )
        kept = self.other.cut and Cut(shape, self.other.cut.nonce, len(self.other.kept))

        def fits(nonce: bytes, shape: Shape) -> bool:
            return self.other.fits(nonce, shape.collaborator_size, shape.buckets)

        taking = CollaboratorBucketing(len(self.host.ids), len(self.other.ids), kept, fits)
        cuts = self._complete((0, proposing.run()), (1, taking.run()))
        assert cuts[0] == cuts[1]
        for half, cut in zip((self.host, self.other), cuts, strict=True):
            half.cut = cut
            half.kept = {index: what for index, what in half.kept.items() if index < cut.done}

    def run_bucket(self, index: int) -> None:
        """One bucket; both keep what it was."""
        pair = bucket_pair(self.pair, index)
        random, shape = OsRandomness(), self.shape
        ours = hash_bucket(pair, self.host.texts(index), shape.host_size, random)
        theirs = hash_bucket(pair, self.other.texts(index), shape.collaborator_size, random)
        host = PsiReceiver(ours, random, chunk=4, peer_ids=shape.collaborator_size)
        other = PsiSender(theirs, random, chunk=3, peer_ids=shape.host_size)
        self._complete((0, host.send()), (0, host.hear()), (1, send_and_answer(other)))
        self.host.kept[index], self.other.kept[index] = host.matches(), other.order
        for half in (self.host, self.other):
            half.runs.append(index)

    def run_all(self) -> None:
        assert self.host.cut is not None
        for index in range(self.host.cut.done, self.buckets):
            self.run_bucket(index)

    def tell(self, final: Collection[str]) -> frozenset[str]:
        """Results of all buckets; what the collaborator learns."""
        learnt: set[str] = set()
        for index in range(self.buckets):
            positions, slots = self.host.kept[index]
            texts = self.host.texts(index)
            marked = slots[[texts[at] in final for at in positions.tolist()]]
            message = PsiResult.marking(np.asarray(marked, np.int64), self.shape.collaborator_size)
            _, result = self._complete((0, _says(message)), (1, _hears()))
            order: NDArray[np.int64] = self.other.kept[index]
            size = self.shape.collaborator_size
            learnt |= {self.other.texts(index)[at] for at in order[result.slots(size, size)].tolist()}
        return frozenset(learnt)

    @property
    def pairwise(self) -> frozenset[str]:
        """What the host has found."""
        return frozenset(self.host.texts(i)[at] for i in range(self.buckets) for at in self.host.kept[i].positions)


def _says(message: Message) -> Steps[None]:
    yield Send(message)


def _hears() -> Steps[PsiResult]:
    return received((yield Receive(PsiResult)), PsiResult)
