"""The data check: its verdict, when it is none, and what of it is kept with the task."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.harness.limits import Limit
from secure_hfl.errors import TaskStateError
from secure_hfl.supervision import data_check
from secure_hfl.supervision.checking import check
from secure_hfl.supervision.data_check import CheckFinding, CheckVerdict, DataCheckRun
from secure_hfl.supervision.local_party import CONSOLE
from secure_hfl.supervision.script_folders import Choice
from tests.tasks.helpers import Party

CHECKER = """
from secure_hfl import DataChecker

class Rows(DataChecker):
    def verify_data(self):
        return {passed}, "12 rows have no date"

Rows("TASK_ID").execute_verification()
"""


def finding(step: str, status: str = "ok") -> CheckFinding:
    """One."""
    return CheckFinding.model_validate({"step": step, "status": status, "detail": ""})


SPLIT = [finding("load_local_ids"), finding("split_dataset")]


@pytest.mark.parametrize(
    ("findings", "knows_ids", "error", "verdict"),
    [
        (SPLIT, False, "", "ready"),
        ([*SPLIT, finding("iterate_test_feature", "warn")], False, "", "ready"),
        ([*SPLIT, finding("iterate_test_feature", "fail")], False, "", "unsure"),
        ([*SPLIT, finding("iterate_test_feature", "fail")], True, "", "not ready"),
        ([finding("load_local_ids", "fail")], False, "", "not ready"),
        ([*SPLIT, finding("Rows.verify_data", "fail")], False, "", "not ready"),
        ([], False, "clinic.py: NameError", "not ready"),
    ],
)
def test_the_verdict(findings: list[CheckFinding], knows_ids: bool, error: str, verdict: str) -> None:
    assert CheckVerdict.of("clinic.py", findings, knows_ids, error).verdict == verdict


@pytest.mark.parametrize("passed", [True, False])
def test_what_a_checker_says_is_the_tasks(
    clinic: Party, task_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: bool
) -> None:
    monkeypatch.setenv("SECURE_HFL_HOME", str(clinic.store.home))
    monkeypatch.setattr("secure_hfl.run_options._active", None)
    script = tmp_path / "checker.py"
    script.write_text(CHECKER.format(passed=passed))
    (clinic.store.directory(task_id) / CONSOLE).mkdir()
    assert check(clinic.store, task_id, script, "checker.py").verdict == ("ready" if passed else "not ready")
    kept = clinic.store.get(task_id).data_check
    assert kept is not None
    assert (kept.passed, kept.message) == (passed, "12 rows have no date")


def test_a_check_is_a_process_and_one_that_dies_says_so(
    clinic: Party, task_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "check_of_another_kind.py"
    program.write_text("import sys; print('error: no memory'); sys.exit(1)")
    monkeypatch.setattr(data_check, "CHECK_COMMAND", (sys.executable, "-IS", str(program)))
    run = DataCheckRun(clinic.store, task_id)
    assert run.verdict() is None
    run.start(Choice(str(program), "clinic.py", program), b"1\n2\n")
    limit = Limit(20)
    while run.verdict() is None:
        assert limit.left()
        time.sleep(0.01)
    verdict = run.verdict()
    assert verdict is not None
    assert (verdict.verdict, verdict.error, verdict.script) == ("not ready", "no memory", "clinic.py")
    assert (clinic.store.directory(task_id) / CONSOLE / data_check.IDS).read_bytes() == b"1\n2\n"
    assert not run.is_outdated()
    later = time.time() + 60
    os.utime(program, (later, later))
    assert run.is_outdated(), "it is another script now"
    clinic.store.start(task_id)
    with pytest.raises(TaskStateError, match="the task is running"):
        run.start(Choice(str(program), "clinic.py", program))
