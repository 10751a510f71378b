"""An audit as one HTML page: no scripts, nothing from elsewhere, everything from the transcript escaped.

A transcript may come from somebody hostile. What it says is text here; and the page's own policy forbids scripts and
every request, should something slip through.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from protocols.transcript.report import AuditReport, Finding
from secure_hfl.audit.drawing import drawing
from secure_hfl.audit.files import Audited, Verdict
from secure_hfl.audit.words import (
    State,
    TypeRow,
    checks,
    fingerprint,
    headline,
    interruptions,
    learned,
    remarks,
    resume_rows,
    round_rows,
    size,
    type_rows,
)
from secure_hfl.cli.output import one_line

_VERDICTS = {
    Verdict.HOLDS: ("holds", "Everything holds"),
    Verdict.INCOMPLETE: ("incomplete", "Incomplete"),
    Verdict.FAILS: ("fails", "Does not hold"),
}
_MARKS = {State.HOLDS: "holds", State.PARTLY: "partly", State.FAILS: "fails", State.SKIPPED: "skipped"}
_CSS = Path(__file__).with_name("page.css").read_text(encoding="ascii")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


def page(audited: Audited) -> str:
    """The page."""
    report = audited.report
    title = f"Transcript audit: {report.task_id}" if report.task_id else "Transcript audit"
    body = "".join(
        [
            _verdict(audited),
            _findings([*report.findings, *(finding for other in audited.others for finding in other.findings)]),
            _parties(report),
            _ledger(report),
            _timeline(audited),
            _resumes(report),
            _checks(audited),
            _types(report),
            _rounds(report),
            _files(report),
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_t(title)}</title><style>{_CSS}</style></head>"
        f"<body><main><h1>secure-hfl &middot; transcript audit</h1>{body}"
        "<footer>Made by <code>secure-hfl audit</code>. It says what crossed the wire, not what a party does with what "
        "it learned.</footer></main></body></html>\n"
    )


def _t(text: object) -> str:
    """Text for the page, whoever wrote it: one line, no control or direction characters, escaped."""
    return escape(one_line(str(text)), quote=True)


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{_t(heading)}</h2>{content}</section>" if content else ""


def _fingerprint(digits: str) -> str:
    half = len(digits) // 2
    return f"{_t(fingerprint(digits[:half]))}:<wbr>{_t(fingerprint(digits[half:]))}"


def _list(items: Iterable[str], kind: str = "") -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{_t(item)}</li>" for item in items)}</ul>'


def _table(headings: Iterable[str], rows: Iterable[str]) -> str:
    """`rows` are cells in HTML. Headings that end in # are of numbers."""
    cells = "".join(
        f'<th class="number">{_t(name[:-1])}</th>' if name.endswith("#") else f"<th>{_t(name)}</th>"
        for name in headings
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: object, kind: str = "") -> str:
    return f'<td class="{kind}">{_t(text)}</td>' if kind else f"<td>{_t(text)}</td>"


def _tag(text: str, kind: str) -> str:
    return f'<span class="tag {_t(kind)}">{_t(text)}</span>'


def _verdict(audited: Audited) -> str:
    report = audited.report
    kind, word = _VERDICTS[audited.verdict]
    sentence = headline(audited).partition(": ")[2]
    facts = {"Task": report.task_id, "Scheme": report.scheme}
    if report.scheme == "plain":
        facts["Scheme"] = "plain (NOT ENCRYPTED)"
    facts["Messages"] = f"{report.messages:,}"
    facts["On the wire"] = size(sum(each.bytes for each in report.traffic))
    facts["Transcripts"] = "both ends" if report.has_both_ends else "one end"
    if len(report.first_end) > 1:
        facts["Conversations"] = str(len(report.first_end))
    shown = "".join(f"<div><dt>{_t(name)}</dt><dd>{_t(value)}</dd></div>" for name, value in facts.items() if value)
    notes = "".join(f'<p class="small soft">{_t(remark)}</p>' for remark in remarks(audited))
    return (
        f'<section class="verdict {kind}" id="verdict"><strong>{_t(word)}</strong><p>{_t(sentence)}</p></section>'
        f'<section><dl class="facts">{shown}</dl>{notes}</section>'
    )


def _findings(findings: list[Finding]) -> str:
    def row(finding: Finding) -> str:
        place = f"{finding.file}, line {finding.line}" if finding.line else finding.file
        what = f"<p>{_t(finding.problem)}</p>"
        if finding.expected:
            what += f'<p class="small soft">Expected: {_t(finding.expected)}</p>'
        severity = finding.severity.value
        entry = f'<div class="small soft">{_t(finding.entry)}</div>' if finding.entry else ""
        return f"<td>{_tag(severity, severity)}</td><td>{_t(place)}{entry}</td><td>{what}</td>{_cell(finding.meaning)}"

    if not findings:
        return ""
    headings = ("", "Where", "What was found", "What it may mean")
    return _section("Findings", _table(headings, (row(finding) for finding in findings)))


def _parties(report: AuditReport) -> str:
    def card(name: str, role: str, digits: str, software: dict[str, str]) -> str:
        versions = ", ".join(" ".join(pair) for pair in software.items())
        return (
            f'<section><h2 class="from-{_t(role)}">{_t(name)}</h2><p class="soft">{_t(role)}</p>'
            f'<p class="small soft">SHA-256 of its certificate</p><p class="code">{_fingerprint(digits)}</p>'
            + (f'<p class="small soft">{_t(versions)}</p>' if versions else "")
            + "</section>"
        )

    cards = "".join(card(each.name, each.role, each.fingerprint, each.software) for each in report.parties)
    return f'<div class="pair">{cards}</div>' if cards else ""


def _ledger(report: AuditReport) -> str:
    cards = "".join(
        f'<section><h2>What {_t(name)} learned <span class="soft small">({_t(role)})</span></h2>'
        f"{_list(knows, 'seen') if knows else '<p>Nothing of the other party.</p>'}"
        f"<h3>It did not see</h3>{_list(unseen, 'seen not')}</section>"
        for name, role, knows, unseen in learned(report)
    )
    if not cards or report.ledger is None:
        return ""
    both = "; ".join(report.ledger.both_learned)
    also = f'<section><p class="small"><b>Both learned of the run itself:</b> {_t(both)}.</p></section>'
    return f'<div class="pair">{cards}</div>{also}'


def _timeline(audited: Audited) -> str:
    figure = "" if audited.timeline is None else drawing(audited.timeline, audited.report)
    if not figure:
        return ""
    legend = (
        f'<p class="small soft">{_t(", ".join(file.name for file in audited.report.first_end))}, '
        "from the first message to the last. "
        "Height of a bar: square root of the bytes per line. Point at anything to read its figures.</p>"
    )
    return _section("Timeline", f'<div class="scroll">{figure}</div>{legend}')


def _resumes(report: AuditReport) -> str:
    if not report.resumes:
        return ""
    rows = [
        _cell(number, "number") + _cell(file) + _cell(place) + _cell(host, "number") + _cell(collaborator, "number")
        for number, file, place, host, collaborator in resume_rows(report)
    ]
    headings = ("Conversation#", "Transcript", "Goes on from", "Lost from the host#", "Lost from the collaborator#")
    meaning = "Lost: messages that were sent when the run was interrupted and never arrived. Both parties say so."
    content = f'<p>{_t(interruptions(report))}</p>{_table(headings, rows)}<p class="small soft">{_t(meaning)}</p>'
    return _section("Interruptions", content)


def _checks(audited: Audited) -> str:
    items = "".join(
        f'<li class="mark-{_MARKS[check.state]}">{_t(check.name)}'
        + (f' <span class="small soft">{_t(check.remark)}</span>' if check.remark else "")
        + "</li>"
        for check in checks(audited)
    )
    return _section("What was checked", f'<ul class="checks">{items}</ul>')


def _types(report: AuditReport) -> str:
    rows = type_rows(report)
    largest = max((row.bytes for row in rows), default=1)

    def cells(row: TypeRow) -> Iterator[str]:
        yield f'<td><b>{_t(row.type)}</b><div class="small from-{_t(row.sender)}">from the {_t(row.sender)}</div></td>'
        yield f"<td>{_tag(row.content, row.content)}</td>"
        width = 100 * row.bytes / max(largest, 1)
        bar = f'<rect class="bar-{_t(row.sender)}" width="{max(width, 0.5):.1f}" height="6" rx="1"/>'
        box = 'viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"'
        yield _cell(f"{row.messages:,}", "number")
        yield f'<td class="number size">{_t(size(row.bytes))}<svg {box}>{bar}</svg></td>'
        learns = row.receiver_learns or "nothing"
        yield f"<td><b>{_t(learns[0].upper() + learns[1:])}</b>"
        yield f'<div class="small soft">Readable by {_t(row.readers)}. {_t(row.argument)}</div></td>'

    headings = ("Message", "Content", "Messages#", "Bytes#", "What its receiver learns, and why no more")
    table = _table(headings, ("".join(cells(row)) for row in rows))
    return _section("Messages and the leakage ledger", table if rows else "")


def _rounds(report: AuditReport) -> str:
    def cells(counted: tuple[int, int] | None) -> str:
        messages, total = ("-", "-") if counted is None else (f"{counted[0]:,}", size(counted[1]))
        return _cell(messages, "number") + _cell(total, "number")

    rows = [
        _cell(phase) + _cell(number or "-", "number") + cells(row.get("host")) + cells(row.get("collaborator"))
        for phase, number, row in round_rows(report)
    ]
    headings = ("Phase", "Round#", "Host's messages#", "Bytes#", "Collaborator's messages#", "Bytes#")
    return _section("Phases and rounds", _table(headings, rows) if rows else "")


def _files(report: AuditReport) -> str:
    def row(at: int) -> str:
        file = report.files[at]
        host, collaborator = file.signed_by_both
        cells = [_cell(file.name), _cell(file.writer or "unknown")]
        numbers = (file.lines, file.messages, host, collaborator, file.sealed_lines)
        return "".join(cells + [_cell(f"{value:,}", "number") for value in numbers])

    headings = (
        "File",
        "Written by",
        "Lines#",
        "Messages#",
        "Host's signed by both#",
        "Collaborator's#",
        "Lines sealed#",
    )
    content = _table(headings, (row(at) for at in range(len(report.files))))
    if report.scheme_parameters:
        content += f'<p class="small soft">Parameters</p><p class="code">{_t(report.scheme_parameters)}</p>'
    return _section("Transcripts", content)
