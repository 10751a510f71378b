"""The tutorial's DataChecker: which task it checks, what it stores, and what it makes of broken checks."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from secure_hfl import run_options
from secure_hfl.data_checker import DataChecker
from secure_hfl.errors import DataCheckFailed, TaskNotFound
from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskRecord, TaskStore, create_task


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskStore:
    monkeypatch.setenv("SECURE_HFL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(run_options, "_active", None)
    return TaskStore(tmp_path / "home")


def _task(store: TaskStore, name: str = "digits") -> TaskRecord:
    bank = {"bank": Identity.create("bank").certificate_pem}
    return create_task(store, Identity.create("clinic"), name, "localhost:50051", "bfv", bank)[0]


class Checker(DataChecker):
    """Returns, or raises, what it is told to."""

    verdict: Any = (True, "complete")

    def verify_data(self) -> Any:
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        return self.verdict


def _check(verdict: Any) -> None:
    checker = Checker(task_id="TASK_ID")
    checker.verdict = verdict
    assert checker.execute_verification() is None


def test_a_good_verdict_is_stored_and_logged(store: TaskStore, caplog: pytest.LogCaptureFixture):
    task = _task(store)
    with caplog.at_level(logging.INFO, "secure_hfl"):
        _check((True, "60000 images"))
    check = store.get(task.task_id).data_check
    assert check is not None
    assert (check.passed, check.message) == (True, "60000 images")
    assert f"Data check passed for task {task.task_id}: 60000 images" in caplog.text


def test_a_bad_verdict_is_stored_and_logged_and_keeps_the_task_from_starting(
    store: TaskStore, caplog: pytest.LogCaptureFixture
):
    task = _task(store)
    _check((False, "no labels"))
    assert f"Data check FAILED for task {task.task_id}, which will not start: no labels" in caplog.text
    with pytest.raises(DataCheckFailed, match="no labels"):
        store.start(task.task_id)


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (True, "must return (bool, str), not bool"),
        (None, "must return (bool, str), not NoneType"),
        ((1, "yes"), "must return (bool, str), not (int, str)"),
        ((True, None), "must return (bool, str), not (bool, NoneType)"),
        ((True, "a", "b"), "must return (bool, str), not tuple"),
        ("no", "must return (bool, str), not str"),
        (FileNotFoundError("labels.csv"), "raised FileNotFoundError: labels.csv"),
        (ImportError("no torchvision"), "raised ImportError: no torchvision"),
    ],
)
def test_a_broken_check_is_a_failed_check(store: TaskStore, verdict: Any, message: str):
    task = _task(store)
    _check(verdict)
    check = store.get(task.task_id).data_check
    assert check is not None
    assert not check.passed
    assert check.message == f"Checker.verify_data {message}"


def test_an_interrupted_check_stores_nothing(store: TaskStore):
    task = _task(store)
    with pytest.raises(KeyboardInterrupt):
        _check(KeyboardInterrupt())
    assert store.get(task.task_id).data_check is None


@pytest.mark.parametrize("placeholder", ["TASK_ID", "YOUR_TASK_ID"])
def test_placeholders_names_and_prefixes_become_the_full_id(store: TaskStore, placeholder: str):
    task = _task(store)
    for reference in (placeholder, "digits", task.task_id[:8], task.task_id):
        assert Checker(task_id=reference).task_id == task.task_id


def test_the_run_options_choose_among_several_tasks(store: TaskStore, monkeypatch: pytest.MonkeyPatch):
    _task(store, "first")
    second = _task(store, "second")
    with pytest.raises(TaskNotFound, match="2 tasks are unfinished"):
        Checker(task_id="TASK_ID")
    monkeypatch.setenv("SECURE_HFL_TASK", "second")
    assert Checker(task_id="TASK_ID").task_id == second.task_id


def test_verify_data_must_be_implemented(store: TaskStore):
    with pytest.raises(TypeError, match="verify_data"):
        DataChecker(task_id="TASK_ID")  # type: ignore[abstract]


def test_it_does_not_need_torch():
    code = (
        "import sys; from secure_hfl import DataChecker, logger;"
        "assert logger.name == 'secure_hfl' and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
