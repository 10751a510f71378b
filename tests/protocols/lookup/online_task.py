"""On-line sessions in memory, in one thread: every party's real roles, with what a task in memory has trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.harness.pump import C, H, complete
from protocols.core.envelope import Phase, Place
from protocols.core.randomness import OsRandomness
from protocols.layer.pads import total
from protocols.lookup import Directory, LookupPoints, LookupRefused, Population, RequestsOver, RowsAsked, lookup_id
from protocols.psi import hash_ids
from protocols.task.agreement import HostAgreement
from protocols.task.alignment import ids_digest
from protocols.task.online_rounds import OnlineCollaboratorRounds, OnlineHostRounds
from tests.protocols.prediction_task import Prediction
from tests.protocols.task_line import Line
from tests.protocols.whole_task import Case, Saved, serves


class Online(Prediction):
    """A session of a case that was trained.

    Args:
        spent: ids that are predicted no more.
        left: how many ids the first collaborator lets ask about today; None: any number.

    Attributes:
        views: of each collaborator: how many ids were looked up, and which rows were asked for, in the order of events.
    """

    def __init__(
        self, case: Case, saved: Saved, spent: Collection[str] = (), left: int | None = None, **limits: int
    ) -> None:
        super().__init__(case, saved, (1, 1), **limits)
        self.spent, self.left = spent, left
        self.views: dict[str, list[Any]] = {line.name: [] for line in self.lines}
        self.directories: dict[str, Directory] = {}
        self.populations: dict[str, Population] = {}
        self.online = OnlineHostRounds()
        self.theirs: dict[str, OnlineCollaboratorRounds] = {}

    def begin(self) -> Online:
        """Up to the first round."""
        self.join()
        self.intersect()
        self.set_up_again()
        for line in self.lines:
            phase = line.host.offline
            if phase is not None:
                steps = phase.generate(phase.kind(False), 12), serves(line.collaborator.offline)
                line.wire.talk(*steps, place=Place(Phase.OFFLINE))
            self.theirs[line.name] = OnlineCollaboratorRounds()
        return self

    def decide(self, host: HostAgreement) -> Any:
        """See the base."""
        host._plan = replace(host._plan, is_online=True)
        return super().decide(host)

    def intersect(self) -> None:
        """The populations are registered; nothing is intersected."""
        self.go_to(Phase.PSI)
        for line in self.lines:
            pair = lookup_id(self.manifest.pair(line.name))
            self.populations[line.name] = Population(hash_ids(pair, self.held(line)), OsRandomness(), chunk=4)
            self.directories[line.name] = Directory(pair, OsRandomness())
        self.talk(lambda line: (self.directories[line.name].register(), self.populations[line.name].register()))
        self.sign()

    def held(self, line: Line) -> list[str]:
        """What a collaborator holds."""
        return [f"id{at}" for at in range(10 * line.number)]

    def follow_online(self) -> None:
        """Everybody speaks of the place where its role stands."""
        for line in self.lines:
            line.wire.places = {H: self.online.place, C: self.theirs[line.name].place}

    def each(self, host: Any, wants_reply: bool = True) -> list[Any]:
        """The host says something to each collaborator, which does what follows; what the host's part returned."""
        self.follow_online()
        hosts = [line.at_host(host(line)) for line in self.lines]
        others = [line.here(self.serve(line)) for line in self.lines] if wants_reply else []
        return complete([*hosts, *others])[: len(hosts)]

    def serve(self, line: Line) -> Any:
        """One request at a collaborator."""
        rounds, view, population = self.theirs[line.name], self.views[line.name], self.populations[line.name]
        asked = yield from rounds.next()
        line.wire.places[C] = rounds.place
        if isinstance(asked, LookupPoints):
            view.append(asked.count)
            if self.left is not None and line is self.lines[0]:
                if asked.count > self.left:
                    return (yield from rounds.answer(LookupRefused(self.left)))
                self.left -= asked.count
            yield from rounds.answer(population.answer(asked))
        elif isinstance(asked, RowsAsked):
            ids = population.ids_at(asked)
            view.append(ids)
            marks = np.array([each in self.spent for each in ids])
            if marks.any() and line is self.lines[0]:
                if line.pads is not None:
                    line.pads.skip()
                return (yield from rounds.refuse(marks))
            if line.pads is not None:
                line.pads.bind(ids_digest(self.manifest.session, "batch", ids))
            yield from rounds.open(len(ids), ids_digest(self.manifest.session, "batch", ids))
            yield from line.collaborator.forward(self.rows(line, ids), False)
        elif isinstance(asked, RequestsOver):
            yield from rounds.end()
        return None

    def rows(self, line: Line, ids: Sequence[str]) -> Any:
        """A collaborator's features: one row for each id, always the same."""
        return np.stack([line.features(1, 1000 + int(each[2:]))[0] for each in ids])

    def start(self) -> None:
        """A round."""
        self.online.begin()
        self.each(lambda line: self.online.start())

    def find(self, ids: Sequence[str]) -> list[Any]:
        """Where each collaborator has these."""
        return self.each(lambda line: self.directories[line.name].find(ids))

    def ask(self, ids: Sequence[str], found: Sequence[Any], last: Sequence[str] = ()) -> list[Any]:
        """The rows of these: z of each collaborator, or what it refuses. `last`: a host that lies asks the last
        collaborator for others."""
        meant = dict.fromkeys(self.theirs, ids) | ({self.lines[-1].name: last} if last else {})
        at = {line.name: each for line, each in zip(self.lines, found, strict=True)}

        def host(line: Line) -> Any:
            digest = ids_digest(self.manifest.session, "batch", meant[line.name])
            refused = yield from self.online.ask(at[line.name], digest, line.name)
            forward = line.host.forward_padded if self.case.is_summed else line.host.forward
            return refused if refused is not None else (yield from forward(len(ids), False))

        answers = self.each(host)
        for rounds in (self.online, *self.theirs.values()):
            rounds.batch_done()
        return answers

    def sum_of(self, ids: Sequence[str], found: Sequence[Any]) -> Any:
        """The same where the host gets the sum of all z only."""
        return self.lines[0].host.decode_sum(total(self.ask(ids, found)))

    def end(self) -> None:
        """The round."""
        self.each(lambda line: self.online.end())
        self.online.over()
        self.sign()

    def finish(self) -> None:
        """The session."""
        self.online.finish()
        self.follow_online()
        hosts = [line.at_host(self.online.farewell()) for line in self.lines]
        others = [line.here(self._farewell(line)) for line in self.lines]
        complete([*hosts, *others])
        self.sign()

    def _farewell(self, line: Line) -> Any:
        rounds = self.theirs[line.name]
        assert (yield from rounds.next()) is None
        line.wire.places[C] = rounds.place
        yield from rounds.farewell()
