"""A side of a layer refuses calls that come too early, twice, or with nothing to do."""

from __future__ import annotations

import pytest

from protocols.core.errors import CallOutOfOrder, RoleAlreadyUsed
from protocols.layer.lifecycle import Lifecycle, PendingBatch


def life_at(stage: str) -> Lifecycle:
    life = Lifecycle("side")
    calls = [life.begin_setup, life.end_batch, life.begin_batch]
    for call in calls[: ["new", "setting up", "between", "in"].index(stage)]:
        call()
    return life


@pytest.mark.parametrize("stage", ["setting up", "between", "in"])
def test_set_up_once(stage):
    with pytest.raises(RoleAlreadyUsed):
        life_at(stage).begin_setup()


@pytest.mark.parametrize(("stage", "may"), [("new", False), ("setting up", False), ("between", True), ("in", True)])
def test_a_batch_comes_after_the_set_up(stage, may):
    life = life_at(stage)
    assert life.is_set_up is may
    if may:
        life.begin_batch()
    else:
        with pytest.raises(CallOutOfOrder, match="must be set up"):
            life.begin_batch()


@pytest.mark.parametrize(
    ("stage", "why"), [("new", "not set up"), ("setting up", "not set up"), ("between", ""), ("in", "under way")]
)
def test_a_checkpoint_is_made_between_batches(stage, why):
    if not why:
        life_at(stage).check_between_batches()
        return
    with pytest.raises(CallOutOfOrder, match=why):
        life_at(stage).check_between_batches()


@pytest.mark.parametrize("stage", ["new", "setting up"])
def test_skipping_sets_nothing_up(stage):
    life = life_at(stage)
    life.skip_batch()
    assert not life.is_set_up


def test_skipping_ends_a_batch():
    life = life_at("in")
    life.skip_batch()
    life.check_between_batches()


def test_a_batch_is_taken_once():
    pending: PendingBatch[str] = PendingBatch("side")
    pending.keep(4, "batch")
    pending.check(4)
    assert pending.take() == "batch"
    with pytest.raises(CallOutOfOrder, match="no training batch of side"):
        pending.take()


def test_the_latest_batch_waits_and_none_after_a_drop():
    pending: PendingBatch[str] = PendingBatch("side")
    pending.keep(4, "first")
    pending.keep(5, "second")
    with pytest.raises(CallOutOfOrder, match="no batch of 4 rows"):
        pending.check(4)
    assert pending.take() == "second"
    pending.keep(4, "third")
    pending.drop()
    with pytest.raises(CallOutOfOrder):
        pending.check(4)


def test_nothing_of_a_batch_is_shown():
    pending: PendingBatch[str] = PendingBatch("side")
    pending.keep(4, "secret")
    assert repr(pending) == "<PendingBatch of side: 4 rows>"
