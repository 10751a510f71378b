"""Noise on the gradients that collaborators see: what the Host's `gradient_noise` takes.

    dz of every collaborator whose bottom model is trained, side by side [rows, o1 + o2 + ...]
      -> noise, once -> dz'  -> da = dz' W to each of them, and W -= lr dz'^T a

Side by side, because collaborators may compare what they got; one of them alone sees a part of dz', which says no more
than the whole. Once, because da and the move of W are both made from dz': of two noised copies the mean has less noise,
and a W moved by dz itself would carry it into every later da. All that a collaborator sees is made from dz' and from
what does not depend on labels, so whatever holds for dz' holds for it. A frozen bottom model's owner sees no gradient:
its dz stays as it is. So do the gradients of the Host's own models, which nobody else sees.

With the loss a mean over the batch, the gradient of a row is 1/rows of its sample's: `GaussianNoise.clip` is in the
units of dz as it is. Noise comes from the operating system through ChaCha20, in a run with `--seed` from the seed, and
for each batch anew: a batch that is repeated after an interruption (without a seed) gets other noise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.core.randomness import OsRandomness, Randomness, SeededRandomness, expand
from secure_hfl.errors import ConfigurationError
from secure_hfl.privacy.marvell import Classes, optimal_noise

Matrix = NDArray[np.float64]
Gradients = dict[str, NDArray[np.float32]]


class GradientNoise(ABC):
    """Something to do to a batch's gradients before collaborators see them."""

    @abstractmethod
    def perturb(self, gradients: Matrix, labels: Any, randomness: Randomness) -> Matrix:
        """The gradients that may be shown.

        Args:
            gradients: dz [rows, width].
            labels: of the batch, as the Host's `iterate_train_feature` yields them.
            randomness: where noise comes from.
        """


@dataclass(frozen=True)
class GaussianNoise(GradientNoise):
    """Clip every sample's gradient to a norm, then add the same Gaussian noise to all.

    What it guarantees, of one step, with all models and all other labels as they are: who sees every row of dz' tells
    two possible labels of one sample apart no better than N(0, 1) from N(2/sigma, 1), since another label moves one
    row by at most 2 clip. In the words of Dong et al. the step is 2/sigma-GDP in one label; in those of epsilon and
    delta it is what `secure_hfl.privacy.accounting` says. The AUC of telling them apart in that step is at most
    Phi(sqrt(2)/sigma): 0.92 at sigma 1, 0.76 at 2, 0.64 at 4. This needs a loss that is a sum or mean over samples, and
    no layer in the top model that mixes samples (BatchNorm).

    What it does not guarantee: differential privacy of a run. Every round shows each sample again (T looks are at least
    2 sqrt(T)/sigma), and the top model, which later gradients are made with, learns from the labels without noise, so
    that one label moves many later rows. Nor is rounding to float32 part of the analysis. A clip that was chosen from
    the gradients themselves says a little about them. `RandomizedResponse` has a bound for a run.

    Args:
        clip: largest norm of a sample's gradient, over all collaborators together.
        sigma: standard deviation of the noise in each coordinate, in units of `clip`.

    **Reference** Abadi et al., Deep Learning with Differential Privacy (CCS 2016); Dong, Roth, Su, Gaussian
    Differential Privacy (JRSS B 2022); Ghazi et al., Deep Learning with Label Differential Privacy (NeurIPS 2021).
    """

    clip: float
    sigma: float

    def __post_init__(self) -> None:
        _check_positive(self, "clip", self.clip)
        _check_positive(self, "sigma", self.sigma)

    def perturb(self, gradients: Matrix, labels: Any, randomness: Randomness) -> Matrix:
        """See the base. Any labels."""
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        clipped = gradients * (self.clip / np.maximum(norms, self.clip))
        noised: Matrix = clipped + self.sigma * self.clip * randomness.gaussian(gradients.shape)
        return noised


@dataclass(frozen=True)
class MaxNormNoise(GradientNoise):
    """Make all norms of a batch alike: noise along each gradient's own direction, up to the largest norm.

    g_j (1 + s_j x_j) with x_j standard normal and s_j^2 = max ||g||^2 / ||g_j||^2 - 1, so that every squared norm is
    the largest one in expectation. A gradient of zeros gets a random direction. A heuristic against the norm attack
    without a guarantee: the largest gradient stays as it is, and every other one stays on its line.

    **Reference** Li et al., Label Leakage and Protection in Two-party Split Learning (ICLR 2022): "max_norm".
    """

    def perturb(self, gradients: Matrix, labels: Any, randomness: Randomness) -> Matrix:
        """See the base. Any labels."""
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        random = randomness.gaussian(gradients.shape)
        directions = np.where(norms > 0, gradients, random)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        missing = np.sqrt(np.maximum(norms.max() ** 2 - norms**2, 0.0))
        noised: Matrix = gradients + missing * randomness.gaussian((len(gradients), 1)) * directions
        return noised


@dataclass(frozen=True)
class Estimate:
    """What one batch says of the two classes: the difference of their means [width], and the rest."""

    difference: Matrix = field(repr=False)
    classes: Classes = field(repr=False)

    @classmethod
    def of(cls, gradients: Matrix, positive: NDArray[np.bool_]) -> Estimate:
        """Both classes must be there."""
        one, other = gradients[positive], gradients[~positive]
        difference = one.mean(axis=0) - other.mean(axis=0)
        negative_spread, positive_spread = (float(group.var(axis=0).mean()) for group in (other, one))
        gap, share = float(difference @ difference), float(positive.mean())
        return cls(difference, Classes(gap, negative_spread, positive_spread, gradients.shape[1], share))

    @classmethod
    def guess(cls, gradients: Matrix, sign: float) -> Estimate:
        """From one class alone: the other has the opposite mean and the same spread, as under a fresh top model."""
        mean, spread = gradients.mean(axis=0), float(gradients.var(axis=0).mean())
        difference = 2 * sign * mean
        return cls(difference, Classes(float(difference @ difference), spread, spread, gradients.shape[1], 0.5))


@dataclass
class MarvellNoise(GradientNoise):
    """For binary labels: the Gaussian noise that makes the two classes' gradients most alike for its power.

    Each batch's gradients of a class are taken as Gaussian with the batch's mean and one variance; the noise, which
    differs by class, has the smallest sumKL between the classes of all noise with mean squared norm
    ratio * ||difference of the means||^2 (`secure_hfl.privacy.marvell`). With spreads that are small beside the
    difference and classes of one size, sumKL becomes 1/ratio, and the AUC Phi(1/sqrt(2 ratio)): 0.76 at ratio 1, 0.64
    at 4. That is the score of an attack on gradients which are as the model says, and no guarantee: it bounds nothing
    for others, nor over several rounds.

    A batch with one class only gets the noise of the last batch that had both. It belongs to one Host: it remembers
    that batch's means, also in checkpoints.

    Args:
        ratio: power of the noise, as above.

    **Reference** Li et al., Label Leakage and Protection in Two-party Split Learning (ICLR 2022): "Marvell".
    """

    ratio: float
    _last: Estimate | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_positive(self, "ratio", self.ratio)

    def perturb(self, gradients: Matrix, labels: Any, randomness: Randomness) -> Matrix:
        """See the base. Raises `ConfigurationError` unless there is one label of 0 or 1 for each row."""
        positive = _binary(labels, len(gradients))
        estimate = self._estimate(gradients, positive)
        power = self.ratio * estimate.classes.gap
        if not power > 0:
            return gradients.copy()
        best = optimal_noise(estimate.classes, power)
        unit = estimate.difference / math.sqrt(estimate.classes.gap)
        along = np.sqrt(np.where(positive, best.positive_along, best.negative_along))
        across = np.sqrt(np.where(positive, best.positive_across, best.negative_across))
        random = randomness.gaussian(gradients.shape)
        noised: Matrix = gradients + across[:, None] * random + np.outer((along - across) * (random @ unit), unit)
        return noised

    def _estimate(self, gradients: Matrix, positive: NDArray[np.bool_]) -> Estimate:
        if positive.any() and not positive.all():
            self._last = Estimate.of(gradients, positive)
        elif self._last is None or len(self._last.difference) != gradients.shape[1]:
            return Estimate.guess(gradients, 1.0 if positive.all() else -1.0)
        return self._last

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        if self._last is None:
            return {}
        known = self._last.classes
        return {"difference": self._last.difference, "classes": [known.negative, known.positive, known.share]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        self._last = None
        if state:
            difference = np.array(state["difference"], dtype=np.float64)
            negative, positive, share = state["classes"]
            gap = float(difference @ difference)
            self._last = Estimate(difference, Classes(gap, negative, positive, len(difference), share))


class BatchNoise:
    """The noise of one training batch.

    Args:
        noise: the Host's `gradient_noise`.
        labels: of the batch, as the Host's `iterate_train_feature` yields them.
        shown: keys of the collaborators that see their gradient.
        seed: of a run that can be repeated, or None.
        place: round and batch, in words.
    """

    def __init__(
        self, noise: GradientNoise | None, labels: Any, shown: Collection[str], seed: int | None, place: str
    ) -> None:
        self._noise, self._labels, self._shown, self._seed, self._place = noise, labels, shown, seed, place

    def __call__(self, gradients: Gradients) -> Gradients:
        """The gradients as they may leave the Host, by key; each [rows, its width] float32."""
        keys = [key for key in gradients if key in self._shown]
        if self._noise is None or not keys:
            return gradients
        together = np.concatenate([gradients[key] for key in keys], axis=1, dtype=np.float64)
        noised = self._noise.perturb(together, self._labels, self._randomness()).astype(np.float32)
        ends = np.cumsum([gradients[key].shape[1] for key in keys])
        parts = np.split(noised, ends[:-1], axis=1)
        return {**gradients, **{key: np.ascontiguousarray(part) for key, part in zip(keys, parts)}}

    def _randomness(self) -> Randomness:
        if self._seed is None:
            return expand(OsRandomness().seed())
        return SeededRandomness(self._seed, f"gradient noise, {self._place}")


def _check_positive(owner: GradientNoise, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigurationError(f"{type(owner).__name__}: {name} must be a positive number, not {value!r}")


def _binary(labels: Any, rows: int) -> NDArray[np.bool_]:
    """Which rows are positive."""
    values = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
    fits = values.shape in ((rows,), (rows, 1)) and values.dtype.kind in "biuf"
    if not fits or not np.isin(values, (0, 1)).all():
        raise ConfigurationError(
            f"MarvellNoise needs labels of 0 and 1 as a tensor [{rows}], and iterate_train_feature yields "
            f"{list(values.shape)} {values.dtype}{' with other values' if fits else ''}. For other labels take "
            "GaussianNoise or MaxNormNoise"
        )
    positive: NDArray[np.bool_] = values.reshape(rows) == 1
    return positive
