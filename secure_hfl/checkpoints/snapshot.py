"""A snapshot: everything that a run hands over to be kept, and gets back to go on from. Nothing else passes.

Its tree is what is on the disk (tree.py, store.py); the names of its entries are those of format 1.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.message import Array
from protocols.psi.packed import PackedIds
from protocols.task.alignment import OrderedIds, SampleId
from protocols.task.resumption import ResumePoint
from secure_hfl.errors import CheckpointRefused


@dataclass(frozen=True, repr=False)
class UserSnapshot:
    """The user's part at one moment. Secret.

    Attributes:
        generators: states of the random generators.
        plain: plain attributes of the scheduler that have changed.
        local: models, optimizers and what else has a state (`LocalState`); None where it is not kept.
    """

    generators: Mapping[str, Any]
    plain: Mapping[str, Any]
    local: Mapping[str, Any] | None = None


@dataclass(frozen=True, repr=False)
class Training:
    """What there is once the layers are set up. Secret.

    Attributes:
        split: training and test ids (`ids_blob`).
        shapes: rows and width of each layer's features, by the collaborator's feature key.
        layers: this party's side of each layer.
        round_start: the user's part when the iterator of the round under way, or of the last one, was started.
    """

    split: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    shapes: Mapping[str, tuple[int, int]]
    layers: Mapping[str, Mapping[str, Array]]
    round_start: UserSnapshot

    def layer(self, key: str) -> Mapping[str, Array]:
        """The state of a projection layer. Raises `CheckpointRefused` if there is none."""
        if key not in self.layers:
            raise CheckpointRefused(f"the checkpoint has no projection layer for {key}")
        return self.layers[key]

    def ids(self, common: Collection[str]) -> tuple[Collection[SampleId], Collection[SampleId]]:
        """Training and test ids, as the user's method returned them. `common`: what `Snapshot.ids` has given."""
        return ids_of(self.split[0], common), ids_of(self.split[1], common)


@dataclass(frozen=True, repr=False)
class Snapshot:
    """One party's run at a place where checkpoints are made. Secret.

    Attributes:
        point: where.
        metrics: of the run so far (`secure_hfl.metrics.kept_in_tree`).
        intersection: of the ids (`ids_blob`).
        user: the user's part.
        batches: of the round under way that are done.
        training: None before the layers are set up.
    """

    point: ResumePoint
    metrics: Mapping[str, Any]
    intersection: NDArray[np.uint8]
    user: UserSnapshot
    batches: int = 0
    training: Training | None = field(default=None)

    def tree(self) -> dict[str, Any]:
        """As it is written; a tree that `pack` takes."""
        tree: dict[str, Any] = {
            "metrics": self.metrics,
            "intersection": self.intersection,
            "generators": self.user.generators,
            "plain": self.user.plain,
            "batches": self.batches,
        }
        if self.training is not None:
            start = self.training.round_start
            tree |= {
                "split": list(self.training.split),
                "shapes": {key: list(shape) for key, shape in self.training.shapes.items()},
                "layers": dict(self.training.layers),
                "local": self.user.local,
                "round": {"generators": start.generators, "plain": start.plain, "local": None},
            }
        return tree

    @classmethod
    def of(cls, point: ResumePoint, tree: Mapping[str, Any]) -> Snapshot:
        """What was written. Raises `CheckpointRefused` if it does not have the parts of a snapshot."""
        try:
            training = None
            if point.is_set_up:
                train, test = tree["split"]
                start = tree["round"]
                training = Training(
                    split=(train, test),
                    shapes={key: (rows, width) for key, (rows, width) in tree["shapes"].items()},
                    layers=tree["layers"],
                    round_start=UserSnapshot(start["generators"], start["plain"]),
                )
            user = UserSnapshot(tree["generators"], tree["plain"], tree.get("local"))
            return cls(point, tree["metrics"], tree["intersection"], user, tree["batches"], training)
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointRefused(f"the checkpoint at {point} lacks a part: {error}") from error

    def ids(self) -> frozenset[str] | PackedIds:
        """The intersection."""
        ids = ids_of(self.intersection)
        return ids if isinstance(ids, PackedIds) else frozenset(str(item) for item in ids)

    def at_set_up(self) -> Training:
        """What there is once the layers are set up. Raises `CheckpointRefused` if they were not."""
        if self.training is None:
            raise CheckpointRefused("there is no checkpoint of training to go on from")
        return self.training


def ids_blob(ids: Collection[SampleId]) -> NDArray[np.uint8]:
    """Ids with their order and types: as bytes of JSON, which is faster than a tree of so many leaves, or packed."""
    if isinstance(ids, PackedIds):
        return ids.to_bytes()
    text = json.dumps([isinstance(ids, OrderedIds), *ids])
    return np.frombuffer(text.encode(), np.uint8)


def ids_of(blob: NDArray[np.uint8], whole: Collection[str] | None = None) -> OrderedIds | list[SampleId] | PackedIds:
    """The inverse of `ids_blob`. `whole`: of what they may be a part."""
    if blob[:1].tobytes() != b"[":
        try:
            return PackedIds.from_bytes(blob, whole if isinstance(whole, PackedIds) else None)
        except InvalidInput as error:
            raise CheckpointRefused(f"the checkpoint's ids cannot be read: {error}") from error
    is_ordered, *ids = json.loads(blob.tobytes())
    return OrderedIds(ids) if is_ordered else ids
