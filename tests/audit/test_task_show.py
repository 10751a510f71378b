"""`secure-hfl task show` names the transcripts of every attempt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secure_hfl.tasks import TaskStore
from tests.cli.helpers import User


def test_transcripts_are_listed_whatever_became_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clinic, bank = (User(tmp_path / name, tmp_path, monkeypatch) for name in ("clinic", "bank"))
    for user in (clinic, bank):
        assert user.run("identity", "--name", user.home.name, "--export", f"{user.home.name}.pem").exit_code == 0
    options = ("--collaborator", "bank=bank.pem", "--address", "localhost:50051", "--invite", "invite.json")
    assert clinic.run("task", "create", "digits", *options).exit_code == 0
    store = TaskStore(clinic.home)
    task_id = store.list()[0].task_id
    assert "Transcript" not in clinic.run("task", "show", task_id).stdout
    directory = store.directory(task_id) / "transcripts"
    directory.mkdir(mode=0o700)
    paths = [directory / f"bank-{run}.transcript" for run in (1, 2, 10)]
    for path in paths:
        path.write_bytes(bytes(1234))
        path.chmod(0o600)
    store.record_data_check(task_id, True, "fine")
    store.start(task_id)
    store.fail(task_id, "no power")
    values = json.loads(clinic.run("task", "show", task_id, "--json").stdout)
    assert values["transcripts"] == [{"path": str(path), "bytes": 1234} for path in paths]
    store.start(task_id)
    store.finish(task_id, {}, [paths[2], tmp_path / "model.bin"])
    shown = clinic.run("task", "show", task_id).stdout
    assert [shown.count(str(path)) for path in paths] == [1, 1, 1]
    assert "1,234" in shown
    assert "secure-hfl audit" in shown
    assert shown.count("model.bin") == 1
