"""What all sessions of a predicting Host have in common: its models, who joins, what is agreed on, and the layers.

meet ─▶ agree ─▶ (ids: by PSI, or as they are asked for) ─▶ set_up ─▶ batches ─▶ farewell
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch

from protocols.core.envelope import Phase, Place
from protocols.core.message import Array
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.core.steps import Steps, received
from protocols.core.wording import plural
from protocols.layer.interface import HostLayer, LayerSpec
from protocols.layer.messages import FeatureShape
from protocols.layer.pads import total
from protocols.task.agreement import HostAgreement, HostPlan
from protocols.task.alignment import Misaligned
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import SUM_KEY, Manifest
from secure_hfl.engine.batch import received_features
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.door import Door
from secure_hfl.engine.host import fail_all, relay_sum_keys
from secure_hfl.engine.layers import Layers, layer_spec
from secure_hfl.engine.link import Link
from secure_hfl.engine.models import HostModels
from secure_hfl.engine.offline_phase import HostOfflineWork, Outlook, host_offline_work, wait_for_units
from secure_hfl.engine.peers import FLUSH_SECONDS
from secure_hfl.engine.run_view import RunView
from secure_hfl.engine.workbench import Workbench
from secure_hfl.errors import ConfigurationError, PeerRefused
from secure_hfl.log import logger
from secure_hfl.prediction.assignment import PredictionAssignment
from secure_hfl.prediction.features import Rows
from secure_hfl.prediction.fusion import Fusion
from secure_hfl.prediction.party import PredictingParty, show
from secure_hfl.prediction.trained import Training
from secure_hfl.transport.channel import Channel


class HostSide:
    """A Host with a finished task, for any number of sessions one after the other.

    Args:
        scheduler: the user's.
        assignment, training: what it predicts with.

    Attributes:
        bench, party: what sessions work with.
        models: the host's.
        layers: the host's sides, of the session under way.
    """

    def __init__(self, scheduler: HostScheduler, assignment: PredictionAssignment, training: Training) -> None:
        self._scheduler = scheduler
        bench = self.bench = Workbench(scheduler, assignment)
        self.layers: Layers[HostLayer] = Layers()
        bench.layers = self.layers
        models = self.models = HostModels(bench.user)
        self.view = RunView(bench, models)
        show(scheduler, self.view)
        keys, has_layers = list(training.by_peer), training.terms.has_projection
        layers = (keys, []) if has_layers else ([], keys)
        loss = scheduler.fallback_loss if training.has_fallback else None
        self.party = PredictingParty(
            *(scheduler, assignment, training, bench, models),
            lambda: models.build(layers[0], scheduler.projection_lr, layers[1], loss),
        )
        self._fusion = Fusion(bench.user, scheduler, models)
        self._offline: HostOfflineWork | None = None

    def held(self) -> frozenset[str] | None:
        """This party's ids, now. None: it may ask about any, since who has labels only has nothing of new samples."""
        return frozenset(self.party.all_ids) if self.bench.user.is_feature_holder else None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the outputs, as `Predictions` has them."""
        return self._scheduler.class_names

    # Joining ---------------------------------------------------------------------------------------------------------

    def wait(self, door: Door) -> None:
        """Until all collaborators are here. Raises `PeerRefused` if some do not come in time; who came is told."""
        address = self.party.assignment.record.address
        logger.info(f"Waiting at {address} for {', '.join(door.certificates)} to serve predictions.")
        try:
            channels = door.wait(self._scheduler.schedule_timeout)
        except PeerRefused as error:
            self.bench.peers.links = {name: Link(each, FLUSH_SECONDS) for name, each in door.arrived().items()}
            raise PeerRefused(f"{error} Every collaborator must run `secure-hfl serve`") from None
        self.meet(channels, door.certificates)

    def meet(self, channels: Mapping[str, Channel], certificates: Mapping[str, bytes]) -> None:
        """All are here: from now on everything is recorded, and held to its order."""
        peers, task = self.bench.peers, self.party.assignment
        peers.links = {name: Link(channel, self._scheduler.calculation_timeout) for name, channel in channels.items()}
        for name, link in peers.links.items():
            link.hold_to(LiveOrder(Sender.HOST, task.scheme.prediction_order))
            peers.record(link, certificates[name])
            link.channel.on_failure(partial(fail_all, self.bench, link))

    def agree(self, is_online: bool = False) -> Manifest:
        """With all on what is about to run; signed."""
        bench, task, training = self.bench, self.party.assignment, self.party.training
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
            is_summed=training.terms.is_summed,
            trained=training.digest,
            is_online=is_online,
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
        bench.state.manifest = manifest
        if manifest.is_summed:
            relay_sum_keys(bench.peers.links, manifest)
        bench.peers.sign()
        return manifest

    # The layers ------------------------------------------------------------------------------------------------------

    def set_up(self, manifest: Manifest, rows: int, batches: int, is_open: bool = False) -> None:
        """Fresh keys for all layers, and the shares as they were; signed.

        Args:
            rows: of a batch, at most.
            batches: that will come; where the session `is_open`, for which something is made ahead.
        """
        bench = self.bench
        bench.peers.go_to(Phase.SETUP)
        for key, link in bench.peers.links.items():
            shape = received(link.receive(FeatureShape), FeatureShape)
            if shape.rows != rows:
                raise Misaligned(f"the host predicts batches of {plural(rows, 'sample')}, {key} of {shape.rows:,}")
            bench.assignment.limits.check_features(shape.rows, shape.width)
            spec = self._spec(manifest, key, shape, rows * batches)
            layer = self.layers.add(spec, bench.assignment.scheme.prediction_host(spec))
            link.run(layer.resume(self.party.state.layer(key)))
        bench.peers.sign()
        bench.background.precompute([layer.prepare for layer in self.layers.by_key.values()])
        outlook = Outlook(rows, (0, batches), (0, None if is_open else 1), bench.assignment.limits.stock_bytes)
        timeout = self._scheduler.calculation_timeout
        work = self._offline = host_offline_work(bench.peers.links, self.layers.by_key, outlook, timeout)
        if work is not None:
            bench.background.work_offline(work)

    def _spec(self, manifest: Manifest, key: str, shape: FeatureShape, count: int) -> LayerSpec:
        bench, limits = self.bench, self.bench.assignment.limits
        budget = bench.checkpoints.spent.budget(key, "host")
        spec = layer_spec(manifest, key, shape.rows, shape.width, None, (0, count), budget, limits.stock_bytes)
        limits.check_layer(spec)
        return replace(spec, witness=bench.peers.witness(key))

    # Batches ---------------------------------------------------------------------------------------------------------

    def go_to(self, place: Place) -> None:
        """All links speak of this place from now on."""
        self.bench.peers.go_to(place.phase, place.round, place.batch)

    def wait_for_units(self, count: int) -> None:
        """Until what a batch of so many rows uses is in stock, in schemes that make something ahead."""
        self.bench.background.wake()
        if self._offline is not None:
            wait_for_units(self._offline, self.layers.by_key, False, dict.fromkeys(self.bench.peers.links, count))

    def forward(self, key: str, rows: int) -> Steps[Array]:
        """A collaborator's projection of a batch; where the training had their sum, under a pad."""
        layer = self.layers.by_key[key]
        return layer.forward_padded(rows, False) if self.bench.state.manifest.is_summed else layer.forward(rows, False)

    def combined(self, collected: Mapping[str, Array]) -> Mapping[str, Array]:
        """What the Host's user finds of a batch, from what `forward` gave of everybody."""
        if not self.bench.state.manifest.is_summed:
            return collected
        layer = next(iter(self.layers.by_key.values()))
        return {SUM_KEY: layer.decode_sum(total(list(collected.values())))}

    def fused(self, own: Rows, piece: slice, collected: Mapping[str, Array]) -> torch.Tensor:
        """Outputs [rows, k] of a batch: that piece of the Host's rows, and what `combined` gave for it.

        As in training: the Host's are as its bottom model gives them, and the others' on their device.
        """
        party = self.party.assignment.party
        mine = {party: own.features[piece]} if own.features.shape[1] else {}
        others = {key: received_features(z, own.features) for key, z in collected.items()}
        return self._fusion({**mine, **others}, _labels(own, piece)).reshape(len(own.ids[piece]), -1)

    def part(self) -> None:
        """All has been said: let what is queued reach everybody, and close."""
        for link in self.bench.peers.links.values():
            link.channel.close(FLUSH_SECONDS)


def _labels(rows: Rows, piece: slice) -> torch.Tensor | None:
    part = rows.labels[piece]
    if not part or not all(isinstance(each, torch.Tensor) for each in part):
        return None
    return torch.stack(list(part))
