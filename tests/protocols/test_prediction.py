"""A prediction in memory, in every scheme: what it computes, its order, and what an auditor says of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.harness.pump import C, H
from protocols.core.envelope import Phase, Place
from protocols.core.errors import CallOutOfOrder, InvalidInput, WrongSession
from protocols.layer.messages import FeatureShape, StepSkipped
from protocols.task.rounds import HostRounds, RoundStart
from tests.protocols.prediction_task import TRAINED, Prediction
from tests.protocols.transcript.recorded_runs import check
from tests.protocols.whole_task import Case, Task

CASES = (
    *map(Case, ("bfv", "masked", "paillier", "plain")),
    Case("bfv", trainable=False),
    Case("plain", has_projection=False),
    Case("masked", names=("patient", "shop")),
    Case("bfv", names=("patient", "shop"), is_summed=True),
    Case("masked", names=("patient", "shop"), is_summed=True),
)


def last(case: Case) -> Task:
    return Task(case).run()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_prediction_is_as_a_test_of_the_trained_weights_and_its_transcripts_hold(case: Case) -> None:
    trained = last(case)
    first, again = (Prediction(case, trained.saved[-1]).run() for _ in range(2))
    for line, other, tested in zip(first.lines, again.lines, trained.lines, strict=True):
        # Batches of the same features, at the same weights and version, as in the training's last test.
        for one, two, before in zip(line.shown, other.shown, tested.shown[-2:], strict=True):
            assert np.array_equal(one, two), "the same question had another answer"
            assert np.array_equal(one, before), "the noise was not that of the trained version"
        report = check(line.wire.files[H], line.wire.files[C])
        assert report.holds, report.findings
        ledger = report.ledger
        assert ledger is not None
        assert not ledger.collaborator_may_infer
        assert "predictions" in ledger.never_sent_to_collaborator
        assert any("predictions of samples that it asked for" in said for said in ledger.host_learned)
        assert report.manifests[0].terms["prediction"].endswith(TRAINED.hex())
        if case.scheme != "plain":
            (inferred,) = ledger.host_may_infer
            assert "all sessions of the task together" in inferred
            assert ("the sum of their projections" in inferred) == case.is_summed
            assert (f"a projection of {line.name} by itself" in ledger.never_sent_to_host) == case.is_summed


def test_where_no_id_is_held_by_all_the_end_follows_on_the_intersection() -> None:
    case = Case("plain")
    run = Prediction(case, last(case).saved[-1], batches=()).run()
    assert check(run.wire.files[H], run.wire.files[C]).holds


def test_limits_of_predictions_are_in_the_signed_terms() -> None:
    case = Case("plain")
    run = Prediction(case, last(case).saved[-1], prediction_limit=3, asked_limit=40).run()
    limits = run.manifest.limits("patient")
    assert (limits.predictions, limits.asked_a_day) == (3, 40)
    assert check(run.wire.files[H], run.wire.files[C]).holds
    assert b'"asked_limit":40' in run.wire.files[C]


def test_the_result_of_another_training_is_refused() -> None:
    case = Case("plain")
    with pytest.raises(WrongSession, match="result of another training"):
        Prediction(case, last(case).saved[-1], hello_trained=bytes(32)).run()


@pytest.mark.parametrize(("trained", "said"), [(b"", "patient trains it"), (bytes(32), "another training")])
def test_who_trains_and_who_predicts_do_not_meet(trained: bytes, said: str) -> None:
    case = Case("plain")
    with pytest.raises(WrongSession, match=said):
        Prediction(case, last(case).saved[-1], hello_trained=trained).join()


def test_a_prediction_trains_nothing() -> None:
    rounds = HostRounds(["patient"], is_prediction=True)
    with pytest.raises(CallOutOfOrder, match="a prediction trains nothing"):
        rounds.begin_round(Phase.TRAIN)
    case = Case("plain")
    run = Prediction(case, last(case).saved[-1])
    run.join()
    run.intersect()
    for message, place in (
        (RoundStart(0), Place(Phase.TRAIN, 1)),
        (StepSkipped(), Place(Phase.TRAIN, 1)),
        (RoundStart(0), Place(Phase.TEST, 1)),
    ):
        with pytest.raises(CallOutOfOrder):
            run.wire.orders[H].sent(place, message)
    run.wire.orders[C].sent(Place(Phase.SETUP), FeatureShape(4, 3))
    with pytest.raises(CallOutOfOrder):
        run.wire.orders[C].sent(Place(Phase.SETUP), FeatureShape(4, 3))


def test_a_hello_of_a_prediction_cannot_ask_for_gradients_or_a_resumption() -> None:
    case = Case("plain")
    prediction = Prediction(case, last(case).saved[-1])
    hello = prediction.hello(prediction.lines[0])
    for changed in ({"is_feature_trainable": True}, {"is_resuming": True}, {"trained": b"short"}):
        with pytest.raises(InvalidInput):
            replace(hello, **changed)
    with pytest.raises(InvalidInput, match="only a prediction"):
        replace(hello, trained=b"", asked_limit=5)
