"""The timeline of a run as SVG: phases and rounds, who sent how much, what both have signed, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from math import sqrt

from protocols.core.envelope import Phase
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

    def lines(self, first: int, last: int) -> str:
        """In words."""
        numbers = f"lines {first - self.before:,} to {last - self.before:,}"
        return f"{numbers} of {self.name}" if self.is_one_of_several else numbers


@dataclass
class _Place:
    """A segment on the drawing."""

    segment: Segment
    x: float
    width: float
    last: int
    file: _File

    @property
    def shown(self) -> str:
        """Which lines of its file it is of."""
        return self.file.lines(self.segment.first, self.last)

    def at(self, line: int) -> float:
        """Where a line of the timeline is."""
        lines = max(self.last - self.segment.first + 1, 1)
        part = min(max((line - self.segment.first + 0.5) / lines, 0.0), 1.0)
        return self.x + part * self.width


def timeline_figure(timeline: Timeline, report: AuditReport) -> str:
    """The whole figure, or an empty string if nothing could be read."""
    places = _place(timeline, _files(timeline, report))
    if not places:
        return ""
    parts = [*_lanes(any(place.segment.total.offline for place in places))]
    densest = max(_density(place.segment, one) for place in places for one in place.segment.bins)
    for place in places:
        parts += [*_phase(place), *_bars(place, densest)]
    parts += [*_signed(places, timeline), *_resumes(places, report), *_findings(places, report)]
    label = "Timeline: phases and rounds, bytes in each direction, countersignatures and findings"
    total = f"{LEFT + WIDTH + MARGIN:.0f} {HEIGHT:.0f}"
    return f'<svg viewBox="0 0 {total}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _files(timeline: Timeline, report: AuditReport) -> list[_File]:
    """Their lines that were verified; what follows could say anything."""
    verified = {file.name: file.lines for file in report.first_end}
    several = len(verified) > 1
    begins = timeline.begins or [(report.files[0].name, 0)]
    return [_File(name, before, before + verified.get(name, 0), several) for name, before in begins]


def _place(timeline: Timeline, files: list[_File]) -> list[_Place]:
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
    places, x = [], LEFT
    for (segment, file), last, count in zip(owned, lasts, lines, strict=True):
        width = least + free * count / sum(lines)
        places.append(_Place(segment, x, width, last, file))
        x += width + gap
    return places


def _owner(files: list[_File], line: int) -> _File:
    return [files[0], *(file for file in files if file.before < line)][-1]


def _lanes(has_offline: bool) -> Iterator[str]:
    yield f'<text x="0" y="{PHASES_AT + 17}">phase, round</text>'
    yield f'<text x="0" y="{BASE - 30}" class="label">host sent</text>'
    yield f'<text x="0" y="{BASE + 38}" class="label">collaborator sent</text>'
    if has_offline:
        yield f'<text x="0" y="{OFFLINE_AT + 9}">preparation</text>'
    yield f'<text x="0" y="{MARKS_AT + 9}">signed by both</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{BASE}" y2="{BASE}"/>'


def _name(segment: Segment) -> str:
    name = Phase(segment.phase).name.lower()
    return f"{name} {segment.round}" if segment.round else name


def _phase(place: _Place) -> Iterator[str]:
    total, name = place.segment.total, _name(place.segment)
    title = (
        f"{name}: {total.messages:,} messages, {place.shown}; "
        f"host {size(total.from_host)}, collaborator {size(total.from_collaborator)}"
    )
    box = f'x="{place.x:.1f}" y="{PHASES_AT}" width="{place.width:.1f}" height="{PHASE_HEIGHT}" rx="4"'
    yield f'<g><title>{escape(title)}</title><rect class="p{place.segment.phase}" {box}/>'
    short = name if len(name) * _LETTER < place.width else str(place.segment.round or "")
    if short and len(short) * _LETTER < place.width:
        middle = place.x + place.width / 2
        yield f'<text class="label" x="{middle:.1f}" y="{PHASES_AT + 17}" text-anchor="middle">{escape(short)}</text>'
    yield "</g>"


def _density(segment: Segment, one: Bin) -> float:
    return max(one.from_host, one.from_collaborator) / segment.step or 1.0


def _bars(place: _Place, densest: float) -> Iterator[str]:
    """A bar each way for some lines in a row; its height is the square root of its bytes a line."""
    bins, step = place.segment.bins, place.segment.step
    lines = max(place.last - place.segment.first + 1, 1)
    while len(bins) > 1 and place.width * step / lines < _NARROWEST:
        bins, step = merge_pairs(bins), step * 2
    for number, one in enumerate(bins):
        first = place.segment.first + number * step
        last = min(first + step - 1, place.last)
        x = place.x + place.width * (first - place.segment.first) / lines
        width = place.width * (last - first + 1) / lines - (0.6 if place.width * step / lines > 4 else 0.1)
        up, down = (
            BAR_HEIGHT * sqrt(min(count / step / densest, 1.0)) for count in (one.from_host, one.from_collaborator)
        )
        title = (
            f"{_name(place.segment)}, {place.file.lines(first, last)}: {one.messages:,} messages; "
            f"host {size(one.from_host)}, collaborator {size(one.from_collaborator)}"
        )
        yield f"<g><title>{escape(title)}</title>"
        for name, y, height in (("host", BASE - 1 - up, up), ("collaborator", BASE + 1, down)):
            if height:
                box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{max(height, 1.0):.1f}"'
                yield f'<rect class="bar-{name}" {box}/>'
        if one.offline:
            box = f'x="{x:.1f}" y="{OFFLINE_AT}" width="{max(width, 0.8):.1f}" height="{OFFLINE_HEIGHT}"'
            yield f'<rect class="bar-offline" {box}/>'
        yield "</g>"


def _at(places: list[_Place], line: int) -> _Place:
    return next((place for place in places if line <= place.last), places[-1])


def _signed(places: list[_Place], timeline: Timeline) -> Iterator[str]:
    """A tick where the second of two countersignatures stands."""
    by_file: dict[_File, list[int]] = {}
    for line in timeline.signed:
        place = _at(places, line)
        if place.file.before < line <= place.file.end:
            by_file.setdefault(place.file, []).append(line)
    for line in [line for lines in by_file.values() for line in lines[1::2]]:
        place = _at(places, line)
        x, number = place.at(line), line - place.file.before
        title = f"line {number:,}: both parties have signed everything up to the end of {_name(place.segment)}"
        yield f'<g><title>{escape(title)}</title><circle class="seal" cx="{x:.1f}" cy="{MARKS_AT + 5}" r="4"/>'
        yield f'<line class="signed" x1="{x:.1f}" x2="{x:.1f}" y1="{PHASES_AT + PHASE_HEIGHT}" y2="{MARKS_AT}" '
        yield 'stroke-dasharray="1 3"/></g>'


def _resumes(places: list[_Place], report: AuditReport) -> Iterator[str]:
    """A line where another conversation begins."""
    for resume in report.resumes:
        x = next((place.x for place in places if place.file.name == resume.file), None)
        if x is not None and resume.conversation > 1:
            title = f"conversation {resume.conversation} goes on from {resume.place}"
            yield f"<g><title>{escape(title)}</title>"
            yield f'<line class="resumed" x1="{x:.1f}" x2="{x:.1f}" y1="{PHASES_AT - 14}" y2="{MARKS_AT}"/></g>'


def _findings(places: list[_Place], report: AuditReport) -> Iterator[str]:
    before = {place.file.name: place.file.before for place in places}
    for finding in report.findings:
        if finding.file not in before or not finding.line:
            continue
        line = before[finding.file] + finding.line
        x = _at(places, line).at(line)
        name = "fault" if finding.severity is Severity.ERROR else "doubt"
        yield f"<g><title>{escape(f'line {finding.line:,}: {finding.problem}')}</title>"
        yield f'<path class="{name}" d="M{x:.1f} {PHASES_AT - 3} l-6 -11 h12 z"/></g>'
