"""The task store: references, states, and several processes on one home."""

import math
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import pytest

from secure_hfl.errors import DataCheckFailed, TaskError, TaskExists, TaskNotFound, TaskStateError
from secure_hfl.tasks import TaskRecord, TaskState, TaskStore
from secure_hfl.tasks.store import SCHEMA_VERSION
from tests.tasks.helpers import Party, make_party, make_task

ROOT = Path(__file__).parents[2]


@pytest.fixture
def task(clinic: Party, bank: Party) -> TaskRecord:
    return make_task(clinic, bank)[0]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_stored_comes_back(clinic: Party, task: TaskRecord):
    assert clinic.store.get(task.task_id) == task
    assert clinic.store.list() == (task,)
    assert TaskStore(clinic.store.home).get(task.task_id) == task


def test_everything_is_private(clinic: Party, task: TaskRecord):
    home = clinic.store.home
    assert (_mode(home), _mode(home / "tasks.sqlite")) == (0o700, 0o600)
    assert (_mode(home / "tasks"), _mode(clinic.store.directory(task.task_id))) == (0o700, 0o700)
    with closing(sqlite3.connect(home / "tasks.sqlite")) as db:  # while it is open there are journal files
        db.execute("SELECT * FROM tasks").fetchall()
        assert {_mode(path) for path in home.glob("tasks.sqlite*")} == {0o600}


def test_the_database_has_its_version_and_a_write_ahead_log(clinic: Party):
    with closing(sqlite3.connect(clinic.store.path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_tasks_of_the_first_format_are_kept(clinic: Party, bank: Party):
    record, _ = make_task(clinic, bank)
    with closing(sqlite3.connect(clinic.store.path)) as db:
        for column in ("terms", "limits"):
            db.execute(f"ALTER TABLE tasks DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
    assert TaskStore(clinic.store.home).get(record.task_id) == record


def test_a_newer_or_damaged_database_is_refused(tmp_path: Path):
    newer = make_party(tmp_path / "newer", "newer").store
    with closing(sqlite3.connect(newer.path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(TaskError, match="newer secure-hfl"):
        TaskStore(newer.home)
    (tmp_path / "tasks.sqlite").write_bytes(b"this is no database" * 1000)
    with pytest.raises(TaskError, match="not a database"):
        TaskStore(tmp_path)


def test_a_damaged_row_is_reported_with_its_field(clinic: Party, task: TaskRecord):
    with closing(sqlite3.connect(clinic.store.path)) as db, db:
        db.execute("UPDATE tasks SET state = 'dancing'")
    with pytest.raises(TaskError, match=f"{task.task_id} is damaged: state"):
        clinic.store.get(task.task_id)


def test_a_task_is_stored_once(clinic: Party, task: TaskRecord):
    with pytest.raises(TaskExists, match=task.task_id):
        clinic.store.create(task)


def test_a_reference_is_an_id_a_prefix_or_a_name(clinic: Party, task: TaskRecord):
    for reference in (task.task_id, task.task_id[:6], task.task_id[:20], "digits"):
        assert clinic.store.get(reference) == task


def test_a_bad_reference_lists_what_there_is(clinic: Party, bank: Party, task: TaskRecord):
    for reference in ("zzzzzzz", task.task_id[:5], "dig", "%", "______"):
        with pytest.raises(TaskNotFound, match=f"no task.*{task.task_id} \\('digits', created\\)"):
            clinic.store.get(reference)
    with pytest.raises(TaskNotFound, match="6 or more"):
        clinic.store.get(task.task_id[:5])
    with pytest.raises(TaskNotFound, match="no task yet"):
        bank.store.get("digits")


def test_an_ambiguous_reference_lists_its_matches(clinic: Party, bank: Party, task: TaskRecord):
    same_name, _ = make_task(clinic, bank)
    make_task(clinic, bank, name="other")
    with pytest.raises(TaskNotFound, match="matches 2 tasks") as caught:
        clinic.store.get("digits")
    assert task.task_id in str(caught.value)
    assert same_name.task_id in str(caught.value)
    assert "other" not in str(caught.value)


def test_a_name_that_looks_like_another_tasks_id_is_ambiguous_but_the_id_is_not(
    clinic: Party, bank: Party, task: TaskRecord
):
    make_task(clinic, bank, name=task.task_id[:8])
    with pytest.raises(TaskNotFound, match="matches 2 tasks"):
        clinic.store.get(task.task_id[:8])
    assert clinic.store.get(task.task_id) == task


def test_the_newest_task_is_listed_first(clinic: Party, bank: Party):
    made = [make_task(clinic, bank, name=f"task {i}")[0] for i in range(3)]
    assert clinic.store.list() == tuple(reversed(made))


def test_a_task_runs_and_finishes(clinic: Party, task: TaskRecord, tmp_path: Path):
    store = clinic.store
    assert store.start(task.task_id).state is TaskState.RUNNING
    assert store.is_live(task.task_id)
    assert store.record_round(task.task_id, 1).rounds_finished == 1
    done = store.finish(task.task_id, {"accuracy": 0.98, "per class": [1, None]}, [tmp_path / "model.safetensors"])
    assert done.state is TaskState.FINISHED
    assert done.metrics == {"accuracy": 0.98, "per class": [1, None]}
    assert done.artifacts == (str(tmp_path / "model.safetensors"),)
    assert done.updated_at > task.updated_at
    assert store.get(task.task_id) == done
    assert not store.is_live(task.task_id)


def test_a_failed_task_may_run_again(clinic: Party, task: TaskRecord):
    store = clinic.store
    store.start(task.task_id)
    failed = store.fail(task.task_id, "the cable \udcff broke")
    assert (failed.state, failed.failure) == (TaskState.FAILED, "the cable ? broke")
    again = store.start(task.task_id)
    assert (again.state, again.failure) == (TaskState.RUNNING, None)


def test_a_task_starts_only_once_at_a_time(clinic: Party, task: TaskRecord):
    clinic.store.start(task.task_id)
    with pytest.raises(TaskStateError, match="is running in process"):
        TaskStore(clinic.store.home).start(task.task_id)


@pytest.mark.parametrize("state", ["created", "failed", "finished"])
@pytest.mark.parametrize("operation", ["record_round", "finish"])
def test_only_a_running_task_counts_rounds_and_finishes(clinic: Party, task: TaskRecord, state: str, operation: str):
    store = clinic.store
    if state != "created":
        store.start(task.task_id)
        store.fail(task.task_id, "x") if state == "failed" else store.finish(task.task_id, {}, [])
    before = store.get(task.task_id)
    with pytest.raises(TaskStateError, match=f"is {state}, not running"):
        store.record_round(task.task_id, 1) if operation == "record_round" else store.finish(task.task_id, {}, [])
    assert store.get(task.task_id) == before


def test_a_finished_task_neither_starts_nor_fails(clinic: Party, task: TaskRecord):
    clinic.store.start(task.task_id)
    done = clinic.store.finish(task.task_id, {}, [])
    with pytest.raises(TaskStateError, match="is finished"):
        clinic.store.start(task.task_id)
    with pytest.raises(TaskStateError, match="is finished"):
        clinic.store.fail(task.task_id, "too late")
    assert clinic.store.get(task.task_id) == done
    assert not clinic.store.is_live(task.task_id)


@pytest.mark.parametrize("metrics", [{"loss": math.nan}, {"loss": math.inf}, {"loss": object()}, {"ids": {1, 2}}])
def test_metrics_must_be_json_and_a_refusal_leaves_the_task_running(clinic: Party, task: TaskRecord, metrics):
    clinic.store.start(task.task_id)
    with pytest.raises(TaskError, match="not JSON"):
        clinic.store.finish(task.task_id, metrics, [])
    assert clinic.store.get(task.task_id).state is TaskState.RUNNING
    assert clinic.store.is_live(task.task_id)


def test_a_negative_round_is_refused(clinic: Party, task: TaskRecord):
    clinic.store.start(task.task_id)
    with pytest.raises(TaskError, match="rounds_finished"):
        clinic.store.record_round(task.task_id, -1)


def test_the_last_data_check_decides(clinic: Party, task: TaskRecord):
    store = clinic.store
    store.record_data_check(task.task_id, False, "column 3 is missing")
    with pytest.raises(DataCheckFailed, match="column 3 is missing"):
        store.start(task.task_id)
    assert not store.is_live(task.task_id)
    check = store.record_data_check(task.task_id, True, "complete").data_check
    assert check is not None
    assert (check.passed, check.message) == (True, "complete")
    assert store.start(task.task_id).state is TaskState.RUNNING


def test_the_only_unfinished_task(clinic: Party, bank: Party):
    with pytest.raises(TaskNotFound, match="no unfinished task"):
        clinic.store.only_unfinished()
    first, _ = make_task(clinic, bank, name="first")
    second, _ = make_task(clinic, bank, name="second")
    with pytest.raises(TaskNotFound, match=r"2 tasks are unfinished: .*'second', created.*'first', created"):
        clinic.store.only_unfinished()
    clinic.store.start(first.task_id)
    clinic.store.finish(first.task_id, {}, [])
    assert clinic.store.only_unfinished() == second


@pytest.mark.parametrize("task_id", ["", "..", "../x", "a/b", "ä", "x\0"])
def test_a_directory_stays_inside_the_home(clinic: Party, task_id: str):
    with pytest.raises(TaskNotFound):
        clinic.store.directory(task_id)


_RUN_ELSEWHERE = """
import sys, pathlib
from secure_hfl.tasks import TaskStore
TaskStore(pathlib.Path(sys.argv[1])).start(sys.argv[2])
print("started", flush=True)
sys.stdin.read()
"""


def test_a_task_that_another_process_runs_is_free_again_when_that_process_is_killed(clinic: Party, task: TaskRecord):
    command = [sys.executable, "-c", _RUN_ELSEWHERE, str(clinic.store.home), task.task_id]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout.readline() == "started\n"
        assert clinic.store.is_live(task.task_id)
        with pytest.raises(TaskStateError, match=f"running in process {other.pid}"):
            clinic.store.start(task.task_id)
        other.kill()
        other.wait()
    assert clinic.store.get(task.task_id).state is TaskState.RUNNING
    assert not clinic.store.is_live(task.task_id)
    assert clinic.store.start(task.task_id).state is TaskState.RUNNING


def test_looking_whether_a_task_is_live_does_not_keep_it_from_starting(clinic: Party, task: TaskRecord):
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            clinic.store.is_live(task.task_id)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(20):
            clinic.store.start(task.task_id)
            clinic.store.fail(task.task_id, "again")
    finally:
        done.set()
        watcher.join()


_COUNT = """
import sys, pathlib
from secure_hfl.tasks import TaskStore
store = TaskStore(pathlib.Path(sys.argv[1]))
for i in range(25):
    store.record_data_check(sys.argv[2], True, f"{sys.argv[3]} {i}")
"""


def test_two_processes_write_to_one_home_without_losing_fields(clinic: Party, bank: Party, task: TaskRecord):
    other, _ = make_task(clinic, bank, name="other")
    clinic.store.start(task.task_id)
    command = [sys.executable, "-c", _COUNT, str(clinic.store.home)]
    writers = [subprocess.Popen([*command, *args], cwd=ROOT) for args in ((task.task_id, "a"), (other.task_id, "b"))]
    for number in range(25):
        clinic.store.record_round(task.task_id, number)
    assert [writer.wait() for writer in writers] == [0, 0]
    record = clinic.store.get(task.task_id)
    assert (record.rounds_finished, record.data_check.message) == (24, "a 24")
    assert clinic.store.get(other.task_id).data_check.message == "b 24"


def test_a_new_store_may_be_opened_by_many_at_once(tmp_path: Path):
    errors: list[BaseException] = []

    def open_store() -> None:
        try:
            TaskStore(tmp_path).list()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_store) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
