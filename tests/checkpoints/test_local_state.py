"""A party that is built again and given its state back trains on as if nothing had happened, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as lr

from secure_hfl import SecureOptimizer
from secure_hfl.checkpoints.local_state import LocalState, capture_generators, restore_generators
from secure_hfl.checkpoints.tree import pack
from tests.checkpoints.users import OPTIMIZERS, Collaborator, Net, assert_same, on_disk, party, train

Optimizer = torch.optim.Optimizer


def goes_on(make: Callable[[Any], Optimizer], dtype: torch.dtype = torch.float32) -> None:
    """Three steps, a checkpoint, three more; and the last three again by a party built anew."""
    model, optimizer, local = party(make, seed=1, dtype=dtype)
    train(model, optimizer, range(3))
    state, generators = on_disk(local.capture()), on_disk(capture_generators())
    train(model, optimizer, range(3, 6))

    again, other_optimizer, other = party(make, seed=2, dtype=dtype)
    restore_generators(generators)
    for _ in range(2):  # a state may be given back more than once
        other.restore(state)
        assert pack(other.capture()) == pack(state)
    kept = pack(state)
    train(again, other_optimizer, range(3, 6))
    assert pack(state) == kept  # training goes on with copies
    assert again.calls == model.calls
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert_same(local, other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on(name: str) -> None:
    goes_on(OPTIMIZERS[name])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["Adam", "LBFGS"])
def test_an_optimizer_of_another_dtype_goes_on(name: str, dtype: torch.dtype) -> None:
    goes_on(OPTIMIZERS[name], dtype)


class Counting(Optimizer):
    """An optimizer whose state is not only its parameters', nor of their dtype, as third parties write them."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.01})

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        self.state["all"].setdefault("losses", []).append(loss.item())
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            state.setdefault("count", torch.zeros((), dtype=torch.int64)).add_(2**40 + 1)
            state.setdefault("sum", torch.zeros(parameter.shape, dtype=torch.float64)).add_(parameter.grad)
            state["mode"], state["past"] = "warm", [state["sum"].clone(), (state["count"].clone(), None)]
            parameter.data.sub_((state["sum"] * 0.01 + state["past"][0] / state["count"]).to(parameter.dtype))
        return loss


def test_optimizer_state_keeps_its_dtype() -> None:
    goes_on(Counting)  # torch would cast everything but "step", and spoil text


def test_a_secure_optimizer_goes_on() -> None:
    # Its groups are those of two optimizers, and of a projection layer that has no parameters here.
    def make(parameters: Any) -> SecureOptimizer:
        first, *rest = list(parameters)
        inner = torch.optim.Adam([first], lr=0.01), torch.optim.SGD(rest, lr=0.1, momentum=0.9)
        secure = SecureOptimizer(*inner, projections=["b"], projection_lr=0.25)
        secure.param_groups[-1]["lr"] *= 0.5
        secure.open(Batch())
        return secure

    class Batch:
        leaves: Mapping[str, torch.Tensor] = {}

        def zero_grad(self) -> None:
            pass

        def step(self, learning_rates: Mapping[str, float], step_local: Callable[[], None]) -> None:
            assert learning_rates == {"b": 0.125}
            step_local()
            secure_step.append(1)

    secure_step: list[int] = []

    def train_open(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
        for step in steps:
            assert isinstance(optimizer, SecureOptimizer)
            optimizer.open(Batch())
            train(model, optimizer, range(step, step + 1))

    model, optimizer, local = party(make, seed=1)
    train_open(model, optimizer, range(3))
    state, generators = on_disk(local.capture()), capture_generators()
    train_open(model, optimizer, range(3, 6))
    again, other_optimizer, other = party(make, seed=2)
    other.restore(state)
    restore_generators(generators)
    train_open(again, other_optimizer, range(3, 6))
    assert len(secure_step) == 9
    assert_same(local, other)


SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "StepLR": lambda o: lr.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o: lr.MultiStepLR(o, [2, 2, 4]),
    "ExponentialLR": lambda o: lr.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: lr.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: lr.CosineAnnealingWarmRestarts(o, 2),
    "ReduceLROnPlateau": lambda o: lr.ReduceLROnPlateau(o, patience=0, cooldown=1),
    "OneCycleLR": lambda o: lr.OneCycleLR(o, 0.1, total_steps=8),
    "CyclicLR": lambda o: lr.CyclicLR(o, 0.01, 0.1, step_size_up=2, mode="exp_range", gamma=0.9),
    "SequentialLR": lambda o: lr.SequentialLR(o, [lr.ConstantLR(o, 0.1, 2), lr.ExponentialLR(o, 0.8)], [2]),
    "ChainedScheduler": lambda o: lr.ChainedScheduler([lr.LinearLR(o, 0.1), lr.ExponentialLR(o, 0.8)]),
    "LambdaLR": lambda o: lr.LambdaLR(o, lambda step: 0.9**step),
    "PolynomialLR": lambda o: lr.PolynomialLR(o, 7),
}


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_of_learning_rates_goes_on(name: str) -> None:
    def built(seed: int) -> tuple[Net, Optimizer, LocalState, Callable[[float], object]]:
        model, optimizer, _ = party(OPTIMIZERS["SGD momentum"], seed)
        scheduler = Collaborator("x")
        scheduler.lr_scheduler = SCHEDULERS[name](optimizer)  # type: ignore[attr-defined]
        after = scheduler.lr_scheduler.step if name == "ReduceLROnPlateau" else lambda _: scheduler.lr_scheduler.step()
        return model, optimizer, LocalState({"m": model}, {"o": optimizer}, scheduler), after

    model, optimizer, local, after = built(1)
    train(model, optimizer, range(3), after)
    state, generators = on_disk(local.capture()), capture_generators()
    assert set(state["attributes"]) == {"lr_scheduler"}
    train(model, optimizer, range(3, 6), after)
    again, other_optimizer, other, after = built(2)
    other.restore(state)
    restore_generators(generators)
    train(again, other_optimizer, range(3, 6), after)
    assert_same(local, other)


# More than a state_dict ----------------------------------------------------------------------------------------------


def test_which_parameters_are_trained_is_kept() -> None:
    model, _, local = party(OPTIMIZERS["SGD"], seed=1)
    model.out.weight.requires_grad_(False)
    model.frozen.requires_grad_(True)
    again, _, other = party(OPTIMIZERS["SGD"], seed=1)
    other.restore(on_disk(local.capture()))
    assert not again.out.weight.requires_grad
    assert again.out.bias.requires_grad
    assert again.frozen.requires_grad
    assert again.inner.weight is again.inner_again.weight


def test_gradients_that_are_gathered_over_several_batches_are_kept() -> None:
    def gather(model: nn.Module, steps: range) -> None:
        for step in steps:
            model(torch.full((4, 3), float(step))).sum().backward()

    def built() -> tuple[nn.Module, LocalState]:
        model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
        return model, LocalState({"m": model}, {}, Collaborator("x"))

    (model, local), (again, other) = built(), built()
    gather(model, range(2))
    model[2].bias.grad = None
    state = on_disk(local.capture())
    gather(model, range(2, 4))
    gather(again, range(1))
    other.restore(state)
    gather(again, range(2, 4))
    assert_same(local, other)


def test_a_sparse_gradient_is_kept() -> None:
    model = nn.Embedding(5, 2, sparse=True)
    local = LocalState({"m": model}, {}, Collaborator("x"))
    model(torch.tensor([1, 3, 3])).sum().backward()
    assert model.weight.grad is not None
    kept, state = model.weight.grad.to_dense(), on_disk(local.capture())
    model.weight.grad = None
    local.restore(state)
    assert model.weight.grad is not None
    assert model.weight.grad.is_sparse
    assert torch.equal(model.weight.grad.to_dense(), kept)


class Migrating(nn.Module):
    """Doubles what an older version of it has saved."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        if metadata.get("version", 1) < 2:
            state[prefix + "weight"] = state[prefix + "weight"] * 2
        super()._load_from_state_dict(state, prefix, metadata, *rest)


def test_the_versions_of_modules_are_kept() -> None:
    local = LocalState({"m": nn.Sequential(Migrating())}, {}, Collaborator("x"))
    state = on_disk(local.capture())
    local.restore(state)
    assert pack(local.capture()) == pack(state)


def test_what_was_captured_does_not_change() -> None:
    model, optimizer, local = party(OPTIMIZERS["Adam"], seed=1)
    train(model, optimizer, range(2))
    state = local.capture()
    before = pack(state)
    train(model, optimizer, range(2, 4))
    assert pack(state) == before
    local.restore(state)
    train(model, optimizer, range(2, 4))
    assert pack(state) == before
