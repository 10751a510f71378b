"""The Host asks for predictions: it waits for its collaborators, asks about ids, and runs its top model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from protocols.core.envelope import Phase
from protocols.core.message import Array
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.steps import received
from protocols.layer.interface import HostLayer, LayerSpec
from protocols.layer.messages import FeatureShape
from protocols.task.agreement import HostAgreement, HostPlan
from protocols.task.alignment import Misaligned, OrderedIds, ids_digest
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import Manifest
from protocols.task.rounds import HostRounds
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.door import Door
from secure_hfl.engine.host import fail_all
from secure_hfl.engine.layers import Layers, layer_spec
from secure_hfl.engine.link import Link
from secure_hfl.engine.models import HostModels
from secure_hfl.engine.offline_phase import Outlook, host_offline_work, wait_for_units
from secure_hfl.engine.peers import FLUSH_SECONDS
from secure_hfl.engine.psi import PsiOutcome, run_host_psi
from secure_hfl.engine.run_view import RunView
from secure_hfl.engine.workbench import Workbench
from secure_hfl.errors import ConfigurationError, PeerRefused
from secure_hfl.log import logger
from secure_hfl.prediction.assignment import PredictionAssignment, find_prediction
from secure_hfl.prediction.features import Rows
from secure_hfl.prediction.fusion import Fusion
from secure_hfl.prediction.outcome import Predictions, Request
from secure_hfl.prediction.party import PredictingParty, batches_of, rows_of, show
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
        self._scheduler, self._door = scheduler, door
        bench = self._bench = Workbench(scheduler, assignment)
        self._layers: Layers[HostLayer] = Layers()
        bench.layers = self._layers
        models = HostModels(bench.user)
        self.view = RunView(bench, models)
        show(scheduler, self.view)
        keys, has_layers = list(training.by_peer), training.terms.has_projection
        layers = (keys, []) if has_layers else ([], keys)
        self.party = PredictingParty(
            *(scheduler, assignment, training, bench, models),
            lambda: models.build(layers[0], scheduler.projection_lr, layers[1]),
        )
        self._fusion = Fusion(bench.user, scheduler, models)

    def predict(self, ids: Sequence[str]) -> Predictions:
        """Outputs for these ids.

        Raises:
            TaskFailed: the session ended without a result; all parties hear the same reason.
        """
        # Who has labels only has nothing of samples that are new: it may ask about any.
        held = self.party.local_ids if self._bench.user.is_feature_holder else list(ids)
        request = Request(ids, held, self.party.assignment.party)
        if not request.asked:
            return request.answered([], torch.empty(0, 0), {})
        bench, task = self._bench, self.party.assignment
        door = self._door or Door(task)
        try:
            with bench.recovery.shutdown.listening(), self.party.session():
                self._join(door)
                manifest = bench.state.manifest = self._agree()
                links = bench.peers.links
                outcome = self.party.intersect(
                    request.asked, lambda work: run_host_psi(links.values(), work), task.limits.ids, lambda size: None
                )
                answer = self._answer(request, manifest, outcome)
                self.party.settle(list(links))
                return answer
        finally:
            door.close()

    # Joining ---------------------------------------------------------------------------------------------------------

    def _join(self, door: Door) -> None:
        peers, task = self._bench.peers, self.party.assignment
        logger.info(f"Waiting at {task.record.address} for {', '.join(door.certificates)} to serve predictions.")
        try:
            channels = door.wait(self._scheduler.schedule_timeout)
        except PeerRefused as error:
            peers.links = {name: Link(channel, FLUSH_SECONDS) for name, channel in door.arrived().items()}
            raise PeerRefused(f"{error} Every collaborator must run `secure-hfl serve`") from None
        peers.links = {name: Link(channel, self._scheduler.calculation_timeout) for name, channel in channels.items()}
        for name, link in peers.links.items():
            link.hold_to(LiveOrder(Sender.HOST, task.scheme.prediction_order))
            peers.record(link, door.certificates[name])
            link.channel.on_failure(partial(fail_all, self._bench, link))

    def _agree(self) -> Manifest:
        bench, task, training = self._bench, self.party.assignment, self.party.training
        links = dict(bench.peers.links)
        plan = HostPlan(
            task_id=task.record.task_id,
            feature_key=task.party,
            scheme=task.scheme.name,
            scheme_parameters=task.scheme.parameters(),
            is_reproducible=False,
            calculation_timeout=float(self._scheduler.calculation_timeout),
            pinned=self.party.pinned(),
            may_train=frozenset(),
            trained=training.digest,
        )
        agreement = HostAgreement(plan, list(links))
        bench.peers.go_to(Phase.JOIN)
        keys = {}
        for name, link in links.items():
            keys[name] = link.run(agreement.hello_from(name)).feature_key
            agreement.admit(name)
        widths = training.widths()
        strangers = [key for key in keys.values() if key not in widths]
        if strangers:
            raise ConfigurationError(f"{', '.join(strangers)} has not taken part in the training as such")
        asked = [widths[key] for key in keys.values()] if training.terms.has_projection else None
        manifest = agreement.decide(asked, OsRandomness())
        for accepted in [link.start(agreement.conclude(name)) for name, link in links.items()]:
            accepted.finish()
        for name, link in links.items():
            link.name = keys[name]
        bench.peers.links = {link.name: link for link in links.values()}
        bench.peers.sign()
        return manifest

    # Predicting ------------------------------------------------------------------------------------------------------

    def _answer(self, request: Request, manifest: Manifest, outcome: PsiOutcome) -> Predictions:
        links = self._bench.peers.links
        found = [str(each) for each in OrderedIds(outcome.intersection)]
        rounds = HostRounds(list(links), is_prediction=True)
        outputs, rows = torch.empty(0, 0), Rows((), torch.empty(0, 0))
        if found:
            rows = self.party.features.of(found)
            self._set_up(manifest, found)
            outputs = self._round(manifest, rounds, rows)
        self._bench.background.stop()
        rounds.finish()
        self._bench.peers.go_to(Phase.FINISH)
        for farewell in [link.start(rounds.farewell(key)) for key, link in links.items()]:
            farewell.finish()
        self._bench.peers.sign()
        for link in links.values():
            link.channel.close(FLUSH_SECONDS)
        return request.answered(
            found, outputs, outcome.pairwise, rows.labels, self._bench.peers.transcript_files[-len(links) :]
        )

    def _set_up(self, manifest: Manifest, found: Sequence[str]) -> None:
        bench, rows = self._bench, rows_of(manifest, len(found))
        bench.peers.go_to(Phase.SETUP)
        for key, link in bench.peers.links.items():
            shape = received(link.receive(FeatureShape), FeatureShape)
            if shape.rows != rows:
                raise Misaligned(f"the host predicts batches of {rows} samples, {key} of {shape.rows}")
            bench.assignment.limits.check_features(shape.rows, shape.width)
            spec = self._spec(manifest, key, shape, len(found))
            layer = self._layers.add(spec, bench.assignment.scheme.prediction_host(spec))
            link.run(layer.resume(self.party.state.layer(key)))
        bench.peers.sign()
        self._start_background(rows, len(found))

    def _spec(self, manifest: Manifest, key: str, shape: FeatureShape, count: int) -> LayerSpec:
        bench, limits = self._bench, self._bench.assignment.limits
        budget = bench.checkpoints.spent.budget(key, "host")
        samples = (0, count)
        spec = layer_spec(manifest, key, shape.rows, shape.width, None, samples, budget, limits.stock_bytes)
        limits.check_layer(spec)
        return replace(spec, witness=bench.peers.witness(key))

    def _start_background(self, rows: int, count: int) -> None:
        bench, layers = self._bench, self._layers.by_key
        bench.background.precompute([layer.prepare for layer in layers.values()])
        outlook = Outlook(rows, (0, -(-count // rows)), (0, 1), bench.assignment.limits.stock_bytes)
        work = host_offline_work(bench.peers.links, layers, outlook, self._scheduler.calculation_timeout)
        self._offline = work
        if work is not None:
            bench.background.work_offline(work)

    def _round(self, manifest: Manifest, rounds: HostRounds, rows: Rows) -> torch.Tensor:
        bench, links = self._bench, self._bench.peers.links
        batches = batches_of(rows.ids, rows_of(manifest, len(rows.ids)))
        rounds.begin_round(Phase.TEST, max_batches=len(batches))
        self._follow(rounds)
        for key, link in links.items():
            link.run(rounds.start(key))
        outputs = []
        for piece in batches:
            ids = rows.ids[piece]
            collected = self._collect(rounds, ids_digest(manifest.session, "batch", ids), len(ids))
            own = {bench.assignment.party: rows.features[piece]} if rows.features.shape[1] else {}
            others = {key: torch.from_numpy(np.array(z)) for key, z in collected.items()}
            labels = self._labels(rows, piece)
            outputs.append(self._fusion({**own, **others}, labels).reshape(len(ids), -1))
            rounds.batch_done()
        self._follow(rounds)
        for key, link in links.items():
            link.run(rounds.opened_by(key))
        rounds.align(None)
        bench.peers.sign()
        return torch.cat(outputs)

    def _labels(self, rows: Rows, piece: slice) -> torch.Tensor | None:
        part = rows.labels[piece]
        if not part or not all(isinstance(each, torch.Tensor) for each in part):
            return None
        return torch.stack(list(part))

    def _follow(self, rounds: HostRounds) -> None:
        self._bench.peers.go_to(rounds.place.phase, rounds.place.round, rounds.place.batch)

    def _collect(self, rounds: HostRounds, ids: bytes, count: int) -> dict[str, Array]:
        """Everybody's projections of a batch."""
        links, layers = self._bench.peers.links, self._layers.by_key
        self._follow(rounds)
        self._bench.background.wake()
        for key, link in links.items():
            link.run(rounds.opened_by(key))
        rounds.align(count, ids)
        if self._offline is not None:
            wait_for_units(self._offline, layers, False, dict.fromkeys(links, count))
        begun = {key: link.start(layers[key].forward(count, False)) for key, link in links.items()}
        return {key: conversation.finish() for key, conversation in begun.items()}


def predicting_host(scheduler: HostScheduler, reference: str) -> PredictingHost:
    """The Host of a finished task. Errors as `find_prediction`."""
    return PredictingHost(scheduler, *find_prediction(scheduler, "host", reference))
