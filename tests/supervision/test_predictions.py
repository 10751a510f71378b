"""Predictions as processes: what is asked and served, what came of it, and what is left in the task's directory."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness.limits import Limit
from secure_hfl.errors import ConfigurationError, TaskStateError
from secure_hfl.home import privacy_problems
from secure_hfl.supervision import predictions
from secure_hfl.supervision.predictions import PredictionRun, ServingRun, Work, last_script
from secure_hfl.supervision.script_folders import Choice
from tests.tasks.helpers import Party

STAND_IN = """
    import os, sys, time
    command, script = sys.argv[1:3]
    if command == "serve":
        time.sleep(60)
    asked = open(sys.argv[sys.argv.index("--ids") + 1]).read().split()
    if "nobody" in asked:
        print("error: clinic did not serve within 30 s")
        sys.exit(1)
    with open(sys.argv[sys.argv.index("--out") + 1], "w") as file:
        print("id,status,reason,prediction,output_0", file=file)
        for each in asked:
            found = "missing,clinic does not hold it,," if each == "9" else "predicted,,1,0.75"
            print(each, found, sep=",", file=file)
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the command line."""
    program = tmp_path / "stand_in.py"
    program.write_text(textwrap.dedent(STAND_IN))
    monkeypatch.setattr(predictions, "COMMAND", (sys.executable, "-IS", str(program)))


@pytest.fixture
def script(tmp_path: Path) -> Choice:
    """Nobody reads it."""
    path = tmp_path / "script.py"
    path.touch()
    return Choice("example:mnist_halves", "script.py", path)


@pytest.fixture
def finished(clinic: Party, task_id: str) -> str:
    """A task that is."""
    clinic.store.start(task_id)
    clinic.store.finish(task_id, {}, [])
    return task_id


def wait_for(holds: Callable[[], bool]) -> None:
    """Until it does."""
    limit = Limit(20)
    while not holds():
        assert limit.left(), "it never came to that"
        time.sleep(0.01)


def test_a_table_comes_of_the_ids_that_were_asked_for(clinic: Party, finished: str, script: Choice) -> None:
    run = PredictionRun(clinic.store, finished)
    assert run.state() == (Work.NONE, "")
    run.start(script, b"7\n8\n9\n")
    wait_for(lambda: run.state()[0] is not Work.RUNNING)
    assert run.state() == (Work.DONE, "")
    table = run.table(2)
    assert table is not None
    assert table.columns == ("id", "status", "reason", "prediction", "output_0")
    assert table.rows == (("7", "predicted", "", "1", "0.75"), ("8", "predicted", "", "1", "0.75"))
    assert (table.counts, table.total) == ({"predicted": 2, "missing": 1}, 3)
    assert last_script(clinic.store, finished, run.process) == "example:mnist_halves"
    assert not list(privacy_problems(clinic.store.home)), "what the process has written is its owner's alone"
    run.start(script, b"nobody\n")
    wait_for(lambda: run.state()[0] is not Work.RUNNING)
    assert run.state() == (Work.FAILED, "clinic did not serve within 30 s")
    assert run.table(2) is None, "an older table is not taken for the answer"


def test_what_cannot_be_asked(clinic: Party, task_id: str, script: Choice) -> None:
    run = PredictionRun(clinic.store, task_id)
    for ids, kind in ((b" \n", ".txt"), (b"7", ".exe"), (b"7", "")):
        with pytest.raises(ConfigurationError):
            run.start(script, ids, kind)
    with pytest.raises(TaskStateError, match="is not finished"):
        run.start(script, b"7")
    with pytest.raises(TaskStateError, match="is not finished"):
        ServingRun(clinic.store, task_id).start(script)


def test_serving_goes_on_until_it_is_stopped(clinic: Party, finished: str, script: Choice) -> None:
    run = ServingRun(clinic.store, finished)
    run.start(script)
    assert ServingRun(clinic.store, finished).state() == (Work.RUNNING, "")
    with pytest.raises(TaskStateError, match="running already"):
        run.start(script)
    assert run.stop()
    wait_for(lambda: run.state()[0] is not Work.RUNNING)
    assert run.state() == (Work.DONE, "")
