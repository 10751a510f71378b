"""What a Host does without its collaborators: it predicts with its fallback head, looks up labels, and evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from secure_hfl.engine.contract import HostScheduler
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction.assignment import find_prediction
from secure_hfl.prediction.evaluation import Evaluation, NumberEvaluation, beside, evaluate, evaluate_numbers
from secure_hfl.prediction.features import Rows
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.prediction.outcome import ALONE, Predictions, Request


class PredictingAlone:
    """A Host with a finished task that has trained a fallback head.

    Args:
        side: the Host's. Not while a session is open.

    Raises:
        ConfigurationError: no such head was trained.
    """

    def __init__(self, side: HostSide) -> None:
        if side.models.fallback is None:
            raise ConfigurationError(
                f"task {side.party.assignment.record.name!r} has no fallback head: it is trained where the Host's "
                "script says fallback=True"
            )
        self._side, self._head = side, side.models.fallback

    def predict(self, ids: Sequence[str]) -> Predictions:
        """Outputs of the ids that the Host holds, in the order of the request.

        Raises:
            ConfigurationError, UserCodeError: these are no ids, or the Host's own code failed at them.
        """
        user, party = self._side.bench.user, self._side.party
        user.interrupter = user.interrupter.renewed()
        try:
            request = Request(ids, self._side.held(), party.assignment.party, self._side.classes)
            rows = party.features.of(request.asked) if request.asked else Rows((), torch.empty(0, 0))
            outputs = self._head.outputs(rows.plain) if request.asked else torch.empty(0, 0)
        finally:
            user.interrupter.stop()
        return replace(request.answered(rows.ids, outputs, {}, rows.labels), source=ALONE)


def predicting_alone(scheduler: HostScheduler, reference: str) -> PredictingAlone:
    """The Host of a finished task. Errors as `find_prediction` and `PredictingAlone`."""
    return PredictingAlone(HostSide(scheduler, *find_prediction(scheduler, "host", reference)))


def labelled(scheduler: HostScheduler, reference: str, found: Predictions) -> Predictions:
    """The same with labels, where the Host has labels and no features: predictions alone do not ask for them."""
    if scheduler.is_feature_holder or found.labels:
        return found
    return labels_beside(HostSide(scheduler, *find_prediction(scheduler, "host", reference)), found)


def labels_beside(side: HostSide, found: Predictions) -> Predictions:
    """The same with what the Host's iterators yield for each row of the outputs."""
    ids = {row: each for each, row in found.at.items()}
    return replace(found, labels=side.party.features.labels_of([ids[row] for row in sorted(ids)]))


def predicted_beside(scheduler: HostScheduler, reference: str, found: Predictions) -> Predictions | None:
    """What the Host alone predicts of the samples that were predicted; None where it has no fallback head."""
    assignment, training = find_prediction(scheduler, "host", reference)
    if not training.has_fallback:
        return None
    return PredictingAlone(HostSide(scheduler, assignment, training)).predict(list(found.at))


def evaluated(scheduler: HostScheduler, reference: str, found: Predictions) -> Evaluation | NumberEvaluation:
    """How good predictions are, beside those of the Host's fallback head if it has one. Not while a session is open.

    Raises:
        ConfigurationError: as `evaluate` and `evaluate_numbers`.
        MissingExtra: torchmetrics is not installed.
    """
    found = labelled(scheduler, reference, found)
    figures = evaluate_numbers(found) if found.classes == () else evaluate(found)
    alone = predicted_beside(scheduler, reference, found)
    return figures if alone is None else beside(figures, alone)
