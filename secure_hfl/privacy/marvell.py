"""The noise that hides a binary label best for its power: the optimisation problem of Marvell, solved.

Gradients of the two classes are taken to be N(m0, u I) and N(m1, v I) in d dimensions, with gap = ||m1 - m0||^2 and a
share p of positives. Noise N(0, S0) for the negatives and N(0, S1) for the positives is to minimise

    sumKL = KL(P1 || P0) + KL(P0 || P1)    subject to    (1 - p) tr S0 + p tr S1 <= power.

The best S have one eigenvalue along m1 - m0 and one across it. In terms of the totals A = u + (negatives along),
B = v + (positives along), C = u + (negatives across), and for u <= v nothing across for the positives,

    2 sumKL + 2 d = (d - 1) (C/v + v/C) + A/B + B/A + gap (1/A + 1/B).

The right side is a posynomial and the budget is one too (a geometric program), so a local minimum is the minimum, and
what is best for each C has one minimum over C: a search in one dimension finds it. For one C the whole rest of the
power goes along the gap. With K = (1 - p) A + p B and r = A/B,

    A/B + B/A + gap (1/A + 1/B) = r (1 + gap (1 - p)/K) + (1/r) (1 + gap p/K) + gap/K,

so r^2 = (K + gap p) / (K + gap (1 - p)), moved to the nearest r where A >= u and B >= v.

**Reference** Li, Sun, Yang, Gao, Zhang, Xie, Smith, Wang, Label Leakage and Protection in Two-party Split Learning
(ICLR 2022): "Marvell", for the problem and the shape of its solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

GOLDEN = (sqrt(5) - 1) / 2
STEPS = 80
"""Of the search: the interval shrinks to 2e-17 of its length."""


@dataclass(frozen=True)
class NoiseVariances:
    """Variances of the noise in each direction: along the difference of the classes' means, and across it."""

    negative_along: float
    negative_across: float
    positive_along: float
    positive_across: float


@dataclass(frozen=True)
class Classes:
    """What is known of the two classes' gradients.

    Args:
        gap: squared distance of the means.
        negative: variance of the negatives in each direction.
        positive: the same of the positives.
        width: dimensions.
        share: of positives, between 0 and 1.
    """

    gap: float
    negative: float
    positive: float
    width: int
    share: float


def optimal_noise(classes: Classes, power: float) -> NoiseVariances:
    """The noise of at most this power with the smallest sumKL."""
    if power <= 0:
        return NoiseVariances(0.0, 0.0, 0.0, 0.0)
    if classes.negative > classes.positive:
        mirrored = Classes(classes.gap, classes.positive, classes.negative, classes.width, 1 - classes.share)
        best = optimal_noise(mirrored, power)
        return NoiseVariances(best.positive_along, best.positive_across, best.negative_along, best.negative_across)
    across = _best_across(classes, power)
    spent = (1 - classes.share) * (classes.width - 1) * across
    _, negative, positive = _best_along(classes, max(power - spent, 0.0))
    return NoiseVariances(negative, across, positive, 0.0)


def _best_across(classes: Classes, power: float) -> float:
    """By golden-section search: what to add to the negatives in every direction across the gap."""
    others = classes.width - 1
    highest = classes.positive - classes.negative
    if not others or not highest > 0:
        return 0.0
    cost = (1 - classes.share) * others
    low, high = 0.0, min(highest, power / cost)

    def value(added: float) -> float:
        rest = max(power - cost * added, 0.0)
        return others * _ratios(classes.negative + added, classes.positive) + _best_along(classes, rest)[0]

    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = value(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = value(right)
    return (low + high) / 2


def _best_along(classes: Classes, power: float) -> tuple[float, float, float]:
    """(what the formula above has along the gap, variance for the negatives, for the positives)."""
    u, v, gap, p = classes.negative, classes.positive, classes.gap, classes.share
    q = 1 - p
    budget = power + q * u + p * v
    if budget <= 0:
        return inf, 0.0, 0.0
    ratio = sqrt((budget + gap * p) / (budget + gap * q))
    lowest = p * u / (power + p * v) if u else 0.0  # A = u
    highest = (power + q * u) / (q * v) if v else inf  # B = v
    ratio = min(max(ratio, lowest), highest)
    if ratio <= 0:
        return inf, 0.0, power / p
    positive = budget / (q * ratio + p)
    value = ratio * (1 + gap * q / budget) + (1 + gap * p / budget) / ratio + gap / budget
    return value, max(ratio * positive - u, 0.0), max(positive - v, 0.0)


def _ratios(one: float, other: float) -> float:
    """x/y + y/x; two directions in which nothing varies are alike."""
    if one == other:
        return 2.0
    return one / other + other / one if one and other else inf
