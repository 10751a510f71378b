"""Scheme "masked" at the Host: how many one-time masks the rest of a task needs, and when training waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from protocols.layer.interface import HostLayer
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.triples import TEST, TRAIN
from secure_hfl.engine.offline_phase import Demand, HostPreparation
from secure_hfl.log import logger

if TYPE_CHECKING:
    from secure_hfl.engine.host import HostRun


def prepare_masks(run: HostRun, is_first: bool) -> HostPreparation | None:
    """Make a round's triples now, unless one is under way, and the rest beside training. None for other schemes."""
    pools = {key: layer.triples for key, layer in run.projections.items() if isinstance(layer, MaskedHost)}
    if not pools:
        return None
    rows = next(iter(run.specs.values())).rows
    train, test = (-(-len(ids) // rows) for ids in (run.train_ids, run.test_ids))
    limit, every = run.options.batches, run.scheduler.log_rounds
    a_round = {TRAIN: train if limit is None else min(train, limit), TEST: test if every else 0}
    left = _rounds_left(run)
    tests = None if left is None else sum(run.is_test_due(n) or n == left[-1] for n in left)
    times = {TRAIN: None if left is None else len(left), TEST: tests}
    lanes = [
        (run.links[key].offline_lane(), pool, Demand.of(run.specs[key], a_round, times)) for key, pool in pools.items()
    ]
    preparation = HostPreparation(lanes, run.scheduler.calculation_timeout)
    preparation.start()
    if is_first:
        logger.info("Making one-time masks for the first round.")
        preparation.wait_for_round()
    return preparation


def _rounds_left(run: HostRun) -> range | None:
    """Their numbers, if the user does not decide as they go. One that is over may still have its test before it."""
    last = run.options.rounds
    if last is None:
        last = None if run.scheduler.decides_when_finished else run.scheduler.max_rounds
    return None if last is None else range(max(1, len(run.metrics.rounds)), last + 1)


def wait_for_masks(
    preparation: HostPreparation, projections: Mapping[str, HostLayer], training: bool, rows: int
) -> None:
    """Until the next batch of so many rows has its triples on every link."""
    for at, layer in enumerate(projections.values()):
        if isinstance(layer, MaskedHost):
            preparation.wait_for(at, *layer.needs(training, rows))
