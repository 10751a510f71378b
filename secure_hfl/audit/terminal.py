"""An audit on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from protocols.transcript.errors import Severity
from protocols.transcript.report import AuditReport
from secure_hfl.audit.audit_files import Audited, Verdict
from secure_hfl.audit.remarks import remarks
from secure_hfl.audit.report_text import (
    State,
    checks,
    fingerprint,
    headline,
    interruptions,
    label_protection,
    party_ledgers,
    resume_rows,
    round_rows,
    scheme_name,
    size,
    term_name,
    terms,
    type_rows,
)
from secure_hfl.cli.output import plain, table

_VERDICTS = {Verdict.HOLDS: "bold green", Verdict.INCOMPLETE: "bold yellow", Verdict.FAILS: "bold red"}
_SEVERITIES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_MARKS = {
    State.HOLDS: ("✓", "green"),
    State.PARTLY: ("~", "yellow"),
    State.FAILS: ("✗", "red"),
    State.SKIPPED: ("-", ""),
}


def print_audit(out: Console, audited: Audited) -> None:
    """Verdict, findings, parties, checks, traffic, ledger."""
    report = audited.report
    out.print(plain(headline(audited), _VERDICTS[audited.verdict]))
    print_findings(out, report)
    for other in audited.others:
        print_findings(out, other)
    if report.parties:
        _print_run(out, report)
    if report.resumes:
        _print_resumes(out, report)
    _print_checks(out, audited)
    if report.traffic:
        _print_traffic(out, report)
    _print_ledger(out, report)
    for remark in remarks(audited):
        out.print(plain(remark, "dim"))


def print_verdict(out: Console, audited: Audited) -> None:
    """The verdict once more, for whoever sees the end only."""
    out.print(plain(f"Verdict: {headline(audited)}", _VERDICTS[audited.verdict]), soft_wrap=True)


def print_findings(out: Console, report: AuditReport) -> None:
    """One line each."""
    for finding in report.findings:
        out.print(plain(finding, _SEVERITIES[finding.severity]), soft_wrap=True)


def _print_run(out: Console, report: AuditReport) -> None:
    grid = table("", "", header=False)
    grid.add_row("Task", plain(report.task_id))
    grid.add_row("Scheme", plain(scheme_name(report)))
    if report.scheme_parameters:
        grid.add_row("Parameters", plain(report.scheme_parameters))
    if label_protection(report):
        grid.add_row("Training labels", plain(label_protection(report)))
    for name, said in terms(report):
        grid.add_row(term_name(name), plain(said))
    for party in report.parties:
        grid.add_row(party.role.capitalize(), plain(party.name))
        grid.add_row("", plain(fingerprint(party.fingerprint)))
        if party.software:
            grid.add_row("", plain(", ".join(" ".join(pair) for pair in party.software.items()), "dim"))
    out.print(grid)


def _print_resumes(out: Console, report: AuditReport) -> None:
    out.print(plain(interruptions(report)))
    grid = table("Conversation", "Transcript", "Goes on from", "Lost from host", "Lost from collaborator")
    for column in (grid.columns[0], *grid.columns[3:]):
        column.justify = "right"
    for number, *cells in resume_rows(report):
        grid.add_row(str(number), *map(plain, cells))
    out.print(grid)


def _print_checks(out: Console, audited: Audited) -> None:
    grid = table("", "", "", header=False)
    for check in checks(audited):
        mark, style = _MARKS[check.state]
        grid.add_row(Text(mark, style), check.name, plain(check.remark, "dim"))
    out.print(grid)


def _print_traffic(out: Console, report: AuditReport) -> None:
    grid = table("Message", "From", "Content", "Messages", "Bytes")
    for column in grid.columns[3:]:
        column.justify = "right"
    for row in type_rows(report):
        grid.add_row(row.type, row.sender, row.content, f"{row.messages:,}", size(row.bytes))
    out.print(grid)
    grid = table("Phase", "Round", "Host's messages", "Bytes", "Collaborator's messages", "Bytes")
    for column in grid.columns[1:]:
        column.justify = "right"
    for phase, number, senders in round_rows(report):
        cells = [text for sender in ("host", "collaborator") for text in _cells(senders.get(sender))]
        grid.add_row(phase, str(number or "-"), *cells)
    out.print(grid)


def _cells(counted: tuple[int, int] | None) -> tuple[str, str]:
    return ("-", "-") if counted is None else (f"{counted[0]:,}", size(counted[1]))


def _print_ledger(out: Console, report: AuditReport) -> None:
    for party in party_ledgers(report):
        name = party.name
        _print_list(out, f"{name} ({party.role}) learned", party.learned or ("nothing of the other party",))
        _print_list(out, f"{name} may infer from the whole run", party.may_infer or ("nothing more",))
        _print_list(out, f"{name} was never sent", party.never_sent)
    if report.ledger is not None:
        _print_list(out, "Both learned of the run itself", report.ledger.both_learned)


def _print_list(out: Console, heading: str, items: Iterable[str]) -> None:
    out.print(plain(heading, "bold"))
    for item in items:
        out.print(Padding(plain(f"- {item}"), (0, 0, 0, 2)))
