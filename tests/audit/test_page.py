"""The page: self-contained, well-formed, without scripts, whatever the transcript says; and as a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from benchmarks.harness.limits import seconds
from secure_hfl.audit.audit_files import Audited, audit_files
from secure_hfl.audit.page import page
from tests.audit.helpers import BFV, MASKED, PLAIN, Page, forged, with_one_byte_more, write
from tests.protocols.transcript.recorded_runs import transcripts
from tests.protocols.whole_task import Case

HOSTILE = '</title><script>alert("x")</script><img src=http://evil onerror=alert(1)>&amp;\'"'


def _audit(*paths: Path) -> Audited:
    return audit_files(*paths, with_timeline=True)


def assert_harmless(text: str) -> Page:
    seen = Page(text)
    assert not {"script", "img", "iframe", "link", "object", "embed", "form", "base", "a"} & set(seen.tags)
    names = {name for name, _ in seen.attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "href", "style", "xlink:href")]
    assert "url(" not in seen.style
    assert "@import" not in seen.style
    policy = seen.values("content")[0]
    digest = base64.b64encode(hashlib.sha256(seen.style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    return seen


@pytest.mark.parametrize("case", [PLAIN, BFV, MASKED], ids=str)
def test_the_page_of_a_run_that_holds(case: Case, tmp_path: Path) -> None:
    audited = _audit(*write(tmp_path, case))
    seen = assert_harmless(page(audited))
    for text in (
        "Everything holds",
        "hospital",
        "patient",
        "What hospital learned",
        "It was never sent",
        "From the whole run it may infer",
        "both ends",
    ):
        assert text in seen.text
    for row in audited.report.traffic:
        assert row.type in seen.text
    assert "svg" in seen.tags
    titles = " ".join(seen.texts)
    for name in ("join", "psi", "train 1", "test 1" if case is MASKED else "test 2", "finish"):
        assert f"{name}: " in titles
    assert seen.values("class").count("seal") == 7 + (case is not MASKED)
    assert ("bar-offline" in seen.values("class")) is (case is MASKED)
    assert "fault" not in seen.values("class")
    assert ("NOT ENCRYPTED" in seen.text) is (case is PLAIN)


def test_findings_are_listed_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / "host.transcript"
    path.write_bytes(with_one_byte_more(BFV, "StepGradient"))
    seen = assert_harmless(page(_audit(path)))
    assert "Does not hold" in seen.text
    assert "Expected: " in seen.text
    assert seen.values("class").count("fault") == 1
    path.write_bytes(transcripts(BFV)[0][:20_000])
    seen = assert_harmless(page(_audit(path)))
    assert "Incomplete" in seen.text
    assert "doubt" in seen.values("class")


def test_a_page_can_be_made_of_a_file_that_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "host.transcript"
    for size in (30, 45, 1000, 2000, 2600, 3000):
        path.write_bytes(transcripts(BFV)[0][:size])
        seen = assert_harmless(page(_audit(path)))
        assert "Everything holds" not in seen.text


def test_nothing_that_a_transcript_says_becomes_markup(tmp_path: Path) -> None:
    fields = {
        "host": HOSTILE,
        "collaborator": HOSTILE + "2",
        "collaborators": [HOSTILE + "2"],
        "task_id": HOSTILE,
        "scheme": HOSTILE,
        "scheme_parameters": HOSTILE,
    }
    directory = tmp_path / "<b>"
    directory.mkdir()
    path = directory / "<script>alert(1)<.transcript"
    path.write_bytes(forged(PLAIN, **fields))
    text = page(_audit(path))
    assert "<script" not in text
    seen = assert_harmless(text)
    assert seen.text.count(HOSTILE) >= 6
    assert "<script>alert(1)<.transcript" in seen.text


def test_unverified_lines_are_not_drawn(tmp_path: Path) -> None:
    """Lines after one that was changed could say anything."""
    path = tmp_path / "host.transcript"
    data = transcripts(PLAIN)[0]
    at = data.index(b" RoundStart ")
    path.write_bytes(data[:at] + b"X" + data[at:])
    audited = _audit(path)
    assert audited.timeline is not None
    assert any(segment.round == 2 for segment in audited.timeline.segments)
    seen = assert_harmless(page(audited))
    assert "train 2" not in seen.text


@pytest.mark.parametrize("is_hostile", [False, True])
def test_a_browser_shows_it(tmp_path: Path, is_hostile: bool) -> None:
    host, patient = write(tmp_path, BFV)
    if is_hostile:
        host.write_bytes(forged(BFV, host=HOSTILE, task_id=HOSTILE))
    path = tmp_path / "page.html"
    path.write_text(page(_audit(host, patient)), encoding="utf-8")
    shown = path.read_text(encoding="utf-8")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is not None:
        shown, complaints = in_browser(browser, path)
        assert "Security Policy" not in complaints
    seen = assert_harmless(shown)
    assert ("Does not hold" if is_hostile else "Everything holds") in seen.text
    assert (HOSTILE in seen.text) is is_hostile
    assert seen.tags.count("section") > 8
    assert seen.tags.count("rect") > 50


def in_browser(browser: str, path: Path) -> tuple[str, str]:
    """The document after the browser has read it, and what the browser said."""
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
    options += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    options += ("--enable-logging=stderr", "--dump-dom")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *options, f"--user-data-dir={profile}", path.as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds(60))
    return result.stdout, result.stderr
