"""Which claims are made for noise on gradients, and which are refused."""

from __future__ import annotations

from math import erf, exp, sqrt
from typing import Any

import pytest

from secure_hfl import GaussianNoise, MarvellNoise, MaxNormNoise
from secure_hfl.errors import ConfigurationError
from secure_hfl.privacy import accounting
from secure_hfl.privacy.accounting import run_epsilon, step_epsilon, why_no_run_claim

DELTA = 1e-5


def gaussian_delta(distance: float, epsilon: float) -> float:
    """Of telling N(0, 1) from N(distance, 1): Balle and Wang (ICML 2018), theorem 8."""
    phi = [(1 + erf(x / sqrt(2))) / 2 for x in (distance / 2 - epsilon / distance, -distance / 2 - epsilon / distance)]
    return phi[0] - exp(epsilon) * phi[1]


@pytest.mark.parametrize("sigma", [1.0, 4.0, 16.0])
def test_a_step_is_that_of_two_gaussians_two_clips_apart(sigma: float) -> None:
    pytest.importorskip("dp_accounting")
    epsilon = step_epsilon(GaussianNoise(clip=0.1, sigma=sigma), DELTA)
    assert gaussian_delta(2 / sigma, epsilon) == pytest.approx(DELTA, rel=1e-3)


def test_looks_add_up_where_the_host_learns_nothing() -> None:
    pytest.importorskip("dp_accounting")
    noise = GaussianNoise(clip=0.1, sigma=8.0)
    assert run_epsilon(noise, DELTA, looks=1, host_learns=False) == step_epsilon(noise, DELTA)
    epsilon = run_epsilon(noise, DELTA, looks=9, host_learns=False)
    assert gaussian_delta(2 * 3 / 8, epsilon) == pytest.approx(DELTA, rel=1e-3)
    with pytest.raises(ConfigurationError, match="looks must be a positive integer"):
        run_epsilon(noise, DELTA, looks=0, host_learns=False)


def test_a_run_in_which_the_host_learns_has_no_claim() -> None:
    noise = GaussianNoise(clip=0.1, sigma=1000.0)
    with pytest.raises(ConfigurationError, match="the Host's own models learn from labels without noise"):
        run_epsilon(noise, DELTA, looks=1)
    assert not why_no_run_claim(noise, host_learns=False)


@pytest.mark.parametrize("noise", [MaxNormNoise(), MarvellNoise(4.0)])
def test_heuristics_have_no_claim_at_all(noise: Any) -> None:
    for ask in (lambda: step_epsilon(noise, DELTA), lambda: run_epsilon(noise, DELTA, 1, host_learns=False)):
        with pytest.raises(ConfigurationError, match=r"bounds nothing\. For a bound over a run take label_privacy"):
            ask()


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5])
def test_delta_is_a_small_probability(delta: float) -> None:
    with pytest.raises(ConfigurationError, match="delta must be between 0 and 1"):
        step_epsilon(GaussianNoise(0.1, 1.0), delta)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'secure-hfl\[privacy\]'"):
        step_epsilon(GaussianNoise(0.1, 1.0), DELTA)
