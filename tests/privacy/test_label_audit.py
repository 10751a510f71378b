"""What an attacker gets of one label over hundreds of retrainings: a lower bound on the epsilon of randomised response.

A canary's label is 0 or 1. A logistic model is trained on it and on few other rows, for several rounds, and the
attacker sees every gradient that a collaborator would see, knowing all else. How often it says "1" of either bounds
epsilon from below (Jagielski et al., Auditing Differentially Private Machine Learning, NeurIPS 2020). A bound that is
above the claim refutes the claim, as it does here where labels are true, or are drawn anew for every round.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import beta

from protocols.core.randomness import SeededRandomness
from secure_hfl import RandomizedResponse
from secure_hfl.privacy.randomized_response import LabelDraws

Array = NDArray[np.float64]
Labels = Callable[[torch.Tensor, int, int], torch.Tensor]
"""(true labels, retraining, round) -> what is trained on."""

RETRAININGS = 600
"""For each of the canary's two labels."""

CONFIDENCE = 0.999
ROUNDS, ROWS, CANARY = 15, 16, 0
CLAIM = 1.0
RESPONSE = RandomizedResponse(CLAIM, 2)
FEATURES = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
OTHERS = torch.arange(ROWS) % 2
IDS = [str(row) for row in range(ROWS)]


def key(*numbers: int) -> bytes:
    """One for each task, as the Host would make it; the tests always draw the same ones."""
    return SeededRandomness(1, f"label audit {numbers}").seed()


def drawn_once(labels: torch.Tensor, retraining: int, number: int) -> torch.Tensor:
    """What the engine does."""
    return LabelDraws(RESPONSE, key(retraining, int(labels[CANARY])), IDS)(labels, IDS, ROWS)


def drawn_every_round(labels: torch.Tensor, retraining: int, number: int) -> torch.Tensor:
    """Wrong."""
    return LabelDraws(RESPONSE, key(retraining, int(labels[CANARY]), number), IDS)(labels, IDS, ROWS)


def true(labels: torch.Tensor, retraining: int, number: int) -> torch.Tensor:
    """Without protection."""
    return labels


def attack(canary: int, retraining: int, labels: Labels) -> float:
    """Train, watching; how much the canary's gradients look like those of a 1."""
    truth = OTHERS.clone()
    truth[CANARY] = canary
    weights, score = torch.zeros(3, dtype=torch.float64), 0.0
    for number in range(ROUNDS):
        gradient = torch.sigmoid(FEATURES @ weights) - labels(truth, retraining, number)
        score -= float(gradient[CANARY])
        weights -= 0.1 * FEATURES.T @ gradient / ROWS
    return score


def lower_bound(ones: Array, zeros: Array, threshold: float) -> float:
    """Of epsilon, by Clopper and Pearson, from the scores of canaries with label 1 and 0."""
    n, alpha = len(ones), (1 - CONFIDENCE) / 2
    best = -math.inf
    for hits, false in (
        ((ones > threshold).sum(), (zeros > threshold).sum()),
        ((zeros <= threshold).sum(), (ones <= threshold).sum()),
    ):
        at_least = beta.ppf(alpha / 2, hits, n - hits + 1) if hits else 0.0
        at_most = beta.ppf(1 - alpha / 2, false + 1, n - false) if false < n else 1.0
        best = max(best, math.log(at_least / at_most) if at_least else -math.inf)
    return best


def audited(labels: Labels) -> float:
    """The bound of this way to give labels."""
    ones, zeros = (np.array([attack(canary, number, labels) for number in range(RETRAININGS)]) for canary in (1, 0))
    return lower_bound(ones, zeros, threshold=0.0)


def test_an_attack_on_all_rounds_stays_below_the_claim() -> None:
    found = audited(drawn_once)
    assert found < CLAIM
    assert found > 0.5, "the attack is as good as it can be: it reads every drawn label"


@pytest.mark.parametrize("labels", [true, drawn_every_round])
def test_the_same_attack_refutes_the_claim_where_it_does_not_hold(labels: Labels) -> None:
    assert audited(labels) > 1.5 * CLAIM
