"""What a host and a collaborator may do differently, and what a task that ends well leaves behind.

Each of `TASKS` is one task, between processes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case, Split, Stepping
from tests.engine.two_party_tasks import FROZEN, HOST, OTHER, Finished, Task, assert_ended, run_tasks

TASKS = {
    "a task": Task(),
    "the host's split has texts": Task(Case(split=Split.TEXTS), Case(split=Split.SETS)),
    "both split into the same lists": Task(Case(split=Split.LISTS), Case(split=Split.LISTS)),
    "both confirm their batches": Task(Case(confirms_batches=True), Case(confirms_batches=True)),
    "the host confirms its batches": Task(Case(confirms_batches=True)),
    "both have a seed": Task(host_seed=3, other_seed=3),
    "both have the same seed again": Task(host_seed=3, other_seed=3),
    "the host's model is frozen": Task(Case(arguments=FROZEN)),
    "the collaborator's model is frozen": Task(other=Case(arguments=FROZEN)),
    "both bottom models are frozen": Task(Case(arguments=FROZEN), Case(arguments=FROZEN)),
    "the host never steps": Task(Case(stepping=Stepping.NO_STEP)),
    "the host never steps, and the collaborator's model is frozen": Task(
        Case(stepping=Stepping.NO_STEP), Case(arguments=FROZEN)
    ),
    "every second of five rounds is tested": Task(Case(arguments={"log_rounds": 2, "max_rounds": 5})),
    "no round is tested": Task(Case(arguments={"log_rounds": 0, "max_rounds": 1})),
    "the host says when it is over": Task(Case(arguments={"max_rounds": 0}, finish_after=3)),
    "the host projects": Task(
        Case(arguments={"projection": {"party1": 4}, "projection_lr": 0.05}), host_seed=1, other_seed=1
    ),
    "the host projects features of a frozen model": Task(Case(arguments={"projection": True}), Case(arguments=FROZEN)),
    "the loss of the test is NaN": Task(Case(arguments={"log_rounds": 1}, test_loss=float("nan"))),
}
UNDISTURBED = "a task"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Runs every task."""
    parties = Parties(tmp_path_factory.mktemp("outcomes"))
    yield run_tasks(parties, TASKS)
    parties.stop()


@pytest.mark.parametrize("name", TASKS)
def test_a_task_ends_well(finished: Finished, name: str) -> None:
    assert_ended(finished, name, TASKS[name])


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
    expected = {"feature_model.safetensors", "infer_model.safetensors", "metrics.json", "state"}
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
        "state",
    }
    for who in (HOST, OTHER):
        record = finished.parties.store(who).get(finished.ids[name])
        assert record.rounds_finished == 2
        transcripts = list((finished.results(name, who).parent / "transcripts").iterdir())
        assert [path.suffix for path in transcripts] == [".transcript"]
        found = [path for path in finished.results(name, who).rglob("*") if path.is_file()]
        files = [path for path in found if path.parent.name != "state"] + transcripts
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
