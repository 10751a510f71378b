"""The page that measures what privacy costs."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from secure_hfl.supervision.benchmark_run import BenchmarkRun
from secure_hfl.supervision.supervised import Supervised

FIGURES = Path(__file__).parents[2] / "benchmarks" / "results" / "bench_native.json"


@pytest.fixture
def run(home: Path) -> BenchmarkRun:
    """Of the home, which has measured something."""
    made = BenchmarkRun(home)
    made.report.parent.mkdir()
    shutil.copyfile(FIGURES, made.report.with_name("figures.json"))
    return made


def test_nothing_was_measured_yet(browser: TestClient) -> None:
    text = browser.get("/bench").text
    assert "Measure this machine" in text
    assert "/bench/report" not in text
    answer = browser.get("/bench/report")
    assert answer.status_code == 400
    assert "measure first" in answer.text


def test_what_was_measured_is_shown(browser: TestClient, run: BenchmarkRun) -> None:
    text = browser.get("/bench").text
    assert "Lattice encryption" in text
    assert "Which to take" in text
    assert "Measure again" in text
    run.report.with_name("figures.json").write_text("{}")
    assert "Lattice encryption" not in browser.get("/bench").text


def test_the_report_may_have_its_own_style_and_nothing_else(browser: TestClient, run: BenchmarkRun) -> None:
    run.report.write_text("<p>no style</p>")
    answer = browser.get("/bench/report")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "style-src 'none'" in policy
    assert "sandbox" in policy
    head = '<meta http-equiv="Content-Security-Policy" content="style-src \'sha256-' + "A" * 43 + "='\">"
    run.report.write_text(head)
    policy = browser.get("/bench/report").headers["content-security-policy"]
    assert f"style-src 'sha256-{'A' * 43}='" in policy
    assert "script-src" not in policy
    assert "default-src 'none'" in policy


def test_it_is_started_and_stopped(browser: TestClient, run: BenchmarkRun, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    stopped: list[signal.Signals] = []

    def start(
        self: Supervised,
        command: list[str],
        what: Any,
        given: dict[str, str],
        where: Path,
        may: Callable[[], None],
    ) -> None:
        may()
        started.append(command)
        assert given["SECURE_HFL_HOME"] == str(where)

    monkeypatch.setattr(Supervised, "start", start)
    monkeypatch.setattr(Supervised, "stop", lambda self, number: stopped.append(number))
    assert browser.post("/bench", data={"extent": "quick"}).status_code == 303
    assert run.found() is None, "of an older one"
    browser.post("/bench", data={"extent": "whole"})
    assert ["--quick" in command for command in started] == [True, False]
    assert started[0][1:4] == ["-m", "secure_hfl", "bench"]
    assert browser.post("/bench/stop").status_code == 303
    assert stopped == [signal.SIGTERM]


def test_while_it_runs(browser: TestClient, run: BenchmarkRun) -> None:
    run.process.start(["/bin/sh", "-c", "echo '<b>first</b>'; sleep 60"], {}, {}, run.report.parent)
    try:
        text = browser.get("/bench").text
        assert 'data-reload="3"' in text
        assert browser.post("/bench", data={}).status_code == 400
    finally:
        run.stop()
