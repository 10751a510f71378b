"""What hangs on the user's scheduler, and the random generators, go on after a restart."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from secure_hfl import SecureOptimizer
from secure_hfl.checkpoints.local_state import LocalState, capture_generators, restore_generators
from secure_hfl.checkpoints.tree import pack
from secure_hfl.errors import CheckpointRefused, UserCodeError
from tests.checkpoints.users import Host, Metric, Rich, on_disk


def test_what_hangs_on_the_scheduler_goes_on() -> None:
    user, other = Rich(seed=1), Rich(seed=2)
    user.metric.total, user.several[0].total, user.by_name["a"].total, user.epoch = 1.0, 2.0, 3.0, 4
    user.draw()
    state = on_disk(LocalState({}, {}, user).capture())
    assert set(state["attributes"]) == {
        *("metric", "scaler", "teacher", "shuffle", "noise", "legacy_noise", "choice"),
        *("several[0]", "by_name['a']", "by_name[7]"),
    }
    drawn = user.draw()
    LocalState({}, {}, other).restore(state)
    assert other.draw() == drawn


def test_what_the_engine_holds_is_not_kept_twice() -> None:
    user = Host("x", max_rounds=1)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    parts = [torch.optim.SGD(part.parameters()) for part in model]
    secure = SecureOptimizer(*parts)
    user.kept = [model, model[1], *parts, secure]  # type: ignore[attr-defined]
    assert LocalState({"infer_model": model}, {"optimizer": secure}, user).capture()["attributes"] == {}


def test_generators_of_the_process_go_on() -> None:
    def draw() -> list[Any]:
        return [torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.normal(), np.random.rand()]

    draw()  # so that both Gaussian generators hold one back
    state = on_disk(capture_generators())
    drawn = draw()
    draw()
    restore_generators(state)
    assert draw() == drawn


def test_generators_of_the_user_go_on_with_those_of_the_process() -> None:
    user, other = Rich(seed=1), Rich(seed=2)
    user.noise.random(3)
    state = on_disk(capture_generators(user))
    assert set(state["scheduler"]) == {"shuffle", "noise", "legacy_noise", "choice", "by_name[7]"}
    drawn = [torch.rand(2).tolist(), user.noise.random(), torch.rand(2, generator=user.shuffle).tolist()]
    restore_generators(state, other)
    assert [torch.rand(2).tolist(), other.noise.random(), torch.rand(2, generator=other.shuffle).tolist()] == drawn


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"torch": torch.zeros(3, dtype=torch.uint8)}, "the random generators"),
        ({"python": (3, (), None)}, "the random generators"),
        ({"numpy": {"bit_generator": "PCG64"}}, "the random generators"),
        ({"cuda": [torch.zeros(16, dtype=torch.uint8)] * 99}, "a run with 99 CUDA devices"),
        ({"scheduler": {"absent": 1}}, "self.absent, which does not exist"),
        ({"scheduler": {"shuffle": torch.zeros(3, dtype=torch.uint8)}}, "does not fit self.shuffle"),
    ],
)
def test_generators_that_do_not_fit_change_nothing(change: dict[str, Any], message: str) -> None:
    user = Rich(seed=1)
    state = capture_generators(user)
    torch.rand(3), random.random(), np.random.rand(), user.draw()
    before = pack(capture_generators(user))
    with pytest.raises(CheckpointRefused, match=message):
        restore_generators({**state, **change}, user)
    assert pack(capture_generators(user)) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1], "get_extra_state raised TypeError: it returned a list"),
        (None, "get_extra_state raised TypeError: it returned a NoneType"),
        (ValueError("no epoch"), "get_extra_state raised ValueError: no epoch"),
    ],
)
def test_the_users_errors_are_named(given: object, message: str) -> None:
    class Wrong(Host):
        def get_extra_state(self) -> Any:
            if isinstance(given, Exception):
                raise given
            return given

    with pytest.raises(UserCodeError, match=message):
        LocalState({}, {}, Wrong("x", max_rounds=1)).capture()


def test_an_error_of_what_hangs_on_the_scheduler_is_named() -> None:
    class Broken(Metric):
        def state_dict(self) -> dict[str, float]:
            raise RuntimeError("not yet computed")

    user = Host("x", max_rounds=1)
    user.metric = Broken()  # type: ignore[attr-defined]
    with pytest.raises(UserCodeError, match=r"the state of self.metric raised RuntimeError: not yet computed"):
        LocalState({}, {}, user).capture()
