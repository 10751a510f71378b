"""`secure-hfl audit` as a user has it: verdict and exit code, findings, ledger, JSON, errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks.harness.pump import identity
from protocols.schemes.masked.scheme import Masked
from protocols.transcript.format import MAX_LINE
from secure_hfl.audit.audit_files import audit_files
from secure_hfl.audit.report_text import fingerprint, summarise
from secure_hfl.cli.app import app
from tests.audit.helpers import BFV, MASKED, PLAIN, forged, with_one_byte_more, write
from tests.protocols.transcript.recorded_runs import aborted, transcripts
from tests.protocols.whole_task import Case


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def fails(result: Result, *texts: str) -> None:
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    for text in texts:
        assert text in line


@pytest.mark.parametrize("case", [PLAIN, BFV, MASKED], ids=str)
def test_a_run_that_holds_exits_with_0_and_says_who_learned_what(case: Case, tmp_path: Path) -> None:
    host, patient = write(tmp_path, case)
    for arguments in ((host,), (patient,), (host, patient), (patient, host)):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("Everything holds: ")
        assert "hospital (host) learned" in result.stdout
        assert "✗" not in result.stdout
    both = run(host, patient).stdout
    assert fingerprint(identity("host").fingerprint.replace(":", "")) in both
    seen = "EVERY FEATURE of patient, in the clear" in both
    assert seen is (case is PLAIN)
    assert ("NOT ENCRYPTED" in both) is (case is PLAIN)
    assert ("patient's features in the clear" in both.partition("hospital was never sent")[2]) is not (case is PLAIN)


def test_each_finding_is_one_line_with_place_expectation_and_meaning(tmp_path: Path) -> None:
    path = tmp_path / "host.transcript"
    path.write_bytes(with_one_byte_more(BFV, "FeatureShape"))
    result = run(path)
    assert result.exit_code == 1
    assert result.stdout.startswith("DOES NOT HOLD: 1 error ")
    (line,) = [each for each in result.stdout.splitlines() if each.startswith("error:")]
    for text in ("host.transcript, line ", "(FeatureShape)", "Expected: ", " bytes", "did not hold what its type says"):
        assert text in line
    assert "no more than what these files say" in result.stdout


def test_a_run_without_its_end_is_incomplete_and_exits_with_1(tmp_path: Path) -> None:
    host, patient = write(tmp_path)
    whole = host.read_bytes()
    host.write_bytes(whole[: len(whole) * 2 // 3])
    for arguments in ((host,), (host, patient)):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "Expected: " in result.stdout
    assert run(host).stdout.startswith("Incomplete: ")
    assert run(host, patient).stdout.startswith("DOES NOT HOLD")  # the writer itself had signed more
    host.write_bytes(aborted(PLAIN, 2, False)[0])
    assert run(host).stdout.startswith("Incomplete: ")
    assert "was aborted" in run(host).stdout


def test_a_file_in_which_one_byte_was_changed_is_named_with_its_line(tmp_path: Path) -> None:
    host, patient = write(tmp_path)
    data = bytearray(host.read_bytes())
    at = data.index(b" PsiOpen ")
    data[at + 1] ^= 1
    host.write_bytes(data)
    result = run(host, patient)
    assert result.exit_code == 1
    line = bytes(data[:at]).count(b"\n") + 1
    assert f"plain-host.transcript, line {line}: the check value" in result.stdout
    assert f"up to line {line - 1} of plain-host.transcript" in result.stdout


def test_a_bound_for_labels_is_shown(tmp_path: Path) -> None:
    path, out = tmp_path / "host.transcript", tmp_path / "audit.html"
    path.write_bytes(forged(BFV, label_epsilon=2.5))
    shown = " ".join(run(path, "--html", out).stdout.split())
    said = "epsilon 2.5 for each, over the whole task, as the host declares"
    assert f"Training labels {said}" in shown
    assert "As hospital declares, each true label is 2.5-differentially private for the whole run" in shown
    assert said in out.read_text()
    path.write_bytes(transcripts(BFV)[0])
    assert "Training labels" not in run(path).stdout
    assert "no bound holds for a run" in " ".join(run(path).stdout.split())


def test_json_has_everything_and_is_ascii(tmp_path: Path) -> None:
    host, patient = write(tmp_path, BFV)
    out = tmp_path / "audit.json"
    assert run(host, patient, "--json", out).exit_code == 0
    values = json.loads(out.read_text(encoding="ascii"))
    assert (values["format"], values["verdict"], values["holds"]) == ("secure-hfl-audit 1", "holds", True)
    assert (values["scheme"], values["task_id"]) == ("bfv", "task")
    assert [party["name"] for party in values["parties"]] == ["hospital", "patient"]
    assert {check["state"] for check in values["checks"]} == {"holds"}
    total = sum(row["bytes"] for row in values["traffic"])
    assert total == sum(row["bytes"] for row in values["by_type"]) == sum(row["bytes"] for row in values["by_round"])
    projection = next(row for row in values["by_type"] if row["type"] == "Projection")
    assert (projection["sender"], projection["content"]) == ("collaborator", "ciphertext")
    assert "smoothed projection" in projection["receiver_learns"]
    assert "labels themselves" in values["ledger"]["never_sent_to_collaborator"]
    host.write_bytes(with_one_byte_more(BFV, "FeatureShape"))
    assert run(host, "--json", out).exit_code == 1
    (finding,) = json.loads(out.read_text())["findings"]
    assert (finding["kind"], finding["severity"]) == ("ImpossibleSize", "error")


def test_what_was_used_in_two_runs_is_found(tmp_path: Path) -> None:
    host, _ = write(tmp_path, BFV)
    other, _ = write(tmp_path, PLAIN)
    result = run(host, "--other", other)
    assert result.exit_code == 0
    assert "also compared with 1 other run" in result.stdout
    again = tmp_path / "again.transcript"
    again.write_bytes(forged(BFV, session_tag="0" * 64))
    result = run(again, "--other", host)
    assert result.exit_code == 1
    assert "of bfv-host.transcript" in result.stdout
    assert "used twice" in result.stdout


def test_another_run_that_was_stopped_says_nothing_against_this_one_but_a_forged_one_does(tmp_path: Path) -> None:
    host, _ = write(tmp_path, PLAIN)
    other = tmp_path / "other.transcript"
    other.write_bytes(transcripts(BFV)[0][:20_000])
    result = run(host, "--other", other)
    assert result.exit_code == 0
    assert "it is incomplete" in result.stdout
    other.write_bytes(with_one_byte_more(BFV, "FeatureShape"))
    result = run(host, "--other", other)
    assert result.exit_code == 1
    assert "other.transcript, line " in result.stdout


def test_certificates_can_be_compared_with_what_is_known(tmp_path: Path) -> None:
    host, _ = write(tmp_path)
    known = [identity(name).fingerprint for name in ("host", "collaborator")]
    options = [part for each in known for part in ("--fingerprint", each)]
    result = run(host, *options)
    assert result.exit_code == 0
    assert "Certificates were taken from the file" not in result.stdout
    result = run(host, "--fingerprint", known[0], "--fingerprint", identity("somebody").fingerprint)
    assert result.exit_code == 1
    assert "the collaborator's certificate is " in result.stdout
    fails(run(host, "--fingerprint", "12:34"), "12:34", "64 hex digits")


def test_what_is_no_transcript_is_one_line(tmp_path: Path) -> None:
    host, patient = write(tmp_path)
    junk = tmp_path / "junk"
    fails(run(tmp_path / "none"), "none", "there is no such file", "secure-hfl task show")
    fails(run(tmp_path), "Is a directory")
    fails(run(host, tmp_path / "none"), "there is no such file")
    fails(run(host, "--other", tmp_path / "none"), "there is no such file")
    fails(run("--live", tmp_path / "none"), "there is no such file")
    junk.write_bytes(bytes(10 * MAX_LINE))
    fails(run(junk), "junk is not a transcript")
    junk.write_bytes(b"")
    fails(run(junk), "is empty")
    junk.write_bytes(b"secure-hfl-transcript 1 0123456789abcdef\n")
    fails(run(junk), "version 1")
    fails(run(host, host), "given twice")
    fails(run(host, "--other", patient), "are of one run")
    fails(run(host, patient, "--live"), "--live follows one transcript")


def test_a_huge_line_is_one_finding_and_is_not_read_to_its_end(tmp_path: Path) -> None:
    host, _ = write(tmp_path)
    host.write_bytes(host.read_bytes() + b"e h " + b"9" * (8 * MAX_LINE))
    result = run(host)
    assert result.exit_code == 1
    assert "a line that is too long" in result.stdout
    assert len(result.stdout) < 30_000


def test_a_report_never_overwrites_a_transcript(tmp_path: Path) -> None:
    host, patient = write(tmp_path)
    before = host.read_bytes(), patient.read_bytes()
    link = tmp_path / "report.html"
    link.symlink_to(patient)
    for options in (("--json", host), ("--html", patient), ("--html", link)):
        fails(run(host, patient, *options), "write the report to another file")
    fails(run(host, "--html", tmp_path / "none" / "page.html"), "cannot be written")
    assert before == (host.read_bytes(), patient.read_bytes())


def test_names_from_the_file_cannot_drive_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "host\x1b[2J.transcript"
    path.write_bytes(forged(PLAIN, host="[red]hos\u00e9[/red]"))
    result = run(path)
    assert result.exit_code == 1  # the sizes of Hello and Manifest no longer fit
    assert "[red]hosé[/red]" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("is_said", [True, False])
def test_of_a_scheme_without_tests_it_says_that_nothing_binds_shares(
    is_said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = write(tmp_path, MASKED)
    monkeypatch.setattr(Masked, "has_unbound_shares", is_said)
    said = "Scheme masked: both parties are assumed to follow the protocol: nothing binds the share of the weights"
    assert any(said in line for line in summarise(audit_files(*ends).report)) is is_said
    assert (said in " ".join(run(*ends).stdout.split())) is is_said


def test_the_summary_has_two_to_six_lines(tmp_path: Path) -> None:
    host, patient = write(tmp_path, BFV)
    lines = summarise(audit_files(host, patient).report)
    assert 2 <= len(lines) <= 6
    assert lines[0].startswith("The transcripts hold: both ends' transcripts, ")
    assert any(line.startswith("hospital (host) learned: which of its own sample ids") for line in lines)
    assert any("never sent: labels themselves" in line for line in lines)
    host.write_bytes(with_one_byte_more(BFV, "FeatureShape"))
    lines = summarise(audit_files(host).report)
    assert 2 <= len(lines) <= 6
    assert "DO NOT HOLD: 1 error" in lines[0]
    host.write_bytes(transcripts(BFV)[0][:20_000])
    lines = summarise(audit_files(host).report)
    assert 2 <= len(lines) <= 6
    assert "incomplete" in lines[0]
    host.write_bytes(b"secure-hfl-transcript 2 0000000000000000\nx y\n")
    assert "DO NOT HOLD" in summarise(audit_files(host).report)[0]
