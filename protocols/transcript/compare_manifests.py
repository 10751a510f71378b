"""Has a host shown all collaborators of one task the same manifest? No collaborator can see another's by itself.

A manifest is compared by its digest, which both ends of a conversation have signed. Only conversations count that went
on behind the joining: a host goes on when all have accepted, so each of them must be found at every collaborator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from protocols.core.sentence import say
from protocols.transcript.errors import ManifestsDiffer, Severity
from protocols.transcript.report import AuditReport, Finding, SeenManifest

_FILE_LINE = 2


def with_manifests_compared(report: AuditReport, others: Iterable[AuditReport]) -> AuditReport:
    """The report, with what the transcripts of other collaborators of its task do not have in common with it."""
    findings = [finding for other in of_same_task(report, others) for finding in _compare(report, other)]
    return replace(report, findings=(*report.findings, *findings)) if findings else report


def of_same_task(report: AuditReport, others: Iterable[AuditReport]) -> list[AuditReport]:
    """Reports of other collaborators' runs of the same task."""
    same = [other for other in others if other.parties and report.parties and other.task_id == report.task_id]
    return [other for other in same if other.parties[1].name != report.parties[1].name]


def _compare(report: AuditReport, other: AuditReport) -> Iterator[Finding]:
    ours, theirs = _gone_on(report.manifests), _gone_on(other.manifests)
    only_ours = [seen for digest, seen in ours.items() if digest not in theirs]
    only_theirs = [seen for digest, seen in theirs.items() if digest not in ours]
    if not only_ours and not only_theirs:
        return
    names = report.parties[1].name, other.parties[1].name
    if only_ours and only_theirs:
        problem = say("the host showed {one} and {other} different manifests of one task", one=names[0], other=names[1])
        differ = ", ".join(_differing(only_ours[0], only_theirs[0])) or "terms that are each party's own"
        expected = say(
            "one manifest for all, as in {file}; they differ in {differ}", file=only_theirs[0].file, differ=differ
        )
        yield Finding.of(ManifestsDiffer(problem, expected), only_ours[0].file, _FILE_LINE)
        return
    seen, lacks = (only_ours[0], names[1]) if only_ours else (only_theirs[0], names[0])
    problem = say("{lacks}'s transcripts lack a conversation that went on elsewhere", lacks=lacks)
    meaning = "A transcript was left out, or copied before the run went on; or the host showed another manifest."
    error = ManifestsDiffer(problem, "the same conversations", meaning=meaning, severity=Severity.WARNING)
    yield Finding.of(error, seen.file, _FILE_LINE)


def _gone_on(manifests: Sequence[SeenManifest]) -> dict[str, SeenManifest]:
    return {seen.digest: seen for seen in manifests if seen.went_on}


def _differing(one: SeenManifest, other: SeenManifest) -> Iterator[str]:
    for name, value in one.says.items():
        if other.says.get(name) != value:
            yield f"{name} ({value} and {other.says.get(name)})"
