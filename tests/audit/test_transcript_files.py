"""The files that a run writes: one for each conversation, none for none, and how far the last one goes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.harness.pump import C, H, Wire, identity
from protocols.task.resumption import TranscriptPosition
from protocols.transcript.format import lines_of
from protocols.transcript.position import position_of
from secure_hfl.errors import TranscriptNotWritten
from secure_hfl.transcript import Transcript, last_position
from secure_hfl.transport.traffic import Direction
from tests.protocols.transcript.recorded_runs import transcripts
from tests.protocols.whole_task import Case, Task

FILE = transcripts(Case("plain"))[0]


def opened(directory: Path, peer: str = "clinic a") -> tuple[Transcript, Any]:
    """A transcript, and what the channel calls with each message."""
    channel: Any = SimpleNamespace(peer=peer, observers=[], settle=lambda: None)
    peer_pem = identity("collaborator").certificate_pem
    transcript = Transcript(directory, channel, "host", identity("host"), peer_pem, None)
    (observe,) = channel.observers
    return transcript, observe


class Recorded(Wire):
    """A wire whose host keeps its transcript in a file as well."""

    def __init__(self, observe: Any) -> None:
        super().__init__()
        for sender in (H, C):
            recorder = self.recorders[sender]
            if sender is H:
                self.recorders[sender] = _Both(recorder, observe)  # type: ignore[assignment]


class _Both:
    def __init__(self, recorder: Any, observe: Any) -> None:
        self._recorder, self._observe = recorder, observe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)

    def observe(self, is_sent: bool, envelope: Any, data: bytes) -> bytes:
        self._observe(Direction.SENT if is_sent else Direction.RECEIVED, envelope, data)
        out: bytes = self._recorder.observe(is_sent, envelope, data)
        return out


def test_no_file_is_left_where_no_conversation_came_about(tmp_path: Path) -> None:
    directory = tmp_path / "transcripts"
    transcript, _ = opened(directory)
    assert transcript.path.name == "clinic_a-1.transcript"
    assert transcript.path.exists()
    assert last_position(directory, "clinic a") is None
    transcript.close()
    transcript.close()
    assert not list(directory.iterdir())
    assert opened(directory)[0].path == transcript.path


def test_the_position_of_what_was_written_is_that_of_the_file(tmp_path: Path) -> None:
    transcript, observe = opened(tmp_path)
    task = Task(Case("plain"), wires=[Recorded(observe)])
    task.join()
    task.intersect()
    transcript.sync()
    position = last_position(tmp_path, "clinic a")
    assert isinstance(position, TranscriptPosition)
    assert position == position_of(lines_of([transcript.path.read_bytes()]))
    assert position.sent == task.wire.sequences[H]
    transcript.close()
    transcript.sync()
    assert transcript.path.stat().st_size > 3000
    # The next conversation's file is there before its first message, and is passed over.
    following, _ = opened(tmp_path)
    assert following.path.name == "clinic_a-2.transcript"
    assert last_position(tmp_path, "clinic a") == position
    following.close()


def test_the_newest_transcript_with_a_conversation_counts(tmp_path: Path) -> None:
    position = position_of(lines_of([FILE]))
    assert last_position(tmp_path / "none", "clinic") is None
    for number, data in ((2, FILE), (9, FILE[:5000]), (10, FILE[:6001]), (11, FILE[:400]), (12, b"")):
        (tmp_path / f"clinic-{number}.transcript").write_bytes(data)
    assert last_position(tmp_path, "clinic") == position_of(lines_of([FILE[:6001]]))
    for name in ("clinic-1-12.transcript", "clinic-x.transcript", "clinic-12.transcript.old", "clinics-3.transcript"):
        (tmp_path / name).write_bytes(FILE)
    assert last_position(tmp_path, "clinic") == position_of(lines_of([FILE[:6001]]))
    assert last_position(tmp_path, "clinic-1") == position
    assert last_position(tmp_path, "[c]linic") is None


def test_a_disk_that_fails_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transcript, observe = opened(tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TranscriptNotWritten, match="No space left"):
        transcript.sync()
    monkeypatch.undo()
    task = Task(Case("plain"), wires=[Recorded(observe)])
    monkeypatch.setattr("os.write", full)
    with pytest.raises(TranscriptNotWritten, match="nothing goes on unrecorded"):
        task.join()
    monkeypatch.undo()
    transcript.close()
