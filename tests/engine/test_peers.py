"""The open links of a run: one place, one farewell, and what was counted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protocols.core.envelope import Phase, Place
from protocols.task.abort import AbortCode
from protocols.task.alignment import EpochEnd
from secure_hfl.engine.failure import Failure
from secure_hfl.engine.link import Link
from secure_hfl.engine.peers import Peers
from secure_hfl.errors import ConnectionLost, PeerAborted
from secure_hfl.identity import Identity
from secure_hfl.run_options import RunOptions
from tests.engine.memory_channel import channel_pair
from tests.engine.memory_parties import Heard

PATIENCE = 20.0


class Meeting:
    """A party with two peers; `others` are the peers' own links to it."""

    def __init__(self, directory: Path) -> None:
        (directory / "home").mkdir(mode=0o700)
        self.identity = Identity.load_or_create(directory / "home", "host")
        self.heard = Heard()
        self.assignment: Any = SimpleNamespace(
            transcripts=directory / "transcripts",
            role="host",
            identity=self.identity,
            options=RunOptions(),
        )
        self.peers = Peers(self.assignment, self.heard)
        self.others: dict[str, Link] = {}
        for name in ("bank", "shop"):
            ours, theirs = channel_pair("plain", ("host", name))
            self.peers.links[name] = Link(ours, PATIENCE)
            self.others[name] = Link(theirs, PATIENCE)

    def record(self) -> None:
        """Keep transcripts of all."""
        for link in self.peers.links.values():
            self.peers.record(link, self.identity.certificate_pem)


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    """Nothing has been said."""
    return Meeting(tmp_path)


def test_all_links_are_at_the_place_of_the_party(meeting: Meeting) -> None:
    meeting.peers.go_to(Phase.TRAIN, 2, 5)
    meeting.peers.go_to(Phase.TRAIN, 2, 6)
    assert {link.place for link in meeting.peers.links.values()} == {Place(Phase.TRAIN, 2, 6)}
    assert meeting.heard.events == [{"event": "phase", "phase": "train", "round": 2}], "once, not for every batch"


def test_everyone_is_told_why_it_ends_but_whoever_said_so(meeting: Meeting) -> None:
    meeting.peers.abort(Failure("bank", AbortCode.USER_CODE_ERROR, "bank stopped", "its detail", from_peer=True))
    with pytest.raises(PeerAborted, match="bank stopped") as told:
        meeting.others["shop"].receive(EpochEnd)
    assert told.value.code is AbortCode.USER_CODE_ERROR
    assert told.value.party == "bank"
    meeting.others["bank"].timeout = 0.1
    with pytest.raises(Exception, match="owed EpochEnd"):
        meeting.others["bank"].receive(EpochEnd)


def test_who_cannot_be_told_does_not_keep_it_from_the_others(meeting: Meeting) -> None:
    meeting.peers.links["bank"].channel.fail(ConnectionLost("the cable is out"))
    meeting.peers.abort(Failure("host", AbortCode.STOPPED, "host was stopped"))
    with pytest.raises(PeerAborted, match="host was stopped"):
        meeting.others["shop"].receive(EpochEnd)


def test_failing_wakes_whoever_waits(meeting: Meeting) -> None:
    meeting.peers.fail(ConnectionLost("one is gone"))
    for link in meeting.peers.links.values():
        with pytest.raises(ConnectionLost, match="one is gone"):
            link.receive(EpochEnd)


def test_traffic_is_that_of_all_and_goes_with_the_links(meeting: Meeting) -> None:
    meeting.peers.go_to(Phase.TRAIN, 1)
    for link in meeting.peers.links.values():
        link.send(EpochEnd(1))
    sent, received = meeting.peers.bytes_now()
    assert sent == sum(channel.sent.bytes for channel in meeting.peers.channels()) > 0
    assert received == 0
    assert meeting.peers.round_trips_now() == (0, 0)
    closed = list(meeting.peers.close())
    assert sum(channel.sent.bytes for channel in closed) >= sent
    assert not meeting.peers.links
    assert meeting.peers.bytes_now() == (0, 0)
    assert list(meeting.peers.close()) == [], "twice is once"


def test_transcripts_of_all_conversations_are_results(meeting: Meeting) -> None:
    meeting.record()
    assert len(meeting.peers.transcript_files) == 2
    meeting.peers.sync_transcripts()
    meeting.peers.close()
    assert meeting.peers.transcript_files == [], "nothing is kept of a conversation that never was"
    assert meeting.peers.last_position(cast(Link, meeting.others["bank"])) == b""
