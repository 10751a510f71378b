"""An audit as one HTML page. A transcript may come from somebody hostile: what it says is text here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from protocols.transcript.report import AuditReport, Finding
from secure_hfl.audit.files import Audited, Verdict
from secure_hfl.audit.report_text import (
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
from secure_hfl.audit.timeline_figure import timeline_figure
from secure_hfl.html_page import cell, document, section, small, table, text

_VERDICTS = {
    Verdict.HOLDS: ("holds", "Everything holds"),
    Verdict.INCOMPLETE: ("incomplete", "Incomplete"),
    Verdict.FAILS: ("fails", "Does not hold"),
}
_MARKS = {State.HOLDS: "holds", State.PARTLY: "partly", State.FAILS: "fails", State.SKIPPED: "skipped"}


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
    says = "It says what crossed the wire, not what a party does with what it learned."
    return document(title, "transcript audit", body, f"Made by <code>secure-hfl audit</code>. {says}")


def _fingerprint(digits: str) -> str:
    half = len(digits) // 2
    return f"{text(fingerprint(digits[:half]))}:<wbr>{text(fingerprint(digits[half:]))}"


def _list(items: Iterable[str], kind: str = "") -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{text(item)}</li>" for item in items)}</ul>'


def _tag(word: str, kind: str) -> str:
    return f'<span class="tag {text(kind)}">{text(word)}</span>'


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
    shown = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items() if value)
    notes = "".join(small(remark) for remark in remarks(audited))
    return (
        f'<section class="verdict {kind}" id="verdict"><strong>{text(word)}</strong><p>{text(sentence)}</p></section>'
        f'<section><dl class="facts">{shown}</dl>{notes}</section>'
    )


def _findings(findings: list[Finding]) -> str:
    def row(finding: Finding) -> str:
        place = f"{finding.file}, line {finding.line}" if finding.line else finding.file
        what = f"<p>{text(finding.problem)}</p>"
        if finding.expected:
            what += small(f"Expected: {finding.expected}")
        severity = finding.severity.value
        entry = f'<div class="small soft">{text(finding.entry)}</div>' if finding.entry else ""
        return f"<td>{_tag(severity, severity)}</td><td>{text(place)}{entry}</td><td>{what}</td>{cell(finding.meaning)}"

    if not findings:
        return ""
    headings = ("", "Where", "What was found", "What it may mean")
    return section("findings", "Findings", table(headings, (row(finding) for finding in findings)))


def _parties(report: AuditReport) -> str:
    def card(name: str, role: str, digits: str, software: dict[str, str]) -> str:
        versions = ", ".join(" ".join(pair) for pair in software.items())
        return (
            f'<section><h2 class="from-{text(role)}">{text(name)}</h2><p class="soft">{text(role)}</p>'
            f'{small("SHA-256 of its certificate")}<p class="code">{_fingerprint(digits)}</p>{small(versions)}'
            "</section>"
        )

    cards = "".join(card(each.name, each.role, each.fingerprint, each.software) for each in report.parties)
    return f'<div class="pair">{cards}</div>' if cards else ""


def _ledger(report: AuditReport) -> str:
    cards = "".join(
        f'<section><h2>What {text(name)} learned <span class="soft small">({text(role)})</span></h2>'
        f"{_list(knows, 'seen') if knows else '<p>Nothing of the other party.</p>'}"
        f"<h3>It did not see</h3>{_list(unseen, 'seen not')}</section>"
        for name, role, knows, unseen in learned(report)
    )
    if not cards or report.ledger is None:
        return ""
    both = "; ".join(report.ledger.both_learned)
    also = f'<section><p class="small"><b>Both learned of the run itself:</b> {text(both)}.</p></section>'
    return f'<div class="pair">{cards}</div>{also}'


def _timeline(audited: Audited) -> str:
    figure = "" if audited.timeline is None else timeline_figure(audited.timeline, audited.report)
    if not figure:
        return ""
    legend = (
        f'<p class="small soft">{text(", ".join(file.name for file in audited.report.first_end))}, '
        "from the first message to the last. "
        "Height of a bar: square root of the bytes per line. Point at anything to read its figures.</p>"
    )
    return section("timeline", "Timeline", f'<div class="scroll">{figure}</div>{legend}')


def _resumes(report: AuditReport) -> str:
    if not report.resumes:
        return ""
    rows = [
        cell(number, "number") + cell(file) + cell(place) + cell(host, "number") + cell(collaborator, "number")
        for number, file, place, host, collaborator in resume_rows(report)
    ]
    headings = ("Conversation#", "Transcript", "Goes on from", "Lost from the host#", "Lost from the collaborator#")
    meaning = "Lost: messages that were sent when the run was interrupted and never arrived. Both parties say so."
    content = f"<p>{text(interruptions(report))}</p>{table(headings, rows)}{small(meaning)}"
    return section("interruptions", "Interruptions", content)


def _checks(audited: Audited) -> str:
    items = "".join(
        f'<li class="mark-{_MARKS[check.state]}">{text(check.name)}'
        + (f' <span class="small soft">{text(check.remark)}</span>' if check.remark else "")
        + "</li>"
        for check in checks(audited)
    )
    return section("checks", "What was checked", f'<ul class="checks">{items}</ul>')


def _types(report: AuditReport) -> str:
    rows = type_rows(report)
    largest = max((row.bytes for row in rows), default=1)

    def cells(row: TypeRow) -> Iterator[str]:
        sender = text(row.sender)
        yield f'<td><b>{text(row.type)}</b><div class="small from-{sender}">from the {sender}</div></td>'
        yield f"<td>{_tag(row.content, row.content)}</td>"
        width = 100 * row.bytes / max(largest, 1)
        bar = f'<rect class="bar-{sender}" width="{max(width, 0.5):.1f}" height="6" rx="1"/>'
        box = 'viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"'
        yield cell(f"{row.messages:,}", "number")
        yield f'<td class="number size">{text(size(row.bytes))}<svg {box}>{bar}</svg></td>'
        learns = row.receiver_learns or "nothing"
        yield f"<td><b>{text(learns[0].upper() + learns[1:])}</b>"
        yield f'<div class="small soft">Readable by {text(row.readers)}. {text(row.argument)}</div></td>'

    headings = ("Message", "Content", "Messages#", "Bytes#", "What its receiver learns, and why no more")
    return section(
        "messages", "Messages and the leakage ledger", table(headings, ("".join(cells(row)) for row in rows))
    )


def _rounds(report: AuditReport) -> str:
    def cells(counted: tuple[int, int] | None) -> str:
        messages, total = ("-", "-") if counted is None else (f"{counted[0]:,}", size(counted[1]))
        return cell(messages, "number") + cell(total, "number")

    rows = [
        cell(phase) + cell(number or "-", "number") + cells(row.get("host")) + cells(row.get("collaborator"))
        for phase, number, row in round_rows(report)
    ]
    headings = ("Phase", "Round#", "Host's messages#", "Bytes#", "Collaborator's messages#", "Bytes#")
    return section("rounds", "Phases and rounds", table(headings, rows))


def _files(report: AuditReport) -> str:
    def row(at: int) -> str:
        file = report.files[at]
        host, collaborator = file.signed_by_both
        cells = [cell(file.name), cell(file.writer or "unknown")]
        numbers = (file.lines, file.messages, host, collaborator, file.sealed_lines)
        return "".join(cells + [cell(f"{value:,}", "number") for value in numbers])

    headings = (
        "File",
        "Written by",
        "Lines#",
        "Messages#",
        "Host's signed by both#",
        "Collaborator's#",
        "Lines sealed#",
    )
    content = table(headings, (row(at) for at in range(len(report.files))))
    if report.scheme_parameters:
        content += f'{small("Parameters")}<p class="code">{text(report.scheme_parameters)}</p>'
    return section("transcripts", "Transcripts", content)
