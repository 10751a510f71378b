"""A task's page: what it shows of recorded runs, what it sends as it happens, and what can be done on it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from benchmarks.harness.limits import Limit
from protocols.core.envelope import Phase
from protocols.core.errors import VerificationFailed
from secure_hfl.console import feed as feeds
from secure_hfl.console.app import Console, create_app
from secure_hfl.console.feed import Feed
from secure_hfl.console.figures import MAX_LISTED
from secure_hfl.console.log_tail import TAIL, LogTail
from secure_hfl.console.views import task as view
from secure_hfl.console.words import Words
from secure_hfl.failed_test import FailedTest
from secure_hfl.identity import Identity
from secure_hfl.progress_file import NAME, ProgressFile
from secure_hfl.supervision import table_script
from secure_hfl.supervision.data_check import VERDICT, CheckFinding, CheckVerdict
from secure_hfl.supervision.local_party import LocalParty
from secure_hfl.supervision.table_script import TableScriptRun
from secure_hfl.tasks import TaskStore, create_task, run_lock
from tests.supervision.stand_in import install

RECORDED = Path(__file__).parent.parent / "live" / "recorded"
HOSTILE = "<img src=x onerror=alert(1)>\u202e"


@pytest.fixture
def store(home: Path) -> TaskStore:
    """Of the hospital."""
    return TaskStore(home)


@pytest.fixture
def task_id(store: TaskStore, parties: dict[str, Identity]) -> str:
    """A task of the hospital's."""
    pems = {"insurer": parties["insurer"].certificate_pem}
    record, _ = create_task(store, parties["hospital"], "Readmission", "host.example:9500", "bfv", pems, "hospital")
    return record.task_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the hospital's script is."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "hospital.py").touch()
    (folder / "broken.py").touch()
    return folder


@pytest.fixture
def app(home: Path, folder: Path) -> Console:
    """The hospital's console."""
    return create_app(home, scripts=(folder,))


@pytest.fixture
def party(store: TaskStore, task_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalParty]:
    """The hospital's process is the stand-in."""
    install(tmp_path, monkeypatch)
    party = LocalParty(store, task_id)
    yield party
    party.process.stop(signal.SIGKILL)


def finish(store: TaskStore, task_id: str, recorded: str = "host") -> None:
    """As a run has left it."""
    shutil.copyfile(RECORDED / f"{recorded}.jsonl", store.directory(task_id) / NAME)
    store.start(task_id)
    store.finish(task_id, {}, [])


def wait_for(holds: Callable[[], bool]) -> None:
    """Until it does."""
    limit = Limit(20)
    while not holds():
        assert limit.left(), "it never came to that"
        time.sleep(0.01)


def feed(app: Console, task_id: str, came_with: str = "") -> Feed:
    """What a browser would be sent."""
    scope: dict[str, Any] = {"type": "http", "app": app, "path_params": {"task": task_id}, "headers": []}
    session = next(iter(app.state.context.sessions._sessions.values()), None)
    request = Request({**scope, "state": {"words": Words("en"), "session": session}})
    return Feed(request, *view.source(request), came_with)


def news(of: Feed) -> dict[str, tuple[str, Any]]:
    """Kind: id and data."""
    return {str(event.event): (str(event.id), json.loads(str(event.data))) for event in of.news()}


# What is shown -------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_told_in_steps_figures_and_curves(
    browser: TestClient, store: TaskStore, task_id: str
) -> None:
    finish(store, task_id)
    answer = browser.get(f"/tasks/{task_id}")
    assert answer.status_code == 200
    assert re.findall(r'<li class="(\w+)"[^>]*><span class="step-mark"', answer.text) == ["skipped", *["done"] * 4]
    for name in ("loss", "accuracy", "seconds", "bytes", "work"):
        assert f'aria-labelledby="{name}-title {name}-desc"' in answer.text
    assert "75 batches; the first loss was" in answer.text
    assert "12,000" in answer.text
    assert answer.text.count('<th scope="row">') == 3
    assert "style=" not in answer.text, "the policy forbids it"
    assert len(answer.content) < 150_000


def test_a_collaborator_is_shown_no_loss(home: Path, browser: TestClient, store: TaskStore, task_id: str) -> None:
    finish(store, task_id, "collaborator")
    text = browser.get(f"/tasks/{task_id}").text
    assert 'aria-labelledby="seconds-title' in text
    assert 'aria-labelledby="loss-title' not in text


def test_everything_that_others_say_is_text(
    browser: TestClient, store: TaskStore, task_id: str, party: LocalParty
) -> None:
    directory = store.directory(task_id)
    (directory / "log.txt").write_text(f"{HOSTILE}\x1b[31m\n")
    (directory / "console").mkdir()
    verdict = CheckVerdict.of(HOSTILE, [CheckFinding(step=HOSTILE, status="fail", detail=HOSTILE)], True, HOSTILE)
    (directory / "console" / VERDICT).write_bytes(verdict.model_dump_json().encode())
    file = ProgressFile(directory / NAME, False, {"party": HOSTILE, "role": "host", "scheme": HOSTILE})
    file.emit("peer", name=HOSTILE, is_here=True)
    file.emit("interrupted", reason=HOSTILE)
    file.close()
    store.start(task_id)
    store.record_data_check(task_id, False, HOSTILE)
    running = browser.get(f"/tasks/{task_id}").text
    store.fail(task_id, HOSTILE)
    failed = browser.get(f"/tasks/{task_id}").text
    for text in (running, failed):
        assert "&lt;img src=x" in text
        assert "<img" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text


def test_every_state_of_a_party_has_words_in_both_languages() -> None:
    names = ("idle", "starting", "running", "stopping", "stopped", "finished", "failed", "killed", "elsewhere")
    for language in ("en", "zh"):
        words = Words(language)
        assert all(words.has(f"live.state_{name}") for name in names)


def test_a_page_of_a_very_long_run_is_small(browser: TestClient, store: TaskStore, task_id: str) -> None:
    file = ProgressFile(store.directory(task_id) / NAME, False, {"party": "hospital", "role": "host", "scheme": "bfv"})
    seconds = {"train_seconds": 1.0, "test_seconds": 0.1, "work": {"wait": 1.0}}
    for number in range(1, 1001):
        file.emit("phase", phase="train", round=number)
        file.emit("batch", round=number, batch=1, loss=1 / number, sent=1, received=1, work={})
        figures = {"accuracy": 0.5, "average_loss": 0.1, "bytes_sent": number, "bytes_received": 2}
        file.emit("round", round=number, batches=1, **seconds, **figures)
    file.close()
    answer = browser.get(f"/tasks/{task_id}")
    assert answer.text.count('<th scope="row">') == MAX_LISTED
    assert "The last 100 of 1000 rounds." in answer.text
    assert len(answer.content) < 150_000


# What happens --------------------------------------------------------------------------------------------------------


def test_a_browser_is_sent_what_has_changed_and_nothing_twice(
    app: Console, browser: TestClient, store: TaskStore, task_id: str
) -> None:
    finish(store, task_id)
    log = store.log_file(task_id)
    log.write_text("one\ntwo\n")
    first = feed(app, task_id)
    sent = news(first)
    assert set(sent["parts"][1]) == {"badge", "notice", "steps", "people", "controls", "table", "check", "charts"}
    assert sent["log"][1] == {"text": "one\ntwo\n", "anew": True}
    assert news(first) == {}
    with log.open("a") as file:
        file.write("three\nfo")
    assert news(first)["log"][1] == {"text": "three\n", "anew": False}
    store.record_data_check(task_id, True, "good")
    assert set(news(first)["parts"][1]) == {"steps", "check"}


def test_a_browser_that_comes_again_is_sent_what_it_has_missed(
    app: Console, browser: TestClient, store: TaskStore, task_id: str, home: Path, folder: Path
) -> None:
    finish(store, task_id)
    log = store.log_file(task_id)
    log.write_text("one\n")
    last = news(feed(app, task_id))["log"][0]
    with log.open("a") as file:
        file.write("two\n")
    another = create_app(home, scripts=(folder,))  # as after a restart
    assert news(feed(another, task_id, last))["log"][1] == {"text": "two\n", "anew": False}
    assert news(feed(another, task_id, "nonsense"))["log"][1] == {"text": "one\ntwo\n", "anew": True}
    log.write_text("x\n")
    assert news(feed(another, task_id, last.replace(".4", ".400")))["log"][1] == {"text": "x\n", "anew": True}


def test_events_end_with_the_session(
    app: Console, browser: TestClient, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sign_out(seconds: float) -> None:
        app.state.context.sessions._sessions.clear()

    monkeypatch.setattr(feeds.asyncio, "sleep", sign_out)
    answer = browser.get(f"/tasks/{task_id}/events", headers={"last-event-id": "none-0.0"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("event: parts") == 1
    assert "retry: 1500" in answer.text
    assert browser.get(f"/tasks/{task_id}/events").status_code == 401


def test_a_long_log_begins_near_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {at}\n" for at in range(20_000)))
    tail = LogTail((tmp_path / "missing", path))
    text, begins_anew = tail.read()
    assert begins_anew
    assert len(text) <= TAIL
    assert text.startswith("line ")
    assert text.endswith("line 19999\n")
    assert tail.read() == ("", False)


def test_the_log_is_that_of_the_last_run_wherever_it_ran(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "party.log", tmp_path / "log.txt"
    here.write_text("from the page\n")
    tail = LogTail((here, elsewhere))
    assert tail.read() == ("from the page\n", True)
    elsewhere.write_text("from a terminal\n")
    later = here.stat().st_mtime_ns + 1_000_000_000
    os.utime(elsewhere, ns=(later, later))
    assert tail.read() == ("from a terminal\n", True)


# What can be done ----------------------------------------------------------------------------------------------------


def test_a_party_is_started_paused_and_resumed_by_clicks(
    browser: TestClient, store: TaskStore, task_id: str, folder: Path, party: LocalParty
) -> None:
    script = {"script": str(folder / "hospital.py")}
    answer = browser.post(f"/tasks/{task_id}/start", data={**script, "rounds": "3", "keep_for_judge": "1"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/tasks/{task_id}")
    wait_for(lambda: b"ready" in party.process.output())
    assert b"--rounds 3 --keep-for-judge" in party.process.output()
    text = browser.get(f"/tasks/{task_id}").text
    assert f'action="/tasks/{task_id}/pause"' in text
    assert f'action="/tasks/{task_id}/start"' not in text
    twice = browser.post(f"/tasks/{task_id}/start", data=script)
    assert twice.status_code == 400
    assert "It is running already" in twice.text
    browser.post(f"/tasks/{task_id}/pause")
    wait_for(lambda: not party.process.is_alive())
    checkpoints = store.directory(task_id) / "checkpoints"
    checkpoints.mkdir(mode=0o700)
    (checkpoints / "checkpoint-1").touch(mode=0o600)
    text = browser.get(f"/tasks/{task_id}").text
    assert "You have stopped this party." in text
    assert 'name="resume" value="1"' in text
    assert f'value="{folder / "hospital.py"}" selected' in text
    browser.post(f"/tasks/{task_id}/start", data={**script, "resume": "1", "rounds": ""})
    wait_for(lambda: party.process.output().count(b"ready") == 2)
    assert b"--resume --rounds 3" in party.process.output(), "what all had agreed on"
    browser.post(f"/tasks/{task_id}/kill")
    wait_for(lambda: not party.process.is_alive())
    assert "it was killed" in browser.get(f"/tasks/{task_id}").text


def test_a_party_whose_process_is_gone_is_called_killed(browser: TestClient, store: TaskStore, task_id: str) -> None:
    store.start(task_id)
    run_lock.release(store.directory(task_id) / "run.lock")
    text = browser.get(f"/tasks/{task_id}").text
    assert "it was killed" in text
    assert "There is no checkpoint yet" in text


def test_a_task_in_which_a_test_has_failed_is_not_started_from_the_page(
    browser: TestClient, store: TaskStore, task_id: str, folder: Path, party: LocalParty
) -> None:
    store.start(task_id)
    run_lock.release(store.directory(task_id) / "run.lock")
    kept = FailedTest(store.directory(task_id))
    kept.keep(VerificationFailed("the share"), Phase.TRAIN)
    text = browser.get(f"/tasks/{task_id}").text
    assert "This task does not go on." in text
    assert str(kept.path) in text
    assert "/start" not in text
    assert "it was killed" not in text
    assert not party.status().can_start
    kept.path.unlink()
    assert party.status().can_start
    assert f'action="/tasks/{task_id}/start"' in browser.get(f"/tasks/{task_id}").text


def test_nothing_else_is_run(browser: TestClient, task_id: str, folder: Path, party: LocalParty) -> None:
    for key in (f"{folder}/../secret.py", "/etc/passwd", "", "example:digits"):
        for act in ("start", "check"):
            assert browser.post(f"/tasks/{task_id}/{act}", data={"script": key}).status_code == 400
    wrong = browser.post(f"/tasks/{task_id}/start", data={"script": str(folder / "hospital.py"), "rounds": HOSTILE})
    assert wrong.status_code == 400
    assert "<img" not in wrong.text
    assert party.process.last() is None


def test_an_error_of_the_script_is_shown_with_what_to_do(
    browser: TestClient, task_id: str, folder: Path, party: LocalParty
) -> None:
    browser.post(f"/tasks/{task_id}/start", data={"script": str(folder / "broken.py")})
    wait_for(lambda: (last := party.process.last()) is not None and last.exit_code is not None)
    text = browser.get(f"/tasks/{task_id}").text
    assert "NameError: &lt;b&gt;nobody&lt;/b&gt; wrote this (broken.py:3)" in text
    assert "Mend what it says, then start again." in text


def test_a_script_is_made_from_a_table(
    browser: TestClient, store: TaskStore, task_id: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "table.py"
    program.write_text(
        "import os, sys\nsave = [each[7:] for each in sys.argv if each.startswith('--save=')][0]\n"
        "print(*sys.argv[1:])\n"
        "if '--id=<b>' in sys.argv: sys.exit(print('error: there is no column <b>'))\n"
        "os.mkdir(save); open(save + '/host.py', 'w').close()\n"
    )
    monkeypatch.setattr(table_script, "COMMAND", (sys.executable, "-IS", str(program)))
    table = folder / "patients.csv"
    table.write_text("patient,age,--outcome\n1,70,yes\n")
    page = browser.get(f"/tasks/{task_id}").text
    assert f'<option value="{table}">patients.csv</option>' in page
    assert '<option value="--outcome">' in page, "columns are suggested"
    form = {"table": str(table), "label": "--outcome"}
    run = TableScriptRun(store, task_id)
    browser.post(f"/tasks/{task_id}/table", data={**form, "id_column": "<b>"})
    wait_for(lambda: not run.is_running)
    page = browser.get(f"/tasks/{task_id}").text
    assert "there is no column &lt;b&gt;" in page
    browser.post(f"/tasks/{task_id}/table", data={**form, "id_column": "patient"})
    wait_for(lambda: not run.is_running)
    assert "--label=--outcome" in run.said(), "a column's name is no option"
    made = folder / f"patients-{task_id[:6]}" / "host.py"
    assert f'<option value="{made}" selected>' in browser.get(f"/tasks/{task_id}").text
    for wrong in ({"table": "/etc/passwd"}, {"id_column": ""}, {"label": ""}):
        answer = browser.post(f"/tasks/{task_id}/table", data={**form, "id_column": "patient", **wrong})
        assert answer.status_code == 400


def test_acts_need_the_pages_own_token(browser: TestClient, task_id: str, party: LocalParty) -> None:
    del browser.headers["x-form-token"]
    for act in ("start", "check", "table", "pause", "stop", "kill"):
        assert browser.post(f"/tasks/{task_id}/{act}").status_code == 403
        assert browser.get(f"/tasks/{task_id}/{act}").status_code == 405
