"""Results to look at and to take away, and predictions: what is shown, and what is not given."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from secure_hfl.console.app import Console, create_app
from secure_hfl.console.views import predict as predict_view
from secure_hfl.console.views import results as results_view
from secure_hfl.identity import Identity
from secure_hfl.metrics import PsiMetrics, RoundMetrics, RunMetrics
from secure_hfl.prediction.budget import PLACE, PredictionBudget
from secure_hfl.progress_file import NAME
from secure_hfl.supervision.predictions import TABLE, Work
from secure_hfl.tasks import AcceptedLimits, Invite, TaskStore, create_task, join_task

RECORDED = Path(__file__).parent.parent / "live" / "recorded"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def store(home: Path) -> TaskStore:
    """Of the hospital."""
    return TaskStore(home)


@pytest.fixture
def invite(parties: dict[str, Identity], tmp_path: Path) -> Invite:
    """Of the insurer, to the hospital."""
    pems = {"hospital": parties["hospital"].certificate_pem}
    other = TaskStore(tmp_path / "insurer")
    return create_task(other, parties["insurer"], "Claims", "host.example:9501", "bfv", pems, "insurer")[1]


@pytest.fixture
def hosted(store: TaskStore, parties: dict[str, Identity]) -> str:
    """A task of the hospital's."""
    pems = {"insurer": parties["insurer"].certificate_pem}
    record, _ = create_task(store, parties["hospital"], "Readmission", "host.example:9500", "bfv", pems, "hospital")
    return record.task_id


@pytest.fixture
def joined(store: TaskStore, parties: dict[str, Identity], invite: Invite) -> str:
    """A task that the hospital collaborates in."""
    return join_task(store, parties["hospital"], invite).task_id


def finish(store: TaskStore, task_id: str) -> Path:
    """As a run has left it. Returns its results."""
    directory = store.directory(task_id)
    shutil.copyfile(RECORDED / "host.jsonl", directory / NAME)
    results = directory / "results"
    (results / "state").mkdir(parents=True, mode=0o700)
    results.chmod(0o700)
    (results / "tensorboard").mkdir()
    (results / "state" / "checkpoint-1").write_bytes(b"a share and a key")
    (results / "feature_model.safetensors").write_bytes(b"weights")
    psi = PsiMetrics(
        seconds=1, host_ids=5, collaborator_ids={"insurer": 5}, intersection=4, bytes_sent=1, bytes_received=1
    )
    rounds = [RoundMetrics(round=1, batches=2, train_seconds=3.0, accuracy=0.875)]
    metrics = RunMetrics(party="hospital", role="host", scheme="bfv", psi=psi, rounds=rounds, bytes_sent=1500)
    (results / "metrics.json").write_text(metrics.model_dump_json())
    store.start(task_id)
    store.finish(task_id, {}, [])
    return results


def test_results_are_shown_and_given(browser: TestClient, store: TaskStore, hosted: str) -> None:
    finish(store, hosted)
    answer = browser.get(f"/tasks/{hosted}/results")
    assert answer.status_code == 200
    for text in ("87.5%", "1.5 kB", "feature_model.safetensors", "bottom model", 'aria-labelledby="loss-title'):
        assert text in answer.text
    assert "checkpoint-1" not in answer.text
    given = browser.get(f"/tasks/{hosted}/results/files/feature_model.safetensors")
    assert given.content == b"weights"
    assert given.headers["content-disposition"] == 'attachment; filename="feature_model.safetensors"'
    assert given.headers["x-content-type-options"] == "nosniff"


def test_secrets_and_other_files_are_not(browser: TestClient, store: TaskStore, hosted: str) -> None:
    results = finish(store, hosted)
    (results / "link.safetensors").symlink_to(results / "state" / "checkpoint-1")
    for name in ("state", "state%2Fcheckpoint-1", "..%2Fprogress.jsonl", "link.safetensors", "missing.json"):
        assert browser.get(f"/tasks/{hosted}/results/files/{name}").status_code == 404, name


def test_a_task_without_results_says_what_will_be_here(browser: TestClient, hosted: str) -> None:
    assert "No results yet" in browser.get(f"/tasks/{hosted}/results").text
    assert "Nothing to predict with yet" in browser.get(f"/tasks/{hosted}/predict").text


def test_a_model_card_is_made_when_it_is_asked_for(
    home: Path, store: TaskStore, hosted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def apart(function: Any, *args: Any) -> str:
        calls.append((function, args))
        return "<html>card</html>"

    app = create_app(home, apart=apart)
    finish(store, hosted)
    with TestClient(app, "http://127.0.0.1:8470") as client:
        client.get("/sign-in", params={"token": app.state.context.sessions.new_address_token()})
        answer = client.get(f"/tasks/{hosted}/results/card.html")
        assert client.get(f"/tasks/{hosted}/results/card.exe").status_code == 404
    assert answer.headers["content-disposition"] == 'attachment; filename="model-card-Readmission.html"'
    assert calls == [(results_view.card_text, (home, hosted, "html"))]


def test_predictions_are_a_table_of_text(
    browser: TestClient, store: TaskStore, hosted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(store, hosted)
    monkeypatch.setattr(predict_view.PredictionRun, "state", lambda self: (Work.DONE, ""))
    monkeypatch.setattr(predict_view, "SHOWN_ROWS", 2)
    directory = store.directory(hosted) / "console"
    directory.mkdir()
    rows = [f"{HOSTILE},predicted,,1,0.123456", "8,missing,insurer does not hold it,,", "9,predicted,,0,-2.5"]
    (directory / TABLE).write_text("\n".join(["id,status,reason,prediction,output_0", *rows]) + "\n")
    page = browser.get(f"/tasks/{hosted}/predict").text
    assert "&lt;script&gt;alert(1)" in page
    assert HOSTILE not in page
    for text in ("2 predicted", "1 missing", "0.1235", "insurer does not hold it", "The first 2 of 3 rows"):
        assert text in page
    given = browser.get(f"/tasks/{hosted}/predict/table")
    assert given.headers["content-disposition"] == 'attachment; filename="predictions.csv"'
    assert given.text.splitlines()[1] == rows[0]


def test_what_was_typed_or_uploaded_is_asked_for(
    browser: TestClient, store: TaskStore, hosted: str, app: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(store, hosted)
    asked: list[tuple[str, bytes, str]] = []

    def start(self: object, script: Any, ids: bytes, kind: str) -> None:
        asked.append((script.key, ids, kind))

    monkeypatch.setattr(predict_view.PredictionRun, "start", start)
    script = {"script": "example:breast_cancer"}
    typed = browser.post(f"/tasks/{hosted}/predict/ask", data={**script, "ids": " ann b \r\n\r\n7\n"})
    assert typed.headers["location"] == f"/tasks/{hosted}/predict"
    files = {"file": ("People.CSV", b"id\n7\n")}
    browser.post(f"/tasks/{hosted}/predict/ask", data={**script, "ids": "1"}, files=files)
    assert asked == [
        ("example:breast_cancer", b"ann b\n7", ".txt"),
        ("example:breast_cancer", b"id\n7\n", ".csv"),
    ]
    refused = browser.post(f"/tasks/{hosted}/predict/ask", data={"script": "/etc/passwd", "ids": "1"})
    assert refused.status_code == 400
    assert "is in no folder" in refused.text


def test_what_a_host_has_used_and_what_is_left(
    browser: TestClient, store: TaskStore, parties: dict[str, Identity], invite: Invite
) -> None:
    limits = AcceptedLimits(predictions=3, asked_a_day=1000)
    task = join_task(store, parties["hospital"], invite, limits=limits).task_id
    finish(store, task)
    budget = PredictionBudget(store.directory(task) / PLACE, "hospital", limits.limits)
    path = f"/tasks/{task}/predict"
    assert "0 of 1,000" in browser.get(path).text
    counts = store.directory(task) / PLACE
    counts.parent.mkdir(mode=0o700)
    budget.ask(120)
    budget.predict(["ann", "bob"])
    budget.predict(["bob"])
    page = browser.get(path).text
    for text in ("120 of 1,000", "880 left", "2 of 3", "1 left", "0 of them as often as allowed"):
        assert text in page, text
    assert "ann" not in page
    counts.write_bytes(b"none" * 100)
    assert "The counts cannot be read" in browser.get(path).text


def test_the_task_s_own_script_is_chosen(browser: TestClient, store: TaskStore, hosted: str, app: Console) -> None:
    finish(store, hosted)
    path = f"/tasks/{hosted}/predict"
    assert "Choose a script" in browser.get(path).text, "there are examples, and nobody knows which it was"
    scripts = store.home / "scripts"
    scripts.mkdir(mode=0o700)
    (scripts / "a.py").write_text("")
    (scripts / "z.py").write_text("")
    app.state.context = replace(app.state.context, scripts=(scripts,))
    progress = store.directory(hosted) / NAME
    first, _, rest = progress.read_text().partition("\n")
    progress.write_text(json.dumps({**json.loads(first), "script": str(scripts / "z.py")}) + "\n" + rest)
    page = browser.get(path).text
    assert f'<option value="{scripts / "z.py"}" selected>' in page
    assert "Choose a script" not in page


def test_a_collaborator_serves(
    browser: TestClient, store: TaskStore, joined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(store, joined)
    page = browser.get(f"/tasks/{joined}/predict").text
    assert f'action="/tasks/{joined}/predict/serve"' in page
    assert 'name="ids"' not in page
    monkeypatch.setattr(predict_view.ServingRun, "start", lambda self, script: None)
    answer = browser.post(f"/tasks/{joined}/predict/serve", data={"script": "example:breast_cancer"})
    assert answer.status_code == 303
