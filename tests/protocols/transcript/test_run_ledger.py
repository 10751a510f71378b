"""What the ledger says follows from what ran, not from the scheme's name."""

from __future__ import annotations

import pytest

from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.schemes.encrypted.messages import FeatureGradient, Projection, StepGradient
from protocols.schemes.masked.messages import MaskedFeatures, MaskedGradient, MaskedStep
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient
from protocols.transcript.run_ledger import Crossed, RunLedger, ledger_of_run

H, C = Sender.HOST, Sender.COLLABORATOR


def ledger(*crossed: tuple[Sender, type[Message], int], steps: type[Message], epsilon: float = 0.0) -> RunLedger:
    """Of a run in which these crossed, in these rounds."""
    return ledger_of_run("bank", "clinic", [Crossed(*each) for each in crossed], [steps], epsilon)


@pytest.mark.parametrize(("projection", "step"), [(Projection, StepGradient), (MaskedFeatures, MaskedStep)])
def test_weights_that_move_give_the_host_a_rotation_of_all_features(
    projection: type[Message], step: type[Message]
) -> None:
    rounds = [each for number in (1, 2, 3) for each in ((C, projection, number), (H, step, number))]
    (inferred,) = ledger(*rounds, steps=step).host_may_infer
    assert "features of clinic" in inferred
    assert "one rotation of them all" in inferred
    assert "Its weights moved in 3 rounds" in inferred


def test_weights_that_stand_still_give_the_host_one_image() -> None:
    (inferred,) = ledger((C, Projection, 1), (C, Projection, 2), steps=StepGradient).host_may_infer
    assert "one noisy linear image of each row" in inferred
    assert "rotation" not in inferred


def test_of_a_scheme_that_does_not_say_how_its_weights_move_the_worst_is_said() -> None:
    (inferred,) = ledger_of_run("bank", "clinic", [Crossed(C, Projection, 1)]).host_may_infer
    assert "Its weights moved in 1 round " in inferred


@pytest.mark.parametrize("gradient", [FeatureGradient, MaskedGradient, PlainGradient])
def test_gradients_tell_labels_and_without_them_nothing_does(gradient: type[Message]) -> None:
    told = ledger((H, gradient, 1), (H, gradient, 2), steps=StepGradient)
    (inferred,) = told.collaborator_may_infer
    assert "labels of training samples, from gradients in 2 rounds" in inferred
    assert "any gradient" not in told.never_sent_to_collaborator
    frozen = ledger((C, Projection, 1), steps=StepGradient)
    assert frozen.collaborator_may_infer == ()
    assert "any gradient" in frozen.never_sent_to_collaborator


def test_randomised_labels_are_named_with_their_epsilon() -> None:
    (inferred,) = ledger((H, FeatureGradient, 1), steps=StepGradient, epsilon=2.5).collaborator_may_infer
    assert "As bank declares, each true label is 2.5-differentially private for the whole run" in inferred


def test_features_in_the_clear_need_no_inference() -> None:
    plain = ledger((C, PlainFeatures, 1), steps=StepGradient)
    assert plain.host_may_infer == ()
    assert "clinic's features in the clear" not in plain.never_sent_to_host
