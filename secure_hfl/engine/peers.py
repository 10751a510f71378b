"""The open links of a run: one a peer, each with its transcript, all at the same place of the task."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from protocols.core.envelope import Phase, Place
from protocols.core.errors import SecureHflError
from protocols.core.sender import Sender
from protocols.core.witness import Witness
from protocols.task.abort import Abort
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.failure import Failure, one_line
from secure_hfl.engine.link import Link
from secure_hfl.judge.kept_rounds import KEPT, KeptRounds
from secure_hfl.log import logger
from secure_hfl.progress import Progress
from secure_hfl.transcript import Transcript, last_position
from secure_hfl.transport.channel import Channel
from secure_hfl.work_clock import span

FLUSH_SECONDS = 5.0
"""How long a party that leaves waits for its last words to be gone."""


class Peers:
    """Those that this party is connected to.

    Args:
        assignment: whose transcripts these are, and where they are kept.
        progress: hears of every new phase.

    Attributes:
        place: where in the task this party is.
        links: by what the peer is called: as its channel does until all have agreed, then by feature key.
    """

    def __init__(self, assignment: Assignment, progress: Progress) -> None:
        self._assignment = assignment
        self._progress = progress
        self.place = Place(Phase.JOIN)
        self.links: dict[str, Link] = {}
        self._transcripts: list[tuple[Link, Transcript]] = []
        self._kept: list[tuple[Link, KeptRounds]] = []
        self._closed_files: list[Path] = []

    def go_to(self, phase: Phase, round_number: int = 0, batch: int = 0) -> None:
        """From now on, messages are of this place."""
        if (phase, round_number) != (self.place.phase, self.place.round):
            self._progress.emit("phase", phase=phase.name.lower(), round=round_number)
        self.place = Place(phase, round_number, batch)
        for link in self.links.values():
            link.place = self.place

    def is_here(self, name: str, is_here: bool = True) -> None:
        """A peer has come, or its connection is over. Called from any thread."""
        self._progress.emit("peer", name=name, is_here=is_here)

    def record(self, link: Link, certificate: bytes) -> None:
        """From now on, keep a transcript of everything that is sent to and received from this peer."""
        of = self._assignment
        transcript = Transcript(of.transcripts, link.channel, of.role, of.identity, certificate, of.options.seed)
        self._transcripts.append((link, transcript))
        if of.options.keeps_rounds:
            directory, keeps_all = of.directory / KEPT / transcript.path.stem, bool(of.options.keep_all_rounds)
            kept = KeptRounds(directory, Sender[of.role.upper()], of.scheme.carried, keeps_all)
            link.channel.observers.append(kept.observe)
            self._kept.append((link, kept))

    def witness(self, key: str) -> Witness:
        """Who keeps what this party computes from in the layer with a peer: nobody, unless that was asked for."""
        link = self.links[key]
        return next((kept for each, kept in self._kept if each is link), Witness())

    def last_position(self, link: Link) -> bytes:
        """How far the transcript of the conversation before goes, for the peer; empty if there was none."""
        seam = last_position(self._assignment.transcripts, link.channel.peer)
        return b"" if seam is None else seam.encode()

    def first_parameters(self) -> str | None:
        """The scheme's, of a run that was interrupted; None if nothing was agreed on."""
        terms = (transcript.first_terms() for _, transcript in self._transcripts)
        return next((each.scheme_parameters for each in terms if each is not None), None)

    def check_terms_kept(self) -> None:
        """Raise `WrongSession` if a resumed run was agreed on with other terms than before."""
        for _, transcript in self._transcripts:
            transcript.check_terms_kept()

    def sign(self) -> None:
        """At a boundary of phases or rounds: sign, with every peer, everything that has crossed the wire."""
        place = self.place
        with span("transcript"):
            begun = [
                link.start(transcript.exchange(place.phase, place.round)) for link, transcript in self._transcripts
            ]
            for conversation in begun:
                conversation.finish()

    def sync_transcripts(self) -> None:
        """Force them to disk: a checkpoint must not be ahead of what is known to have led to it."""
        for _, transcript in self._transcripts:
            transcript.sync()

    @property
    def transcript_files(self) -> list[Path]:
        """Those of all conversations so far."""
        return [*self._closed_files, *(transcript.path for _, transcript in self._transcripts)]

    def abort(self, failure: Failure) -> None:
        """Tell everyone why the task ends here, but whoever knows."""
        place = self.place
        abort = Abort(reason=one_line(failure.reason), party=one_line(failure.party, 100), code=failure.code)
        for link in self.links.values():
            if link.name == failure.party and failure.from_peer:
                continue
            try:
                link.channel.send(place.phase, place.round, place.batch, abort, FLUSH_SECONDS)
            except SecureHflError as error:
                logger.debug(f"{link.name} could not be told: {error}")

    def fail(self, error: SecureHflError) -> None:
        """End all connections with this error: whoever waits for a message hears it."""
        for link in self.links.values():
            link.channel.fail(error)

    def close(self) -> Iterable[Channel]:
        """Let go of all of them; the channels, for what they have counted. Safe to call twice."""
        links, self.links = self.links, {}
        transcripts, self._transcripts = self._transcripts, []
        kept, self._kept = self._kept, []
        for link in links.values():
            try:
                link.channel.close(FLUSH_SECONDS)
            except SecureHflError as error:
                logger.debug(f"closing the connection to {link.name}: {error}")
        for _, transcript in transcripts:
            transcript.close()
            if transcript.path.exists():  # nothing is kept of a conversation that never was
                self._closed_files.append(transcript.path)
        for _, each in kept:
            each.close()
        return [link.channel for link in links.values()]

    # What was counted ------------------------------------------------------------------------------------------------

    def channels(self) -> list[Channel]:
        """The open ones."""
        return [link.channel for link in self.links.values()]

    def bytes_now(self) -> tuple[int, int]:
        """Wire bytes sent and received so far, over all peers."""
        channels = self.channels()
        return sum(channel.sent.bytes for channel in channels), sum(channel.received.bytes for channel in channels)

    def round_trips_now(self) -> tuple[int, ...]:
        """Of each link so far."""
        return tuple(link.round_trips for link in self.links.values())
