"""The examples' networks trained in one process by torch's own autograd: what split training is compared with.

Initial weights are those that real parties get from the same seed; the projection layers are in the clear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from protocols.core.fixed_point import BLOCK_BITS, FEATURE_BITS
from protocols.core.randomness import SeededRandomness
from protocols.layer.parameters import LayerParameters
from protocols.layer.reference import initial_factors
from secure_hfl.engine.run import seed_everything

PROJECTION_LR = 0.01  # the schedulers' default


@dataclass(frozen=True)
class Trained:
    """Batch losses, and the last test's figures."""

    losses: list[float]
    figures: dict[str, float]


def common_ids(task: ModuleType) -> set[str]:
    """What all parties hold."""
    return set.intersection(*(set(task.local_ids(party)) for party in task.PARTIES))


def projection(seed: int, party: str, width_out: int, width_in: int) -> torch.Tensor:
    """The layer's weights as the two sides' seeded randomness makes them."""
    host, other = (SeededRandomness(seed, f"projection of {party} at {role}") for role in ("host", "collaborator"))
    left, right = initial_factors(host, other, width_out, width_in)
    return torch.tensor(left @ right, requires_grad=True)


class NoisyLayer(torch.autograd.Function):
    """z = a W^T and da = dz W, each with as much noise as an encrypted scheme adds to it, or none."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, weights: torch.Tensor, noise: torch.Generator | None) -> torch.Tensor:
        """z [rows, o]."""
        ctx.save_for_backward(features, weights)
        ctx.noise = noise
        return _with_noise(features @ weights.T, 2.0**-FEATURE_BITS, max(weights.shape), noise)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """da [rows, d], dW [o, d]."""
        (features, weights), dz = ctx.saved_tensors, gradients[0]
        step = 2.0 ** (math.frexp(float(dz.abs().max()))[1] - (BLOCK_BITS - 1))
        return _with_noise(dz @ weights, step, max(weights.shape), ctx.noise), dz.T @ features, None


def _with_noise(exact: torch.Tensor, step: float, dimension: int, noise: torch.Generator | None) -> torch.Tensor:
    if noise is None:
        return exact
    sigma = LayerParameters().smoothing_sigma(dimension) * step
    return exact + sigma * torch.randn(exact.shape, generator=noise, dtype=exact.dtype)


class Network:
    """All parties' models side by side.

    Args:
        task: the example.
        seed: of the initial weights.
        missing: parties that contribute zeros, as if trained without them.
        noise: seed of the smoothing noise; None: without.
    """

    def __init__(self, task: ModuleType, seed: int, missing: tuple[str, ...], noise: int | None) -> None:
        self.missing = missing
        self.noise = None if noise is None else torch.Generator().manual_seed(noise)
        self.bottoms: dict[str, torch.nn.Module] = {}
        self.layers: dict[str, torch.Tensor] = {}
        for index, party in enumerate(task.PARTIES):
            seed_everything(seed, party)
            self.bottoms[party] = task.bottom_model(party)
            if index == 0:
                self.top = task.top_model()
            else:
                width_in = self.bottoms[party][-1].weight.numel()
                self.layers[party] = projection(seed, party, task.PROJECTION[party], width_in)
        models = [*self.bottoms.values(), self.top]
        self.optimizers = [torch.optim.SGD(each.parameters(), lr=task.LEARNING_RATE, momentum=0.9) for each in models]
        self.optimizers.append(torch.optim.SGD(self.layers.values(), lr=PROJECTION_LR))

    def __call__(self, columns: dict[str, torch.Tensor]) -> torch.Tensor:
        """The logits of one batch."""
        fused = []
        for party, model in self.bottoms.items():
            out = model(columns[party])
            if party in self.layers:
                out = NoisyLayer.apply(out.double(), self.layers[party], self.noise).float()
            fused.append(torch.zeros_like(out) if party in self.missing else out)
        logits: torch.Tensor = self.top(torch.cat(fused, dim=1))
        return logits

    def set_mode(self, training: bool) -> None:
        """Train or eval mode."""
        for model in (*self.bottoms.values(), self.top):
            model.train(training)


def train(task: ModuleType, rounds: int, seed: int, missing: tuple[str, ...] = (), noise: int | None = None) -> Trained:
    """Train for so many rounds, then test. See `Network`."""
    train_ids, test_ids = task.split(common_ids(task))
    network, loss_function = Network(task, seed, missing, noise), task.loss_function(train_ids)
    losses: list[float] = []
    for number in range(1, rounds + 1):
        network.set_mode(training=True)
        for parts in zip(*(task.batches(party, train_ids, train_ids, number) for party in task.PARTIES)):
            logits = network({party: columns for party, (_, columns) in zip(task.PARTIES, parts)})
            loss = loss_function(logits, task.labels(parts[0][0]))
            for optimizer in network.optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in network.optimizers:
                optimizer.step()
            losses.append(loss.item())
    network.set_mode(training=False)
    outs, truths = [], []
    with torch.no_grad():
        for parts in zip(*(task.batches(party, test_ids, train_ids) for party in task.PARTIES)):
            outs.append(network({party: columns for party, (_, columns) in zip(task.PARTIES, parts)}))
            truths.append(task.labels(parts[0][0]))
    return Trained(losses, task.figures(torch.cat(outs), torch.cat(truths)))
