"""What a round's batches must be, and what the rest of a task will use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from secure_hfl.engine.collaborator_rounds import OwnFeatures
from secure_hfl.engine.host_rounds import HostTraining, OwnBatches
from secure_hfl.engine.offline_phase import Outlook
from secure_hfl.errors import UserCodeError
from secure_hfl.limits import OperatorLimits
from secure_hfl.run_options import RunOptions
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

FEATURES = torch.ones(3, 2)
MANIFEST = SimpleNamespace(feature_keys=(), max_rounds=0, is_summed=False)
STATE: Any = SimpleNamespace(train_ids=range(64), test_ids=range(40), manifest=MANIFEST)


class User:
    """The user's code: these batches."""

    is_feature_holder = True

    def __init__(self, *batches: Any) -> None:
        self._batches = batches
        self.asked: list[Any] = []

    def batches(self, training: bool, model: object, ids: Any) -> Iterator[Any]:
        """See `UserCode`."""
        self.asked.append((training, ids))
        return iter(self._batches)

    def take_confirmed_ids(self) -> None:
        """See `UserCode`: it names none."""


def own(kind: Any, *batches: Any) -> Any:
    """A party's batches over those of the user."""
    return kind(User(*batches), STATE, SimpleNamespace(feature_model=None))


def test_a_collaborator_may_yield_more_than_features() -> None:
    batches = own(OwnFeatures, FEATURES, (FEATURES, "what only it needs"), [FEATURES])
    assert all(each is FEATURES for each in batches.iterate(training=True))


def test_a_host_yields_features_and_labels() -> None:
    assert list(own(OwnBatches, (FEATURES, "labels")).iterate(training=True)) == [(FEATURES, "labels")]
    for wrong in (FEATURES, (FEATURES,), (FEATURES, "labels", "more"), None):
        with pytest.raises(UserCodeError, match=r"the host's iterate_test_feature must yield \(features, labels\)"):
            next(own(OwnBatches, wrong).iterate(training=False))


@pytest.mark.parametrize("kind", [OwnFeatures, OwnBatches])
def test_a_round_of_tests_is_over_the_test_ids(kind: Any) -> None:
    user = User()
    batches = kind(user, STATE, SimpleNamespace(feature_model=None))
    for training in (True, False):
        assert list(batches.iterate(training)) == []
    assert user.asked == [(True, STATE.train_ids), (False, STATE.test_ids)]


def outlook(
    options: dict[str, Any] | None = None, scheduler: dict[str, Any] | None = None, rounds_done: int = 0
) -> Outlook:
    """Of a task of 64 training and 40 test ids in batches of 16."""
    bench: Any = SimpleNamespace(
        state=STATE,
        peers=SimpleNamespace(links={}),
        measurements=SimpleNamespace(metrics=SimpleNamespace(rounds=[None] * rounds_done)),
        assignment=SimpleNamespace(
            options=SimpleNamespace(**{"batches": None, "rounds": None, **(options or {})}), limits=OperatorLimits()
        ),
    )
    user: Any = SimpleNamespace(
        **{"log_rounds": 1, "max_rounds": 4, "decides_when_finished": False, **(scheduler or {})}
    )
    layers: Any = SimpleNamespace(specs={"bank": SimpleNamespace(rows=16)}, by_key={})
    nothing: Any = None
    return HostTraining(bench, user, nothing, layers, nothing).outlook


def test_what_a_task_will_use() -> None:
    assert outlook() == Outlook(16, (4, 3), (4, 4))
    assert outlook(scheduler={"log_rounds": 3}) == Outlook(16, (4, 3), (4, 3)), "rounds 1, 3, and the last"
    assert outlook(scheduler={"log_rounds": 0}).batches == (4, 0)
    assert outlook({"batches": 2}).batches == (2, 3), "tests are whole"
    assert outlook({"rounds": 2}) == Outlook(16, (4, 3), (2, 2)), "the command line decides"


def test_what_is_left_of_a_task() -> None:
    assert outlook(rounds_done=3) == Outlook(16, (4, 3), (2, 2)), "round 3 may still have its test before it"


def test_a_user_who_decides_on_the_way_may_go_on_for_ever() -> None:
    assert outlook(scheduler={"decides_when_finished": True}) == Outlook(16, (4, 3), (None, None))


class Counted:
    """A collaborator's iterator that notes how many shares of the host have come whenever it is asked for a batch."""

    def __init__(self, parties: MemoryParties) -> None:
        scheduler: Any = parties.schedulers[COLLABORATOR]
        self._bench = parties.runs[COLLABORATOR].bench
        self._original, self.shares = scheduler.iterate_train_feature, list[int]()
        scheduler.iterate_train_feature = self.iterate

    def iterate(self, model: Any, ids: Any) -> Iterator[Any]:
        """The task's batches."""
        for batch in self._original(model, ids):
            messages = self._bench.metrics_so_far().messages
            self.shares.append(messages.get("HostShare", {}).get("received_messages", 0))
            yield batch


@pytest.mark.parametrize(("every", "shares"), [(9, [0, 1]), (1, [0, 2])], ids=["ahead", "checkpoints"])
def test_the_next_batch_is_drawn_while_the_host_refreshes_its_share(
    tmp_path: Path, every: int, shares: list[int]
) -> None:
    """Not before a checkpoint, which is of before that. The first batch of a task is drawn before the set-up."""
    options = RunOptions(rounds=1, checkpoint_every=every)
    parties = MemoryParties(tmp_path, "bfv", options, {HOST: {"arguments": {"log_rounds": 0}}})
    counted = Counted(parties)
    parties.execute()
    assert not parties.errors
    assert counted.shares == shares
