"""What a party keeps so that it can go on after an interruption.

    PSI ─▶ ●  set-up ─▶ ●  training round ─▶ ● every so many batches ─▶ ●  test round ─▶ ●        ● a checkpoint

All parties make their checkpoints at the same places, and keep the last two, so that there is always one which
all have (protocols/task/resumption.py). A checkpoint has this party's models, optimizers, generators and the user's own
state (`secure_hfl.checkpoints.local_state`), its share of each projection layer, the intersection, the split and the
metrics so far. It holds no encryption key and no mask: those are made anew.

The batches of a round that were done are not kept: the user's iterator is run again from the generators' state at the
round's beginning, sending nothing, and then everything is put back to where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from protocols.core.envelope import Phase, Place
from protocols.layer.interface import LayerSpec
from protocols.task.alignment import OrderedIds, SampleId
from protocols.task.resumption import ResumePoint, checkpoint_tag
from secure_hfl.checkpoints.local_state import LocalState, capture_generators, restore_generators
from secure_hfl.checkpoints.plain_attributes import PlainAttributes
from secure_hfl.checkpoints.store import CheckpointStore
from secure_hfl.errors import CheckpointRefused, ResumeLimit
from secure_hfl.files import write_private
from secure_hfl.home import make_private_directory
from secure_hfl.log import logger
from secure_hfl.metrics import RunMetrics

if TYPE_CHECKING:
    from secure_hfl.engine.run import TaskRun

T = TypeVar("T")

MAX_RESUMES = 16
"""Times that a task goes on from one and the same checkpoint. It bounds a crash loop, and how many answers about the
same weights a peer can get by breaking off again and again."""

MAX_RESUMES_IN_ALL = 256
"""Times that a task goes on at all, from whatever checkpoints."""

INTERVAL = 10.0
"""Seconds between two checkpoints inside a round, about."""

COST = 50.0
"""A checkpoint is not made before so many times its own seconds have passed: 2 %."""

_RESUMES, _SETTLED = "resumes.json", "settled"
_COUNTS = TypeAdapter(dict[str, int])

FIRST_BATCHES = 64
"""Batches between two checkpoints as long as nobody knows how long a batch takes."""


class Checkpoints:
    """One run's checkpoints.

    Attributes:
        saved: what the run goes on from, or None.
        seconds: spent on making checkpoints so far.
    """

    def __init__(self, run: TaskRun[Any]) -> None:
        self._run = run
        self._directory = run.store.directory(run.record.task_id) / "checkpoints"
        owner = {
            "task": run.record.task_id,
            "role": run.role,
            "party": run.party,
            "scheme": run.scheme.name,
            "certificate": run.identity.fingerprint,
            "seed": "none" if run.options.seed is None else str(run.options.seed),
        }
        self._store = CheckpointStore(self._directory, owner)
        self.saved: Mapping[str, Any] | None = None
        self.seconds = 0.0
        self._last_seconds = 0.0
        self._before_round: dict[str, Any] = {}
        self._plain = PlainAttributes(run.scheduler)
        self._ids: tuple[object, NDArray[np.uint8]] | None = None

    # Agreement -------------------------------------------------------------------------------------------------------

    def offers(self) -> dict[bytes, ResumePoint]:
        """The usable ones, the newest first."""
        return {saved.tag: _point(saved.place) for saved in self._store.available()}

    def exist(self) -> bool:
        """Whether an earlier run has left any, usable or not."""
        return any(self._directory.glob("checkpoint-*"))

    def begin(self, tag: bytes, is_resuming: bool) -> None:
        """The parties have agreed: go on from this one, or (an empty tag) start at the beginning.

        An interrupted task that starts at its beginning counts as well: each time the intersection is asked for again,
        and a host that breaks off again and again could ask with other ids.

        Raises:
            CheckpointRefused: it cannot be used.
            ResumeLimit: the task has gone on from it too often.
        """
        if not is_resuming:
            self.clear()
            return
        self._count_resume(tag)
        if not tag:
            self._store.clear()
            return
        self.saved = self._store.load(tag).state
        self._store.drop_newer_than(tag)

    def _count_resume(self, tag: bytes) -> None:
        make_private_directory(self._directory)
        path = self._directory / _RESUMES
        try:
            counts = _COUNTS.validate_json(path.read_bytes()) if path.exists() else {}
        except ValidationError as error:
            raise CheckpointRefused(f"{path} is damaged: how often the task was resumed is not known") from error
        counts[tag.hex()] = counts.get(tag.hex(), 0) + 1
        if counts[tag.hex()] > MAX_RESUMES or sum(counts.values()) > MAX_RESUMES_IN_ALL:
            raise ResumeLimit(
                f"the task was interrupted {counts[tag.hex()]} times after the same checkpoint, and "
                f"{sum(counts.values())} times in all; it does not go on. Find what stops it, then start all parties "
                "without --resume"
            )
        write_private(path, json.dumps(counts).encode())

    def clear(self) -> None:
        """Keep none: the task is finished, or begins."""
        self.saved = None
        self._store.clear()
        for name in (_RESUMES, _SETTLED):
            (self._directory / name).unlink(missing_ok=True)

    def release(self) -> None:
        """The run has gone on: what it went on from need not stay in memory."""
        self.saved = None

    @property
    def is_settled(self) -> bool:
        """Whether all parties have saved their results, as this one or its earlier process knows."""
        return (self._directory / _SETTLED).exists()

    def settle(self) -> None:
        """They have."""
        write_private(self._directory / _SETTLED, b"")

    def take_newest(self) -> None:
        """Make the newest one what the run goes on from, without anybody's consent: only to read its metrics."""
        for tag in self.offers():
            self.saved = self._store.load(tag).state
            return

    # Making them -----------------------------------------------------------------------------------------------------

    def begin_round(self) -> None:
        """The user's iterator is about to be started."""
        scheduler = self._run.scheduler
        self._before_round = {"generators": capture_generators(scheduler), "plain": self._plain.capture()}

    def begin_first_round(self) -> None:
        """As `begin_round`, when the first batch is drawn before the set-up is over: the checkpoint is of before."""
        self.begin_round()
        self._before_round["local"] = self._local().capture()

    def every(self) -> int:
        """Batches between two checkpoints in the next round: as asked for, or as fits the time a batch takes."""
        asked = self._run.options.checkpoint_every
        if asked is not None:
            return asked
        rounds = self._run.metrics.rounds
        if not rounds or not rounds[-1].batches or not rounds[-1].train_seconds:
            return FIRST_BATCHES
        per_batch = rounds[-1].train_seconds / rounds[-1].batches
        return max(1, ceil(max(INTERVAL, COST * self._last_seconds) / per_batch))

    def save(self, point: ResumePoint, batches: int = 0) -> None:
        """Keep everything as it is here.

        Args:
            point: where the parties are.
            batches: of the round under way that are done.

        Raises:
            CheckpointNotWritten: the disk is full, or broken. What was there before is still there.
        """
        started = time.perf_counter()
        run = self._run
        state: dict[str, Any] = {
            "metrics": run.metrics_so_far().model_dump(),
            "intersection": self._intersection(),
            "generators": capture_generators(run.scheduler),
            "plain": self._plain.capture(),
            "batches": batches,
        }
        if point.is_set_up:
            at_start = point.phase is Phase.SETUP
            state |= {
                "split": [_ids_blob(run.train_ids), _ids_blob(run.test_ids)],
                "shapes": {key: _shape(spec) for key, spec in run.specs.items()},
                "layers": {key: layer.state() for key, layer in run.layers().items()},
                "local": self._before_round["local"] if at_start else self._local().capture(),
                "round": self._before_round | {"local": None},
            }
            if at_start:
                state |= {"generators": self._before_round["generators"], "plain": self._before_round["plain"]}
        tag = checkpoint_tag(run.manifest.session, point)
        self._store.save(tag, Place(point.phase, point.round, point.batch), state)
        self._last_seconds = time.perf_counter() - started
        self.seconds += self._last_seconds
        logger.debug(f"Checkpoint at {point}, in {1000 * self._last_seconds:.1f} ms.")

    def _intersection(self) -> NDArray[np.uint8]:
        # Made once: it may be millions of ids.
        ids = self._run.id_intersection
        if self._ids is None or self._ids[0] is not ids:
            self._ids = ids, _ids_blob(OrderedIds(ids))
        return self._ids[1]

    def _local(self) -> LocalState:
        run = self._run
        return LocalState(run.models(), run.optimizers(), run.scheduler)

    # Going on --------------------------------------------------------------------------------------------------------

    def _take(self) -> Mapping[str, Any]:
        if self.saved is None:
            raise CheckpointRefused("there is no checkpoint to go on from")
        return self.saved

    def restore_intersection(self) -> None:
        """The intersection, the metrics and the generators' state."""
        saved, run = self._take(), self._run
        run.id_intersection = frozenset(str(item) for item in _ids_of(saved["intersection"]))
        run.take_over_metrics(RunMetrics.model_validate(saved["metrics"]))
        restore_generators(saved["generators"])

    def restore_split(self) -> None:
        """Training and test ids, as the user's method returned them."""
        self._run.train_ids, self._run.test_ids = (_ids_of(blob) for blob in self._take()["split"])

    def shape_of(self, key: str) -> tuple[int, int]:
        """Rows and width of a layer's features."""
        rows, width = self._take()["shapes"][key]
        return rows, width

    def layer_of(self, key: str) -> Mapping[str, Any]:
        """The state of a projection layer. Raises `CheckpointRefused` if there is none."""
        layers = self._take()["layers"]
        if key not in layers:
            raise CheckpointRefused(f"the checkpoint has no projection layer for {key}")
        state: Mapping[str, Any] = layers[key]
        return state

    def replay(self, start: Callable[[], Iterator[T]], batches: int) -> Iterator[T]:
        """The user's iterator of the round under way, behind the batches that were done; and all else as it was.

        Raises:
            CheckpointRefused: it has fewer batches than before, or what was kept does not fit the models.
        """
        saved = self._take()
        self._plain.restore(saved["round"]["plain"])
        restore_generators(saved["round"]["generators"], self._run.scheduler)
        self.begin_round()
        iterator, end = start(), object()
        for done in range(batches):
            if next(iterator, end) is end:
                raise CheckpointRefused(
                    f"iterate_train_feature yields {done} batches now, and yielded {batches} before"
                )
        self.restore_local()
        return iterator

    def restore_local(self) -> None:
        """Models, optimizers, the user's own state and the generators."""
        saved = self._take()
        self._local().restore(saved["local"])
        self._plain.restore(saved["plain"])
        restore_generators(saved["generators"], self._run.scheduler)


def _point(place: Place) -> ResumePoint:
    return ResumePoint(place.phase, place.round, place.batch)


def _shape(spec: LayerSpec) -> list[int]:
    return [spec.rows, spec.width_in]


def _ids_blob(ids: Collection[SampleId]) -> NDArray[np.uint8]:
    """Ids with their order and types: as bytes of JSON, which is faster than a tree of so many leaves."""
    text = json.dumps([isinstance(ids, OrderedIds), *ids])
    return np.frombuffer(text.encode(), np.uint8)


def _ids_of(blob: NDArray[np.uint8]) -> OrderedIds | list[SampleId]:
    is_ordered, *ids = json.loads(blob.tobytes())
    return OrderedIds(ids) if is_ordered else ids
