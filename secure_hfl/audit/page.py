"""An audit as one HTML page. A transcript may come from somebody hostile: what it says is text here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from protocols.transcript.report import AuditReport
from secure_hfl.audit import report_text
from secure_hfl.audit.audit_files import Audited
from secure_hfl.audit.remarks import remarks
from secure_hfl.audit.timeline_figure import HEIGHT, LEFT, MARGIN, WIDTH, timeline_figure
from secure_hfl.pages import page as made_page


def page(audited: Audited, say: Callable[[str], str] = str, language: str = "en") -> str:
    """The page.

    Args:
        audited: what was found.
        say: what stands for a sentence of the report in the page's language.
        language: its code.
    """
    return made_page("audit.html.j2", lang=language, **shown_values(audited, say))


def shown_values(audited: Audited, say: Callable[[str], str] = str) -> dict[str, Any]:
    """What the templates of an audit show: this page's, and the console's."""
    report = audited.report
    findings = [*report.findings, *(finding for other in audited.others for finding in other.findings)]
    rows, resumed = report_text.type_rows(report), report_text.resume_rows(report)
    return {
        "audited": audited,
        "report": report,
        "said": report_text,
        "say": say,
        "spoken": lambda sentences: [say(each) for each in sentences],
        "remarks": remarks(audited),
        "resume_rows": [[each if isinstance(each, int) else say(each) for each in row] for row in resumed],
        "facts": _facts(audited),
        "findings": findings,
        "groups": [] if audited.timeline is None else timeline_figure(audited.timeline, report),
        "box": f"0 0 {LEFT + WIDTH + MARGIN:.0f} {HEIGHT:.0f}",
        "rounds": [[say(phase), *cells] for phase, *cells in _rounds(report)],
        "type_rows": rows,
        "largest": max((row.bytes for row in rows), default=1) or 1,
    }


def _rounds(report: AuditReport) -> Iterator[list[str]]:
    """Phase, round, and each sender's messages and bytes."""
    for phase, number, senders in report_text.round_rows(report):
        counted = [senders.get(sender) for sender in ("host", "collaborator")]
        cells = [("-", "-") if each is None else (f"{each[0]:,}", report_text.size(each[1])) for each in counted]
        yield [phase, str(number or "-"), *cells[0], *cells[1]]


def _facts(audited: Audited) -> dict[str, str]:
    """What the run was; nothing of what is not known."""
    report = audited.report
    facts = {
        "Task": report.task_id,
        "Scheme": report_text.scheme_name(report),
        "Training labels": report_text.label_protection(report),
        **{report_text.term_name(name): said for name, said in report_text.terms(report)},
        "Messages": f"{report.messages:,}",
        "On the wire": report_text.size(sum(each.bytes for each in report.traffic)),
        "Transcripts": "both ends" if report.has_both_ends else "one end",
        "Conversations": str(len(report.first_end)) if len(report.first_end) > 1 else "",
    }
    return {name: value for name, value in facts.items() if value}
