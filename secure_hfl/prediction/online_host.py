"""The Host's side of a session that stays open: populations are registered once, then ids are predicted as they come.

    open ─▶ predict(ids), any number of times ─▶ rest (signs what has crossed, from time to time) ─▶ close

One thread. What goes wrong between the parties ends the session; the Host's own code that fails at some ids ends their
request only.
"""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.core.envelope import Phase
from protocols.core.errors import InvalidInput
from protocols.core.randomness import ChaCha20Randomness, OsRandomness
from protocols.core.steps import Steps
from protocols.core.wording import plural
from protocols.lookup import MAX_LOOKUP, Directory, LookupRefused, lookup_id
from protocols.psi import check_ids
from protocols.task.alignment import ids_digest
from protocols.task.manifest import Manifest
from protocols.task.online_rounds import OnlineHostRounds
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction.features import Rows
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.prediction.outcome import Predictions, Request
from secure_hfl.prediction.party import ROWS, batches_of, rows_of

BATCHES_AHEAD = 8
"""For how many batches something is made ahead, in schemes that do."""

ROUND_BATCHES = 256
ROUND_SECONDS = 60.0
IDLE_SECONDS = 5.0
"""A round ends, and is signed, after so many batches, so long, or so long without a request."""

MAX_REMEMBERED = 1 << 20
"""Ids whose positions are remembered, at most; then all are looked up anew."""


class Places:
    """What one collaborator has said of ids in this session.

    Attributes:
        at: the position of each id that was looked up; negative: it does not hold it.
        refused: ids that it lets nobody predict any more.
        is_spent: ids that it says nothing about today, since as many were asked for as it allows.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.at: dict[str, int] = {}
        self.refused: set[str] = set()
        self.is_spent: set[str] = set()

    def __contains__(self, sample: object) -> bool:
        """Whether it holds an id, as far as it was looked up."""
        return self.at.get(str(sample), -1) >= 0

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Those that were not looked up."""
        self.is_spent.clear()
        if len(self.at) > MAX_REMEMBERED:
            self.at.clear()
        return [each for each in ids if each not in self.at]

    def find(self, ids: Sequence[str]) -> Steps[None]:
        """Look these up, as far as the day's budget goes."""
        rest = list(ids)
        while rest:
            chunk, rest = rest[:MAX_LOOKUP], rest[MAX_LOOKUP:]
            found = yield from self.directory.find(chunk)
            if not isinstance(found, LookupRefused):
                self.at.update(zip(chunk, found.tolist()))
                continue
            self.is_spent.update(chunk[found.left :], rest)
            rest = chunk[: found.left]


class OnlineHost:
    """One session.

    Args:
        side: the Host's, whose links have met.
        held: the Host's ids, as `HostSide.held`.
    """

    def __init__(self, side: HostSide, held: Container[str] | None) -> None:
        self._side, self._held = side, held
        self._rounds = OnlineHostRounds()
        self._places: dict[str, Places] = {}
        self._manifest: Manifest
        self._rows = ROWS
        self._began = self._used = 0.0

    def open(self) -> None:
        """Agree, take the populations, and set up."""
        side, bench = self._side, self._side.bench
        manifest = self._manifest = side.agree(is_online=True)
        self._rows = rows_of(manifest, ROWS)
        bench.peers.go_to(Phase.PSI)
        for key in bench.peers.links:
            randomness = ChaCha20Randomness(OsRandomness().seed())
            self._places[key] = Places(
                Directory(lookup_id(manifest.pair(key)), randomness, bench.assignment.limits.ids)
            )
        self._with_all(lambda key: self._places[key].directory.register())
        bench.peers.sign()
        side.set_up(manifest, self._rows, BATCHES_AHEAD, is_open=True)

    def predict(self, ids: Sequence[str]) -> Predictions:
        """Outputs for these ids, or why there is none.

        Raises:
            UserCodeError, ConfigurationError: these are no ids, or the Host's own code failed at them. The session goes
                on.
            SecureHflError: it is over.
        """
        party = self._side.party.assignment.party
        request = Request(ids, self._held, party, self._side.classes)
        asked = request.asked
        if not asked:
            return request.answered([], torch.empty(0, 0), {})
        try:
            check_ids(asked)
        except InvalidInput as error:
            raise ConfigurationError(str(error)) from error
        self._begin()
        self._look_up(asked)
        wanted = self._wanted(asked)
        rows = self._side.party.features.of(wanted) if wanted else Rows((), torch.empty(0, 0))
        found, outputs = self._predict(rows)
        self._used = time.monotonic()
        return request.answered(found, outputs, self._places, refusals=self._refusals(asked))

    def _predict(self, rows: Rows) -> tuple[list[str], torch.Tensor]:
        """Outputs of rows that all hold, batch by batch, and of which: without those that are refused."""
        parts: list[torch.Tensor] = []
        found: list[str] = []
        for piece in batches_of(rows.ids, self._rows):
            part = _piece(rows, piece)
            while part.ids:
                answers = self._ask(part.ids)
                if not (marks := [each for each in answers.values() if each.dtype == np.bool_]):
                    parts.append(self._side.fused(part, slice(None), self._side.combined(answers)))
                    found += part.ids
                    break
                part = _kept(part, ~np.logical_or.reduce(marks))
        return found, torch.cat(parts) if parts else torch.empty(0, 0)

    def rest(self) -> None:
        """There is nothing to do for now, or a round has lasted: sign what has crossed, if it is time."""
        now, rounds = time.monotonic(), self._rounds
        if rounds.is_serving and (now - self._used > IDLE_SECONDS or self.is_round_full):
            self._end_round()

    @property
    def is_round_full(self) -> bool:
        """Whether what has crossed should be signed before anything else."""
        rounds, age = self._rounds, time.monotonic() - self._began
        return rounds.is_serving and (rounds.batches >= ROUND_BATCHES or age > ROUND_SECONDS)

    def close(self) -> None:
        """Sign everything, and part."""
        side, bench = self._side, self._side.bench
        if self._rounds.is_serving:
            self._end_round()
        bench.background.stop()
        self._rounds.finish()
        bench.peers.go_to(Phase.FINISH)
        self._with_all(lambda key: self._rounds.farewell())
        bench.peers.sign()
        side.part()
        side.party.settle(list(bench.peers.links))

    # Rounds ----------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.rest()
        if self._rounds.is_serving:
            return
        self._rounds.begin()
        self._side.go_to(self._rounds.place)
        self._with_all(lambda key: self._rounds.start())
        self._began = self._used = time.monotonic()

    def _end_round(self) -> None:
        self._side.go_to(self._rounds.place)
        self._with_all(lambda key: self._rounds.end())
        self._rounds.over()
        self._side.bench.peers.sign()

    def _with_all(self, steps: Any) -> dict[str, Any]:
        """A conversation with each collaborator, all at once; what each returned."""
        begun = {key: link.start(steps(key)) for key, link in self._side.bench.peers.links.items()}
        return {key: conversation.finish() for key, conversation in begun.items()}

    # Requests --------------------------------------------------------------------------------------------------------

    def _look_up(self, ids: Sequence[str]) -> None:
        unknown = {key: places.unknown(ids) for key, places in self._places.items()}
        self._with_all(lambda key: self._places[key].find(unknown[key]))

    def _wanted(self, ids: Sequence[str]) -> list[str]:
        """Those that all hold, and that nobody refuses."""

        def is_offered(sample: str) -> bool:
            return all(sample in each and sample not in each.refused for each in self._places.values())

        return list(filter(is_offered, ids))

    def _refusals(self, ids: Sequence[str]) -> dict[str, str]:
        refusals = {}
        for key, places in self._places.items():
            limits = self._manifest.limits(key)
            for each in ids:
                if each in places.is_spent:
                    refusals[each] = (
                        f"{key} lets a host ask about {plural(limits.asked_a_day, 'id')} a day, and today's are spent"
                    )
                elif each in places.refused:
                    refusals[each] = (
                        f"{key} allows {plural(limits.predictions, 'prediction')} of it, and it has had as many"
                    )
        return refusals

    def _ask(self, ids: Sequence[str]) -> dict[str, Any]:
        """A batch of rows: everybody's projections, or which rows it refuses."""
        self._side.wait_for_units(len(ids))
        digest = ids_digest(self._manifest.session, "batch", ids)

        def rows(key: str) -> Steps[Any]:
            positions = np.array([self._places[key].at[each] for each in ids], np.int64)
            refused = yield from self._rounds.ask(positions, digest, key)
            if refused is not None:
                self._places[key].refused.update(each for each, is_marked in zip(ids, refused) if is_marked)
                return refused
            return (yield from self._side.forward(key, len(ids)))

        self._side.go_to(self._rounds.place)
        answers = self._with_all(rows)
        self._rounds.batch_done()
        self._side.go_to(self._rounds.place)
        return answers


def _piece(rows: Rows, piece: slice) -> Rows:
    return Rows(rows.ids[piece], rows.features[piece], rows.labels[piece])


def _kept(rows: Rows, kept: NDArray[np.bool_]) -> Rows:
    """Rows without those that were refused."""
    at = np.flatnonzero(kept).tolist()
    labels = tuple(rows.labels[each] for each in at) if rows.labels else ()
    return Rows(tuple(rows.ids[each] for each in at), rows.features[at], labels)
