"""Which attributes of a user's scheduler a checkpoint keeps by itself."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from secure_hfl.checkpoints.plain_attributes import MOST, PlainAttributes


def captured(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    scheduler = SimpleNamespace(**before)
    attributes = PlainAttributes(scheduler)
    vars(scheduler).update(after)
    return attributes.capture()


@pytest.mark.parametrize(
    "value",
    [3, 2.5, "text", None, True, b"bytes", [1, [2.0, "x"]], {"a": (1, 2)}, {4, 5}, [], math.nan, [0] * (MOST - 1)],
    ids=lambda value: str(value)[:20],
)
def test_a_changed_plain_attribute_is_kept(value: Any) -> None:
    kept = captured({"epoch": "before"}, {"epoch": value})
    assert repr(kept) == repr({"epoch": value})
    assert repr(captured({}, {"epoch": value})) == repr({"epoch": value})


@pytest.mark.parametrize(
    "value",
    [torch.zeros(2), object(), [torch.zeros(1)], lambda: 0, [0] * MOST, {n: n for n in range(MOST)}, [[0] * MOST]],
)
def test_other_things_are_not(value: Any) -> None:
    assert captured({"thing": 1}, {"thing": value}) == {}


def test_what_did_not_change_is_left_to_the_constructor() -> None:
    assert captured({"path": "/old", "rounds": 5}, {"epoch": 1}) == {"epoch": 1}
    assert captured({"flag": 1}, {"flag": True}) == {"flag": True}
    assert captured({}, {"_run": 1, "_context_is_valid": True}) == {}


def test_a_list_that_grows_in_place_has_changed() -> None:
    scheduler = SimpleNamespace(losses=[1.0])
    attributes = PlainAttributes(scheduler)
    scheduler.losses.append(2.0)
    kept = attributes.capture()
    scheduler.losses.append(3.0)
    assert kept == {"losses": [1.0, 2.0]}
    attributes.restore(kept)
    scheduler.losses.append(4.0)
    assert kept == {"losses": [1.0, 2.0]}
    attributes.restore({})
    assert scheduler.losses == [1.0]
