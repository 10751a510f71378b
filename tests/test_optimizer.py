"""SecureOptimizer behaves as a torch optimizer over the same parameters, and trains as one process would."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, StepLR

from secure_hfl.errors import StepError
from secure_hfl.optimizer import SecureOptimizer, gradients_of

FEATURES, CLASSES = 4, 3


class Batch:
    """What the engine lends the optimizer: here, both bottom models are in this process."""

    def __init__(self, outs: Mapping[str, torch.Tensor]) -> None:
        self.outs = outs
        self.leaves = {key: out.detach().requires_grad_() for key, out in outs.items()}
        self.learning_rates: list[dict[str, float]] = []

    def zero_grad(self) -> None:
        for leaf in self.leaves.values():
            leaf.grad = None

    def step(self, learning_rates: Mapping[str, float], step_local: Callable[[], None]) -> None:
        gradients = gradients_of(self.leaves)
        self.learning_rates.append(dict(learning_rates))
        for key, out in self.outs.items():
            if out.requires_grad:
                out.backward(gradients[key])
        step_local()


def bottom(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, FEATURES), nn.Tanh())


def top() -> nn.Module:
    torch.manual_seed(9)
    return nn.Linear(2 * FEATURES, CLASSES)


def data(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    rows = torch.randn(2, 6, 5, generator=generator)
    return rows[0], rows[1], torch.randint(CLASSES, (6,), generator=generator)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01)


@pytest.fixture
def optimizer() -> SecureOptimizer:
    """Two wrapped optimizers and two projections."""
    return SecureOptimizer(sgd(bottom(0)), sgd(top()), ["left", "right"], 0.5)


def open_batch(optimizer: SecureOptimizer) -> Batch:
    """A batch whose loss can be taken and stepped on."""
    batch = Batch({"own": torch.randn(3, FEATURES), "left": torch.randn(3, FEATURES)})
    optimizer.open(batch)
    return batch


def test_groups_are_the_wrapped_optimizers_own(optimizer: SecureOptimizer) -> None:
    feature, infer = optimizer.feature_optimizer, optimizer.infer_optimizer
    assert feature is not None
    assert infer is not None
    groups = optimizer.param_groups
    assert groups[0] is feature.param_groups[0]
    assert groups[1] is infer.param_groups[0]
    assert [group["name"] for group in groups[2:]] == ["projection:left", "projection:right"]
    for group in groups:
        group["lr"] = 0.25
    assert feature.param_groups[0]["lr"] == infer.param_groups[0]["lr"] == 0.25
    assert optimizer.projection_lr == {"left": 0.25, "right": 0.25}


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: StepLR(optimizer, step_size=2, gamma=0.1),
        lambda optimizer: LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
        lambda optimizer: OneCycleLR(optimizer, max_lr=0.3, total_steps=6),
        lambda optimizer: OneCycleLR(optimizer, max_lr=0.3, total_steps=6, cycle_momentum=False),
    ],
    ids=["StepLR", "LambdaLR", "OneCycleLR", "OneCycleLR without momentum"],
)
def test_schedulers_drive_all_groups(make: Callable[[torch.optim.Optimizer], Any], recwarn: Any) -> None:
    plain = sgd(top())
    secure = SecureOptimizer(sgd(bottom(0)), sgd(top()), ["left"], 0.1)
    ours, theirs = make(secure), make(plain)
    rates = set()
    for _ in range(5):
        batch = open_batch(secure)
        sum(leaf.sum() for leaf in batch.leaves.values()).backward()
        secure.step()
        plain.step()
        ours.step()
        theirs.step()
        (expected,) = theirs.get_last_lr()
        rates.add(expected)
        assert ours.get_last_lr() == pytest.approx([expected] * 3)
        assert secure.projection_lr["left"] == pytest.approx(expected)
        open_batch(secure).leaves["own"].sum().backward()
    assert len(rates) > 1
    assert not recwarn.list, "the order of step() calls is as torch wants it"


def test_one_cycle_with_adam_says_what_to_do() -> None:
    secure = SecureOptimizer(adam(bottom(0)), adam(top()), ["left"], 0.1)
    with pytest.raises(ValueError, match="cycle_momentum"):
        OneCycleLR(secure, max_lr=0.3, total_steps=6)


def pairs() -> list[Any]:
    return [pytest.param(sgd, sgd, id="sgd"), pytest.param(adam, adam, id="adam"), pytest.param(adam, sgd, id="mixed")]


@pytest.mark.parametrize(("feature", "infer"), pairs())
def test_state_dict_has_torchs_format(feature: Callable[..., Any], infer: Callable[..., Any]) -> None:
    models = bottom(0), top()
    parts = feature(models[0]), infer(models[1])
    for model in models:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
    for part in parts:
        part.step()
    secure = SecureOptimizer(*parts, ["left"], 0.5)
    ours = secure.state_dict()
    if feature is infer:
        groups = [{"params": list(model.parameters())} for model in models]
        plain = type(parts[0])(groups, **{k: v for k, v in parts[0].defaults.items() if k in ("lr", "momentum")})
        for model in models:
            for parameter in model.parameters():
                plain.state[parameter] = dict(parts[0].state.get(parameter) or parts[1].state[parameter])
        theirs = plain.state_dict()
        assert set(ours) == set(theirs)
        assert ours["param_groups"][:2] == theirs["param_groups"]
        assert ours["state"].keys() == theirs["state"].keys()
        for number, values in theirs["state"].items():
            for name, value in values.items():
                assert torch.equal(torch.as_tensor(ours["state"][number][name]), torch.as_tensor(value))
    assert ours["param_groups"][2] == {"params": [], "lr": 0.5, "name": "projection:left"}
    numbers = [number for group in ours["param_groups"] for number in group["params"]]
    assert numbers == list(range(4))


@pytest.mark.parametrize(("feature", "infer"), pairs())
def test_state_dict_round_trip(feature: Callable[..., Any], infer: Callable[..., Any], tmp_path: Any) -> None:
    def trained() -> tuple[SecureOptimizer, list[nn.Parameter]]:
        models = bottom(0), top()
        secure = SecureOptimizer(feature(models[0]), infer(models[1]), ["left"], 0.5)
        return secure, [parameter for model in models for parameter in model.parameters()]

    def step(secure: SecureOptimizer, parameters: list[nn.Parameter], count: int) -> None:
        for number in range(count):
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
            secure._step_local()

    one, parameters = trained()
    step(one, parameters, 3)
    one.param_groups[2]["lr"] = 0.125
    path = tmp_path / "optimizer.pt"
    torch.save(one.state_dict(), path)
    two, others = trained()
    with torch.no_grad():
        for parameter, other in zip(parameters, others):
            other.copy_(parameter)
    two.load_state_dict(torch.load(path, weights_only=True))
    assert two.projection_lr == {"left": 0.125}
    step(one, parameters, 2)
    step(two, others, 2)
    assert all(torch.equal(parameter, other) for parameter, other in zip(parameters, others))


def test_load_state_dict_refuses_what_does_not_fit(optimizer: SecureOptimizer) -> None:
    good = optimizer.state_dict()
    fewer = {**good, "param_groups": good["param_groups"][1:]}
    other = SecureOptimizer(sgd(bottom(0)), sgd(top()), ["left", "middle"], 0.5).state_dict()
    for bad in (fewer, other):
        before = copy.deepcopy(optimizer.state_dict())
        with pytest.raises(ValueError, match="loaded state dict"):
            optimizer.load_state_dict(bad)
        assert optimizer.state_dict() == before


def test_state_is_merged() -> None:
    models = bottom(0), top()
    secure = SecureOptimizer(sgd(models[0]), sgd(models[1]))
    for model in models:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
    secure._step_local()
    assert set(secure.state) == {parameter for model in models for parameter in model.parameters()}
    assert all("momentum_buffer" in values for values in secure.state.values())


def test_step_outside_a_batch(optimizer: SecureOptimizer) -> None:
    with pytest.raises(StepError, match="outside train_a_batch"):
        optimizer.step()
    open_batch(optimizer)
    assert optimizer.close() is False
    with pytest.raises(StepError, match="outside train_a_batch"):
        optimizer.step()


def test_step_needs_backward_and_is_done_once(optimizer: SecureOptimizer) -> None:
    batch = open_batch(optimizer)
    with pytest.raises(StepError, match="without backward"):
        optimizer.step()
    batch.leaves["own"].sum().backward()
    optimizer.step()
    with pytest.raises(StepError, match="twice"):
        optimizer.step()
    assert optimizer.close() is True
    assert batch.learning_rates == [{"left": 0.5, "right": 0.5}]


def test_zero_grad(optimizer: SecureOptimizer) -> None:
    batch = open_batch(optimizer)
    assert optimizer.infer_optimizer is not None
    weight = optimizer.infer_optimizer.param_groups[0]["params"][0]
    weight.grad = torch.ones_like(weight)
    batch.leaves["left"].sum().backward()
    optimizer.zero_grad()
    assert weight.grad is None
    assert batch.leaves["left"].grad is None
    weight.grad = torch.ones_like(weight)
    optimizer.zero_grad(set_to_none=False)
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    with pytest.raises(StepError, match="without backward"):
        optimizer.step()


def test_closure(optimizer: SecureOptimizer) -> None:
    batch = open_batch(optimizer)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (3 * batch.leaves["own"]).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert torch.equal(loss, (3 * batch.leaves["own"]).sum())


def test_unused_features_get_zeros() -> None:
    used, unused = torch.ones(2, 3, requires_grad=True), torch.ones(2, 1, requires_grad=True)
    (2 * used).sum().backward()
    gradients = gradients_of({"used": used, "unused": unused})
    assert torch.equal(gradients["used"], torch.full((2, 3), 2.0))
    assert torch.equal(gradients["unused"], torch.zeros(2, 1))


def test_hooks(optimizer: SecureOptimizer) -> None:
    called: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    handle = optimizer.register_step_post_hook(lambda *_: called.append("after"))
    open_batch(optimizer).leaves["own"].sum().backward()
    optimizer.step()
    handle.remove()
    open_batch(optimizer).leaves["own"].sum().backward()
    optimizer.step()
    assert called == ["before", "after", "before"]


def test_what_is_refused(optimizer: SecureOptimizer) -> None:
    with pytest.raises(StepError, match="build_infer_optimizer"):
        optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
    with pytest.raises(StepError, match="load_state_dict"):
        optimizer.param_groups = []
    with pytest.raises(StepError, match="load_state_dict"):
        optimizer.state = {}  # type: ignore[assignment]
    with pytest.raises(StepError, match="state_dict"):
        copy.deepcopy(optimizer)


def test_it_is_a_torch_optimizer(optimizer: SecureOptimizer) -> None:
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert repr(optimizer) == "SecureOptimizer(SGD, SGD, 2 projections)"
    assert repr(SecureOptimizer(None, adam(top()))) == "SecureOptimizer(AdamW, 0 projections)"


@settings(max_examples=15, deadline=None)
@given(
    steps=st.integers(1, 5),
    make=st.sampled_from([sgd, adam]),
    skipped=st.sets(st.integers(0, 4)),
    frozen=st.booleans(),
    clip=st.booleans(),
)
def test_training_equals_one_process(  # noqa: C901 - two trainings side by side
    steps: int, make: Callable[[nn.Module], torch.optim.Optimizer], skipped: set[int], frozen: bool, clip: bool
) -> None:
    def reference() -> list[torch.Tensor]:
        own, other, head = bottom(0), bottom(1), top()
        parts = ([] if frozen else [make(own)]) + [make(other), make(head)]
        for number in range(steps):
            x, y, labels = data(number)
            outs = own(x).detach() if frozen else own(x), other(y)
            loss = nn.functional.cross_entropy(head(torch.cat(outs, 1)), labels)
            for part in parts:
                part.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(head.parameters(), 0.01)
            if number not in skipped:
                for part in parts:
                    part.step()
        return [*own.parameters(), *other.parameters(), *head.parameters()]

    def split() -> list[torch.Tensor]:
        own, other, head = bottom(0), bottom(1), top()
        collaborators = make(other)
        secure = SecureOptimizer(None if frozen else make(own), make(head))
        for number in range(steps):
            x, y, labels = data(number)
            batch = Batch({"own": own(x).detach() if frozen else own(x), "other": other(y)})
            secure.open(batch)
            loss = nn.functional.cross_entropy(head(torch.cat(list(batch.leaves.values()), 1)), labels)
            secure.zero_grad()
            collaborators.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(head.parameters(), 0.01)
            if number not in skipped:
                secure.step()
                collaborators.step()
            assert secure.close() == (number not in skipped)
        return [*own.parameters(), *other.parameters(), *head.parameters()]

    assert all(torch.equal(ours, theirs) for ours, theirs in zip(split(), reference()))
