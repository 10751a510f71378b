"""Runs the PSI roles over the links: streamed, in both directions at once, and with all collaborators at once.

Both say how many ids they have. Then the host sends its points in a thread of its own while it takes the
collaborator's, so that neither side waits for the other to read. A collaborator sends first and answers then; the
channels hold what arrives meanwhile. Where one of the two has more ids than one run takes, buckets are run
(psi_buckets.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import LocalMisuse, SecureHflError
from protocols.psi import PsiOpen, PsiReceiver, PsiSender
from protocols.psi.buckets import bucket_count
from protocols.psi.packed import Texts
from protocols.task.abort import AbortCode
from secure_hfl.engine.link import Link
from secure_hfl.engine.psi_buckets import HostBuckets, HostCut, collaborator_buckets
from secure_hfl.engine.psi_files import texts_at
from secure_hfl.engine.psi_work import (
    WHOLE,
    Common,
    PsiOutcome,
    PsiWork,
    Stretch,
    common_of,
    describe_format,
    fresh,
    watched,
)
from secure_hfl.errors import EmptyIntersection, PeerAborted
from secure_hfl.log import of_this_task
from secure_hfl.progress import Progress

T = TypeVar("T")


def run_host_psi(links: Collection[Link], work: PsiWork) -> PsiOutcome:
    """The ids that the host and all its collaborators hold.

    Raises:
        EmptyIntersection: there is none.
        InvalidInput: the ids cannot be used; nothing was sent.
        PeerFault: a collaborator broke the protocol.
    """
    before = _traffic(links)
    work.check_ids()
    pairs = [HostPair(link, work) for link in links]
    with ThreadPoolExecutor(len(pairs), thread_name_prefix="psi") as pool:
        sizes = dict(zip((link.name for link in links), pool.map(of_this_task(HostPair.open), pairs)))
        many = [size for size in sizes.values() if work.buckets_with(size) > 1]
        cut = HostCut(work, bucket_count(max(len(work.ids), *many)), len(many)) if many else None
        list(pool.map(of_this_task(HostPair.run), pairs, repeat(cut)))
    told = _Final(pairs, cut)
    if not told.count and not work.may_be_empty:
        counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise EmptyIntersection(
            f"no id is held by all parties: the host has {len(work.ids)} ids, {counts}", describe_format(work.ids)
        )
    for name in sizes:
        work.check_limits(name, told.count)
    common = told.tell()
    outcome = work.outcome(common, len(work.ids), sizes, _since(before, links))
    return replace(outcome, pairwise=told.pairwise())


class HostPair:
    """The host with one collaborator.

    Attributes:
        link: to it.
        common: what the two have in common, after a run over all ids.
        buckets: what they have in common, after one in buckets.
    """

    def __init__(self, link: Link, work: PsiWork) -> None:
        self.link, self.work = link, work
        self.role: PsiReceiver | None = None
        self.common: frozenset[str] = frozenset()
        self.buckets: HostBuckets | None = None
        self._opened: PsiOpen

    def open(self) -> int:
        """Say how many ids the host has, hear how many the collaborator has."""
        self._opened = ended_by_errors(self.link, lambda: self.link.run(self.work.opening(self.link.name).run()))
        return self._opened.set_size

    def run(self, cut: HostCut | None) -> None:
        """Find out what both have. `cut`: of the host, where it runs buckets with somebody."""
        link, work, size = self.link, self.work, self._opened.set_size
        directions = BothWays(link, work.progress)
        if cut is not None and work.buckets_with(size) > 1:
            self.buckets = HostBuckets(link, work, size, cut, directions.run)
            ended_by_errors(link, self.buckets.run)
        else:
            self.role = directions.run(self._receiver)
            self.common = self.role.intersection()

    def _receiver(self) -> PsiReceiver:
        work = self.work
        hashed, mapper = work.hashed(self.link.name), work.mapper_with(self._opened.set_size)
        role = PsiReceiver(hashed, fresh(), mapper, chunk=work.chunk, max_peer_ids=work.max_peer_ids)
        role.opened(self._opened)
        return role


class _Final:
    """Puts what was found with each collaborator together, and tells them.

    Args:
        pairs: all of them.
        cut: of the host, where it ran buckets with one of them.

    Attributes:
        count: ids that all have.
    """

    def __init__(self, pairs: Collection[HostPair], cut: HostCut | None) -> None:
        self._pairs, self._cut = pairs, cut
        whole = [pair.common for pair in pairs if pair.buckets is None]
        self._whole = frozenset.intersection(*whole) if whole else None
        self._masks = [] if cut is None else [self._mask(cut, index) for index in range(cut.count)]
        self.count = sum(map(np.count_nonzero, self._masks)) if cut is not None else len(self._whole or ())

    def _mask(self, cut: HostCut, index: int) -> NDArray[np.bool_]:
        """Which of a bucket's ids all have."""
        ids = cut.work.files.bucket(index)
        mask = np.ones(len(ids), np.bool_)
        if self._whole is not None:
            mask &= np.fromiter(map(self._whole.__contains__, ids), np.bool_, len(ids))
        for pair in self._pairs:
            if pair.buckets is not None:
                mask &= pair.buckets.found(index, len(ids))
        return mask

    def tell(self) -> Common:
        """All collaborators; the ids."""
        pieces: list[Texts] = []
        if self._cut is not None:
            for index, mask in enumerate(self._masks):
                pieces.append(texts_at(self._cut.work.files.bucket(index), mask))
                for pair in self._pairs:
                    if pair.buckets is not None:
                        pair.buckets.tell(index, mask)
        common: Common = (self._whole or frozenset()) if self._cut is None else common_of(pieces)
        for pair in self._pairs:
            if pair.role is not None:
                pair.link.run(pair.role.tell(common if isinstance(common, frozenset) else frozenset(common)))
        return common

    def pairwise(self) -> Mapping[str, frozenset[str]]:
        """What each has in common with the host, whose ids are few; else nothing."""
        if self._cut is not None and bucket_count(len(self._cut.work.ids)) > 1:
            return {}
        return {pair.link.name: self._common_with(pair) for pair in self._pairs}

    def _common_with(self, pair: HostPair) -> frozenset[str]:
        if pair.buckets is None or self._cut is None:
            return pair.common
        found: set[str] = set()
        for index in range(self._cut.count):
            ids = self._cut.work.files.bucket(index)
            found.update(ids[at] for at in np.flatnonzero(pair.buckets.found(index, len(ids))).tolist())
        return frozenset(found)


def ended_by_errors(link: Link, work: Callable[[], T]) -> T:
    """Do some work with a peer. What goes wrong ends the channel, so that nobody waits in it."""
    try:
        return work()
    except BaseException as error:
        link.channel.fail(error if isinstance(error, SecureHflError) else LocalMisuse(f"PSI: {type(error).__name__}"))
        raise


class BothWays:
    """The host's two directions with one collaborator.

    Args:
        link: to it.
        progress: hears how far it is.
    """

    def __init__(self, link: Link, progress: Progress) -> None:
        self._link, self._progress = link, progress
        self._first_error: BaseException | None = None

    def run(self, make_role: Callable[[], PsiReceiver], stretch: Stretch = WHOLE) -> PsiReceiver:
        """Drive a role to where it has compared. What goes wrong in one direction first ends the other, and is raised.

        Args:
            make_role: called when both directions may begin.
            stretch: which part of all points this is.
        """
        made: list[PsiReceiver] = []
        self._until_it_fails(lambda: made.append(make_role()))
        if self._first_error is not None:
            raise self._first_error
        (role,) = made
        heard = watched(role.hear(), self._progress, f"points of {self._link.name}", stretch=stretch)
        with ThreadPoolExecutor(1, thread_name_prefix="psi-send") as sender:
            sender.submit(of_this_task(self._until_it_fails), lambda: self._link.run(role.send()))
            self._until_it_fails(lambda: self._link.run(heard))
        if self._first_error is not None:
            raise self._first_error
        return role

    def _until_it_fails(self, direction: Callable[[], object]) -> None:
        """Run one direction. An error wakes whoever waits in the other, and is kept if it is the first."""
        try:
            direction()
        except BaseException as error:
            if self._first_error is None:
                self._first_error = error
            cause = error if isinstance(error, SecureHflError) else LocalMisuse(f"PSI: {type(error).__name__}")
            self._link.channel.fail(cause)


def run_collaborator_psi(link: Link, party: str, work: PsiWork) -> PsiOutcome:
    """The ids that all parties of the task hold. Raises as `run_host_psi`; the host says so if there is none."""
    before = _traffic([link])
    work.check_ids()
    opened = link.run(work.opening(party).run())
    try:
        if work.buckets_with(opened.set_size) > 1:
            common = common_of(collaborator_buckets(link, party, work, opened.set_size))
        else:
            work.peer_opened(opened.set_size)
            common = _over_all(link, party, work, opened)
    except PeerAborted as error:
        if error.code == AbortCode.EMPTY_INTERSECTION:  # reading every id takes too long to do it before
            error.local_detail = describe_format(work.ids)
        raise
    work.check_limits(party, len(common))
    return work.outcome(common, opened.set_size, {party: len(work.ids)}, _since(before, [link]))


def _over_all(link: Link, party: str, work: PsiWork, opened: PsiOpen) -> frozenset[str]:
    hashed, mapper = work.hashed(party), work.mapper_with(opened.set_size)
    role = PsiSender(hashed, fresh(), mapper, chunk=work.chunk, max_peer_ids=work.max_peer_ids)
    role.opened(opened)
    link.run(watched(role.send(), work.progress, "own points", -(-len(work.ids) // work.chunk)))
    link.run(watched(role.answer(), work.progress, f"points of {link.name}"))
    return link.run(role.learn())


def _traffic(links: Iterable[Link]) -> tuple[int, int]:
    channels = [link.channel for link in links]
    return sum(channel.sent.bytes for channel in channels), sum(channel.received.bytes for channel in channels)


def _since(before: tuple[int, int], links: Iterable[Link]) -> tuple[int, int]:
    sent, got = _traffic(links)
    return sent - before[0], got - before[1]
