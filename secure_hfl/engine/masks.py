"""Scheme "masked" at the Host: how many one-time masks the rest of a task needs, and when training waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from protocols.layer.interface import HostLayer
from secure_hfl.engine.offline_phase import Demand, HostPreparation
from secure_hfl.log import logger

if TYPE_CHECKING:
    from secure_hfl.engine.host import HostRun


def prepare_masks(run: HostRun, is_first: bool) -> HostPreparation | None:
    """Make a round's triples now, unless one is under way, and the rest beside training. None for other schemes."""
    phases = {key: layer.offline for key, layer in run.projections.items() if layer.offline is not None}
    if not phases:
        return None
    phase = next(iter(phases.values()))
    for_training, for_tests = phase.kind(True), phase.kind(False)
    rows = next(iter(run.specs.values())).rows
    train, test = (-(-len(ids) // rows) for ids in (run.train_ids, run.test_ids))
    limit, every = run.options.batches, run.scheduler.log_rounds
    a_round = {for_training: train if limit is None else min(train, limit), for_tests: test if every else 0}
    left = _rounds_left(run)
    tests = None if left is None else sum(run.is_test_due(n) or n == left[-1] for n in left)
    times = {for_training: None if left is None else len(left), for_tests: tests}
    lanes = [
        (run.links[key].offline_lane(), phase, Demand.of(phase.bytes_per_unit, a_round, times))
        for key, phase in phases.items()
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
        if layer.offline is not None:
            preparation.wait_for(at, *layer.offline.needs(training, rows))
