"""One session in which the parties of a task count the ids that they have in common, pair by pair.

join ─▶ agree ─▶ openings ─▶ (counted against the peer's runs) ─▶ points, digests, the number ─▶ farewell
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from protocols.core.envelope import Phase
from protocols.core.errors import SecureHflError
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.overlap import Opening, OverlapAnswer, OverlapCount, OverlapOpen, Terms, overlap_id
from protocols.task.agreement import CollaboratorAgreement, HostAgreement, HostPlan
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import NONCE_BYTES, PROTOCOL_VERSION, Hello, Manifest
from protocols.task.rounds import CollaboratorRounds, HostRounds
from protocols.task.terms import Pinned
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.collaborator import host_of, to_the_host, with_grace
from secure_hfl.engine.door import Door
from secure_hfl.engine.failure import diagnose
from secure_hfl.engine.link import Link
from secure_hfl.engine.peers import FLUSH_SECONDS, Peers
from secure_hfl.engine.psi import ended_by_errors
from secure_hfl.engine.psi_files import PsiFiles
from secure_hfl.engine.psi_work import PsiWork, fresh, watched
from secure_hfl.engine.recovery import retry
from secure_hfl.home import make_private_directory
from secure_hfl.identity import digest_of
from secure_hfl.log import close_task_log, log_traceback, logger, of_this_task, open_task_log
from secure_hfl.overlap.runs import DIRECTORY, Overlap, RunCount, keep_results
from secure_hfl.progress import progress_for
from secure_hfl.ray_executor import executor_for
from secure_hfl.tasks.record import utc_now
from secure_hfl.transcript import transcripts_of
from secure_hfl.transport.channel import Channel

TIMEOUT = 300.0
"""Seconds that a party may take for one message."""


@dataclass(frozen=True)
class OverlapAssignment(Assignment):
    """One party's part in counting the common ids of a task. Its directory is that of the counts."""

    @property
    def directory(self) -> Path:
        """See the base."""
        path = self.store.directory(self.record.task_id) / DIRECTORY
        make_private_directory(path)
        return path


class OverlapWork(PsiWork):
    """A party's ids, hashed in the domain of counts."""

    def pair(self, collaborator: str) -> bytes:
        """See the base."""
        return overlap_id(super().pair(collaborator))

    def overlap_opening(self, collaborator: str, terms: Terms) -> OverlapOpen:
        """How a count begins here."""
        return OverlapOpen(len(self.ids), self.chunk, terms.least, terms.round_to, self.pair(collaborator))


class OverlapSession:
    """One session of one party. One-shot.

    Args:
        assignment: whose.
        ids: this party's, checked.
        terms: what its operator counts with.
        runs: how often peers may count.
        wait: seconds to wait for the others to come.
        connect: of a collaborator: opens a channel to the host; default: over the network.
        door: of the host: where collaborators come in; default: the task's address.
    """

    def __init__(
        self,
        assignment: OverlapAssignment,
        ids: Sequence[str],
        terms: Terms,
        runs: RunCount,
        wait: float,
        *,
        connect: Callable[[float], Channel] | None = None,
        door: Door | None = None,
    ) -> None:
        self._of, self._ids, self._terms, self._runs, self._wait = assignment, ids, terms, runs, wait
        self._connect, self._door = connect, door
        self._progress = progress_for(assignment.options.progress)
        self._peers = Peers(assignment, self._progress)
        self._manifest: Manifest

    def run(self) -> list[Overlap]:
        """Count with every peer.

        Raises:
            TaskFailed: the session ended without a result; all parties hear the same reason.
        """
        with self._told_to_all():
            if self._of.role == "host":
                return self._host()
            return self._collaborator()

    @contextmanager
    def _told_to_all(self) -> Iterator[None]:
        """What goes wrong is told to all peers, and raised as `TaskFailed`."""
        peers, handler = self._peers, open_task_log(self._of.directory / "log.txt")
        try:
            peers.go_to(Phase.JOIN)
            yield
        except BaseException as error:
            log_traceback(handler, error)
            failure = diagnose(error, self._of.party, peers.place)
            peers.abort(failure)
            if not isinstance(error, Exception):
                raise
            raise failure.error() from (None if isinstance(error, SecureHflError) else error)
        finally:
            peers.close()
            close_task_log(handler)

    # The Host --------------------------------------------------------------------------------------------------------

    def _host(self) -> list[Overlap]:
        door = self._door or Door(self._of)
        try:
            logger.info(f"Waiting at {self._of.record.address} for {', '.join(door.certificates)}.")
            self._meet(door.wait(self._wait), door.certificates)
            self._agree_as_host()
            found = self._count()
            links, rounds = self._peers.links, HostRounds(list(self._peers.links), is_prediction=True)
            rounds.finish()
            self._peers.go_to(Phase.FINISH)
            for farewell in [link.start(rounds.farewell(key)) for key, link in links.items()]:
                farewell.finish()
            self._peers.sign()
            for link in links.values():
                link.channel.close(FLUSH_SECONDS)
            return found
        finally:
            door.close()

    def _meet(self, channels: Mapping[str, Channel], certificates: Mapping[str, bytes]) -> None:
        """From now on everything is recorded, and held to its order."""
        own = Sender[self._of.role.upper()]
        patience = TIMEOUT if own is Sender.HOST else with_grace(max(TIMEOUT, self._wait))
        self._peers.links = {name: Link(channel, patience) for name, channel in channels.items()}
        for name, link in self._peers.links.items():
            link.hold_to(LiveOrder(own, self._of.scheme.prediction_order))
            self._peers.record(link, certificates[name])

    def _agree_as_host(self) -> None:
        task, links = self._of, self._peers.links
        plan = HostPlan(
            task_id=task.record.task_id,
            feature_key=task.party,
            scheme=task.scheme.name,
            scheme_parameters=task.scheme.parameters(),
            is_reproducible=False,
            calculation_timeout=TIMEOUT,
            pinned=self._pinned(),
            may_train=frozenset(),
            is_overlap=True,
        )
        agreement = HostAgreement(plan, list(links))
        for name, link in links.items():
            link.run(agreement.hello_from(name))
            agreement.admit(name)
        self._manifest = agreement.decide(None, OsRandomness())
        for accepted in [link.start(agreement.conclude(name)) for name, link in links.items()]:
            accepted.finish()
        self._peers.sign()

    # The Collaborator ------------------------------------------------------------------------------------------------

    def _collaborator(self) -> list[Overlap]:
        task, host = self._of, host_of(self._of.record)
        logger.info(f"Joining task {task.record.task_id} at {task.record.address}.")
        channel = retry(self._connect or to_the_host(task), self._wait)
        self._meet({host.name: channel}, {host.name: host.certificate_pem})
        (link,) = self._peers.links.values()
        hello = Hello(
            protocol_version=PROTOCOL_VERSION,
            task_id=task.record.task_id,
            feature_key=task.party,
            scheme=task.scheme.name,
            is_feature_trainable=False,
            is_reproducible=False,
            nonce=OsRandomness().bytes(NONCE_BYTES),
            is_overlap=True,
        )
        accepted = task.scheme.accepted_parameters()
        self._manifest = link.run(CollaboratorAgreement(hello, accepted, self._pinned(), task.record.party).run())
        self._peers.sign()
        found, rounds = self._count(), CollaboratorRounds()
        link.run(rounds.next_round())
        self._peers.go_to(Phase.FINISH)
        link.run(rounds.farewell())
        self._peers.sign()
        return found

    # Both ------------------------------------------------------------------------------------------------------------

    def _pinned(self) -> Pinned:
        record = self._of.record
        others = {each.name: digest_of(each.certificate_pem) for each in record.collaborators}
        return Pinned(digest_of(record.host.certificate_pem), others)

    def _count(self) -> list[Overlap]:
        """With all peers at once, signed."""
        links, executor = list(self._peers.links.values()), executor_for(self._of.options.engine)
        self._peers.go_to(Phase.PSI)
        try:
            most, files = self._of.limits.ids, PsiFiles(self._of.directory)
            work = OverlapWork(self._manifest, self._ids, executor, self._progress, files, most)
            with ThreadPoolExecutor(len(links), thread_name_prefix="overlap") as pool:
                counts = [partial(self._count_with, work, link) for link in links]
                found = list(pool.map(of_this_task(ended_by_errors), links, counts))
        finally:
            executor.close()
        self._peers.sign()
        keep_results(self._of.store.directory(self._of.record.task_id), found)
        return found

    def _count_with(self, work: OverlapWork, link: Link) -> Overlap:
        is_host = self._of.role == "host"
        collaborator = link.name if is_host else self._of.party
        opening = Opening(work.overlap_opening(collaborator, self._terms), work.max_peer_ids)
        peer = link.run(opening.run())
        opening.admit(peer)
        run = self._begin(link.name)
        role_of = OverlapCount if is_host else OverlapAnswer
        hashed, mapper = work.hashed(collaborator), work.mapper_with(peer.set_size)
        role = role_of(hashed, fresh(), self._terms, mapper, chunk=work.chunk)
        common = link.run(watched(role.run(peer), self._progress, f"points of {link.name}"))
        transcript = transcripts_of(self._of.transcripts, link.channel.peer)[-1]
        ours = len(self._ids), peer.set_size, common, peer.round_to
        return Overlap(
            **dict(zip(("own_ids", "peer_ids", "common", "round_to"), ours)),
            peer=link.name,
            run=run,
            at=utc_now(),
            transcript=str(transcript),
        )

    def _begin(self, peer: str) -> int:
        participant = next(each for each in self._of.record.participants if each.name == peer)
        return self._runs.begin(peer, participant.fingerprint)
