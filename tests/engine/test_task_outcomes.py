"""How a task between a host and a collaborator ends, for everything that the two may do wrong, or in another way.

Each of `TASKS` is one task, between processes; both parties must give the same reason.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case, Features, Method, Split, Stepping
from benchmarks.harness.scripts.tiny import MARKER
from benchmarks.harness.series import Broken, Printed, run_tiny_series, whole

HOST, OTHER = "party0", "party1"


@dataclass(frozen=True)
class Task:
    """What is special about one task, and how it ends.

    Args:
        host, other: how the host and the collaborator differ from well-behaved ones.
        reason: what the reason must match, at both parties; "" is a success.
        detail: what must stand in the detail that only those of `detail_at` are told.
        host_seed, other_seed, other_scheme: of the command line.
    """

    host: Case = field(default_factory=Case)
    other: Case = field(default_factory=Case)
    reason: str = ""
    detail: str = ""
    detail_at: tuple[str, ...] = ()
    host_seed: int | None = None
    other_seed: int | None = None
    other_scheme: str | None = None


works = Task
"""Nothing to complain of: everything is as it should be, or as the user wants it."""


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


FROZEN = {"is_feature_trainable": False}
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
        "^split_dataset returned 1 ids that are not in the intersection",
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
    "the host has fewer batches": differ(
        "the host has 1 batches, party1 has more than 1 batches", host=Case(batches=1)
    ),
    "the collaborator has fewer batches": differ(
        "the host has more than 1 batches, party1 has 1 batches", other=Case(batches=1)
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
    # What works
    "a task": works(),
    "the host's split has texts": works(Case(split=Split.TEXTS), Case(split=Split.SETS)),
    "both split into the same lists": works(Case(split=Split.LISTS), Case(split=Split.LISTS)),
    "both confirm their batches": works(Case(confirms_batches=True), Case(confirms_batches=True)),
    "the host confirms its batches": works(Case(confirms_batches=True)),
    "both have a seed": works(host_seed=3, other_seed=3),
    "both have the same seed again": works(host_seed=3, other_seed=3),
    "the host's model is frozen": works(Case(arguments=FROZEN)),
    "the collaborator's model is frozen": works(other=Case(arguments=FROZEN)),
    "both bottom models are frozen": works(Case(arguments=FROZEN), Case(arguments=FROZEN)),
    "the host never steps": works(Case(stepping=Stepping.NO_STEP)),
    "the host never steps, and the collaborator's model is frozen": works(
        Case(stepping=Stepping.NO_STEP), Case(arguments=FROZEN)
    ),
    "every second of five rounds is tested": works(Case(arguments={"log_rounds": 2, "max_rounds": 5})),
    "no round is tested": works(Case(arguments={"log_rounds": 0, "max_rounds": 1})),
    "the host says when it is over": works(Case(arguments={"max_rounds": 0}, finish_after=3)),
    "the host projects": works(
        Case(arguments={"projection": {"party1": 4}, "projection_lr": 0.05}), host_seed=1, other_seed=1
    ),
    "the host projects features of a frozen model": works(Case(arguments={"projection": True}), Case(arguments=FROZEN)),
    "the loss of the test is NaN": works(Case(arguments={"log_rounds": 1}, test_loss=float("nan"))),
}
UNDISTURBED = "a task"


@dataclass
class Finished:
    """All tasks after the run."""

    parties: Parties
    ids: dict[str, str]
    printed: dict[str, Printed | Broken]

    def ends(self, name: str) -> Printed:
        """How a task ended at each party. A test about one that did not fails here."""
        return whole(self.printed[name])

    def results(self, name: str, who: str) -> Path:
        """Where a party's results are."""
        self.ends(name)
        return self.parties.homes[who] / "tasks" / self.ids[name] / "results"

    def metrics(self, name: str, who: str = HOST) -> dict[str, Any]:
        """A party's metrics.json."""
        text = (self.results(name, who) / "metrics.json").read_text()
        values: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
        return values

    def losses(self, name: str) -> list[float]:
        """The host's batch losses."""
        values: list[float] = self.metrics(name)["batch_losses"]
        return values


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Runs every task."""
    parties = Parties(tmp_path_factory.mktemp("outcomes"))
    ids = {name: parties.new_task() for name in TASKS}
    rows = {
        HOST: [
            {"task": ids[name], "seed": task.host_seed, "case": parties.values(HOST, task.host)}
            for name, task in TASKS.items()
        ],
        OTHER: [
            {
                "task": ids[name],
                "seed": task.other_seed,
                "scheme": task.other_scheme,
                "case": parties.values(OTHER, task.other),
            }
            for name, task in TASKS.items()
        ],
    }
    yield Finished(parties, ids, dict(zip(TASKS, run_tiny_series(parties, rows).tasks)))
    parties.stop()


@pytest.mark.parametrize("name", TASKS)
def test_both_parties_say_the_same(finished: Finished, name: str) -> None:
    task, ends = TASKS[name], finished.ends(name)
    assert ends[HOST]["reason"] == ends[OTHER]["reason"]
    for who in (HOST, OTHER):
        end, record = ends[who], finished.parties.store(who).get(finished.ids[name])
        assert end["ok"] == (not task.reason), end
        assert re.search(task.reason, end["reason"]), end
        assert "\n" not in end["text"]
        assert MARKER not in end["reason"]
        if who in task.detail_at:
            assert re.search(task.detail, end["detail"]), end
        else:
            assert end["detail"] == ""
        assert record.state.value == ("failed" if task.reason else "finished")
        assert record.failure == (end["reason"] or None)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if MARKER in task.detail])
def test_a_users_text_stays_at_home(finished: Finished, name: str) -> None:
    finished.ends(name)
    for who in (HOST, OTHER):
        home = finished.parties.homes[who]
        log = (home / "tasks" / finished.ids[name] / "log.txt").read_text()
        own = who in TASKS[name].detail_at
        assert (MARKER in log) == own, "only the party's own log has the text"
        assert ("Traceback" in log) == own or "PeerAborted" in log


def test_losses_are_those_of_one_process(finished: Finished) -> None:
    plain, _ = tiny.train_in_one_process(2, 2)
    for name in (
        UNDISTURBED,
        "both confirm their batches",
        "the host confirms its batches",
        "both split into the same lists",
        "the host's split has texts",
    ):
        assert finished.losses(name) == plain, name


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("the host's model is frozen", (0,)),
        ("the collaborator's model is frozen", (1,)),
        ("both bottom models are frozen", (0, 1)),
    ],
)
def test_a_frozen_model_is_a_fixed_function(finished: Finished, name: str, frozen: tuple[int, ...]) -> None:
    expected, models = tiny.train_in_one_process(2, 2, frozen)
    assert finished.losses(name) == expected
    for who, model in zip((HOST, OTHER), models):
        saved = load_file(finished.results(name, who) / "feature_model.safetensors")
        assert all(torch.equal(saved[key], value) for key, value in model.state_dict().items())
    frozen_sees = finished.metrics(name, OTHER)["bytes_received"]
    sees = finished.metrics(UNDISTURBED, OTHER)["bytes_received"]
    assert (frozen_sees < sees - 4 * 32 * 4 * 4) == (1 in frozen), "only a trainable model is shown gradients"


@pytest.mark.parametrize("name", [UNDISTURBED, "the host projects"])
def test_results(finished: Finished, name: str) -> None:
    _, models = tiny.train_in_one_process(2, 2)
    expected = {"feature_model.safetensors", "infer_model.safetensors", "metrics.json"}
    if name == "the host projects":
        expected.add("projection.party1.safetensors")
        assert load_file(finished.results(name, HOST) / "projection.party1.safetensors")["weight"].shape == (4, 4)
    else:
        saved = load_file(finished.results(name, HOST) / "infer_model.safetensors")
        assert all(torch.equal(saved[key], value) for key, value in models[-1].state_dict().items())
    assert {path.name for path in finished.results(name, HOST).iterdir()} == expected
    assert {path.name for path in finished.results(name, OTHER).iterdir()} == {
        "feature_model.safetensors",
        "metrics.json",
    }
    for who in (HOST, OTHER):
        record = finished.parties.store(who).get(finished.ids[name])
        assert record.rounds_finished == 2
        transcripts = list((finished.results(name, who).parent / "transcripts").iterdir())
        assert [path.suffix for path in transcripts] == [".transcript"]
        files = [path for path in finished.results(name, who).rglob("*") if path.is_file()] + transcripts
        assert {str(path) for path in files} == set(record.artifacts)
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_tensorboard_is_exported(finished: Finished) -> None:
    files = list((finished.results("every second of five rounds is tested", HOST) / "tensorboard").iterdir())
    assert len(files) == 1
    assert files[0].name.startswith("events.out.tfevents.")
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert b"test_results/accuracy" in files[0].read_bytes()
    record = finished.parties.store(HOST).get(finished.ids["every second of five rounds is tested"])
    assert str(files[0]) in record.artifacts
    assert record.metrics["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("name", "rounds", "tested"),
    [
        ("every second of five rounds is tested", 5, [1, 2, 4, 5]),
        ("no round is tested", 1, []),
        ("the host says when it is over", 3, []),
        (UNDISTURBED, 2, []),
        ("the loss of the test is NaN", 2, [1, 2]),
    ],
)
def test_rounds_and_tests(finished: Finished, name: str, rounds: int, tested: list[int]) -> None:
    metrics = finished.metrics(name)
    assert [each["round"] for each in metrics["rounds"]] == list(range(1, rounds + 1))
    assert [each["batches"] for each in metrics["rounds"]] == [2] * rounds
    assert [each["round"] for each in metrics["rounds"] if each["accuracy"] == 1.0] == tested
    assert [each["round"] for each in metrics["rounds"] if each["test_seconds"] is not None] == tested
    calls = finished.ends(name)[HOST]["calls"]
    assert calls.count("test") == len(tested)
    assert calls.count("is_task_finished") == rounds
    others = finished.metrics(name, OTHER)["rounds"]
    assert [each["round"] for each in others if each["test_seconds"] is not None] == tested


def test_a_batch_without_step_trains_nothing(finished: Finished) -> None:
    for name in ("the host never steps", "the host never steps, and the collaborator's model is frozen"):
        first, second, *rest = finished.losses(name)
        assert [first, second] == rest
        saved = load_file(finished.results(name, OTHER) / "feature_model.safetensors")
        assert all(torch.equal(saved[key], value) for key, value in tiny.bottom(1).state_dict().items())


def test_a_seeded_run_repeats_itself(finished: Finished) -> None:
    assert finished.losses("both have a seed") == finished.losses("both have the same seed again")
    assert finished.metrics("both have a seed")["seed"] == 3
    assert finished.metrics(UNDISTURBED)["seed"] is None


def test_bytes_match_at_both_ends(finished: Finished) -> None:
    host, other = finished.metrics(UNDISTURBED), finished.metrics(UNDISTURBED, OTHER)
    # The farewell is under way while the books are closed.
    assert abs(host["bytes_sent"] - other["bytes_received"]) < 100
    assert abs(host["bytes_received"] - other["bytes_sent"]) < 100
    assert host["psi"]["intersection"] == 96
    assert host["psi"]["host_ids"] == 128
    assert host["psi"]["collaborator_ids"] == {OTHER: 128}


def test_user_methods_are_called_in_the_tutorials_order(finished: Finished) -> None:
    calls = finished.ends(UNDISTURBED)[HOST]["calls"]
    assert list(dict.fromkeys(calls)) == [
        "validate_context",
        "load_local_ids",
        "split_dataset",
        "build_feature_model",
        "build_feature_optimizer",
        "build_infer_model",
        "build_infer_optimizer",
        "iterate_train_feature",
        "train_a_batch",
        "is_task_finished",
        "iterate_train_feature later",
    ]
