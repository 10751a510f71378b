"""Runs that were interrupted: any transcript leads to all of them, and what is missing is named."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from benchmarks.harness.pump import C, H
from secure_hfl.audit.audit_files import Verdict, audit_files
from secure_hfl.audit.find_run import run_of
from secure_hfl.audit.page import page
from secure_hfl.audit.report_text import summarise
from secure_hfl.audit.watch import watch
from secure_hfl.cli.app import app
from tests.audit.helpers import write
from tests.audit.test_page import assert_harmless
from tests.protocols.transcript.interrupted_runs import Run, interrupted
from tests.protocols.transcript.recorded_runs import key_of, rebuild, texts_of, transcripts
from tests.protocols.whole_task import Case

PLAIN = Case("plain", rounds=2, batches=(4, 2))
CUTS = (79, 30, 40)
PLACES = "from batch 1 of training round 1, batch 2 of training round 1, the end of training round 1"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def write_run(directory: Path, cuts: tuple[int, ...] = CUTS, case: Case = PLAIN) -> tuple[list[Path], list[Path]]:
    """Both ends' transcripts, as the parties name them, each end's in a directory of its own."""
    out = []
    for end, peer, files in zip(("host", "patient"), ("patient", "hospital-1"), interrupted(case, cuts), strict=True):
        (directory / end).mkdir(parents=True)
        paths = [directory / end / f"{peer}-{number}.transcript" for number in range(9, 9 + len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        out.append(paths)
    return out[0], out[1]


def test_any_transcript_leads_to_the_whole_run(tmp_path: Path) -> None:
    host, patient = write_run(tmp_path)
    assert len(host) == len(patient) == 4
    for path in (*host, *patient):
        result = run(path)
        assert result.exit_code == 0, result.output
        shown = " ".join(result.stdout.split())
        assert f"4 conversations, resumed 3 times, {PLACES}." in shown
        assert "hospital (host) learned" in shown
    result = run(host[2], patient[0])
    assert result.exit_code == 0, result.output
    assert "at both ends" in result.stdout
    assert [audit_files(path).report for path in host[1:]] == [audit_files(host[0]).report] * 3


def test_what_else_lies_there_is_not_of_the_run(tmp_path: Path) -> None:
    """Runs that were started anew, other peers, empty files, junk, and copies of one conversation."""
    host, _ = write_run(tmp_path)
    (tmp_path / "host" / "patient-1.transcript").write_bytes(transcripts(PLAIN)[0])
    (tmp_path / "host" / "patient-2.transcript").write_bytes(interrupted(PLAIN, (60,))[0][1])
    (tmp_path / "host" / "patient-99.transcript").write_bytes(b"")
    torn = texts_of(host[1].read_bytes())[:5]  # killed while it wrote down the manifest of another attempt
    tag = json.loads(torn[1].partition(b" ")[2])["session_tag"].encode()
    torn[1] = torn[1].replace(tag, b"0" * 64)
    (tmp_path / "host" / "patient-95.transcript").write_bytes(rebuild(torn, key_of(H)))
    (tmp_path / "host" / "patient-98.transcript").write_bytes(b"junk\n\xff")
    (tmp_path / "host" / "patient-97.transcript").mkdir()
    (tmp_path / "host" / "patient-96.transcript").write_bytes(host[2].read_bytes())
    (tmp_path / "host" / "other-3.transcript").write_bytes(host[0].read_bytes())
    found = run_of(host[1])
    assert [path.read_bytes() for path in found.paths] == [path.read_bytes() for path in host]
    assert not found.left_out
    assert run(host[0]).exit_code == 0
    assert run_of(tmp_path / "host" / "patient-1.transcript").paths == (tmp_path / "host" / "patient-1.transcript",)
    assert run_of(tmp_path / "host" / "patient-99.transcript").paths == (tmp_path / "host" / "patient-99.transcript",)
    assert run_of(tmp_path / "none").paths == (tmp_path / "none",)


def test_names_do_not_matter_where_files_were_renamed(tmp_path: Path) -> None:
    """Both ends' files in one directory, under names that say nothing."""
    host, patient = write_run(tmp_path)
    for number, path in enumerate((*host, *patient)):
        path.rename(tmp_path / f"{'ghfacebd'[number]}.transcript")
    assert [path.name[0] for path in run_of(tmp_path / "f.transcript").paths] == list("ghfa")
    result = run(tmp_path / "h.transcript", tmp_path / "d.transcript")
    assert result.exit_code == 0, result.output


def test_a_missing_conversation_is_named_and_the_rest_is_checked(tmp_path: Path) -> None:
    host, patient = write_run(tmp_path)
    host[1].unlink()
    result = run(host[3])
    assert result.exit_code == 1
    assert result.stdout.startswith("Incomplete: ")
    assert "a conversation before patient-11.transcript is missing: that of agreement " in result.stdout
    assert "2 conversations, resumed 2 times" in result.stdout
    assert run(host[3], patient[0]).stdout.startswith("DOES NOT HOLD")
    host[3].unlink()
    assert run(host[2], patient[2]).exit_code == 1


def test_a_changed_byte_of_an_earlier_conversation_is_found_from_a_later_one(tmp_path: Path) -> None:
    host, _ = write_run(tmp_path)
    data = bytearray(host[0].read_bytes())
    data[data.index(b" PsiOpen ") + 1] ^= 1
    host[0].write_bytes(data)
    result = run(host[3])
    assert result.exit_code == 1
    assert "patient-9.transcript, line " in result.stdout
    assert "the check value" in result.stdout


def test_a_run_with_two_futures_says_so(tmp_path: Path) -> None:
    """A copy of a party's files was put in place, and the run went on from the same conversation again."""
    run_ = Run(PLAIN)
    run_.converse(79)
    files, saved = {sender: list(run_.files[sender]) for sender in (H, C)}, list(run_.saved)
    run_.converse(30)
    once = run_.files[H][1]
    run_.files, run_.saved = files, saved
    assert run_.converse()
    for number, data in enumerate((run_.files[H][0], once, run_.files[H][1]), 1):
        (tmp_path / f"patient-{number}.transcript").write_bytes(data)
    found = run_of(tmp_path / "patient-1.transcript")
    assert [path.stem for path in (*found.paths, *found.left_out)] == ["patient-1", "patient-3", "patient-2"]
    assert "went on twice from one conversation" in " ".join(run(tmp_path / "patient-1.transcript").stdout.split())
    assert run_of(tmp_path / "patient-2.transcript").paths[1].stem == "patient-2"


def test_runs_are_compared_whole(tmp_path: Path) -> None:
    host, patient = write_run(tmp_path)
    others, _ = write_run(tmp_path / "other", (60,))
    result = run(host[0], "--other", others[1])
    assert result.exit_code == 0, result.output
    assert "also compared with 1 other run" in result.stdout
    for arguments in ((host[0], "--other", host[2]), (host[0], "--other", patient[3])):
        assert "are of one run" in run(*arguments).stderr
    assert "of the same end" in run(host[0], host[1]).stderr


def test_json_has_the_interruptions(tmp_path: Path) -> None:
    host, patient = write_run(tmp_path)
    out = tmp_path / "audit.json"
    assert run(host[0], patient[0], "--json", out).exit_code == 0
    values = json.loads(out.read_text(encoding="ascii"))
    assert [each["place"] for each in values["resumes"]] == PLACES.removeprefix("from ").split(", ")
    assert values["resumes"][0]["lost_from_host"] == 1
    assert values["is_finished"] is True
    assert values["interruptions"].startswith("4 conversations, resumed 3 times")
    assert [file["conversation"] for file in values["files"]] == [1, 2, 3, 4] * 2
    write(tmp_path)
    assert run(tmp_path / "plain-host.transcript", "--json", out).exit_code == 0
    assert json.loads(out.read_text(encoding="ascii"))["interruptions"] == ""


def test_the_page_shows_the_interruptions(tmp_path: Path) -> None:
    host, patient = write_run(tmp_path)
    audited = audit_files(host[0], patient[0], with_timeline=True)
    seen = assert_harmless(page(audited))
    for text in ("Interruptions", "4 conversations, resumed 3 times", "Goes on from", "Lost from the host"):
        assert text in seen.text
    assert seen.values("class").count("resumed") == 3
    assert audited.timeline is not None
    assert sum(segment.total.messages for segment in audited.timeline.segments) == audited.report.messages
    titles = [text for text in seen.texts if "lines" in text and " of patient-" in text]
    assert any("of patient-12.transcript" in title for title in titles)
    last = max(int(title.split(" to ")[1].split(" ")[0]) for title in titles if "patient-12" in title)
    assert last <= audited.report.first_end[-1].lines
    whole = assert_harmless(page(audit_files(write(tmp_path)[0], with_timeline=True)))
    assert "Interruptions" not in whole.text


def test_a_fault_in_a_later_conversation_is_drawn_there(tmp_path: Path) -> None:
    host, _ = write_run(tmp_path)
    data = host[3].read_bytes()
    host[3].write_bytes(data[: len(data) - 900])
    audited = audit_files(host[0], with_timeline=True)
    assert audited.verdict is Verdict.INCOMPLETE
    seen = assert_harmless(page(audited))
    assert seen.values("class").count("doubt") >= 1


def test_the_summary_names_the_conversations(tmp_path: Path) -> None:
    host, patient = write_run(tmp_path)
    lines = summarise(audit_files(host[0], patient[0]).report)
    assert lines[0].startswith("The transcripts hold: both ends' transcripts of 4 conversations, ")
    assert 2 <= len(lines) <= 6


@pytest.mark.parametrize("is_anew", [False, True])
def test_the_follower_goes_over_to_the_next_conversation(tmp_path: Path, is_anew: bool) -> None:
    first, second = interrupted(PLAIN, (79,))[0]
    if is_anew:
        second = transcripts(PLAIN)[0]
    paths = [tmp_path / f"patient-{number}.transcript" for number in (1, 2)]
    paths[0].write_bytes(b"")
    steps = [(paths[0], first[:5000]), (paths[0], first), (paths[1], b""), (paths[1], second[:700])]
    steps += [(paths[1], second[:5000]), (paths[1], second)]

    def wait() -> None:
        path, data = steps.pop(0)
        path.write_bytes(data)

    def is_live(path: Path) -> bool:
        return bool(steps) and (path == paths[1] or not paths[1].exists())

    out = StringIO()
    console = Console(file=out, width=150, color_system=None)
    audited = watch(paths[0], console, wait=wait, is_live=is_live)
    shown = out.getvalue()
    if is_anew:
        assert "patient-2.transcript does not go on from it" in shown
        assert audited.verdict is Verdict.INCOMPLETE
        return
    assert "patient-1.transcript was interrupted; the run goes on in patient-2.transcript" in shown
    assert shown.count("train, round 1: ") == 2
    assert audited.verdict is Verdict.HOLDS
    assert [each.place for each in audited.report.resumes] == ["batch 1 of training round 1"]
    assert watch(paths[0], console, wait=wait, is_live=is_live).verdict is Verdict.HOLDS  # the newest, at once
