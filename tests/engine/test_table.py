"""What goes wrong, and how: each row is one task between a host and a collaborator in processes of their own.

The two processes run all rows one after another, because starting PyTorch takes longer than any of these tasks.
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

from tests.helpers import Lab
from tests.scripts import tiny

MARKER = "secret-value-4711"
HOST, OTHER = "party0", "party1"
TEXT_IDS = [str(i) for i in range(128)]


@dataclass
class Row:
    """One task: how host and collaborator differ from the well-behaved ones, and the reason both are to give.

    Args:
        reason: what the reason must match, at both sides; "" is a success.
        detail_at: who is also told a detail, and nobody else.
        detail: what the detail must match.
    """

    reason: str
    host: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    detail_at: str = ""
    detail: str = ""
    host_seed: int | None = None
    other_seed: int | None = None
    other_scheme: str | None = None


def raising(who: str, method: str, reason: str, **more: Any) -> Row:
    """A user's method raises: the party keeps the text, both are told which party stopped, and where."""
    case = {"raises": method, **more}
    detail = f"^{method.split()[0]} raised ValueError: {MARKER}$"
    if who == HOST:
        return Row(reason, host=case, detail_at=HOST, detail=detail)
    return Row(reason, other=case, host={"arguments": more.get("arguments", {})}, detail_at=OTHER, detail=detail)


def returning(who: str, case: dict[str, Any], detail: str, error: str = "UserCodeError", where: str = ".*") -> Row:
    """A user's method returns what it may not."""
    cases = {"host": case} if who == HOST else {"other": case}
    return Row(f"^{who} stopped in {where}: {error}$", detail_at=who, detail=detail, **cases)


TEST_EVERY = {"arguments": {"log_rounds": 1}}

ROWS = {
    # Users' methods that raise
    "host load_local_ids": raising(
        HOST, "load_local_ids", "^party0 stopped in private set intersection: UserCodeError$"
    ),
    "host split_dataset": raising(HOST, "split_dataset", "^party0 stopped in comparing the split: UserCodeError$"),
    "host build_feature_model": raising(
        HOST, "build_feature_model", "^party0 stopped in setting up .*: UserCodeError$"
    ),
    "host build_feature_optimizer": raising(
        HOST, "build_feature_optimizer", "^party0 stopped in setting up .*: UserCodeError$"
    ),
    "host build_infer_model": raising(HOST, "build_infer_model", "^party0 stopped in setting up .*: UserCodeError$"),
    "host build_infer_optimizer": raising(
        HOST, "build_infer_optimizer", "^party0 stopped in setting up .*: UserCodeError$"
    ),
    "host iterate_train_feature": raising(
        HOST, "iterate_train_feature", "^party0 stopped in setting up the models: UserCodeError$"
    ),
    "host later batch": raising(
        HOST, "iterate_train_feature later", "^party0 stopped in training round 2, batch 2: UserCodeError$"
    ),
    "host train_a_batch": raising(
        HOST, "train_a_batch", "^party0 stopped in training round 1, batch 1: UserCodeError$"
    ),
    "host iterate_test_feature": raising(
        HOST, "iterate_test_feature", "^party0 stopped in testing round 1, batch 1: UserCodeError$", **TEST_EVERY
    ),
    "host test": raising(HOST, "test", "^party0 stopped in testing round 1, batch 2: UserCodeError$", **TEST_EVERY),
    "host is_task_finished": raising(HOST, "is_task_finished", "^party0 stopped in .* round 1.*: UserCodeError$"),
    "collaborator load_local_ids": raising(OTHER, "load_local_ids", "^party1 stopped in private .*: UserCodeError$"),
    "collaborator split_dataset": raising(OTHER, "split_dataset", "^party1 stopped in comparing .*: UserCodeError$"),
    "collaborator build_feature_model": raising(
        OTHER, "build_feature_model", "^party1 stopped in setting up .*: UserCodeError$"
    ),
    "collaborator build_feature_optimizer": raising(
        OTHER, "build_feature_optimizer", "^party1 stopped in setting up .*: UserCodeError$"
    ),
    "collaborator iterate_train_feature": raising(
        OTHER, "iterate_train_feature", "^party1 stopped in setting up .*: UserCodeError$"
    ),
    "collaborator later batch": raising(
        OTHER, "iterate_train_feature later", "^party1 stopped in training round 2, batch 2: UserCodeError$"
    ),
    "collaborator iterate_test_feature": Row(
        "^party1 stopped in testing round 1, batch 1: UserCodeError$",
        host=TEST_EVERY,
        other={"raises": "iterate_test_feature"},
        detail_at=OTHER,
        detail=f"^iterate_test_feature raised ValueError: {MARKER}$",
    ),
    # Users' methods that return what they may not
    "host model is None": returning(
        HOST,
        {"returns": {"build_feature_model": None}},
        "^build_feature_model must return a torch.nn.Module, not NoneType",
    ),
    "host optimizer is None": returning(
        HOST, {"returns": {"build_feature_optimizer": None}}, "^build_feature_optimizer must return .*, not NoneType"
    ),
    "infer model is None": returning(
        HOST, {"returns": {"build_infer_model": None}}, "^build_infer_model must return a torch.nn.Module, not NoneType"
    ),
    "infer optimizer is None": returning(
        HOST, {"returns": {"build_infer_optimizer": None}}, "^build_infer_optimizer must return .*, not NoneType"
    ),
    "collaborator model is None": returning(
        OTHER, {"returns": {"build_feature_model": None}}, "^build_feature_model must return a torch.nn.Module"
    ),
    "collaborator features are 3d": returning(OTHER, {"features": "3d"}, r"must yield features \[batch, features\]"),
    "collaborator features are int": returning(OTHER, {"features": "int"}, "must yield floating point features"),
    "collaborator features are None": returning(OTHER, {"features": "none"}, "must yield tensors .*not NoneType"),
    "host features are None": returning(HOST, {"features": "none"}, r"must yield \(features, labels\)"),
    "collaborator features are NaN": returning(
        OTHER, {"features": "nan"}, "^features of party1 holds nan at .*; nothing was sent", "OutOfRange", "training.*"
    ),
    "collaborator features change width": returning(
        OTHER, {"features": "wider later"}, "^features of party1: expected .*, 4", "InvalidInput", "training.*"
    ),
    "gradient is NaN": returning(
        HOST,
        {"features": "nan gradient"},
        r"gradient of the loss .*party1.* holds nan .*nothing was sent",
        "OutOfRange",
    ),
    "no backward": returning(HOST, {"steps": "no backward"}, r"step\(\) without backward\(\)", "StepError"),
    "two steps": returning(HOST, {"steps": "twice"}, r"step\(\) twice in one batch", "StepError"),
    "split returns one set": returning(OTHER, {"split": "one"}, "split_dataset must return", "InvalidInput"),
    "split returns strangers": returning(
        OTHER, {"split": "strangers"}, "^split_dataset returned 1 ids that are not in the intersection", "InvalidInput"
    ),
    "split returns nothing": returning(
        HOST, {"split": "nothing"}, "^split_dataset returned no training", "InvalidInput"
    ),
    # Ids that PSI cannot use
    "host ids empty": returning(HOST, {"ids": []}, "", "InvalidInput", "private set intersection"),
    "collaborator ids empty": returning(OTHER, {"ids": []}, "", "InvalidInput", "private set intersection"),
    "host ids twice": returning(
        HOST, {"ids": ["1", "2", "1"]}, "1 of 3 .* repeat .* positions 0 and 2", "InvalidInput"
    ),
    "collaborator ids twice": returning(
        OTHER, {"ids": ["77", "2", "77"]}, "1 of 3 .* repeat .* positions 0 and 2", "InvalidInput"
    ),
    "collaborator ids are numbers": returning(OTHER, {"ids": [1, 2, 3]}, "int", "InvalidInput"),
    "collaborator ids are a string": returning(OTHER, {"ids": "123"}, "list of text ids, not str", "InvalidInput"),
    "empty intersection": Row(
        "^no id is held by all parties: the host has 2 ids, party1 1$",
        host={"ids": ["a-1", "a-2"]},
        other={"ids": ["0017"]},
        detail_at="both",
        detail="this party's ids have . to . characters and look like",
    ),
    # Parties that do not line up
    "different batch size": Row(
        "^the host's first batch has 32 samples, party1's has 16. Use the same batch size$", other={"batch_size": 16}
    ),
    "different test batch size": Row(
        "testing round 1, batch 1: the host's batch has 32 samples, party1's has 20",
        host={"batch_size": 64, "arguments": {"log_rounds": 1}},
        other={"batch_size": 64, "split": "sets", "order": "ids", "returns": {"test_batch_size": 20}},
    ),
    "fewer batches at the host": Row(
        "the host has 1 batches, party1 has more than 1 batches", host={"returns": {"batches": 1}}
    ),
    "fewer batches at the collaborator": Row(
        "the host has more than 1 batches, party1 has 1 batches", other={"returns": {"batches": 1}}
    ),
    "different split": Row(
        "split_dataset differs: the host has 64 training ids, party1 has 48", other={"split": "short"}
    ),
    "same counts, other ids": Row(
        "the host has 64 training ids, party1 has 64, and they are not the same ones", other={"split": "other"}
    ),
    "lists in another order": Row(
        "the same ids in another order. Return sets, or sort", host={"split": "lists"}, other={"split": "reversed"}
    ),
    "confirmed batches differ": Row(
        "training round 1, batch 1: the host's and party1's 32 samples are not the same ones",
        host={"confirm": "yes"},
        other={"confirm": "yes", "order": "shifted"},
    ),
    # Parties that do not agree
    "seed at the host only": Row("seed: only the host runs with a seed", host_seed=1),
    "seed at the collaborator only": Row("seed: only party1 runs with a seed", other_seed=1),
    "different schemes": Row(
        "^scheme: the host asks for 'plain', party1 for 'other'; no data was sent", other_scheme="other"
    ),
    "same feature key": Row(
        "two parties use the same feature_key among: same, same",
        host={"arguments": {"feature_key": "same"}},
        other={"arguments": {"feature_key": "same"}},
    ),
    "projection for a stranger": Row(
        "^party0 stopped in joining: ConfigurationError$",
        host={"arguments": {"projection": {"nobody": 3}}},
        detail_at=HOST,
        detail="projection names .*nobody.*party1",
    ),
    # What works
    "defaults": Row(""),
    "ids as text, on one side": Row("", host={"split": "text"}, other={"split": "sets"}),
    "the same lists": Row("", host={"split": "lists"}, other={"split": "lists"}),
    "confirmed batches": Row("", host={"confirm": "yes"}, other={"confirm": "yes"}),
    "confirmed by one side": Row("", host={"confirm": "yes"}),
    "seeds": Row("", host_seed=3, other_seed=3),
    "seeds again": Row("", host_seed=3, other_seed=3),
    "frozen host": Row("", host={"arguments": {"is_feature_trainable": False}}),
    "frozen collaborator": Row("", other={"arguments": {"is_feature_trainable": False}}),
    "both frozen": Row(
        "", host={"arguments": {"is_feature_trainable": False}}, other={"arguments": {"is_feature_trainable": False}}
    ),
    "no step": Row("", host={"steps": "never"}),
    "no step, frozen collaborator": Row(
        "", host={"steps": "never"}, other={"arguments": {"is_feature_trainable": False}}
    ),
    "test every 2 of 5": Row("", host={"arguments": {"log_rounds": 2, "max_rounds": 5}}),
    "test never": Row("", host={"arguments": {"log_rounds": 0, "max_rounds": 1}}),
    "own end": Row("", host={"arguments": {"max_rounds": 0}, "finish_after": 3}),
    "projection": Row(
        "", host={"arguments": {"projection": {"party1": 4}, "projection_lr": 0.05}}, host_seed=1, other_seed=1
    ),
    "projection, frozen": Row(
        "", host={"arguments": {"projection": True}}, other={"arguments": {"is_feature_trainable": False}}
    ),
    "loss is NaN": Row("", host={"arguments": {"log_rounds": 1}, "returns": {"loss": float("nan")}}),
}


@dataclass
class Table:
    """All rows after the run."""

    lab: Lab
    tasks: dict[str, str]
    ends: dict[str, dict[str, dict[str, Any]]]

    def results(self, name: str, who: str) -> Path:
        """Where a party's results are."""
        return self.lab.homes[who] / "tasks" / self.tasks[name] / "results"

    def metrics(self, name: str, who: str = HOST) -> dict[str, Any]:
        """A party's metrics.json."""
        text = (self.results(name, who) / "metrics.json").read_text()
        values: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
        return values


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Runs every row."""
    lab = Lab(tmp_path_factory.mktemp("table"))
    tasks = {name: lab.new_task() for name in ROWS}
    plan = {
        HOST: [
            {"task": tasks[name], "seed": row.host_seed, "case": {"index": 0, **row.host}} for name, row in ROWS.items()
        ],
        OTHER: [
            {"task": tasks[name], "seed": row.other_seed, "scheme": row.other_scheme, "case": {"index": 1, **row.other}}
            for name, row in ROWS.items()
        ],
    }
    running = {
        who: lab.start(who, "tiny_table.py", environment={"TINY_TABLE": json.dumps(rows)}, with_python=True)
        for who, rows in plan.items()
    }
    ended = {who: party.ended() for who, party in running.items()}
    for who, end in ended.items():
        assert end.code == 0, f"{who}: {end.err}"
    lines = {who: [json.loads(line) for line in end.out.splitlines()] for who, end in ended.items()}
    yield Table(lab, tasks, {name: {who: lines[who][at] for who in plan} for at, name in enumerate(ROWS)})
    lab.stop()


@pytest.mark.parametrize("name", ROWS)
def test_both_parties_say_the_same(table: Table, name: str) -> None:
    row, ends = ROWS[name], table.ends[name]
    assert ends[HOST]["reason"] == ends[OTHER]["reason"]
    for who in (HOST, OTHER):
        end, record = ends[who], table.lab.store(who).get(table.tasks[name])
        assert end["ok"] == (not row.reason), end
        assert re.search(row.reason, end["reason"]), end
        assert "\n" not in end["text"]
        assert MARKER not in end["reason"]
        if row.detail_at in (who, "both"):
            assert re.search(row.detail, end["detail"]), end
        else:
            assert end["detail"] == ""
        assert record.state.value == ("failed" if row.reason else "finished")
        assert record.failure == (end["reason"] or None)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if MARKER in row.detail])
def test_a_users_text_stays_at_home(table: Table, name: str) -> None:
    for who in (HOST, OTHER):
        home = table.lab.homes[who]
        log = (home / "tasks" / table.tasks[name] / "log.txt").read_text()
        own = who == ROWS[name].detail_at
        assert (MARKER in log) == own, "only the party's own log has the text"
        assert ("Traceback" in log) == own or "PeerAborted" in log


def losses(table: Table, name: str) -> list[float]:
    """The host's batch losses."""
    values: list[float] = table.metrics(name)["batch_losses"]
    return values


def test_losses_are_those_of_one_process(table: Table) -> None:
    plain, _ = tiny.train_in_one_process(2, 2)
    for name in (
        "defaults",
        "confirmed batches",
        "confirmed by one side",
        "the same lists",
        "ids as text, on one side",
    ):
        assert losses(table, name) == plain, name


@pytest.mark.parametrize(
    ("name", "frozen"), [("frozen host", (0,)), ("frozen collaborator", (1,)), ("both frozen", (0, 1))]
)
def test_a_frozen_model_is_a_fixed_function(table: Table, name: str, frozen: tuple[int, ...]) -> None:
    expected, models = tiny.train_in_one_process(2, 2, frozen)
    assert losses(table, name) == expected
    for who, model in zip((HOST, OTHER), models):
        saved = load_file(table.results(name, who) / "feature_model.safetensors")
        assert all(torch.equal(saved[key], value) for key, value in model.state_dict().items())
    frozen_sees = table.metrics(name, OTHER)["bytes_received"]
    sees = table.metrics("defaults", OTHER)["bytes_received"]
    assert (frozen_sees < sees - 4 * 32 * 4 * 4) == (1 in frozen), "only a trainable model is shown gradients"


@pytest.mark.parametrize("name", ["defaults", "projection"])
def test_results(table: Table, name: str) -> None:
    _, models = tiny.train_in_one_process(2, 2)
    expected = {"feature_model.safetensors", "infer_model.safetensors", "metrics.json"}
    if name == "projection":
        expected.add("projection.party1.safetensors")
        assert load_file(table.results(name, HOST) / "projection.party1.safetensors")["weight"].shape == (4, 4)
    else:
        saved = load_file(table.results(name, HOST) / "infer_model.safetensors")
        assert all(torch.equal(saved[key], value) for key, value in models[-1].state_dict().items())
    assert {path.name for path in table.results(name, HOST).iterdir()} == expected
    assert {path.name for path in table.results(name, OTHER).iterdir()} == {"feature_model.safetensors", "metrics.json"}
    for who in (HOST, OTHER):
        record = table.lab.store(who).get(table.tasks[name])
        assert record.rounds_finished == 2
        transcripts = list((table.results(name, who).parent / "transcripts").iterdir())
        assert [path.suffix for path in transcripts] == [".transcript"]
        files = [path for path in table.results(name, who).rglob("*") if path.is_file()] + transcripts
        assert {str(path) for path in files} == set(record.artifacts)
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_tensorboard_is_exported(table: Table) -> None:
    files = list((table.results("test every 2 of 5", HOST) / "tensorboard").iterdir())
    assert len(files) == 1
    assert files[0].name.startswith("events.out.tfevents.")
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert b"test_results/accuracy" in files[0].read_bytes()
    record = table.lab.store(HOST).get(table.tasks["test every 2 of 5"])
    assert str(files[0]) in record.artifacts
    assert record.metrics["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("name", "rounds", "tested"),
    [
        ("test every 2 of 5", 5, [1, 2, 4, 5]),
        ("test never", 1, []),
        ("own end", 3, []),
        ("defaults", 2, []),
        ("loss is NaN", 2, [1, 2]),
    ],
)
def test_rounds_and_tests(table: Table, name: str, rounds: int, tested: list[int]) -> None:
    metrics = table.metrics(name)
    assert [each["round"] for each in metrics["rounds"]] == list(range(1, rounds + 1))
    assert [each["batches"] for each in metrics["rounds"]] == [2] * rounds
    assert [each["round"] for each in metrics["rounds"] if each["accuracy"] == 1.0] == tested
    assert [each["round"] for each in metrics["rounds"] if each["test_seconds"] is not None] == tested
    calls = table.ends[name][HOST]["calls"]
    assert calls.count("test") == len(tested)
    assert calls.count("is_task_finished") == rounds
    others = table.metrics(name, OTHER)["rounds"]
    assert [each["round"] for each in others if each["test_seconds"] is not None] == tested


def test_a_batch_without_step_trains_nothing(table: Table) -> None:
    for name in ("no step", "no step, frozen collaborator"):
        first, second, *rest = losses(table, name)
        assert [first, second] == rest
        saved = load_file(table.results(name, OTHER) / "feature_model.safetensors")
        assert all(torch.equal(saved[key], value) for key, value in tiny.bottom(1).state_dict().items())


def test_a_seeded_run_repeats_itself(table: Table) -> None:
    assert losses(table, "seeds") == losses(table, "seeds again")
    assert table.metrics("seeds")["seed"] == 3
    assert table.metrics("defaults")["seed"] is None


def test_bytes_match_at_both_ends(table: Table) -> None:
    host, other = table.metrics("defaults"), table.metrics("defaults", OTHER)
    # The farewell is under way while the books are closed.
    assert abs(host["bytes_sent"] - other["bytes_received"]) < 100
    assert abs(host["bytes_received"] - other["bytes_sent"]) < 100
    assert host["psi"]["intersection"] == 96
    assert host["psi"]["host_ids"] == 128
    assert host["psi"]["collaborator_ids"] == {OTHER: 128}


def test_user_methods_are_called_in_the_tutorials_order(table: Table) -> None:
    calls = table.ends["defaults"][HOST]["calls"]
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
