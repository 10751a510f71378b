"""The Collaborator's side of a session that stays open: its population is registered once, then it answers requests.

register ─▶ set up ─▶ one request after the other, until the Host ends the session or this party stops
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from protocols.core.envelope import Phase
from protocols.core.errors import MalformedMessage
from protocols.core.message import Message
from protocols.core.randomness import ChaCha20Randomness, OsRandomness
from protocols.layer.interface import CollaboratorLayer
from protocols.layer.pads import Pads
from protocols.lookup import (
    LookupPoints,
    LookupRefused,
    Population,
    RequestsOver,
    RowsAsked,
    lookup_id,
)
from protocols.psi import hash_ids
from protocols.task.alignment import ids_digest
from protocols.task.manifest import Manifest
from protocols.task.online_rounds import OnlineCollaboratorRounds
from secure_hfl.engine.link import Link
from secure_hfl.engine.psi_work import chunk_size
from secure_hfl.errors import PeerTimeout, Stopped
from secure_hfl.prediction.budget import PredictionBudget
from secure_hfl.prediction.features import Rows
from secure_hfl.prediction.party import PredictingParty
from secure_hfl.ray_executor import executor_for

POLL_SECONDS = 0.5
"""Between two looks at whether this party is to stop, while the Host asks for nothing."""


class OnlineCollaborator:
    """One session.

    Args:
        party, link, manifest: of the session.
        budget: what this party allows.
        is_stopping: whether it should end the session.
        rows_of: what is shown for ids.
        pads: of this party, where the Host gets a sum.

    Attributes:
        rows: that were shown so far.
    """

    def __init__(
        self,
        party: PredictingParty,
        link: Link,
        manifest: Manifest,
        budget: PredictionBudget,
        is_stopping: Callable[[], bool],
        rows_of: Callable[[Sequence[str]], Rows],
        pads: Pads | None = None,
    ) -> None:
        self._rows_of, self._pads = rows_of, pads
        self._party, self._link, self._manifest = party, link, manifest
        self._budget, self._is_stopping = budget, is_stopping
        self._rounds = OnlineCollaboratorRounds()
        self._population: Population
        self._layer: CollaboratorLayer
        self._most_rows = 0
        self.rows = 0

    def register(self, ids: Sequence[str]) -> None:
        """Send the population; signed."""
        bench, key = self._party.bench, self._party.assignment.party
        bench.peers.go_to(Phase.PSI)
        executor = executor_for(bench.assignment.options.engine)
        try:
            mapper, chunk = executor.mapper(-(-len(ids) // chunk_size(len(ids)))), chunk_size(len(ids))
            hashed = hash_ids(lookup_id(self._manifest.pair(key)), ids, mapper, chunk)
            randomness = ChaCha20Randomness(OsRandomness().seed())
            self._population = Population(hashed, randomness, mapper, chunk=chunk)
            self._link.run(self._population.register())
        finally:
            executor.close()
        bench.peers.sign()

    def serve(self, layer: CollaboratorLayer, most_rows: int) -> None:
        """Answer until the session ends; `most_rows`: of a batch, as both have agreed.

        Raises:
            MalformedMessage: the Host asks for more. Nothing is counted then.
            Stopped: this party is to stop, and nothing has crossed that is not signed.
        """
        self._layer, self._most_rows = layer, most_rows
        while (asked := self._next()) is not None:
            if isinstance(asked, LookupPoints):
                self._answer(asked)
            elif isinstance(asked, RowsAsked):
                self._show(asked)
            elif isinstance(asked, RequestsOver):
                self._link.run(self._rounds.end())
                self._party.bench.peers.sign()
        self._follow()
        self._link.run(self._rounds.farewell())
        self._party.bench.peers.sign()

    def _next(self) -> Message | None:
        """What the Host wants, whenever it wants it."""
        link, usual = self._link, self._link.timeout
        asking = link.start(self._rounds.next())
        link.timeout = POLL_SECONDS
        try:
            while True:
                try:
                    asked = asking.finish()
                    break
                except PeerTimeout:
                    if self._is_stopping() and not self._rounds.is_serving:
                        party = self._party.assignment.party
                        raise Stopped(f"{party} has stopped serving predictions") from None
        finally:
            link.timeout = usual
        self._follow()
        return asked

    def _follow(self) -> None:
        place = self._rounds.place
        self._party.bench.peers.go_to(place.phase, place.round, place.batch)

    def _answer(self, asked: LookupPoints) -> None:
        left = self._budget.ask_or_left(asked.count)
        reply = self._population.answer(asked) if left is None else LookupRefused(left)
        self._link.run(self._rounds.answer(reply))

    def _show(self, asked: RowsAsked) -> None:
        """Rows of these ids, once more; or which of them have had as many predictions as this party allows."""
        if len(asked.rows) > self._most_rows:
            raise MalformedMessage(f"RowsAsked of {len(asked.rows)} rows; a batch has {self._most_rows} at most")
        ids = self._population.ids_at(asked)
        spent = self._budget.predict_or_spent(ids)
        if any(spent):
            if self._pads is not None:
                self._pads.skip()  # the others have shown their summands
            self._link.run(self._rounds.refuse(np.array(spent)))
        else:
            features = self._rows_of(ids).features
            digest = ids_digest(self._manifest.session, "batch", ids)
            if self._pads is not None:
                self._pads.bind(digest)
            self._link.run(self._rounds.open(len(ids), digest))
            self._link.run(self._layer.forward(features.contiguous().numpy(), False))
            self._party.bench.background.wake()
            self.rows += len(ids)
        self._rounds.batch_done()
        self._follow()
