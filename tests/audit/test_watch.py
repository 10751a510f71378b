"""Following a growing transcript: to its end, to its writer's end, to Ctrl-C; and whoever changes it is noticed."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.harness.pump import identity
from secure_hfl.audit.audit_files import Audited, Verdict
from secure_hfl.audit.watch import is_written, watch
from secure_hfl.cli.app import app
from secure_hfl.tasks import run_lock
from tests.audit.helpers import BFV, PLAIN, forged, with_one_byte_more, write
from tests.protocols.transcript.recorded_runs import aborted, transcripts


class Writer:
    """Appends a piece whenever the follower waits, then does one last thing, then is gone."""

    def __init__(self, path: Path, data: bytes, piece: int, last: Callable[[], None] = lambda: None) -> None:
        self.path, self.last, self.is_alive = path, last, True
        self.pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
        path.write_bytes(b"")

    def wait(self) -> None:
        assert self.is_alive, "the follower waits for a writer that is gone"
        if self.pieces:
            with self.path.open("ab") as file:
                file.write(self.pieces.pop(0))
            return
        self.is_alive = False
        self.last()

    def is_live(self, path: Path) -> bool:
        assert path == self.path
        return self.is_alive


def follow(writer: Writer, is_terminal: bool = False) -> tuple[Audited, str]:
    out = StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=150, color_system=None)
    return watch(writer.path, console, wait=writer.wait, is_live=writer.is_live), out.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_run_is_followed_to_its_end(tmp_path: Path, is_terminal: bool) -> None:
    writer = Writer(tmp_path / "host-1.transcript", transcripts(BFV)[0], 1777)
    audited, shown = follow(writer, is_terminal)
    assert audited.verdict is Verdict.HOLDS
    assert writer.is_alive  # nobody had to tell that the run is over
    places = ["join", "psi", "align", "setup", "train, round 1", "train, round 2", "test, round 2", "finish"]
    positions = [shown.index(place) for place in places]
    assert positions == sorted(positions)
    assert "messages" in shown
    assert "from the host" in shown
    if is_terminal:
        for text in ("scheme bfv", "hospital (host), patient", "to the end of train, round 1", "none so far"):
            assert text in shown


@pytest.mark.parametrize("is_terminal", [False, True])
def test_findings_are_shown_as_they_come(tmp_path: Path, is_terminal: bool) -> None:
    writer = Writer(tmp_path / "host-1.transcript", with_one_byte_more(BFV, "FeatureShape"), 1777)
    audited, shown = follow(writer, is_terminal)
    assert audited.verdict is Verdict.FAILS
    assert shown.index("(FeatureShape)") < shown.rindex("train, round 2")
    assert len(audited.report.findings) == 1


@pytest.mark.parametrize("kind", ["killed", "aborted", "silent"])
def test_it_ends_when_the_writer_is_gone(tmp_path: Path, kind: str) -> None:
    data = {"killed": transcripts(PLAIN)[0][:9001], "aborted": aborted(PLAIN, 2, False)[0], "silent": b""}[kind]
    writer = Writer(tmp_path / "host-1.transcript", data, 500)
    if kind == "silent":
        with pytest.raises(Exception, match="is empty"):
            follow(writer)
        return
    audited, _ = follow(writer)
    assert not writer.is_alive
    assert audited.verdict is Verdict.INCOMPLETE


def test_what_was_appended_last_is_read_though_the_writer_is_gone_by_then(tmp_path: Path) -> None:
    """The last lines and the release of the lock come between two looks."""
    data = transcripts(PLAIN)[0]
    writer = Writer(tmp_path / "host-1.transcript", data[:-200], 100_000)
    writer.last = lambda: writer.path.write_bytes(data)
    audited, _ = follow(writer)
    assert audited.verdict is Verdict.HOLDS


def test_ctrl_c_ends_it_with_the_verdict_so_far(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    writer = Writer(tmp_path / "host-1.transcript", transcripts(PLAIN)[0][:9000], 500, stop)
    audited, _ = follow(writer, is_terminal=True)
    assert audited.verdict is Verdict.INCOMPLETE
    assert audited.report.files[0].messages > 20


def test_who_changes_the_file_while_it_is_watched_is_noticed(tmp_path: Path) -> None:
    """Each new content is valid by itself; only who has seen the old one knows."""
    path = tmp_path / "host-1.transcript"
    whole, half = transcripts(PLAIN)[0], transcripts(PLAIN)[0][:9000]

    def put_another_in_its_place() -> None:
        other = tmp_path / "other"
        other.write_bytes(whole)
        other.replace(path)
        writer.is_alive = True

    def cut() -> None:
        path.write_bytes(half[:4000])
        writer.is_alive = True  # it must be noticed without the writer's end

    def rewrite() -> None:
        path.write_bytes(forged(PLAIN, session_tag="0" * 64))

    for change, problem in ((cut, "become shorter"), (rewrite, "was rewritten")):
        writer = Writer(path, half, 3000, change)
        audited, _ = follow(writer)
        assert audited.verdict is Verdict.FAILS
        assert problem in audited.report.findings[-1].problem
    writer = Writer(path, half, 3000, put_another_in_its_place)
    audited, _ = follow(writer)  # the same beginning: nothing that was seen has gone
    assert audited.verdict is Verdict.HOLDS


def test_the_run_lock_tells_whether_a_task_still_writes(tmp_path: Path) -> None:
    directory = tmp_path / "task" / "transcripts"
    directory.mkdir(parents=True)
    path, lock = directory / "hospital-9.transcript", tmp_path / "task" / "run.lock"
    path.write_bytes(b"")
    assert is_written(path)  # no lock: nobody can tell
    assert run_lock.acquire(lock)
    assert is_written(path)
    (directory / "hospital-10.transcript").write_bytes(b"")
    assert not is_written(path)  # a later attempt runs now
    assert is_written(directory / "hospital-10.transcript")
    run_lock.release(lock)
    assert not is_written(directory / "hospital-10.transcript")


def test_the_command_follows_and_then_reports(tmp_path: Path) -> None:
    host, _ = write(tmp_path)
    trusted = [part for name in ("host", "collaborator") for part in ("--fingerprint", identity(name).fingerprint)]
    result = CliRunner().invoke(app, ["audit", "--live", str(host), *trusted, "--html", str(tmp_path / "page.html")])
    assert result.exit_code == 0, result.output
    assert "train, round 2: " in result.stdout
    assert "Everything holds: " in result.stdout
    assert "Everything holds" in (tmp_path / "page.html").read_text()
