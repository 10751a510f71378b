"""Runs the PSI roles over the links: streamed, in both directions at once, and with all collaborators at once.

The host sends its points in a thread of its own while it takes the collaborator's, so that neither side waits for the
other to read. A collaborator sends first and answers then; the channels hold what arrives meanwhile.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from protocols.core import multi_buffer
from protocols.core.errors import LocalMisuse, SecureHflError
from protocols.core.mapper import Mapper
from protocols.core.message import Message
from protocols.core.randomness import ChaCha20Randomness, OsRandomness
from protocols.core.steps import ReceiveMany, Send, Steps, received_many
from protocols.psi import (
    PSI_CHUNK,
    HashedIds,
    PsiPoints,
    PsiReceiver,
    PsiSender,
    check_ids,
    hash_checked,
)
from protocols.task.abort import AbortCode
from protocols.task.manifest import Manifest
from secure_hfl.engine.id_forms import Forms
from secure_hfl.engine.link import Link
from secure_hfl.errors import EmptyIntersection, PeerAborted
from secure_hfl.executor import Executor
from secure_hfl.limits import DEFAULT_LIMITS
from secure_hfl.log import logger, of_this_task
from secure_hfl.metrics import PsiMetrics
from secure_hfl.progress import Progress

M = TypeVar("M", bound=Message)
T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")

SLOWER_WITHOUT_KERNELS = 6
MANY_IDS = 1 << 18
"""From here on chunks are larger: handing one to a worker process costs a millisecond, whatever is in it."""
LARGE_CHUNK = 1 << 14


@dataclass(frozen=True)
class PsiOutcome:
    """What private set intersection has found, and what it cost."""

    intersection: frozenset[str] = field(repr=False)
    metrics: PsiMetrics
    pairwise: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    """At the host: the ids that each collaborator holds as well."""


class PsiWork:
    """One party's ids, and the means to work on them.

    Args:
        manifest: of the task.
        ids: this party's.
        executor: where heavy work runs.
        progress: hears how far it is.
        max_peer_ids: how large a peer's set may be.
        may_be_empty: whether the parties go on without any id in common.
        peer_opened: at a collaborator, told how many ids the host has before it is told anything of them; may raise.
    """

    def __init__(
        self,
        manifest: Manifest,
        ids: Sequence[str],
        executor: Executor,
        progress: Progress,
        max_peer_ids: int = DEFAULT_LIMITS.ids,
        may_be_empty: bool = False,
        peer_opened: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.ids = ids
        self.may_be_empty, self.peer_opened = may_be_empty, peer_opened
        self.progress, self.max_peer_ids = progress, max_peer_ids
        self.chunk = chunk_size(len(ids))
        self._manifest = manifest
        self._hashing = threading.Lock()
        self._started = time.perf_counter()
        has_kernels = multi_buffer.available()
        # Pieces of work that are each about as long as a chunk of `PSI_CHUNK` is with the fast kernels.
        pieces = -(-len(ids) // PSI_CHUNK) * (1 if has_kernels else SLOWER_WITHOUT_KERNELS)
        self.mapper: Mapper = executor.mapper(pieces, releases_lock=has_kernels)

    def hashed(self, collaborator: str) -> HashedIds:
        """Hashed for the host and this collaborator, in the order in which ids lie in memory.

        All parties do it at the same time. A host does it for one collaborator after the other, so that the first can
        begin, and the others' ids are hashed while it waits for that one's points.
        """
        total = -(-len(self.ids) // self.chunk)

        def counting(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
            return _counted(self.mapper(function, items), self.progress, "hashing ids", total)

        with self._hashing:
            return hash_checked(self._manifest.pair(collaborator), self.ids, counting, self.chunk)

    def check_limits(self, collaborator: str, common: int) -> None:
        """Raise `WrongSession` if a collaborator does not allow so many ids in common."""
        self._manifest.limits(collaborator).check_ids(collaborator, common)

    def outcome(
        self,
        common: frozenset[str],
        host_ids: int,
        collaborator_ids: dict[str, int],
        traffic: tuple[int, int],
    ) -> PsiOutcome:
        """It is over.

        Args:
            common: the ids that all hold.
            host_ids, collaborator_ids: how many each party has, as far as this one knows.
            traffic: bytes sent and received.
        """
        metrics = PsiMetrics(
            seconds=time.perf_counter() - self._started,
            host_ids=host_ids,
            collaborator_ids=collaborator_ids,
            intersection=len(common),
            bytes_sent=traffic[0],
            bytes_received=traffic[1],
        )
        logger.info(f"{len(common)} ids in common, found in {metrics.seconds:.2f} s.")
        self.progress.emit("psi_done", **metrics.model_dump())
        return PsiOutcome(common, metrics)


def run_host_psi(links: Collection[Link], work: PsiWork) -> PsiOutcome:
    """The ids that the host and all its collaborators hold.

    Raises:
        EmptyIntersection: there is none.
        InvalidInput: the ids cannot be used; nothing was sent.
        PeerFault: a collaborator broke the protocol.
    """
    before = _traffic(links)
    check_ids(work.ids)
    pairs = [_HostPair(link, partial(_receiver, work, link.name), work.progress) for link in links]
    with ThreadPoolExecutor(len(pairs), thread_name_prefix="psi") as pool:
        pairwise = list(pool.map(of_this_task(_HostPair.run), pairs))
    final = frozenset.intersection(*pairwise)
    sizes = {pair.link.name: pair.role.peer_size for pair in pairs}
    if not final and not work.may_be_empty:
        counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise EmptyIntersection(
            f"no id is held by all parties: the host has {len(work.ids)} ids, {counts}", describe_format(work.ids)
        )
    for pair in pairs:
        work.check_limits(pair.link.name, len(final))
    for pair in pairs:
        pair.link.run(pair.role.tell(final))
    outcome = work.outcome(final, len(work.ids), sizes, _since(before, links))
    return replace(outcome, pairwise={pair.link.name: common for pair, common in zip(pairs, pairwise)})


def _receiver(work: PsiWork, collaborator: str) -> PsiReceiver:
    return PsiReceiver(
        work.hashed(collaborator), _fresh(), work.mapper, chunk=work.chunk, max_peer_ids=work.max_peer_ids
    )


class _HostPair:
    """The host with one collaborator. `make_role` is called when both directions may begin."""

    role: PsiReceiver

    def __init__(self, link: Link, make_role: Callable[[], PsiReceiver], progress: Progress) -> None:
        self.link, self._make_role, self._progress = link, make_role, progress
        self._common: frozenset[str] = frozenset()
        self._first_error: BaseException | None = None

    def run(self) -> frozenset[str]:
        """Both directions; the pairwise intersection. What goes wrong in one direction first ends the other."""
        self._until_it_fails(self._begin)
        if self._first_error is not None:
            raise self._first_error
        with ThreadPoolExecutor(1, thread_name_prefix="psi-send") as sender:
            sender.submit(of_this_task(self._until_it_fails), self._send)
            self._until_it_fails(self._receive)
        if self._first_error is not None:
            raise self._first_error
        return self._common

    def _until_it_fails(self, direction: Callable[[], None]) -> None:
        """Run one direction. An error wakes whoever waits in the other, and is kept if it is the first."""
        try:
            direction()
        except BaseException as error:
            if self._first_error is None:
                self._first_error = error
            cause = error if isinstance(error, SecureHflError) else LocalMisuse(f"PSI: {type(error).__name__}")
            self.link.channel.fail(cause)

    def _begin(self) -> None:
        self.role = self._make_role()

    def _send(self) -> None:
        self.link.run(self.role.send())

    def _receive(self) -> None:
        steps = _watched(self.role.receive(), self._progress, f"points of {self.link.name}")
        self._common = self.link.run(steps)


def run_collaborator_psi(link: Link, party: str, work: PsiWork) -> PsiOutcome:
    """The ids that all parties of the task hold. Raises as `run_host_psi`; the host says so if there is none."""
    before = _traffic([link])
    check_ids(work.ids)
    role = PsiSender(work.hashed(party), _fresh(), work.mapper, chunk=work.chunk, max_peer_ids=work.max_peer_ids)
    link.run(_watched(role.send(), work.progress, "own points", -(-len(work.ids) // work.chunk)))
    link.run(_watched(_answer(role, work), work.progress, f"points of {link.name}"))
    try:
        common = link.run(role.learn())
    except PeerAborted as error:
        if error.code == AbortCode.EMPTY_INTERSECTION:  # reading every id takes too long to do it before
            error.local_detail = describe_format(work.ids)
        raise
    work.check_limits(party, len(common))
    return work.outcome(common, role.peer_size, {party: len(work.ids)}, _since(before, [link]))


def _answer(role: PsiSender, work: PsiWork) -> Steps[None]:
    """`PsiSender.answer`; the host's size is looked at before anything is answered."""
    steps = role.answer()
    step = next(steps)
    is_open = False
    try:
        while True:
            answer = yield step
            step = steps.send(answer)
            if not is_open:
                is_open = True
                work.peer_opened(role.peer_size)
    except StopIteration:
        return


def _traffic(links: Iterable[Link]) -> tuple[int, int]:
    channels = [link.channel for link in links]
    return sum(channel.sent.bytes for channel in channels), sum(channel.received.bytes for channel in channels)


def _since(before: tuple[int, int], links: Iterable[Link]) -> tuple[int, int]:
    sent, got = _traffic(links)
    return sent - before[0], got - before[1]


def chunk_size(ids: int) -> int:
    """Points in a message of a party with so many ids."""
    return PSI_CHUNK if ids < MANY_IDS else LARGE_CHUNK


def _fresh() -> ChaCha20Randomness:
    """Every pair of parties has a scalar and an order of its own."""
    return ChaCha20Randomness(OsRandomness().seed())


def _watched(steps: Steps[T], progress: Progress, step: str, sends: int = 0) -> Steps[T]:
    """The same conversation; somebody hears of each message of points in it.

    Args:
        step: what this is called.
        sends: how many it sends; 0: it is those that it receives that count.
    """
    done = 0
    wanted = next(steps)
    try:
        while True:
            answer = yield wanted
            if isinstance(wanted, ReceiveMany) and PsiPoints in wanted.types:
                answer = _counted(received_many(answer, PsiPoints), progress, step, wanted.count)
            elif isinstance(wanted, Send) and isinstance(wanted.message, PsiPoints) and sends:
                done += 1
                progress.emit("psi", step=step, done=done, total=sends)
            wanted = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


def _counted(items: Iterable[T], progress: Progress, step: str, total: int) -> Iterator[T]:
    for done, item in enumerate(items, 1):
        yield item
        progress.emit("psi", step=step, done=done, total=total)


def describe_format(ids: Sequence[str]) -> str:
    """What this party's own ids look like, for its own eyes: kinds of characters, lengths and forms, never an id."""
    shapes: dict[str, int] = {}
    for item in ids:
        kind = re.sub(r"[0-9]+", "digits", re.sub(r"[^\W\d_]+", "letters", item))
        shapes[kind] = shapes.get(kind, 0) + 1
    lengths = [len(item) for item in ids]
    common = sorted(shapes, key=lambda kind: -shapes[kind])[:3]
    listed = ", ".join(f"{kind[:60]!r} ({shapes[kind]})" for kind in common)
    forms = Forms(ids)
    written = f"; of {forms.looked_at:,}, {forms}" if forms.counts else ""
    return f"this party's ids have {min(lengths)} to {max(lengths)} characters and look like {listed}{written}"
