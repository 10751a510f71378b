"""Everything that a host and a collaborator may do wrong: both must give the same reason.

Each of `TASKS` is one task, between processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.cases import Case, Features, Method, Split, Stepping
from benchmarks.harness.scripts.tiny import MARKER
from tests.engine.two_party_tasks import HOST, OTHER, Finished, Task, assert_ended, run_tasks


def stops(who: str, case: Case, detail: str, error: str = "UserCodeError", where: str = ".*", **more: Any) -> Task:
    """A party cannot go on: both are told which one, where and with which kind of error; only itself is told more."""
    own = {"host": case} if who == HOST else {"other": case}
    return Task(reason=f"^{who} stopped in {where}: {error}$", detail=detail, detail_at=(who,), **{**own, **more})


def raises(who: str, method: Method, where: str, is_tested: bool = False) -> Task:
    """A user's method raises."""
    tested = {"log_rounds": 1} if is_tested else {}
    case = Case(raises=method, arguments=tested if who == HOST else {})
    more = {} if who == HOST else {"host": Case(arguments=tested)}
    return stops(who, case, f"^{method.value.split()[0]} raised ValueError: {MARKER}$", where=where, **more)


def returns_none(who: str, method: Method, what: str) -> Task:
    """A user's method returns None, which is no model or optimizer."""
    return stops(who, Case(returns_none=method), f"^{method.value} must return {what}, not NoneType")


def yields(who: str, features: Features, detail: str, error: str = "UserCodeError", where: str = ".*") -> Task:
    """A user's iterator yields features that cannot be used."""
    return stops(who, Case(features=features), detail, error, where)


def differ(reason: str, host: Case | None = None, other: Case | None = None, **more: Any) -> Task:
    """Both parties are well, but do not fit together."""
    return Task(host or Case(), other or Case(), reason, **more)


SETTING_UP = "setting up .*"

TASKS = {
    # Methods of the user's that raise
    "the host cannot load its ids": raises(HOST, Method.LOAD_LOCAL_IDS, "private set intersection"),
    "the host cannot split": raises(HOST, Method.SPLIT_DATASET, "comparing the split"),
    "the host cannot build its bottom model": raises(HOST, Method.BUILD_FEATURE_MODEL, SETTING_UP),
    "the host cannot build its bottom optimizer": raises(HOST, Method.BUILD_FEATURE_OPTIMIZER, SETTING_UP),
    "the host cannot build the top model": raises(HOST, Method.BUILD_INFER_MODEL, SETTING_UP),
    "the host cannot build the top optimizer": raises(HOST, Method.BUILD_INFER_OPTIMIZER, SETTING_UP),
    "the host cannot read its first batch": raises(HOST, Method.ITERATE_TRAIN_FEATURE, "setting up the models"),
    "the host cannot read a later batch": raises(HOST, Method.ITERATE_TRAIN_FEATURE_LATER, "training round 2, batch 2"),
    "the host cannot train a batch": raises(HOST, Method.TRAIN_A_BATCH, "training round 1, batch 1"),
    "the host cannot read a test batch": raises(
        HOST, Method.ITERATE_TEST_FEATURE, "testing round 1, batch 1", is_tested=True
    ),
    "the host cannot test": raises(HOST, Method.TEST, "testing round 1, batch 2", is_tested=True),
    "the host cannot say whether it is over": raises(HOST, Method.IS_TASK_FINISHED, ".* round 1.*"),
    "the collaborator cannot load its ids": raises(OTHER, Method.LOAD_LOCAL_IDS, "private .*"),
    "the collaborator cannot split": raises(OTHER, Method.SPLIT_DATASET, "comparing .*"),
    "the collaborator cannot build its model": raises(OTHER, Method.BUILD_FEATURE_MODEL, SETTING_UP),
    "the collaborator cannot build its optimizer": raises(OTHER, Method.BUILD_FEATURE_OPTIMIZER, SETTING_UP),
    "the collaborator cannot read its first batch": raises(OTHER, Method.ITERATE_TRAIN_FEATURE, SETTING_UP),
    "the collaborator cannot read a later batch": raises(
        OTHER, Method.ITERATE_TRAIN_FEATURE_LATER, "training round 2, batch 2"
    ),
    "the collaborator cannot read a test batch": raises(
        OTHER, Method.ITERATE_TEST_FEATURE, "testing round 1, batch 1", is_tested=True
    ),
    # Methods of the user's that return what they may not
    "the host has no bottom model": returns_none(HOST, Method.BUILD_FEATURE_MODEL, "a torch.nn.Module"),
    "the host has no bottom optimizer": returns_none(HOST, Method.BUILD_FEATURE_OPTIMIZER, ".*"),
    "there is no top model": returns_none(HOST, Method.BUILD_INFER_MODEL, "a torch.nn.Module"),
    "there is no top optimizer": returns_none(HOST, Method.BUILD_INFER_OPTIMIZER, ".*"),
    "the collaborator has no model": returns_none(OTHER, Method.BUILD_FEATURE_MODEL, "a torch.nn.Module"),
    "the collaborator's features have three dimensions": yields(
        OTHER, Features.THREE_DIMENSIONS, r"must yield features \[batch, features\]"
    ),
    "the collaborator's features are integers": yields(OTHER, Features.INTEGERS, "must yield floating point features"),
    "the collaborator has no features": yields(OTHER, Features.NONE, "must yield tensors .*not NoneType"),
    "the host has no features": yields(HOST, Features.NONE, r"must yield \(features, labels\)"),
    "the collaborator's features are NaN": yields(
        OTHER, Features.NAN, "^features of party1 holds nan at .*; nothing was sent", "OutOfRange", "training.*"
    ),
    "the collaborator's features change their width": yields(
        OTHER, Features.WIDER_LATER, "^features of party1: expected .*, 4", "InvalidInput", "training.*"
    ),
    "the gradient is NaN": stops(
        HOST,
        Case(stepping=Stepping.NAN_LOSS),
        r"gradient of the loss .*party1.* holds nan .*nothing was sent",
        "OutOfRange",
    ),
    "the host steps without a backward pass": stops(
        HOST, Case(stepping=Stepping.NO_BACKWARD), r"step\(\) without backward\(\)", "StepError"
    ),
    "the host steps twice": stops(HOST, Case(stepping=Stepping.TWO_STEPS), r"step\(\) twice in one batch", "StepError"),
    "the collaborator splits into one set": stops(
        OTHER, Case(split=Split.ONE_SET), "split_dataset must return", "InvalidInput"
    ),
    "the collaborator's split holds a stranger": stops(
        OTHER,
        Case(split=Split.WITH_A_STRANGER),
        "^split_dataset returned 1 id from outside the intersection",
        "InvalidInput",
    ),
    "the host's split leaves nothing to train on": stops(
        HOST, Case(split=Split.NOTHING), "^split_dataset returned no training", "InvalidInput"
    ),
    # Ids that PSI cannot use
    "the host has no ids": stops(HOST, Case(ids=[]), "", "InvalidInput", "private set intersection"),
    "the collaborator has no ids": stops(OTHER, Case(ids=[]), "", "InvalidInput", "private set intersection"),
    "the host has an id twice": stops(
        HOST, Case(ids=["1", "2", "1"]), "1 of 3 .* repeat .* positions 0 and 2", "InvalidInput"
    ),
    "the collaborator has an id twice": stops(
        OTHER, Case(ids=["77", "2", "77"]), "1 of 3 .* repeat .* positions 0 and 2", "InvalidInput"
    ),
    "the collaborator's ids are numbers": stops(OTHER, Case(ids=[1, 2, 3]), "int", "InvalidInput"),
    "the collaborator's ids are one text": stops(OTHER, Case(ids="123"), "list of text ids, not str", "InvalidInput"),
    "the parties have no id in common": differ(
        "^no id is held by all parties: the host has 2 ids, party1 1$",
        host=Case(ids=["a-1", "a-2"]),
        other=Case(ids=["0017"]),
        detail="this party's ids have . to . characters and look like",
        detail_at=(HOST, OTHER),
    ),
    # Parties that do not line up
    "the batches have different sizes": differ(
        "^the host's first batch has 32 samples, party1's has 16. Use the same batch size$",
        other=Case(batch_size=16),
    ),
    "the test batches have different sizes": differ(
        "testing round 1, batch 1: the host's batch has 32 samples, party1's has 20",
        host=Case(batch_size=64, arguments={"log_rounds": 1}),
        other=Case(batch_size=64, test_batch_size=20),
    ),
    "the host has fewer batches": differ("the host has 1 batch, party1 has more than 1 batch", host=Case(batches=1)),
    "the collaborator has fewer batches": differ(
        "the host has more than 1 batch, party1 has 1 batch", other=Case(batches=1)
    ),
    "the parties split differently": differ(
        "split_dataset differs: the host has 64 training ids, party1 has 48", other=Case(split=Split.FEWER_TO_TRAIN)
    ),
    "the parties train on as many ids, but on others": differ(
        "the host has 64 training ids, party1 has 64, and they are not the same ones",
        other=Case(split=Split.TWO_SWAPPED),
    ),
    "the parties' lists are in different orders": differ(
        "the same ids in another order. Return sets, or sort",
        host=Case(split=Split.LISTS),
        other=Case(split=Split.REVERSED_LISTS),
    ),
    "the parties confirm different batches": differ(
        "training round 1, batch 1: the host's and party1's 32 samples are not the same ones",
        host=Case(confirms_batches=True),
        other=Case(confirms_batches=True, shifts_batches=True),
    ),
    # Parties that do not agree
    "only the host has a seed": differ("seed: only the host runs with a seed", host_seed=1),
    "only the collaborator has a seed": differ("seed: only party1 runs with a seed", other_seed=1),
    "the parties ask for different schemes": differ(
        "^scheme: the host asks for 'plain', party1 for 'other'; no data was sent", other_scheme="other"
    ),
    "the parties have the same feature key": differ(
        "two parties use the same feature_key among: same, same",
        host=Case(arguments={"feature_key": "same"}),
        other=Case(arguments={"feature_key": "same"}),
    ),
    "the host projects the features of a stranger": stops(
        HOST,
        Case(arguments={"projection": {"nobody": 3}}),
        "projection names .*nobody.*party1",
        "ConfigurationError",
        "joining",
    ),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Runs every task."""
    parties = Parties(tmp_path_factory.mktemp("outcomes"))
    yield run_tasks(parties, TASKS)
    parties.stop()


@pytest.mark.parametrize("name", TASKS)
def test_both_parties_say_the_same(finished: Finished, name: str) -> None:
    assert_ended(finished, name, TASKS[name])


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if MARKER in task.detail])
def test_a_users_text_stays_at_home(finished: Finished, name: str) -> None:
    finished.ends(name)
    for who in (HOST, OTHER):
        home = finished.parties.homes[who]
        log = (home / "tasks" / finished.ids[name] / "log.txt").read_text()
        own = who in TASKS[name].detail_at
        assert (MARKER in log) == own, "only the party's own log has the text"
        assert ("Traceback" in log) == own or "PeerAborted" in log
