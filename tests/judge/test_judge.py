"""What the judge says of honest rounds: everything is as it should be, or it says what is missing."""

from __future__ import annotations

import pytest

from benchmarks.harness.pump import C, H
from protocols.core.envelope import Phase
from protocols.judge.verdict import Outcome
from protocols.task.resumption import ResumePoint
from tests.judge.judged_runs import NAMES, Run, run_of
from tests.protocols.whole_task import Before, Case, Task

CASES = [Case(), Case(skip=1), Case(d=2, o=3, batches=(3, 1)), Case(trainable=False), Case("paillier", rounds=1)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_openings_of_an_honest_round_are_consistent(case: Case) -> None:
    for number in range(1, case.rounds + 1):
        judgement = run_of(case).judged(number)
        assert not judgement.refused
        assert not [str(each) for each in judgement.verdicts if each.outcome is not Outcome.CONSISTENT]
        assert judgement.holds
        assert set(judgement.openers) == set(NAMES.values())


def test_every_kind_of_message_of_a_round_is_judged() -> None:
    judged = {each.message for each in run_of().judged(1).verdicts}
    assert judged == {
        "SecretsCommitment",
        "InitialFactor",
        "InitialShare",
        "HostShare",
        "CollaboratorShare",
        "Projection",
        "StepGradient",
        "FeatureGradient",
        "WeightGradient",
    }


@pytest.mark.parametrize(
    "place", [ResumePoint(Phase.SETUP), ResumePoint(Phase.TRAIN, 1), ResumePoint(Phase.TRAIN, 2, 2)]
)
def test_a_round_behind_an_interruption_is_judged(place: ResumePoint) -> None:
    case = Case(rounds=3)
    first = Task(case, every=2).run()
    saved = next(each for each in first.saved if each.point == place)
    judgement = Run(case, before=Before(saved, conversations=1)).judged(2)
    assert judgement.holds, [str(each) for each in judgement.verdicts if each.outcome is not Outcome.CONSISTENT]


def test_a_summand_is_not_judged_and_everything_else_is() -> None:
    """What hides it is not in an opening: nobody is convicted of it, and nobody cleared."""
    judgement = run_of(Case(names=("patient", "shop"), is_summed=True)).judged(1)
    undecided = judgement.of(Outcome.UNDECIDED)
    assert {each.message for each in undecided} == {"Projection"}
    assert {each.reason for each in undecided} == {"it is under the pad of a sum, which no opening shows"}
    assert not judgement.convicted
    assert {"WeightGradient", "FeatureGradient", "HostShare"} <= {e.message for e in judgement.of(Outcome.CONSISTENT)}


@pytest.mark.parametrize("sender", [H, C], ids=["host", "collaborator"])
def test_one_opening_convicts_nobody_of_an_honest_round(sender) -> None:
    for number in (1, 2):
        judgement = run_of().judge(run_of().opening(sender, number))
        assert not judgement.refused
        assert not judgement.convicted
        assert judgement.of(Outcome.CONSISTENT)
        assert any(NAMES[sender.other] in each.reason for each in judgement.of(Outcome.UNDECIDED))
