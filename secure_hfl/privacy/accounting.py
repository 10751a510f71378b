"""What can be claimed of noise on gradients, in numbers, and why nothing more can.

    step_epsilon      one batch: for GaussianNoise
    run_epsilon       all batches: for GaussianNoise where the Host trains nothing of its own; else refused
    why_no_run_claim  the reason, which the Host's log gives too

Figures are by Google's dp-accounting, which the extra `privacy` installs.
"""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec

from secure_hfl.errors import ConfigurationError
from secure_hfl.privacy.defence import GaussianNoise, GradientNoise

_FOR_A_BOUND = "For a bound over a run take label_privacy=RandomizedResponse(epsilon, classes)"


def step_epsilon(noise: GradientNoise, delta: float) -> float:
    """What one batch tells of one label: epsilon of (epsilon, delta)-differential privacy.

    All else is fixed: the models, and the other labels. The assumptions are those of `GaussianNoise`.

    Args:
        noise: the Host's `gradient_noise`.
        delta: between 0 and 1, both excluded.

    Raises:
        ConfigurationError: there is no claim for this noise, or dp-accounting is not installed.
    """
    if not isinstance(noise, GaussianNoise):
        raise ConfigurationError(_heuristic(noise))
    return _composed(noise, delta, looks=1)


def run_epsilon(noise: GradientNoise, delta: float, looks: int, host_learns: bool = True) -> float:
    """What a whole run tells of one label, likewise.

    Args:
        noise: the Host's `gradient_noise`.
        delta: between 0 and 1, both excluded.
        looks: how often the gradient of a sample is shown: the rounds, and once more for each time that its batch is
            repeated after an interruption, since noise is drawn anew then.
        host_learns: whether the Host has a top model with parameters that are trained, or trains a bottom model.

    Raises:
        ConfigurationError: there is no claim, and why; or dp-accounting is not installed.
    """
    reason = why_no_run_claim(noise, host_learns)
    if reason or not isinstance(noise, GaussianNoise):
        raise ConfigurationError(reason)
    if type(looks) is not int or looks < 1:
        raise ConfigurationError(f"looks must be a positive integer, not {looks!r}")
    return _composed(noise, delta, looks)


def why_no_run_claim(noise: GradientNoise, host_learns: bool) -> str:
    """Why nothing can be claimed for a run; empty: `run_epsilon` can."""
    if not isinstance(noise, GaussianNoise):
        return _heuristic(noise)
    if host_learns:
        return (
            f"{noise} bounds what one batch tells of a label, and nothing bounds the run: the Host's own models learn "
            "from labels without noise, and later gradients are made with these models, so that one label moves many "
            f"later rows. {_FOR_A_BOUND}"
        )
    return ""


def _heuristic(noise: GradientNoise) -> str:
    return f"{noise} makes known attacks harder, and bounds nothing. {_FOR_A_BOUND}"


def _composed(noise: GaussianNoise, delta: float, looks: int) -> float:
    """One label moves one row of a look by at most twice the clip; over looks, such moves add up by their squares."""
    if not 0 < delta < 1:
        raise ConfigurationError(f"delta must be between 0 and 1, not {delta!r}")
    if find_spec("dp_accounting") is None:
        raise ConfigurationError(f"a figure for {noise} needs dp-accounting: pip install 'secure-hfl[privacy]'")
    epsilon = import_module("dp_accounting").get_epsilon_gaussian
    return float(epsilon(noise.sigma / (2 * math.sqrt(looks)), delta))
