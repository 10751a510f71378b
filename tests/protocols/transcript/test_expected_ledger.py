"""What a task is said to tell before it starts is no less than what an audit finds that it told."""

from __future__ import annotations

import pytest

from protocols.transcript.auditor import audit
from protocols.transcript.expected_ledger import expected_ledger
from protocols.transcript.format import lines_of
from tests.protocols.transcript.recorded_runs import transcripts
from tests.protocols.whole_task import Case


@pytest.mark.parametrize("is_trained", [True, False])
@pytest.mark.parametrize("scheme", ["plain", "masked", "bfv"])
def test_a_run_tells_no_more_than_was_said_before(scheme: str, is_trained: bool) -> None:
    case = Case(scheme, trainable=is_trained)
    found = audit(lines_of([transcripts(case)[0]])).ledger
    assert found is not None
    said = expected_ledger(scheme, found.host, found.collaborator, case.rounds, is_trained=is_trained)
    assert set(found.host_learned) <= set(said.host_learned)
    assert set(found.collaborator_learned) <= set(said.collaborator_learned)
    assert found.host_may_infer == said.host_may_infer
    assert found.collaborator_may_infer == said.collaborator_may_infer
    assert set(said.never_sent_to_host) <= set(found.never_sent_to_host)
    assert set(said.never_sent_to_collaborator) <= set(found.never_sent_to_collaborator)


def test_what_matters_is_said() -> None:
    trained = expected_ledger("bfv", "hospital", "insurer", 3, is_trained=True)
    assert any("features of insurer" in each and "3 rounds" in each for each in trained.host_may_infer)
    assert any("labels of training samples" in each for each in trained.collaborator_may_infer)
    frozen = expected_ledger("bfv", "hospital", "insurer", 3, is_trained=False)
    assert not frozen.collaborator_may_infer
    assert "any gradient" in frozen.never_sent_to_collaborator
    plain = expected_ledger("plain", "hospital", "insurer", 3, is_trained=True)
    assert "insurer's features in the clear" not in plain.never_sent_to_host
    summed = expected_ledger("bfv", "hospital", "insurer", 3, is_trained=True, summed=("insurer", "laboratory"))
    assert "a projection of insurer by itself" in summed.never_sent_to_host


@pytest.mark.parametrize("scheme", ["bfv", "masked"])
def test_what_is_said_of_a_sum_is_about_the_sum(scheme: str) -> None:
    """The host has no z + e of one collaborator, and each collaborator is sent the others' keys."""
    said = expected_ledger(scheme, "hospital", "insurer", 3, is_trained=True, summed=("insurer", "laboratory"))
    assert not any("the smoothed projection z + e" in each for each in said.host_learned)
    assert any("insurer's summand in a sum" in each for each in said.host_learned)
    (inferred,) = said.host_may_infer
    assert "sum of its projections and those of laboratory, in 3 rounds: at most what one rotation of them" in inferred
    assert any(each.startswith("the public keys by which the collaborators hide") for each in said.both_learned)
    assert "anything of other collaborators" not in said.never_sent_to_collaborator
    assert any(
        each.startswith("features of other collaborators in the clear") for each in said.never_sent_to_collaborator
    )
