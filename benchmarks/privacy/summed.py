"""What the Host learns of one collaborator if it gets the sum of all projections only (`fusion="sum"`).

Plain torch, no roles: z = sum of a_k W_k^T, against the z_k side by side, as the Host gets them. Every collaborator has
a strip of MNIST's columns; W_k moves as a layer does where bottom models are trained, and stays where they are frozen.
Scored are collaborator k's features in the last round, by a Host that knows k's features of some rows:

    one look     linear regression, and the most likely features given the last z
    all looks    the most likely features given the z of all rounds, and linear regression from all of them at once, as
                 if they were one wide look; the more rows are known, the better
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from benchmarks.privacy import tasks
from benchmarks.privacy.inversion import ridge
from benchmarks.privacy.scores import nmse
from benchmarks.privacy.views import PROJECTION_LR
from benchmarks.privacy.whole_run import agreement, from_known_rows
from protocols.core.randomness import SeededRandomness
from protocols.layer.reference import orthogonal_factor

TRAIN, TEST, ROWS, LEARNING_RATE, KNOWN, MANY = 4000, 1000, 128, 0.05, 50, 500
Look = tuple[NDArray[Any], list[NDArray[Any]]]
"""z, and the features of each collaborator."""


@dataclass(frozen=True)
class Fusion:
    """What the Host gets.

    Args:
        collaborators: how many.
        is_sum: the sum of their projections, or each.
        width: of a projection.
        trained: the bottom models are.
    """

    collaborators: int
    is_sum: bool
    width: int
    trained: bool

    @property
    def numbers(self) -> int:
        """That the Host sees of a row."""
        return self.width if self.is_sum else self.width * self.collaborators


class SummedRun:
    """One training run.

    Args:
        samples: of training and of testing.
    """

    def __init__(self, fusion: Fusion, samples: tuple[int, int] = (TRAIN, TEST)) -> None:
        torch.manual_seed(1)
        self.fusion, self._samples, d = fusion, samples, tasks.WIDTH
        pictures, digits = tasks.mnist_rows(sum(samples))
        edges = np.linspace(0, 28, fusion.collaborators + 2).astype(int)
        strips = [pictures[:, :, left:right].copy() for left, right in pairwise(edges)]
        self.columns, self.labels = [torch.from_numpy(strip) for strip in strips], torch.from_numpy(digits)
        self.own, *self.others = (tasks.perceptron(28 * strip.shape[2]) for strip in strips)
        self.top = nn.Sequential(nn.Linear(d + fusion.numbers, 20), nn.ReLU(), nn.Linear(20, 10))
        source = SeededRandomness(1, "summed")
        self.layers = [nn.Linear(d, fusion.width, bias=False) for _ in self.others]
        for layer in self.layers:
            layer.weight.data = torch.from_numpy(orthogonal_factor(source, fusion.width, d)).float()
        bottoms = self.others if fusion.trained else []
        self.optimizer = SGD(nn.ModuleList([self.own, self.top, *bottoms]).parameters(), LEARNING_RATE, momentum=0.9)
        rate = PROJECTION_LR if fusion.trained else 0.0
        self.layer_optimizer = SGD(nn.ModuleList(self.layers).parameters(), rate)

    def train(self, epochs: int) -> tuple[list[Look], float]:
        """What the Host saw of the test rows after each epoch, or once; and the accuracy."""
        looks, training = [], self._samples[0]
        test = torch.arange(training, sum(self._samples))
        for _ in range(epochs):
            for rows in torch.randperm(training).split(ROWS):
                self.optimizer.zero_grad()
                self.layer_optimizer.zero_grad()
                cross_entropy(self._forward(rows)[0], self.labels[rows]).backward()
                self.optimizer.step()
                self.layer_optimizer.step()
            with torch.no_grad():
                out, z, features = self._forward(test)
            looks.append((z.numpy(), [each.numpy() for each in features]))
        accuracy = float((out.argmax(1) == self.labels[test]).float().mean())
        return looks if self.fusion.trained else looks[-1:], accuracy

    def _forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """(scores, z, features)."""
        own, *others = (strip[rows] for strip in self.columns)
        features = [bottom(strip) for bottom, strip in zip(self.others, others)]
        if not self.fusion.trained:
            features = [each.detach() for each in features]
        projections = [layer(each) for layer, each in zip(self.layers, features)]
        z = torch.stack(projections).sum(dim=0) if self.fusion.is_sum else torch.cat(projections, 1)
        return self.top(torch.cat([self.own(own), z], 1)), z, features


def summed_scores(quick: bool) -> list[dict[str, Any]]:
    """Sums beside projections side by side that show as many numbers, and half as many."""
    lines = []
    for trained in (True, False):
        for collaborators in (2, 3):
            for width, is_sum in ((20, False), (20 // collaborators, False), (20, True), (10, True)):
                fusion = Fusion(collaborators, is_sum, width, trained)
                looks, accuracy = SummedRun(fusion).train(2 if quick else 15)
                few, many = (features_errors(looks, known) for known in (KNOWN, MANY))
                lines.append(
                    {
                        "bottom models": "trained" if trained else "frozen",
                        "collaborators": collaborators,
                        "the Host gets": f"{'the sum' if is_sum else 'each'}, 20 to {width}",
                        "numbers a row": fusion.numbers,
                        "accuracy": accuracy,
                        "error, 50 rows known": float(np.mean(few)),
                        "error, 500 rows known": float(np.mean(many)),
                        "inner products, none known": float(np.mean(_products(looks[-1], fusion))),
                    }
                )
    return lines


def features_errors(looks: list[Look], known: int) -> list[float]:
    """The best attack's error of the features of each collaborator, by a Host that knows so many of its rows."""
    seen = [z for z, _ in looks]
    return [_error(seen, features.astype(float), known) for features in looks[-1][1]]


def _products(look: Look, fusion: Fusion) -> list[float]:
    """Correlation of each collaborator's inner products with those of what the Host got in the last round."""
    z, features = look[0].astype(float), [each.astype(float) for each in look[1]]
    parts = [z] * len(features) if fusion.is_sum else np.split(z, len(features), axis=1)
    return [agreement(part @ part.T, truth) for part, truth in zip(parts, features)]


def _error(seen: list[NDArray[Any]], truth: NDArray[Any], known: int) -> float:
    rows, everything = truth[:known], np.concatenate(seen, axis=1).astype(float)
    guesses = [
        ridge(seen[-1][:known], rows, seen[-1]),
        ridge(everything[:known], rows, everything),
        from_known_rows(seen[-1:], rows),
        from_known_rows(seen, rows),
    ]
    return min(nmse(guess[known:], truth[known:]) for guess in guesses)
