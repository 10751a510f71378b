"""Parties as their users start them: exit codes, what is printed, kills, hangs, strangers, notebooks."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.limits import PARTY, seconds
from benchmarks.harness.parties import SCRIPTS, Ended, Parties
from benchmarks.harness.processes import ROOT
from benchmarks.harness.scripts.cases import Case, Method
from secure_hfl.engine.collaborator import with_grace
from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskStore

MARKER = "secret-value-4711"
ENDLESS = Case(arguments={"max_rounds": 10**6})


def fails_with(ended: Ended, reason: str) -> None:
    """One line says why, nothing else does, and the exit code is 1."""
    assert ended.code == 1, ended
    assert "Traceback" not in ended.err + ended.out
    assert len(ended.errors) == 1, ended.err
    assert re.search(reason, ended.errors[0]), ended.errors[0]


@pytest.mark.parametrize("with_python", [False, True], ids=["secure-hfl", "python"])
def test_a_failure_is_one_line_at_both_parties(parties: Parties, with_python: bool) -> None:
    parties.new_task()
    running = {
        name: parties.start(
            name,
            "tiny_party.py",
            case=Case(raises=Method.TRAIN_A_BATCH) if name == "party0" else None,
            with_python=with_python,
            is_real=with_python and name == "party0",  # both roles end by the same code
        )
        for name in parties.names
    }
    ended = {name: party.ended() for name, party in running.items()}
    reason = "party0 stopped in training round 1, batch 1: UserCodeError"
    fails_with(ended["party1"], f"^error: {reason}$")
    fails_with(ended["party0"], rf"^error: {reason} \(train_a_batch raised ValueError: {MARKER}\)$")
    assert MARKER not in ended["party1"].err + ended["party1"].out


def test_options_of_the_command_line(parties: Parties) -> None:
    task = parties.new_task()
    options = {"party0": ["--rounds", "3", "--batches", "1", "--seed", "4", "--task", task], "party1": ["--seed", "4"]}
    running = {name: parties.start(name, "tiny_party.py", *options[name]) for name in parties.names}
    assert [party.ended().code for party in running.values()] == [0, 0]
    metrics = json.loads((parties.homes["party0"] / "tasks" / task / "results" / "metrics.json").read_text())
    assert [each["batches"] for each in metrics["rounds"]] == [1, 1, 1]


def waiting(seconds: float, **arguments: Any) -> Case:
    """A party that waits so long for one that is late or lost."""
    return Case(arguments={"schedule_timeout": seconds, **arguments})


def impatient(name: str) -> Case:
    """An endless task whose parties do not wait long for one that is lost."""
    endless = {"max_rounds": 10**6} if name == "party0" else {}
    return waiting(seconds(8), **endless)


@pytest.mark.parametrize(("killed", "left"), [("party0", "party1"), ("party1", "party0")])
def test_a_killed_party_ends_the_other(parties: Parties, killed: str, left: str) -> None:
    task = parties.new_task()
    running = {
        name: parties.start(name, "tiny_party.py", case=impatient(name), listens=name == killed)
        for name in parties.names
    }
    running[killed].wait_for("batch")
    running[killed].kill()
    reason = rf"^error: the connection to {killed} broke.*interrupted, and not all came back in time; --resume"
    fails_with(running[left].ended(), reason)
    assert parties.store(left).get(task).state.value == "failed"
    assert not parties.store(killed).is_live(task)


@pytest.mark.parametrize("hanging", ["party0", "party1"])
def test_a_hanging_party_ends_all(parties: Parties, hanging: str) -> None:
    parties.new_task()
    owed = math.ceil(seconds(1))
    cases = {"party0": Case(arguments={"calculation_timeout": owed}), "party1": Case()}
    cases[hanging].hangs = {"party0": Method.TRAIN_A_BATCH, "party1": Method.ITERATE_TRAIN_FEATURE_LATER}[hanging]
    ended = parties.run(cases=cases)
    where = {
        "party0": rf"party0 owed .* for {with_grace(owed):g} s in training round 1, batch 1",
        "party1": f"party1 owed .* for {owed} s in",
    }
    fails_with(ended["party0"], f"^error: {where[hanging]}")
    assert ended["party0"].errors == ended["party1"].errors
    fails_with(ended["party1"], f"^error: {where[hanging]}")


def test_ctrl_c_is_told(parties: Parties) -> None:
    parties.new_task()
    running = {
        name: parties.start(
            name,
            "tiny_party.py",
            case=ENDLESS if name == "party0" else None,
            listens=name == "party1",
            with_python=True,
            is_real=name == "party1",
        )
        for name in parties.names
    }
    running["party1"].wait_for("batch")
    running["party1"].process.send_signal(2)
    running["party1"].stop_listening()
    stopped = running["party1"].ended()
    assert stopped.code not in (0, 1)
    assert "Traceback" not in stopped.err
    fails_with(
        running["party0"].ended(),
        r"^error: party1 was stopped by its user in training round \d+, batch \d+; all can go on with --resume$",
    )


def test_who_does_not_come_is_named(parties: Parties) -> None:
    parties.new_task()
    host = parties.start("party0", "tiny_party.py", case=waiting(1))
    fails_with(host.ended(), "^error: party1 did not join task .* within 1 s")
    early = parties.start("party1", "tiny_party.py", case=waiting(1))
    fails_with(early.ended(), "^error: no connection to party0 within 1 s")


def test_a_stranger_is_refused(parties: Parties) -> None:
    task = parties.new_task()
    home = parties.directory / "stranger"
    home.mkdir(mode=0o700)
    Identity.load_or_create(home, "party1")
    # The stranger has the invite, and a record that says it is party1, but not party1's key.
    TaskStore(home).create(parties.store("party1").get(task))
    host = parties.start("party0", "tiny_party.py", case=waiting(seconds(60)))
    stranger = parties.start("party1", "tiny_party.py", case=waiting(2), home=home)
    fails_with(stranger.ended(), "^error: (no connection to party0 within 2 s|party0 refused us)")
    partner = parties.start("party1", "tiny_party.py")
    assert partner.ended().code == 0, "the party with the right key is still welcome"
    assert host.ended().code == 0


def test_a_failed_data_check_does_not_start(parties: Parties) -> None:
    task = parties.new_task()
    parties.store("party1").record_data_check(task, False, "the column age is missing")
    ended = parties.start("party1", "tiny_party.py").ended()
    fails_with(ended, "^error: .*data check.*")
    assert parties.store("party1").get(task).state.value == "created"


def test_a_run_cannot_take_the_encryption_off(parties: Parties) -> None:
    task = parties.new_task(scheme="bfv")
    host = parties.start("party0", "tiny_party.py", "--scheme", "plain")
    other = parties.start("party1", "tiny_party.py", case=Case(arguments={"scheme": "plain"}))
    for name, running in (("party0", host), ("party1", other)):
        fails_with(running.ended(), "agreed on with scheme 'bfv'.*encrypts")
        assert parties.store(name).get(task).state.value == "created"


def test_a_task_is_run_once_and_by_its_own_role(parties: Parties) -> None:
    task = parties.new_task()
    host = parties.start("party0", "tiny_party.py", case=waiting(seconds(60)), listens=True)
    wrong = parties.start("party1", "tiny_party.py", index=0, case=Case(arguments={"max_rounds": 1}))
    fails_with(wrong.ended(), "makes this party the collaborator, but the script runs a host")
    host.wait_for("phase")
    fails_with(parties.start("party0", "tiny_party.py").ended(), f"task {task} is running in process")


NOTEBOOK = """
import sys, os
sys.path.insert(0, os.environ["TINY_SCRIPTS"])
from tiny import make
scheduler = make({case})
scheduler.launch_task("YOUR_TASK_ID")
"""


def test_in_a_notebook(parties: Parties, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    import nbformat
    from nbclient import NotebookClient

    for name, value in {
        "SECURE_HFL_HOME": parties.homes["party0"],
        "TINY_SCRIPTS": SCRIPTS,
        "PYTHONPATH": ROOT,
        "IPYTHONDIR": tmp_path / "ipython",
    }.items():
        monkeypatch.setenv(name, str(value))
    tasks = [parties.new_task(), parties.new_task()]
    rows = [{"task": task, "case": parties.values("party1")} for task in tasks]
    partner = parties.start("party1", "tiny_series.py", environment={"TINY_SERIES": json.dumps(rows)}, with_python=True)
    cells = [
        NOTEBOOK.format(case=parties.values("party0")).replace("YOUR_TASK_ID", tasks[0]),
        "print(scheduler.current_round, type(scheduler.infer_model).__name__)",
        NOTEBOOK.format(case={"raises": "train_a_batch"}).replace("YOUR_TASK_ID", tasks[1]),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=math.ceil(seconds(PARTY)), kernel_name="python3", allow_errors=True).execute()
    assert notebook.cells[1].outputs[0].text == "2 Linear\n"
    (display,) = [output for output in notebook.cells[0].outputs if output.output_type == "display_data"]
    drawn = display.data["text/html"]
    assert "<svg" in drawn
    assert ">finished, round " in drawn
    shown = [output for output in notebook.cells[2].outputs if output.output_type == "error"]
    reason = "party0 stopped in training round 1, batch 1: UserCodeError"
    assert len(shown) == 1
    assert shown[0].traceback == [f"TaskFailed: {reason} (train_a_batch raised ValueError: {MARKER})"]
    good, bad = (json.loads(line) for line in partner.ended().out.splitlines())
    assert good["ok"]
    assert bad["reason"] == reason


def test_the_environment_is_checked(parties: Parties) -> None:
    parties.new_task()
    bad = {"SECURE_HFL_SEED": "x", "SECURE_HFL_ROUNDS": "0"}
    running = {
        name: parties.start("party0", "tiny_party.py", environment={name: value}, with_python=True)
        for name, value in bad.items()
    }
    for name, host in running.items():
        fails_with(host.ended(), f"^error: {name}: Input should be")
