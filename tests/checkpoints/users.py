"""Parties as users write them, with all that a checkpoint has to keep; and how to train them and compare them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations

from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler
from secure_hfl.checkpoints.local_state import LocalState
from secure_hfl.checkpoints.tree import pack, unpack

Optimizer = torch.optim.Optimizer


class Collaborator(HeteroNNCollaboratorScheduler):
    """A party as a user writes it, as far as it matters here."""

    def load_local_ids(self) -> list[str]:
        return []

    def split_dataset(self, id_intersection: set[str]) -> tuple[list[str], list[str]]:
        return [], []

    def build_feature_model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def build_feature_optimizer(self, feature_model: nn.Module) -> Optimizer | None:
        return None

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[Any]) -> Iterator[Any]:
        yield

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[Any]) -> Iterator[Any]:
        yield


class Host(Collaborator, HeteroNNHostScheduler):
    """The same for a Host."""

    def build_infer_model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def build_infer_optimizer(self, infer_model: nn.Module) -> Optimizer:
        raise NotImplementedError

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        pass

    def test(self, batched_feature_projections: list[Any], batched_labels: list[Any]) -> None:
        pass


class Net(nn.Module):
    """Shared, frozen and parametrised weights, dropout, all kinds of buffers, an extra state."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.wide = parametrizations.weight_norm(nn.Linear(5, 8))
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.3)
        self.inner, self.inner_again = nn.Linear(8, 8), nn.Linear(8, 8)
        self.inner_again.weight = self.inner.weight
        self.out = nn.Linear(8, 1)
        self.frozen = nn.Parameter(torch.randn(8), requires_grad=False)
        self.register_buffer("mean", torch.zeros(8), persistent=False)
        self.register_buffer("cache", None, persistent=False)
        self.calls = 0
        self.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        hidden = self.drop(self.norm(self.wide(x)))
        self.mean.lerp_(hidden.detach().mean(0), 0.1)
        self.cache = hidden.detach()[:2] if self.cache is None else self.cache * 0.5
        hidden = torch.tanh(self.inner_again(torch.tanh(self.inner(hidden)))) + self.frozen + self.mean
        return self.out(hidden + self.cache.sum(0) / self.calls)

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": self.calls}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]


def train(model: nn.Module, optimizer: Optimizer, steps: range, after: Callable[[float], object] | None = None) -> None:
    """Some steps on data that depends on the step, dropout on the generators."""
    dtype = next(model.parameters()).dtype
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(6, 5, generator=generator).to(dtype)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()  # noqa: B023 - it runs now
            loss.backward()
            return loss

        loss = optimizer.step(closure)
        if after is not None:
            after(loss.item())


def on_disk(state: Mapping[str, Any]) -> dict[str, Any]:
    """What comes back from a file."""
    restored = unpack(pack(state))
    assert isinstance(restored, dict)
    return restored


def assert_same(one: LocalState, other: LocalState) -> None:
    """Not a bit differs, in parameters, buffers, gradients, optimizers and what hangs on the scheduler."""
    first, second = one.capture(), other.capture()
    for name, model in first["models"].items():
        for key, tensor in model["state"]["state"].items():
            if isinstance(tensor, torch.Tensor):
                assert torch.equal(tensor, second["models"][name]["state"]["state"][key]), key
    assert pack(first) == pack(second)


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "Adam tensor lr": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.05), amsgrad=True, foreach=False),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.99)),
    "LBFGS": lambda p: torch.optim.LBFGS(p, lr=0.5, max_iter=3, history_size=2),
    "LBFGS search": lambda p: torch.optim.LBFGS(p, max_iter=3, line_search_fn="strong_wolfe"),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.05),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.05),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.05),
}


def party(
    make: Callable[[Any], Optimizer], seed: int, dtype: torch.dtype = torch.float32
) -> tuple[Net, Optimizer, LocalState]:
    """A party of which the user's code has built everything."""
    torch.manual_seed(seed)
    model = Net(dtype)
    optimizer = make(model.parameters())
    return model, optimizer, LocalState({"feature_model": model}, {"feature": optimizer}, Collaborator("x"))


class Metric:
    """As torchmetrics: a state, and no more in common with torch."""

    def __init__(self) -> None:
        self.total = 0.0

    def state_dict(self) -> dict[str, float]:
        return {"total": self.total}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.total = state["total"]


class Rich(Host):
    """A user who keeps a lot."""

    def __init__(self, seed: int) -> None:
        super().__init__("x", max_rounds=1)
        torch.manual_seed(seed)
        self.metric = Metric()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**seed)
        self.teacher = nn.Linear(2, 2)
        self.shuffle = torch.Generator().manual_seed(seed)
        self.noise = np.random.default_rng(seed)
        self.legacy_noise = np.random.RandomState(seed)
        self.choice = random.Random(seed)
        self.system = random.SystemRandom()
        self.several = [Metric(), 3, {"metric": Metric()}]
        self.by_name = {"a": Metric(), 7: np.random.Generator(np.random.MT19937(seed))}
        self.rows = {str(number): number for number in range(10)}
        self.epoch = seed

    def get_extra_state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "history": [torch.tensor([self.epoch])]}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        self.epoch = state["epoch"]

    def draw(self) -> list[Any]:
        """From every generator, and every metric."""
        drawn = [torch.rand(2, generator=self.shuffle).tolist(), self.noise.random(), self.legacy_noise.random()]
        drawn += [self.choice.random(), self.by_name[7].random(), self.scaler.get_scale(), self.epoch]
        drawn += [self.metric.total, self.several[0].total, self.by_name["a"].total]
        return [*drawn, [tensor.tolist() for tensor in self.teacher.state_dict().values()]]
