"""Runs PSI in buckets over the links: one bucket after the other, each kept on the disk when it is done.

    agree on the cut ─▶ for each bucket that is not done: PSI, keep what was found ─▶ all results ─▶ the ids in common

The host cuts its set once for all its collaborators, and goes through the buckets with all of them at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.core.randomness import OsRandomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.psi import PsiReceiver, PsiResult, PsiSender
from protocols.psi.bucket_messages import NONCE_BYTES
from protocols.psi.bucketing import CollaboratorBucketing, Cut, HostBucketing
from protocols.psi.buckets import Shape, shape_of
from protocols.psi.packed import Texts
from secure_hfl.engine.link import Link
from secure_hfl.engine.psi_files import texts_at
from secure_hfl.engine.psi_work import PsiWork, Stretch, fresh, watched
from secure_hfl.log import logger


class HostCut:
    """The host's cut of its set, the same with all collaborators.

    Args:
        work: the host's.
        count: buckets.
        collaborators: how many take part.

    Attributes:
        nonce: of the key.
        is_cut: whether the ids lie in buckets of this nonce.
    """

    def __init__(self, work: PsiWork, count: int, collaborators: int) -> None:
        self.work, self.count = work, count
        self._collaborators = collaborators
        self._lock = threading.Lock()
        self._parties = work.manifest.bucketing
        kept = work.files.kept(work.ids, self._parties)
        self.is_cut = kept is not None and kept[1] == count
        self.nonce = kept[0] if kept and self.is_cut else OsRandomness().bytes(NONCE_BYTES)

    def fits(self, nonce: bytes, shape: Shape) -> bool:
        """Cut, unless it is done; see `Fits`."""
        with self._lock:
            if not self.is_cut:
                size = shape.host_size
                self.is_cut = self.work.files.cut(self.work.ids, self._parties, nonce, self.count, size)
            return self.is_cut

    def redraw(self) -> bytes:
        """For the only collaborator, whose ids do not fit."""
        if self._collaborators > 1:
            raise InvalidInput("a collaborator's ids did not fit a random cut, once in 2^41 times: start again")
        with self._lock:
            self.nonce, self.is_cut = OsRandomness().bytes(NONCE_BYTES), False
            return self.nonce


class HostBuckets:
    """The host with one collaborator.

    Args:
        link: to it.
        work: the host's.
        peer_ids: how many ids the collaborator has.
        cut: the host's.
        both_ways: drives a role in both directions at once, given how to make it and which part this is.
    """

    def __init__(
        self,
        link: Link,
        work: PsiWork,
        peer_ids: int,
        cut: HostCut,
        both_ways: Callable[[Callable[[], PsiReceiver], Stretch], PsiReceiver],
    ) -> None:
        self._link, self._work, self._cut, self._both_ways = link, work, cut, both_ways
        self._shape = shape_of(len(work.ids), peer_ids, cut.count)
        self._mapper = work.mapper_with(peer_ids)

    def run(self) -> None:
        """All buckets that are not done."""
        name, files = self._link.name, self._work.files
        done = files.done(name) if self._cut.is_cut else 0
        first = Cut(self._shape, self._cut.nonce, min(done, self._shape.buckets))
        cut = self._link.run(HostBucketing(first, self._cut.fits, self._cut.redraw).run())
        count = self._shape.buckets
        if cut.done:
            logger.info(f"{cut.done} of {count} buckets of ids are done with {name}, and are not run again.")
        for index in range(cut.done, count):
            role = self._both_ways(lambda index=index: self._receiver(index), Stretch(index, count))  # type: ignore[misc]
            files.keep_found(name, index, role.matches())
            self._work.progress.emit("psi_bucket", peer=name, done=index + 1, total=count)

    def _receiver(self, index: int) -> PsiReceiver:
        work, shape = self._work, self._shape
        hashed = work.hashed_bucket(self._link.name, index, shape.host_size)
        return PsiReceiver(hashed, fresh(), self._mapper, chunk=work.chunk, peer_ids=shape.collaborator_size)

    def found(self, index: int, size: int) -> NDArray[np.bool_]:
        """Which of a bucket's `size` ids the collaborator has too."""
        mask = np.zeros(size, np.bool_)
        mask[self._work.files.found(self._link.name, index).positions] = True
        return mask

    def tell(self, index: int, final: NDArray[np.bool_]) -> None:
        """Tell it which ids of a bucket all have, as a mask over the host's."""
        positions, slots = self._work.files.found(self._link.name, index)
        message = PsiResult.marking(slots[final[positions]], self._shape.collaborator_size)
        self._link.run(_says(message))


def collaborator_buckets(link: Link, party: str, work: PsiWork, host_ids: int) -> Iterator[Texts]:
    """The collaborator's side: all buckets that are not done, then the results; a bucket's ids in common at a time."""
    files, parties = work.files, work.manifest.bucketing

    def fits(nonce: bytes, shape: Shape) -> bool:
        return files.cut(work.ids, parties, nonce, shape.buckets, shape.collaborator_size)

    cut = link.run(CollaboratorBucketing(host_ids, len(work.ids), _kept(work, host_ids), fits).run())
    shape, mapper = cut.shape, work.mapper_with(host_ids)
    work.peer_opened(shape.buckets * shape.host_size)  # nobody can tell padding from ids
    if cut.done:
        logger.info(f"{cut.done} of {shape.buckets} buckets of ids are done, and are not run again.")
    for index in range(cut.done, shape.buckets):
        hashed = work.hashed_bucket(party, index, shape.collaborator_size)
        role = PsiSender(hashed, fresh(), mapper, chunk=work.chunk, peer_ids=shape.host_size)
        stretch, own = Stretch(index, shape.buckets), -(-shape.collaborator_size // work.chunk)
        link.run(watched(role.send(), work.progress, "own points", own, stretch))
        link.run(watched(role.answer(), work.progress, f"points of {link.name}", stretch=stretch))
        files.keep_order(index, role.order)
        work.progress.emit("psi_bucket", peer=link.name, done=index + 1, total=shape.buckets)
    for index in range(shape.buckets):
        yield link.run(_learn(files.bucket(index), files.order(index), shape))


def _kept(work: PsiWork, host_ids: int) -> Cut | None:
    """What an interrupted run has left here."""
    kept = work.files.kept(work.ids, work.manifest.bucketing)
    if kept is None:
        return None
    nonce, count = kept
    return Cut(shape_of(host_ids, len(work.ids), count), nonce, min(work.files.done(None), count))


def _learn(ids: list[str], order: NDArray[np.int64], shape: Shape) -> Steps[Texts]:
    """A bucket's result, as those of its ids that all have."""
    message = received((yield Receive(PsiResult)), PsiResult)
    size = shape.collaborator_size
    positions = order[message.slots(size, min(size, shape.host_size))]
    if len(positions) and positions.max() >= len(ids):
        raise MalformedMessage("PsiResult marks padding, which is no id")
    mask = np.zeros(len(ids), np.bool_)
    mask[positions] = True
    return texts_at(ids, mask)


def _says(message: PsiResult) -> Steps[None]:
    yield Send(message)
