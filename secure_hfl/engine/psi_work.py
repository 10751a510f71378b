"""What one party brings to its PSI, and what comes of it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from protocols.core import multi_buffer
from protocols.core.mapper import Mapper
from protocols.core.randomness import ChaCha20Randomness, OsRandomness
from protocols.core.steps import ReceiveMany, Send, Steps, received_many
from protocols.core.wording import plural
from protocols.overlap.messages import OverlapPoints
from protocols.psi import PSI_CHUNK, HashedIds, PsiOpen, PsiPoints, check_ids, hash_checked
from protocols.psi.buckets import bucket_count, bucket_pair, hash_bucket
from protocols.psi.opening import Opening
from protocols.psi.packed import PackedIds, Texts, packed
from protocols.task.manifest import Manifest
from secure_hfl.engine.id_file import IdFile
from secure_hfl.engine.id_forms import MOST_LOOKED_AT, Forms
from secure_hfl.engine.psi_files import PsiFiles
from secure_hfl.executor import Executor
from secure_hfl.limits import DEFAULT_LIMITS
from secure_hfl.log import logger
from secure_hfl.metrics import PsiMetrics
from secure_hfl.progress import Progress

T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")

SLOWER_WITHOUT_KERNELS = 6
MANY_IDS = 1 << 18
"""From here on chunks are larger: handing one to a worker process costs a millisecond, whatever is in it."""
LARGE_CHUNK = 1 << 14

Common = frozenset[str] | PackedIds
"""Ids that all hold: packed where there are more than one run of PSI takes."""


@dataclass(frozen=True)
class PsiOutcome:
    """What private set intersection has found, and what it cost."""

    intersection: Common = field(repr=False)
    metrics: PsiMetrics
    pairwise: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    """At the host, if its own ids are few: those that each collaborator holds as well."""


class PsiWork:
    """One party's ids, and the means to work on them.

    Args:
        manifest: of the task.
        ids: this party's, as `UserCode.local_ids` returns them.
        executor: where heavy work runs.
        progress: hears how far it is.
        files: where buckets are kept.
        max_peer_ids: how large a peer's set may be.
        may_be_empty: whether the parties go on without any id in common.
        peer_opened: at a collaborator, told how many ids the host may ask about, which is how many points it sends,
            before it is told anything of them; may raise.
    """

    def __init__(
        self,
        manifest: Manifest,
        ids: Sequence[str] | IdFile,
        executor: Executor,
        progress: Progress,
        files: PsiFiles,
        max_peer_ids: int = DEFAULT_LIMITS.ids,
        may_be_empty: bool = False,
        peer_opened: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.ids, self.files = ids, files
        self.may_be_empty, self.peer_opened = may_be_empty, peer_opened
        self.progress, self.max_peer_ids = progress, max_peer_ids
        self.chunk = chunk_size(len(ids))
        self.manifest = manifest
        self._hashing = threading.Lock()
        self._started = time.perf_counter()
        self._executor = executor
        self._mapping = threading.Lock()

    def mapper_with(self, peer_ids: int) -> Mapper:
        """Where work goes with a peer of so many ids: its points are raised here as well as our own."""
        has_kernels = multi_buffer.available()
        # Pieces of work that are each about as long as a chunk of `PSI_CHUNK` is with the fast kernels.
        pieces = -(-max(len(self.ids), peer_ids) // PSI_CHUNK) * (1 if has_kernels else SLOWER_WITHOUT_KERNELS)
        with self._mapping:
            return self._executor.mapper(pieces, releases_lock=has_kernels)

    def check_ids(self) -> None:
        """Raise `InvalidInput` if they cannot be used; those in a file have been looked at."""
        if not isinstance(self.ids, IdFile):
            check_ids(self.ids)

    def pair(self, collaborator: str) -> bytes:
        """What stands for this session of the host and a collaborator."""
        return self.manifest.pair(collaborator)

    def opening(self, collaborator: str) -> Opening:
        """How PSI of the host and a collaborator begins here."""
        return Opening(PsiOpen(len(self.ids), self.chunk, self.pair(collaborator)), self.max_peer_ids)

    def buckets_with(self, peer_ids: int) -> int:
        """Into how many buckets this party's set and a peer's are cut; 1: none."""
        return bucket_count(max(len(self.ids), peer_ids))

    def hashed(self, collaborator: str) -> HashedIds:
        """All ids, hashed for the host and this collaborator, in the order in which ids lie in memory.

        All parties do it at the same time. A host does it for one collaborator after the other, so that the first can
        begin, and the others' ids are hashed while it waits for that one's points.
        """
        total = -(-len(self.ids) // self.chunk)
        mapper = self.mapper_with(0)

        def counting(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
            return counted(mapper(function, items), self.progress, "hashing ids", total)

        ids = list(self.ids) if isinstance(self.ids, IdFile) else self.ids
        with self._hashing:
            return hash_checked(self.pair(collaborator), ids, counting, self.chunk)

    def hashed_bucket(self, collaborator: str, index: int, size: int) -> HashedIds:
        """One bucket's ids, hashed for the host and this collaborator, and padding."""
        ids = tuple(self.files.bucket(index))
        pair = bucket_pair(self.pair(collaborator), index)
        with self._hashing:
            return hash_bucket(pair, ids, size, OsRandomness(), self.mapper_with(0), self.chunk)

    def check_limits(self, collaborator: str, common: int) -> None:
        """Raise `WrongSession` if a collaborator does not allow so many ids in common."""
        self.manifest.limits(collaborator).check_ids(collaborator, common)

    def outcome(
        self,
        common: Common,
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
        logger.info(f"{plural(len(common), 'id')} in common, found in {metrics.seconds:.2f} s.")
        self.progress.emit("psi_done", **metrics.model_dump())
        return PsiOutcome(common, metrics)


def common_of(pieces: Iterable[Texts]) -> Common:
    """Ids out of buckets: packed if they are many."""
    ids = packed(pieces)
    return ids if bucket_count(len(ids)) > 1 else frozenset(ids)


def chunk_size(ids: int) -> int:
    """Points in a message of a party with so many ids."""
    return PSI_CHUNK if ids < MANY_IDS else LARGE_CHUNK


def fresh() -> ChaCha20Randomness:
    """Every pair of parties, and every bucket, has a scalar and an order of its own."""
    return ChaCha20Randomness(OsRandomness().seed())


@dataclass(frozen=True)
class Stretch:
    """Which part of all points a conversation carries: one of `parts` of the same length, the first is 0."""

    part: int = 0
    parts: int = 1


WHOLE = Stretch()
_POINTS = (PsiPoints, OverlapPoints)


def watched(steps: Steps[T], progress: Progress, step: str, sends: int = 0, stretch: Stretch = WHOLE) -> Steps[T]:
    """The same conversation; somebody hears of each message of points in it.

    Args:
        step: what this is called.
        sends: how many it sends; 0: it is those that it receives that count.
        stretch: of which part of all points this is.
    """
    done = 0
    wanted = next(steps)
    try:
        while True:
            answer = yield wanted
            if isinstance(wanted, ReceiveMany) and wanted.types[0] in _POINTS:
                answer = counted(received_many(answer, wanted.types[0]), progress, step, wanted.count, stretch)
            elif isinstance(wanted, Send) and isinstance(wanted.message, PsiPoints) and sends:
                done += 1
                progress.emit("psi", step=step, done=stretch.part * sends + done, total=stretch.parts * sends)
            wanted = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


def counted(items: Iterable[T], progress: Progress, step: str, total: int, stretch: Stretch = WHOLE) -> Iterator[T]:
    """The same items; somebody hears of each when it is there: who takes them may not ask for one behind the last."""
    for done, item in enumerate(items, 1):
        progress.emit("psi", step=step, done=stretch.part * total + done, total=stretch.parts * total)
        yield item


def describe_format(ids: Collection[str] | IdFile) -> str:
    """What this party's own ids look like, for its own eyes: kinds of characters, lengths and forms, never an id."""
    shapes: dict[str, int] = {}
    looked_at = list(ids) if len(ids) <= MOST_LOOKED_AT else list(islice(ids, MOST_LOOKED_AT))
    for item in looked_at:
        kind = re.sub(r"[0-9]+", "digits", re.sub(r"[^\W\d_]+", "letters", item))
        shapes[kind] = shapes.get(kind, 0) + 1
    lengths = [len(item) for item in looked_at]
    common = sorted(shapes, key=lambda kind: -shapes[kind])[:3]
    listed = ", ".join(f"{kind[:60]!r} ({shapes[kind]})" for kind in common)
    forms = Forms(looked_at)
    written = f"; of {forms.looked_at:,}, {forms}" if forms.counts else ""
    return (
        f"this party's ids have {min(lengths)} to {plural(max(lengths), 'character')} and look like {listed}{written}"
    )
