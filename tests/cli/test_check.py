"""`secure-hfl check`: scripts tried out alone or against each other; what is printed, exit codes, and no trace."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.scripts.cases import Split
from secure_hfl import RunLimits
from tests.cli.helpers import ROOT, User, fails

SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT / "benchmarks" / "harness" / "scripts")!r})
from secure_hfl import RunLimits
from tiny import make
scheduler = make(CASE)
scheduler.launch_task("YOUR_TASK_ID")
print("after", scheduler.current_round)
"""

FAILING = f"""
import sys
sys.path.insert(0, {str(ROOT / "benchmarks" / "harness" / "scripts")!r})
from tiny import Case, TinyHost

class Mine(TinyHost):
    def build_infer_model(self):
        return 1 / 0  # line 8

scheduler = Mine(Case(arguments={{'max_rounds': 1}}))
scheduler.launch_task("YOUR_TASK_ID")
print("after", scheduler.current_round)
"""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """Without a home directory."""
    directory = tmp_path / "work"
    directory.mkdir()
    return User(tmp_path / "home", directory, monkeypatch)


def script(user: User, index: int = 0, name: str = "", **case: Any) -> str:
    """A party's script of the tiny task."""
    return user.write(name or f"party{index}.py", SCRIPT.replace("CASE", repr({"index": index, **case})))


def checked(user: User, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code, and what was found in each scheduler."""
    result = user.run("check", *arguments, "--json")
    values = json.loads(result.stdout[result.stdout.index("{\n") :])
    assert (result.exit_code == 0) is values["ok"] is all(each["ok"] for each in values["checked"])
    return result.exit_code, values["checked"]


def failure(found: dict[str, Any]) -> tuple[str, str]:
    """The one step that failed, and why."""
    (finding,) = (each for each in found["findings"] if each["status"] == "fail")
    return finding["step"], finding["detail"]


def test_a_script_that_is_ready(user: User) -> None:
    user.write("neighbour.py", "")
    path = user.write("party0.py", "import neighbour\n" + (user.directory / script(user)).read_text())
    result = user.run("check", path, "--peer", "party1=4")
    assert result.exit_code == 0, result.output
    for text in ("after 1", "party0.py: TinyHost, host 'party0'", "train_a_batch", "losses", "128 ids", "Ready."):
        assert text in result.stdout
    assert not user.home.exists()
    assert sorted(path.name for path in user.directory.iterdir()) == ["neighbour.py", "party0.py"]


def test_a_script_that_fails_says_where(user: User) -> None:
    result = user.run("check", user.write("mine.py", FAILING))
    assert result.exit_code == 1
    assert "build_infer_model raised ZeroDivisionError: division by zero (mine.py:8)" in result.stdout
    assert "Not ready: see the rows marked fail." in result.stdout
    assert "say which with --ids" in result.stdout
    assert "after" not in result.stdout
    assert result.stderr == ""


def test_parties_are_checked_against_each_other(user: User) -> None:
    code, found = checked(user, script(user), script(user, 1))
    assert code == 0
    assert [(each["class"], each["role"], each["feature_key"]) for each in found] == [
        ("TinyCollaborator", "collaborator", "party1"),
        ("TinyHost", "host", "party0"),
    ]
    details = {each["step"]: each["detail"] for each in found[1]["findings"]}
    assert details["split_dataset"] == "of 96 ids (given ids): 64 for training, 32 for testing"
    assert details["feature_projection"] == "made-up features of 'party1', 4 wide"


def steps_that_differ(user: User, **host: Any) -> list[str]:
    """What is not the same at a Host that is like this and at a well-behaved collaborator."""
    _, found = checked(user, script(user, **host), script(user, 1))
    detail = "not as at party1, where it must be the same"
    return [each["step"] for each in found[1]["findings"] if each["detail"] == detail and each["status"] == "fail"]


@pytest.mark.parametrize("split", [Split.FEWER_TO_TRAIN, Split.TWO_SWAPPED], ids=lambda split: split.value)
def test_parties_that_split_otherwise(user: User, split: Split) -> None:
    assert "split_dataset" in steps_that_differ(user, split=split.value)


def test_parties_with_training_batches_of_another_size(user: User) -> None:
    assert "iterate_train_feature" in steps_that_differ(user, batch_size=16)


def test_parties_with_fewer_training_batches(user: User) -> None:
    assert "iterate_train_feature" in steps_that_differ(user, batches=1)


def test_parties_with_test_batches_of_another_size(user: User) -> None:
    assert steps_that_differ(user, test_batch_size=16) == ["iterate_test_feature"]


def test_two_parties_of_one_name(user: User) -> None:
    _, found = checked(user, script(user), script(user, 1), script(user, 1, "other.py"))
    assert failure(found[1]) == ("feature_key", "'party1' is another party's as well")


def test_a_host_that_asks_for_other_features_than_there_are(user: User) -> None:
    """Not made up, as those of one script alone are: nobody would send them."""
    other = script(user, 1, arguments={"feature_key": "clinic"})
    code, found = checked(user, script(user), other)
    assert code == 1
    steps = {each["step"]: each["detail"] for each in found[1]["findings"] if each["status"] == "fail"}
    assert steps["feature_key"] == (
        "the Host asks for the features of 'party1'; the collaborators' scripts have feature_key 'clinic'"
    )
    assert steps["train_a_batch"].startswith("train_a_batch raised KeyError: 'party1' (")


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "may_train": ({"may_train": []}, {}, "may_train: party1 wants to train its bottom model"),
    "rounds": ({}, {"run_limits": RunLimits(rounds=1)}, "rounds: party1 allows at most 1, the host asks for 2"),
    "rate": ({}, {"run_limits": RunLimits(projection_lr=0.001)}, "party1 allows at most 0.001, the host asks for 0.01"),
    "ids": ({}, {"run_limits": RunLimits(ids=95)}, "96 samples in common, and party1 allows at most 95"),
    "rows": ({}, {"run_limits": RunLimits(rows=31)}, "allows batches of at most 31 samples, and the script yields 32"),
    "width": ({}, {"run_limits": RunLimits(width=3)}, "party1 allows at most 3, and the layer has 4 outputs"),
    "a narrower layer": ({"projection": 4}, {"run_limits": RunLimits(width=3)}, "at most 3, the host asks for 4"),
}


@pytest.mark.parametrize(("host", "other", "problem"), REFUSED.values(), ids=REFUSED)
def test_terms_that_a_task_would_refuse(user: User, host: dict[str, Any], other: dict[str, Any], problem: str) -> None:
    user.monkeypatch.setenv("SECURE_HFL_ROUNDS", "2")  # the tiny Host decides as it goes
    code, found = checked(user, script(user, arguments=host), script(user, 1, arguments=other))
    step, detail = failure(found[1])
    assert (code, step) == (1, "may_train" if "may_train" in host else "run_limits")
    assert problem in detail


def test_one_collaborator_may_have_another_name_in_the_task(user: User) -> None:
    """Then nobody can know whom `may_train` means."""
    code, found = checked(user, script(user, arguments={"may_train": ["clinic"]}), script(user, 1))
    (detail,) = (each["detail"] for each in found[1]["findings"] if each["step"] == "may_train")
    assert code == 0
    assert "Right only if the task calls 'party1' one of ['clinic']" in detail


def test_terms_that_fit(user: User) -> None:
    limits = RunLimits(rounds=2, projection_lr=0.01, ids=96, rows=32, width=4)
    host, other = script(user, arguments={"may_train": ["party1"]}), script(user, 1, arguments={"run_limits": limits})
    assert checked(user, host, other)[0] == 0
    as_it_goes = script(user, finish_after=1, arguments={"max_rounds": 0})
    assert checked(user, as_it_goes, other)[0] == 0


def test_a_sum_of_two(user: User) -> None:
    """A host's script alone, with both collaborators', and with what a task would refuse."""
    user.monkeypatch.setenv("SECURE_HFL_SCHEME", "bfv")
    host, asks = {"parties": 3, "arguments": {"fusion": "sum"}}, {"run_limits": RunLimits(least_others=1)}
    assert checked(user, script(user, **host))[0] == 0
    assert checked(user, script(user, **host), script(user, 1, arguments=asks), script(user, 2))[0] == 0
    frozen = script(user, 2, arguments={"is_feature_trainable": False})
    _, found = checked(user, script(user, **host), script(user, 1), frozen)
    assert failure(found[-1])[1].startswith("fusion: the bottom model of party2 is frozen")
    asks_more = script(user, 1, arguments={"run_limits": RunLimits(least_others=2)})
    _, found = checked(user, script(user, **host), asks_more, script(user, 2))
    assert failure(found[-1])[1].startswith("fusion: party1 lets its projections reach the host only in a sum")


def test_parties_without_a_common_id(user: User) -> None:
    fails(user.run("check", script(user), script(user, 1, ids=["x", "y"])), "no id in common", "party0 128", "party1 2")


def test_a_party_whose_ids_are_wrong_is_shown_among_several(user: User) -> None:
    code, found = checked(user, script(user), script(user, 1, ids=["x", "x"]))
    assert code == 1
    assert failure(found[0])[0] == "load_local_ids"


def test_given_ids_are_the_intersection(user: User) -> None:
    ids = user.write("ids.txt", "".join(f"{i}\n" for i in range(32, 128)))
    _, (found,) = checked(user, script(user), "--ids", ids)
    details = {each["step"]: each["detail"] for each in found["findings"]}
    assert details["split_dataset"].startswith("of 96 ids (given ids)")
    _, (found,) = checked(user, script(user), "--ids", user.write("ids.txt", "1\n999\n"))
    assert failure(found) == ("split_dataset", "1 of the given ids are not this party's")


def test_the_number_of_batches(user: User) -> None:
    _, (found,) = checked(user, script(user), "--batches", "1")
    details = {each["step"]: each["detail"] for each in found["findings"]}
    assert details["iterate_train_feature"].startswith("32 rows")


def test_a_peer_of_another_width(user: User) -> None:
    _, (found,) = checked(user, script(user), "--peer", "party1=5")
    step, detail = failure(found)
    assert step == "train_a_batch"
    assert "shapes cannot be multiplied" in detail


@pytest.mark.parametrize("option", ["party1", "party1=", "=4", "party1=0", "party1=-1", "party1=x"])
def test_a_peer_that_is_not_one(user: User, option: str) -> None:
    fails(user.run("check", script(user), "--peer", option), "write KEY=WIDTH")


def test_a_script_that_launches_nothing(user: User) -> None:
    fails(user.run("check", user.write("idle.py", "x = 1\n")), "idle.py has launched nothing", "launch_task")
    fails(user.run("check", user.write("idle.py", "x = 1\n"), script(user)), "idle.py has launched nothing")


def test_a_script_that_raises_by_itself(user: User) -> None:
    result = user.run("check", user.write("bad.py", "import secure_hfl\n\n{}['key']\n"))
    fails(result, "error: bad.py: KeyError: 'key' (bad.py:3)")


def test_our_own_errors_pass_unchanged(user: User) -> None:
    user.home.mkdir(mode=0o755)
    result = user.run(
        "check", user.write("party.py", "from secure_hfl.home import home_directory\n\nhome_directory()\n")
    )
    fails(result)
    assert result.stderr == f"error: other users have access to {user.home} (mode 755); run: chmod 700 {user.home}\n"


def test_a_data_checker_has_a_table_of_its_own(user: User) -> None:
    text = """
from secure_hfl import DataChecker

class Checker(DataChecker):
    def verify_data(self):
        return True, "all columns are there"

Checker(task_id="TASK_ID").execute_verification()
"""
    _, found = checked(user, user.write("party.py", text + (user.directory / script(user)).read_text()))
    assert [each["class"] for each in found] == ["Checker", "TinyHost"]
    assert found[0]["findings"] == [{"step": "Checker.verify_data", "status": "ok", "detail": "all columns are there"}]


def test_the_tutorials_listings(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_HFL_DATA", str(user.directory / "data"))
    listings = ROOT / "secure_hfl" / "examples" / "mnist"
    code, found = checked(user, *(str(listings / name) for name in ("host.py", "collaborator.py")), "--batches", "1")
    assert code == 0, found
    assert os.listdir(user.directory) == ["data"]
