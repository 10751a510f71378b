"""The Host asks for predictions: it waits for its collaborators, asks about ids, and runs its top model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from protocols.core.envelope import Phase
from protocols.core.message import Array
from protocols.task.alignment import OrderedIds, ids_digest
from protocols.task.manifest import Manifest
from protocols.task.rounds import HostRounds
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.door import Door
from secure_hfl.engine.psi import run_host_psi
from secure_hfl.engine.psi_work import PsiOutcome
from secure_hfl.prediction.assignment import PredictionAssignment, find_prediction
from secure_hfl.prediction.features import Rows
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.prediction.outcome import Predictions, Request
from secure_hfl.prediction.party import batches_of, rows_of
from secure_hfl.prediction.trained import Training


class PredictingHost:
    """A Host with a finished task. Each call of `predict` is a session with all collaborators.

    Args:
        scheduler: the user's.
        assignment, training: what it predicts with.
        door: where the collaborators come in; default: the task's address, for each session anew.
    """

    def __init__(
        self,
        scheduler: HostScheduler,
        assignment: PredictionAssignment,
        training: Training,
        door: Door | None = None,
    ) -> None:
        self._side, self._door = HostSide(scheduler, assignment, training), door
        self._bench, self.party = self._side.bench, self._side.party

    def predict(self, ids: Sequence[str]) -> Predictions:
        """Outputs for these ids.

        Raises:
            TaskFailed: the session ended without a result; all parties hear the same reason.
        """
        request = Request(ids, self._side.held(), self.party.assignment.party, self._side.classes)
        if not request.asked:
            return request.answered([], torch.empty(0, 0), {})
        bench, task = self._bench, self.party.assignment
        door = self._door or Door(task)
        try:
            with bench.recovery.shutdown.listening(), self.party.session():
                self._side.wait(door)
                manifest = self._side.agree()
                links = bench.peers.links
                outcome = self.party.intersect(
                    request.asked, lambda work: run_host_psi(links.values(), work), task.limits.ids, lambda size: None
                )
                answer = self._answer(request, manifest, outcome)
                self.party.settle(list(links))
                return answer
        finally:
            door.close()

    def _answer(self, request: Request, manifest: Manifest, outcome: PsiOutcome) -> Predictions:
        links = self._bench.peers.links
        found = [str(each) for each in OrderedIds(outcome.intersection)]
        rounds = HostRounds(list(links), is_prediction=True)
        outputs, rows = torch.empty(0, 0), Rows((), torch.empty(0, 0))
        if found:
            rows = self.party.features.of(found)
            size = rows_of(manifest, len(found))
            self._side.set_up(manifest, size, -(-len(found) // size))
            outputs = self._round(manifest, rounds, rows)
        self._bench.background.stop()
        rounds.finish()
        self._bench.peers.go_to(Phase.FINISH)
        for farewell in [link.start(rounds.farewell(key)) for key, link in links.items()]:
            farewell.finish()
        self._bench.peers.sign()
        self._side.part()
        return request.answered(
            found, outputs, outcome.pairwise, rows.labels, self._bench.peers.transcript_files[-len(links) :]
        )

    def _round(self, manifest: Manifest, rounds: HostRounds, rows: Rows) -> torch.Tensor:
        bench, links = self._bench, self._bench.peers.links
        batches = batches_of(rows.ids, rows_of(manifest, len(rows.ids)))
        rounds.begin_round(Phase.TEST, max_batches=len(batches))
        self._side.go_to(rounds.place)
        for key, link in links.items():
            link.run(rounds.start(key))
        outputs = []
        for piece in batches:
            ids = rows.ids[piece]
            collected = self._collect(rounds, ids_digest(manifest.session, "batch", ids), len(ids))
            outputs.append(self._side.fused(rows, piece, collected))
            rounds.batch_done()
        self._side.go_to(rounds.place)
        for key, link in links.items():
            link.run(rounds.opened_by(key))
        rounds.align(None)
        bench.peers.sign()
        return torch.cat(outputs)

    def _collect(self, rounds: HostRounds, ids: bytes, count: int) -> Mapping[str, Array]:
        """Everybody's projections of a batch, or their sum."""
        links = self._bench.peers.links
        self._side.go_to(rounds.place)
        for key, link in links.items():
            link.run(rounds.opened_by(key))
        rounds.align(count, ids)
        self._side.wait_for_units(count)
        begun = {key: link.start(self._side.forward(key, count)) for key, link in links.items()}
        return self._side.combined({key: conversation.finish() for key, conversation in begun.items()})


def predicting_host(scheduler: HostScheduler, reference: str) -> PredictingHost:
    """The Host of a finished task. Errors as `find_prediction`."""
    return PredictingHost(scheduler, *find_prediction(scheduler, "host", reference))
