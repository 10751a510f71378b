"""`mock_context`: `launch_task` without a task, without peers, and without a trace."""

from __future__ import annotations

import getpass
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.scripts.tiny import TinyCollaborator, TinyHost
from secure_hfl import DataChecker, launch_tasks, mock_context
from secure_hfl.errors import ConfigurationError, TaskNotFound, UserCodeError

IDS = [str(i) for i in range(32, 128)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nothing must come to be; a socket is an error."""
    home = tmp_path / "home"
    monkeypatch.setenv("SECURE_HFL_HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(socket.socket, "bind", None)
    monkeypatch.setattr(socket.socket, "connect", None)
    return home


def host(**case: Any) -> TinyHost:
    """The tiny task's."""
    return TinyHost(Case(arguments={"max_rounds": 1}, **case))


def test_a_launch_tries_the_methods_out_and_leaves_nothing(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = host()
    with caplog.at_level(logging.INFO, "secure_hfl"), mock_context(peers={"party1": 4}, intersection=IDS) as mock:
        scheduler.launch_task("YOUR_TASK_ID")
    assert {each.status for each in mock.findings} == {"ok"}
    assert "train_a_batch" in scheduler.case.calls
    assert [record.getMessage() for record in caplog.records] == [
        f"{each.step}: {each.detail}" for each in mock.findings
    ]
    left = [path.name for path in tmp_path.iterdir()]
    assert set(left) <= {f"torchinductor_{getpass.getuser()}"}, "torch's own, empty"


def test_afterwards_the_scheduler_shows_what_it_had(home: Path) -> None:
    scheduler = host()
    with mock_context(intersection=IDS):
        scheduler.launch_task("study")
    assert (scheduler.task_id, scheduler.current_round) == ("study", 1)
    assert scheduler.id_intersection == set(IDS)
    assert (len(scheduler.train_ids), len(scheduler.test_ids)) == (64, 32)
    assert scheduler.infer_model(scheduler.feature_model[0].weight.new_zeros(1, 8)).shape == (1, 2)
    assert len(scheduler.optimizer.param_groups) == 2


def test_the_platforms_arguments_are_accepted(home: Path) -> None:
    with mock_context(id="1bb9feba", nodes=["1bb9feba", "663ad4b0"], intersection=IDS) as mock:
        TinyCollaborator(Case(index=1)).launch_task("cbb3ffd0")
    assert {each.status for each in mock.findings} == {"ok"}


def test_a_method_that_raises_is_the_cause(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mock_context() as mock, pytest.raises(UserCodeError, match="build_infer_model raised ValueError") as raised:
        host(raises="build_infer_model").launch_task("YOUR_TASK_ID")
    assert isinstance(raised.value.__cause__, ValueError)
    assert mock.findings[-1].error is raised.value
    assert caplog.records[-1].levelname == "ERROR"


def test_several_tasks_are_tried_out_one_after_another(home: Path) -> None:
    with mock_context(intersection=IDS, batches=1) as mock:
        launch_tasks({"one": host(), "two": TinyCollaborator(Case(index=1))})
    assert [each.step for each in mock.findings].count("load_local_ids") == 2


class Checker(DataChecker):
    """Says no."""

    def verify_data(self) -> tuple[bool, str]:
        return False, "no labels"


def test_a_data_checker_keeps_no_verdict(home: Path) -> None:
    with mock_context() as mock:
        Checker(task_id="TASK_ID").execute_verification()
    (finding,) = mock.findings
    assert (finding.step, finding.status, finding.detail) == ("Checker.verify_data", "fail", "no labels")
    assert not home.exists()


def test_outside_of_the_block_all_is_as_ever(home: Path) -> None:
    with mock_context():
        pass
    home.mkdir(mode=0o700)
    with pytest.raises(TaskNotFound):
        host().launch_task("YOUR_TASK_ID")
    with pytest.raises(TaskNotFound):
        Checker(task_id="TASK_ID")


def test_the_directory_of_tensorboard_is_gone_afterwards(home: Path) -> None:
    scheduler = TinyCollaborator(Case(index=1))
    with mock_context(intersection=IDS):
        scheduler.launch_task("YOUR_TASK_ID")
    with pytest.raises(ConfigurationError, match="while a dry run lasts"):
        _ = scheduler.tb_writer
