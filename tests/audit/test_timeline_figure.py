"""The timeline: counts what the auditor counts, in bounded memory, whatever the lines hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_hfl.audit.audit_files import Audited, audit_files
from secure_hfl.audit.timeline import MAX_BINS, MAX_SEGMENTS, MAX_SIGNED, Timeline
from secure_hfl.audit.timeline_figure import timeline_figure
from tests.audit.helpers import BFV, MASKED, PLAIN, write
from tests.protocols.whole_task import Case


def _audit(*paths: Path) -> Audited:
    return audit_files(*paths, with_timeline=True)


@pytest.mark.parametrize("case", [PLAIN, BFV, MASKED], ids=str)
def test_it_counts_what_the_auditor_counts(case: Case, tmp_path: Path) -> None:
    for path in write(tmp_path, case):
        audited = _audit(path)
        assert audited.timeline is not None
        totals = [segment.total for segment in audited.timeline.segments]
        assert sum(total.messages for total in totals) == audited.report.files[0].messages
        for sender in ("host", "collaborator"):
            count = sum(row.bytes for row in audited.report.traffic if row.sender == sender)
            assert sum(getattr(total, f"from_{sender}") for total in totals) == count
        offline = sum(row.bytes for row in audited.report.traffic if row.phase == "offline")
        assert sum(total.offline for total in totals) == offline
        places = [(segment.phase, segment.round) for segment in audited.timeline.segments]
        assert len(places) == len(set(places))
        assert len(audited.timeline.signed) == 2 * len(places)


def test_memory_is_bounded(tmp_path: Path) -> None:
    timeline = Timeline()
    for number in range(1, 20_001):
        timeline.add(number, b"e h 1 T 5 1 1 10 - - 00 00\n")
    (segment,) = timeline.segments
    assert len(segment.bins) <= MAX_BINS
    assert segment.total.messages == 20_000
    assert segment.total.from_host == 200_000
    for number in range(20_001, 30_001):
        timeline.add(number, b"e c 1 T 5 %d 1 10 - - 00 00\n" % number)
        timeline.add(number, b"countersignature h 5 1\n")
    assert len(timeline.segments) == MAX_SEGMENTS
    assert len(timeline.signed) == MAX_SIGNED
    assert sum(each.total.messages for each in timeline.segments) == 30_000
    report = _audit(*write(tmp_path)).report
    assert timeline_figure(timeline, report)


TOKENS = st.sampled_from([b"e", b"h", b"c", b"x", b"5", b"0", b"99999999999999999999", b"-1", b"", b"1_0", b"\xff"])


@settings(max_examples=200)
@given(st.lists(st.one_of(st.lists(TOKENS, max_size=12).map(b" ".join), st.binary(max_size=60)), max_size=40))
def test_no_line_breaks_it(lines: list[bytes]) -> None:
    timeline = Timeline()
    for number, line in enumerate(lines, 1):
        timeline.add(number, line)
    assert timeline.lines == len(lines)
    assert all(0 < segment.total.messages <= len(lines) for segment in timeline.segments)
