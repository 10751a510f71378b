"""How far a transcript goes, by its whole lines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.sender import Sender
from protocols.task.resumption import TranscriptPosition
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.format import lines_of
from protocols.transcript.position import position_of
from tests.protocols.transcript.recorded_runs import aborted, transcripts
from tests.protocols.whole_task import Case

PLAIN = Case("plain", rounds=2, batches=(4, 2))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_position_is_what_the_whole_lines_say(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(transcripts(PLAIN)))
    size = data.draw(st.integers(0, len(file)))
    position = position_of(lines_of([file[:size]]))
    whole = file[: file.rfind(b"\n", 0, size) + 1]
    assert position == position_of(lines_of([whole]))
    if b" Manifest " not in whole:
        assert position is None
        return
    auditor = FileAuditor("file")
    for line in lines_of([whole]):
        auditor.feed(line)
    assert position == auditor.position
    assert position is not None
    assert TranscriptPosition.decode(position.encode()) == position
    counts = {sender: whole.count(b"\ne " + sender.value.encode()) for sender in Sender}
    assert {position.sent, position.received} == set(counts.values())
    if size < len(file):
        damaged = whole + b"0" + file[len(whole) + 1 :]
        assert position_of(lines_of([damaged])) == position


NO_MANIFEST = {
    "an empty file": b"",
    "an empty line": b"\n",
    "another version": b"secure-hfl-transcript 1 00\n",
    "no transcript": b"junk",
    "only the beginning": transcripts(PLAIN)[0][:2000],
}


@pytest.mark.parametrize("data", NO_MANIFEST.values(), ids=NO_MANIFEST)
def test_there_is_no_position_before_the_manifest(data: bytes) -> None:
    assert position_of(lines_of([data])) is None


def test_a_position_of_an_overtaken_end_leaves_the_abort_out() -> None:
    host, collaborator = (position_of(lines_of([file])) for file in aborted(PLAIN, 3, True))
    assert host is not None
    assert collaborator is not None
    assert collaborator.received < host.sent
