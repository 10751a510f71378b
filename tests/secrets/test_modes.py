"""What others can read is refused, wherever in the home it is, by the commands and in the doctor's list."""

from __future__ import annotations

import json
import shlex
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.harness.limits import seconds
from secure_hfl.cli.doctor_checks import check_modes
from secure_hfl.home import privacy_problems
from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskStore, create_task
from tests.cli.helpers import User, fails

TASK = "tasks/*"
PRIVATE = [
    (".", 0o750),
    ("identity", 0o711),
    ("identity/key.pem", 0o640),
    ("tasks.sqlite", 0o604),
    ("tasks.sqlite-wal", 0o660),
    ("tasks.sqlite-shm", 0o644),
    ("secure-hfl.log", 0o644),
    ("tasks", 0o755),
    (TASK, 0o701),
    (f"{TASK}/log.txt", 0o644),
    (f"{TASK}/results", 0o755),
    (f"{TASK}/results/projection.bank.safetensors", 0o644),
    (f"{TASK}/checkpoints", 0o770),
    (f"{TASK}/checkpoints/checkpoint-1", 0o620),
    (f"{TASK}/transcripts", 0o705),
    (f"{TASK}/transcripts/bank-1.transcript", 0o666),
]
SCRIPT = "from secure_hfl import DataChecker\nDataChecker('TASK_ID')\nprint('not reached')\n"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """A party with an identity, and with a task that has left a file of every kind."""
    home, work = tmp_path / "home", tmp_path / "work"
    for path in (home, work):
        path.mkdir(mode=0o700)
    clinic = Identity.load_or_create(home, "clinic")
    store = TaskStore(home)
    pems = {"bank": Identity.create("bank").certificate_pem}
    record, _ = create_task(store, clinic, "digits", "127.0.0.1:50051", "bfv", pems)
    directory = store.directory(record.task_id)
    for name in ("results", "checkpoints", "transcripts"):
        (directory / name).mkdir(mode=0o700)
    for place, _ in PRIVATE:
        path = Path(str(home / place).replace("*", record.task_id))
        if not path.exists():
            path.touch(mode=0o600)
    with closing(sqlite3.connect(store.path)) as reader:
        reader.execute("SELECT * FROM tasks").fetchall()  # while somebody reads, SQLite's two other files are there
        yield User(home, work, monkeypatch)


def the(user: User, place: str) -> Path:
    """The file or directory that a row of the table means."""
    (path,) = [user.home] if place == "." else user.home.glob(place)
    return path


def test_a_home_as_it_is_made_is_accepted(user: User) -> None:
    assert list(privacy_problems(user.home)) == []
    assert user.run("task", "list").exit_code == 0


@pytest.mark.parametrize(("place", "mode"), PRIVATE, ids=[place for place, _ in PRIVATE])
def test_what_others_have_access_to_is_refused(user: User, place: str, mode: int) -> None:
    path = the(user, place)
    right = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode)
    result = user.run("task", "list")
    fails(result, f"other users have access to {path} (mode {mode:o}); run: chmod {right:o} {path}")
    (row,) = check_modes(user.home)
    assert (row.status, row.fix) == ("fail", f"chmod {right:o} {path}")
    subprocess.run(shlex.split(row.fix), check=True)
    assert stat.S_IMODE(path.stat().st_mode) == right
    assert user.run("task", "list").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["host", "script.py"],
        ["collaborator", "script.py"],
        ["identity"],
        ["task", "show", "digits"],
        ["task", "invite", "digits", "new.json"],
        ["task", "join", "new.json"],
    ],
    ids=" ".join,
)
def test_every_command_refuses(user: User, arguments: list[str]) -> None:
    user.write("script.py", SCRIPT)
    the(user, f"{TASK}/results").chmod(0o755)
    result = user.run(*arguments)
    assert result.exit_code == 1
    assert "chmod 700" in result.stderr
    assert "not reached" not in result.stdout


def test_a_script_by_itself_refuses(user: User) -> None:
    script = user.directory / user.write("script.py", SCRIPT)
    the(user, f"{TASK}/transcripts").chmod(0o750)
    process = user.start("host", str(script))
    out, err = process.communicate(timeout=seconds(60))
    assert process.returncode == 1
    assert out == ""
    assert "chmod 700" in err


def test_several_are_counted_and_the_doctor_lists_them(user: User) -> None:
    for place in (f"{TASK}/results", f"{TASK}/log.txt", "tasks.sqlite"):
        the(user, place).chmod(0o777)
    fails(user.run("task", "list"), "tasks.sqlite (mode 777)", "(2 more: secure-hfl doctor lists them)")
    rows = json.loads(user.run("doctor", "--json").stdout)["checks"]
    assert [row["status"] for row in rows if row["check"] == "home directory"] == ["fail"] * 3


def test_what_is_no_secret_may_be_read(user: User) -> None:
    (user.home / "identity" / "certificate.pem").chmod(0o644)
    (user.home / "notes.txt").touch(mode=0o644)
    (the(user, TASK) / "report.html").touch(mode=0o644)
    assert user.run("task", "list").exit_code == 0
