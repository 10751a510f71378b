"""The timeline of a run as shapes: phases and rounds, who sent how much, what both have signed, what is wrong.

`pages/audit.html.j2` draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import sqrt

from protocols.core.envelope import Phase
from protocols.core.sentence import Sentence, say
from protocols.transcript.errors import Severity
from protocols.transcript.report import AuditReport
from secure_hfl.audit.report_text import size
from secure_hfl.audit.timeline import Bin, Segment, Timeline, merge_pairs

LEFT, WIDTH, GAP, MARGIN = 124.0, 1000.0, 2.0, 6.0
"""Where the lanes begin, how wide they are, the space between two phases, and at the right end."""

LEAST = 44.0
PHASES_AT, PHASE_HEIGHT = 22.0, 26.0
BASE, BAR_HEIGHT = 132.0, 70.0
"""The line between the two directions, and the tallest bar."""

OFFLINE_AT, OFFLINE_HEIGHT = 216.0, 9.0
MARKS_AT = 240.0
HEIGHT = 262.0
_LETTER = 6.6
_NARROWEST = 2.5


@dataclass(frozen=True)
class _File:
    """A transcript on the drawing: `before` lines of others, then its own up to the timeline's line `end`."""

    name: str
    before: int
    end: int
    is_one_of_several: bool

    def lines(self, first: int, last: int) -> Sentence:
        """In words."""
        numbers = say("lines {first:,} to {last:,}", first=first - self.before, last=last - self.before)
        return say("{lines} of {file}", lines=numbers, file=self.name) if self.is_one_of_several else numbers


@dataclass
class _Span:
    """A segment on the drawing."""

    segment: Segment
    x: float
    width: float
    last: int
    file: _File

    @property
    def shown(self) -> Sentence:
        """Which lines of its file it is of."""
        return self.file.lines(self.segment.first, self.last)

    def at(self, line: int) -> float:
        """Where a line of the timeline is."""
        lines = max(self.last - self.segment.first + 1, 1)
        part = min(max((line - self.segment.first + 0.5) / lines, 0.0), 1.0)
        return self.x + part * self.width


@dataclass(frozen=True)
class Shape:
    """One element of an SVG."""

    element: str
    attributes: dict[str, str | float]
    text: str = ""


@dataclass(frozen=True)
class Group:
    """Shapes that share what is shown when somebody points at them."""

    title: str = ""
    shapes: list[Shape] = field(default_factory=list)


def timeline_figure(timeline: Timeline, report: AuditReport) -> list[Group]:
    """The whole figure, LEFT + WIDTH + MARGIN wide and HEIGHT high; nothing if nothing could be read."""
    spans = _spans_of(timeline, _files(timeline, report))
    if not spans:
        return []
    groups = [_lanes(any(span.segment.total.offline for span in spans))]
    densest = max(_density(span.segment, one) for span in spans for one in span.segment.bins)
    for span in spans:
        groups += [_phase(span), *_bars(span, densest)]
    return [*groups, *_signed(spans, timeline), *_resumes(spans, report), *_findings(spans, report)]


def _files(timeline: Timeline, report: AuditReport) -> list[_File]:
    """Their lines that were verified; what follows could say anything."""
    verified = {file.name: file.lines for file in report.first_end}
    several = len(verified) > 1
    begins = timeline.begins or [(report.files[0].name, 0)]
    return [_File(name, before, before + verified.get(name, 0), several) for name, before in begins]


def _spans_of(timeline: Timeline, files: list[_File]) -> list[_Span]:
    """Widths by number of lines, but room for every phase to be seen."""
    owners = [(each, _owner(files, each.first)) for each in timeline.segments]
    owned = [(segment, file) for segment, file in owners if segment.first <= file.end]
    segments = [segment for segment, _ in owned]
    if not segments:
        return []
    nexts = [following.first - 1 for following in segments[1:]] + [segments[-1].last]
    lasts = [min(end, file.end) for end, (_, file) in zip(nexts, owned, strict=True)]
    lines = [max(last - segment.first + 1, 1) for segment, last in zip(segments, lasts, strict=True)]
    least = min(LEAST, 0.5 * WIDTH / len(segments))
    gap = min(GAP, least / 4)
    free = WIDTH - len(segments) * (least + gap)
    spans, x = [], LEFT
    for (segment, file), last, count in zip(owned, lasts, lines, strict=True):
        width = least + free * count / sum(lines)
        spans.append(_Span(segment, x, width, last, file))
        x += width + gap
    return spans


def _owner(files: list[_File], line: int) -> _File:
    return [files[0], *(file for file in files if file.before < line)][-1]


def _rect(css_class: str, x: float, y: float, width: float, height: float, **more: str) -> Shape:
    box: dict[str, str | float] = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}"}
    return Shape("rect", {"class": css_class, **box, **more})


def _upright(css_class: str, x: float, top: float, **more: str) -> Shape:
    """A line from `top` down to the marks."""
    return Shape("line", {"class": css_class, "x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": top, "y2": MARKS_AT, **more})


def _lanes(has_offline: bool) -> Group:
    names = [("phase, round", PHASES_AT + 17, ""), ("host sent", BASE - 30, "label")]
    names += [("collaborator sent", BASE + 38, "label"), ("signed by both", MARKS_AT + 9, "")]
    names += [("preparation", OFFLINE_AT + 9, "")] if has_offline else []
    axis = Shape("line", {"class": "axis", "x1": LEFT, "x2": LEFT + WIDTH, "y1": BASE, "y2": BASE})
    return Group(
        shapes=[*(Shape("text", {"x": 0, "y": y, "class": css_class}, name) for name, y, css_class in names), axis]
    )


def _name(segment: Segment) -> Sentence:
    name = say(Phase(segment.phase).name.lower())
    return say("{phase} {round}", phase=name, round=segment.round) if segment.round else name


def _phase(span: _Span) -> Group:
    total, name = span.segment.total, _name(span.segment)
    title = say(
        "{phase}: {n:,} messages, {lines}; host {host}, collaborator {collaborator}",
        phase=name,
        n=total.messages,
        lines=span.shown,
        host=size(total.from_host),
        collaborator=size(total.from_collaborator),
    )
    group = Group(title, [_rect(f"p{span.segment.phase}", span.x, PHASES_AT, span.width, PHASE_HEIGHT, rx="4")])
    short = name if len(name) * _LETTER < span.width else str(span.segment.round or "")
    if short and len(short) * _LETTER < span.width:
        middle = f"{span.x + span.width / 2:.1f}"
        where: dict[str, str | float] = {"class": "label", "x": middle, "y": PHASES_AT + 17, "text-anchor": "middle"}
        group.shapes.append(Shape("text", where, short))
    return group


def _density(segment: Segment, one: Bin) -> float:
    return max(one.from_host, one.from_collaborator) / segment.step or 1.0


def _bars(span: _Span, densest: float) -> Iterator[Group]:
    """A bar each way for some lines in a row; its height is the square root of its bytes a line."""
    bins, step = span.segment.bins, span.segment.step
    lines = max(span.last - span.segment.first + 1, 1)
    while len(bins) > 1 and span.width * step / lines < _NARROWEST:
        bins, step = merge_pairs(bins), step * 2
    for number, one in enumerate(bins):
        first = span.segment.first + number * step
        last = min(first + step - 1, span.last)
        x = span.x + span.width * (first - span.segment.first) / lines
        width = span.width * (last - first + 1) / lines - (0.6 if span.width * step / lines > 4 else 0.1)
        up, down = (
            BAR_HEIGHT * sqrt(min(count / step / densest, 1.0)) for count in (one.from_host, one.from_collaborator)
        )
        title = say(
            "{phase}, {lines}: {n:,} messages; host {host}, collaborator {collaborator}",
            phase=_name(span.segment),
            lines=span.file.lines(first, last),
            n=one.messages,
            host=size(one.from_host),
            collaborator=size(one.from_collaborator),
        )
        group = Group(title)
        for name, y, height in (("host", BASE - 1 - up, up), ("collaborator", BASE + 1, down)):
            if height:
                group.shapes.append(_rect(f"bar-{name}", x, y, max(width, 0.8), max(height, 1.0)))
        if one.offline:
            group.shapes.append(_rect("bar-offline", x, OFFLINE_AT, max(width, 0.8), OFFLINE_HEIGHT))
        yield group


def _at(spans: list[_Span], line: int) -> _Span:
    return next((span for span in spans if line <= span.last), spans[-1])


def _signed(spans: list[_Span], timeline: Timeline) -> Iterator[Group]:
    """A tick where the second of two countersignatures stands."""
    by_file: dict[_File, list[int]] = {}
    for line in timeline.signed:
        span = _at(spans, line)
        if span.file.before < line <= span.file.end:
            by_file.setdefault(span.file, []).append(line)
    for line in [line for lines in by_file.values() for line in lines[1::2]]:
        span = _at(spans, line)
        x, number = span.at(line), line - span.file.before
        title = say(
            "line {n:,}: both parties have signed everything up to the end of {phase}",
            n=number,
            phase=_name(span.segment),
        )
        seal = Shape("circle", {"class": "seal", "cx": f"{x:.1f}", "cy": MARKS_AT + 5, "r": 4})
        ticks = _upright("signed", x, PHASES_AT + PHASE_HEIGHT, **{"stroke-dasharray": "1 3"})
        yield Group(title, [seal, ticks])


def _resumes(spans: list[_Span], report: AuditReport) -> Iterator[Group]:
    """A line where another conversation begins."""
    for resume in report.resumes:
        x = next((span.x for span in spans if span.file.name == resume.file), None)
        if x is not None and resume.conversation > 1:
            title = say("conversation {n} goes on from {place}", n=resume.conversation, place=resume.place)
            yield Group(title, [_upright("resumed", x, PHASES_AT - 14)])


def _findings(spans: list[_Span], report: AuditReport) -> Iterator[Group]:
    before = {span.file.name: span.file.before for span in spans}
    for finding in report.findings:
        if finding.file not in before or not finding.line:
            continue
        line = before[finding.file] + finding.line
        x = _at(spans, line).at(line)
        name = "fault" if finding.severity is Severity.ERROR else "doubt"
        arrow = Shape("path", {"class": name, "d": f"M{x:.1f} {PHASES_AT - 3} l-6 -11 h12 z"})
        yield Group(say("line {n:,}: {problem}", n=finding.line, problem=finding.problem), [arrow])
