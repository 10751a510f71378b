"""What passes between a run and its checkpoints: out and back, and no more than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protocols.core.envelope import Phase
from protocols.task.alignment import OrderedIds
from protocols.task.resumption import ResumePoint, checkpoint_tag
from secure_hfl.checkpoints.snapshot import Snapshot, Training, UserSnapshot, ids_blob, ids_of
from secure_hfl.checkpoints.task_checkpoints import TaskCheckpoints
from secure_hfl.checkpoints.tree import pack, unpack
from secure_hfl.errors import CheckpointRefused

SESSION = bytes(range(32))


def snapshot(point: ResumePoint, batches: int = 0) -> Snapshot:
    """One of each part."""
    training = None
    if point.is_set_up:
        training = Training(
            split=(ids_blob([3, 1]), ids_blob(OrderedIds({"b", "a"}))),
            shapes={"bank": (128, 20)},
            layers={"bank": {"share": np.arange(6, dtype=np.uint64)}},
            round_start=UserSnapshot({"torch": torch.arange(4)}, {"epoch": 1}),
        )
    user = UserSnapshot({"torch": torch.arange(5)}, {"epoch": 2}, {"models": {}} if training else None)
    return Snapshot(point, {"party": "bank"}, ids_blob(OrderedIds({"1", "2"})), user, batches, training)


@pytest.mark.parametrize("point", [ResumePoint(Phase.PSI), ResumePoint(Phase.SETUP), ResumePoint(Phase.TRAIN, 2, 7)])
def test_a_snapshot_comes_back_from_disk(tmp_path: Path, point: ResumePoint) -> None:
    kept = snapshot(point, point.batch)
    checkpoints = TaskCheckpoints(tmp_path / "checkpoints", {"task": "a"})
    checkpoints.save(SESSION, kept, started=0.0)
    tag = checkpoint_tag(SESSION, point)
    assert checkpoints.offers() == {tag: point}
    back = TaskCheckpoints(tmp_path / "checkpoints", {"task": "a"}).begin(tag, is_resuming=True)
    assert back is not None
    assert pack(back.tree()) == pack(kept.tree())
    assert back.point == point
    assert back.ids() == {"1", "2"}
    if point.is_set_up:
        assert [list(ids) for ids in back.at_set_up().ids(back.ids())] == [[3, 1], ["a", "b"]]
        assert back.at_set_up().shapes["bank"] == (128, 20)
        with pytest.raises(CheckpointRefused, match="no projection layer for shop"):
            back.at_set_up().layer("shop")
    else:
        with pytest.raises(CheckpointRefused):
            back.at_set_up()


def test_the_names_on_disk_are_those_of_format_1() -> None:
    """An earlier version has written these; its checkpoints must be found again."""
    before = {"metrics", "intersection", "generators", "plain", "batches"}
    after = before | {"split", "shapes", "layers", "local", "round"}
    assert set(snapshot(ResumePoint(Phase.PSI)).tree()) == before
    tree = snapshot(ResumePoint(Phase.TRAIN, 1)).tree()
    assert set(tree) == after
    assert set(tree["round"]) == {"generators", "plain", "local"}


@pytest.mark.parametrize("part", ["metrics", "generators", "round", "split", "shapes"])
def test_a_tree_without_a_part_is_refused(part: str) -> None:
    point = ResumePoint(Phase.TRAIN, 1)
    tree: dict[str, Any] = unpack(pack(snapshot(point).tree()))
    del tree[part]
    with pytest.raises(CheckpointRefused, match=part):
        Snapshot.of(point, tree)


def test_it_shows_nothing() -> None:
    kept = snapshot(ResumePoint(Phase.TRAIN, 1))
    for each in (kept, kept.user, kept.training):
        assert "tensor" not in repr(each)
        assert "bank" not in repr(each)


@pytest.mark.parametrize("ids", [OrderedIds({"10", "9"}), ["b", "a"], [3, 1], []])
def test_ids_keep_their_order_and_types(ids: Any) -> None:
    back = ids_of(ids_blob(ids))
    assert list(back) == list(ids)
    assert isinstance(back, OrderedIds) is isinstance(ids, OrderedIds)
