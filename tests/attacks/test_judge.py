"""Lies that no online check sees, and the judge: he convicts who lied, of the message it lied in, and nobody else.

Every attack runs to its end, on both sides, with the checks of every batch that are due. Before there was a judge that
was all: message 4 made from -30 a moves W thirty times as far, the wrong way, and both transcripts hold.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import C, H
from protocols.core.sender import Sender
from protocols.judge.verdict import Judgement, Outcome
from protocols.layer.quantised import QuantisedFeatures, QuantisedGradient
from protocols.layer.shapes import add
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.share_test import ShareTest
from tests.judge.judged_runs import NAMES, Run, run_of
from tests.protocols.transcript.recorded_runs import check
from tests.protocols.whole_task import Case

CASE = Case(rounds=1)
LIE = np.uint64(1 << 22)
"""Added to elements of the ring: 2^-10 in W."""


class GreedyCollaborator(EncryptedCollaborator):
    """Makes message 4 from -30 a."""

    def _step(self, features: Any, *others: Any) -> Any:
        return super()._step(-30 * features, *others)


class ForgetfulCollaborator(EncryptedCollaborator):
    """Says that its share is another one than it is."""

    def _send_share(self) -> Any:
        honest, self._share.values = self._share.values, add(self._share.values, LIE * (self._share.version == 1))
        yield from super()._send_share()
        self._share.values = honest


class OtherMask(EncryptedCollaborator):
    """Masks message 4 by what is not its seed's, and moves its share by what is."""

    def _step(self, features: Any, *others: Any) -> Any:
        share, honest = self._share, self._share.step_mask
        share.step_mask = lambda: add(honest(), LIE)  # type: ignore[method-assign]
        reply = super()._step(features, *others)
        share.values = add(share.values, LIE)
        return reply


class Untossed(EncryptedCollaborator):
    """Its coin never says that the host's share is to be tested (share_test.py)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._test = ShareTest(self._share, 0, self._masks)


class OtherHostShare(EncryptedHost):
    """Lies in one [U], where no coin says that it is tested."""

    def _exchange_shares(self) -> Any:
        honest, self._share.values = self._share.values, add(self._share.values, LIE * (self._share.version == 1))
        steps = super()._exchange_shares()
        step = next(steps)
        self._share.values = honest
        answer = yield step
        while True:
            try:
                answer = yield steps.send(answer)
            except StopIteration:
                return


class OtherGradient(EncryptedHost):
    """Shows the collaborator another gradient than that of its step."""

    def _feature_gradient(self, gradient: QuantisedGradient, *others: Any) -> Any:
        other = QuantisedGradient(-gradient.mantissas, gradient.exponent, gradient.step)
        return super()._feature_gradient(other, *others)


class OwnRounding(EncryptedHost):
    """Rounds as it likes: this is how a host would hide a little in every step."""

    def backward(self, dz: Any, learning_rate: float) -> Any:
        honest, share = self._share.rounding, self._share
        share.rounding = lambda: share.secrets.secret("another")  # type: ignore[method-assign]
        yield from super().backward(dz, learning_rate)
        share.rounding = honest  # type: ignore[method-assign]


class UntossedHost(EncryptedHost):
    """Its coin never says that the collaborator's share is to be tested (relation_test.py)."""

    def _run_tests(self, *given: Any, **more: Any) -> Any:
        self._moved = None
        yield from super()._run_tests(*given, **more)


LIES: dict[str, tuple[Sender, Any, str]] = {
    "message 4 from -30 a": (C, GreedyCollaborator, "WeightGradient"),
    "message 4 with another mask": (C, OtherMask, "WeightGradient"),
    "a false share of the collaborator": (C, ForgetfulCollaborator, "CollaboratorShare"),
    "a false share of the host": (H, OtherHostShare, "HostShare"),
    "another gradient than the step's": (H, OtherGradient, "FeatureGradient"),
    "rounding as it likes": (H, OwnRounding, "StepGradient"),
}


@lru_cache
def lying(lie: str) -> tuple[Run, Judgement]:
    """The run, and what the judge says of both openings."""
    sender, role, _ = LIES[lie]
    run = Run(CASE, {C: Untossed, H: UntossedHost, sender: role})
    return run, run.judged(1)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_passes_all_checks_and_is_found_by_the_judge(lie: str) -> None:
    sender, _, message = LIES[lie]
    run, judgement = lying(lie)
    assert check(run.files[H], run.files[C]).holds  # nothing in the transcripts says so
    assert judgement.convicted == {NAMES[sender]}
    convicting = {each.message for each in judgement.of(Outcome.CONVICTS)}
    assert message in convicting
    assert all(each.sender == sender.role for each in judgement.of(Outcome.CONVICTS))


@pytest.mark.parametrize("lie", LIES)
def test_the_liar_cannot_turn_it_around_alone(lie: str) -> None:
    """Its own opening by itself convicts nobody but itself."""
    sender, _, _ = LIES[lie]
    run, _ = lying(lie)
    assert run.judge(run.opening(sender, 1)).convicted <= {NAMES[sender]}
    assert run.judge(run.opening(sender.other, 1)).convicted <= {NAMES[sender]}


def test_the_first_weights_of_a_chosen_factor_are_found() -> None:
    class Chosen(EncryptedCollaborator):
        """Begins with a factor of its choice."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._share.randomness = self._share.secrets.secret("another")

    judgement = Run(CASE, {C: Chosen}).judged(1)
    assert {(each.message, each.convicted) for each in judgement.of(Outcome.CONVICTS)} == {("InitialFactor", NAMES[C])}


def test_features_of_another_batch_are_found() -> None:
    class Swapped(EncryptedCollaborator):
        """Sends z of one batch and the weight gradient of another; opens the first."""

        def _step(self, features: Any, *others: Any) -> Any:
            other = QuantisedFeatures.of("x", np.full(features.shape, 0.5, np.float32), self._parameters)
            return super()._step(other.gradient, *others)

    judgement = Run(CASE, {C: Swapped}).judged(1)
    assert judgement.convicted == {NAMES[C]}


def test_nobody_is_convicted_where_nobody_lied() -> None:
    assert not run_of(CASE).judged(1).convicted
