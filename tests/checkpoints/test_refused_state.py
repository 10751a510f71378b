"""A state that does not fit the party is refused, with the reason, and changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as lr

from secure_hfl.checkpoints.local_state import LocalState
from secure_hfl.checkpoints.tree import pack
from secure_hfl.errors import CheckpointRefused
from tests.checkpoints.users import OPTIMIZERS, Collaborator, Host, Metric, Rich, on_disk, train

Optimizer = torch.optim.Optimizer


class Odd(Rich):
    """Cannot take back what it gave."""

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        raise KeyError("epoch")


class OneWay(Host):
    """Gives, and does not take back."""

    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}


def full(
    width: int = 4,
    dtype: torch.dtype = torch.float32,
    make: Callable[[Any], Optimizer] = OPTIMIZERS["Adam"],
    user: Host | None = None,
) -> LocalState:
    """A party with a bit of everything, after a step."""
    model = nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.Linear(width, 1)).to(dtype)
    optimizer = make(model.parameters())
    user = user or Rich(seed=1)
    if isinstance(user, Rich):
        user.lr_scheduler = lr.StepLR(optimizer, 2)  # type: ignore[attr-defined]
    train(model, optimizer, range(1))
    return LocalState({"infer_model": model}, {"infer": optimizer}, user)


def two_groups(parameters: Any) -> Optimizer:
    """An Adam with two parameter groups."""
    first, *rest = list(parameters)
    return torch.optim.Adam([{"params": [first]}, {"params": rest}])


def without(name: str, user: Rich | None = None) -> Rich:
    """A user who has forgotten something."""
    user = user or Rich(seed=3)
    delattr(user, name)
    return user


def with_other(name: str, value: object) -> Rich:
    """A user who has changed something."""
    user = Rich(seed=3)
    setattr(user, name, value)
    return user


WHERE = "make it in build_infer_optimizer or __init__, so that it is there before training goes on"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: full(width=6), r"does not fit the model infer_model: .*size mismatch for 0.weight"),
        (
            lambda: full(dtype=torch.float64),
            "keeps 0.weight of the model infer_model as torch.float32, .* torch.float64",
        ),
        (lambda: full(make=OPTIMIZERS["SGD"]), "keeps the optimizer infer as Adam, but it is SGD now"),
        (lambda: full(make=two_groups), "does not fit the optimizer infer: .*parameter groups"),
        (lambda: full(user=without("metric")), f"^the checkpoint keeps the state of self.metric, which .*: {WHERE}$"),
        (lambda: full(user=with_other("several", [])), r"the state of self.several\[0\], which does not exist"),
        (lambda: full(user=with_other("metric", nn.Linear(1, 1))), "keeps self.metric as Metric, but it is Linear now"),
        (lambda: full(user=with_other("teacher", nn.Linear(3, 3))), "does not fit self.teacher: .*size mismatch"),
        (
            lambda: full(user=with_other("noise", np.random.Generator(np.random.MT19937(1)))),
            "does not fit self.noise: .*MT19937",
        ),
        (lambda: full(user=Odd(seed=3)), "keeps the state of|does not fit set_extra_state: 'epoch'"),
        (
            lambda: LocalState({}, full()._optimizers, Rich(1)),
            r"keeps the models \['infer_model'\], this party has \[\]",
        ),
        (lambda: LocalState(full()._models, {}, Rich(1)), r"keeps the optimizers \['infer'\], this party has \[\]"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(other: Callable[[], LocalState], message: str) -> None:
    state = on_disk(full().capture())
    victim = other()
    before = pack(victim.capture())
    with pytest.raises(CheckpointRefused, match=message):
        victim.restore(state)
    assert pack(victim.capture()) == before


def test_an_incomplete_state_is_refused() -> None:
    local = full()
    for group in ("models", "optimizers", "attributes", "extra"):
        state = local.capture()
        del state[group]
        with pytest.raises(CheckpointRefused, match="does not hold the state of a party"):
            local.restore(state)


def test_a_collaborator_is_told_where_to_make_what_is_missing() -> None:
    local = LocalState({}, {}, Collaborator("x"))
    state = {**local.capture(), "attributes": {"scaler": {"kind": "GradScaler", "state": {}}}}
    with pytest.raises(CheckpointRefused, match="make it in build_feature_optimizer or __init__"):
        local.restore(state)


def test_who_gives_an_extra_state_must_take_it_back() -> None:
    local = LocalState({}, {}, OneWay("x", max_rounds=1))
    with pytest.raises(CheckpointRefused, match="so set_extra_state must be as well"):
        local.restore(local.capture())


def test_what_is_new_on_the_scheduler_starts_anew_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    user = Host("x", max_rounds=1)
    state = LocalState({}, {}, user).capture()
    user.metric = Metric()  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "secure_hfl"):
        LocalState({}, {}, user).restore(state)
    assert [record.getMessage() for record in caplog.records] == [
        "The checkpoint keeps no state of self.metric, which starts anew."
    ]
