"""A party that is built again and given its state back trains on as if nothing had happened, bit for bit."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim import lr_scheduler as lr

from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler, SecureOptimizer
from secure_hfl.checkpoints.local_state import LocalState, capture_generators, restore_generators
from secure_hfl.checkpoints.tree import pack, unpack
from secure_hfl.errors import CheckpointRefused, UserCodeError

Optimizer = torch.optim.Optimizer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks are tiny: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


# What hangs on the user's scheduler ----------------------------------------------------------------------------------


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


def test_what_hangs_on_the_scheduler_goes_on() -> None:
    user, other = Rich(seed=1), Rich(seed=2)
    user.metric.total, user.several[0].total, user.by_name["a"].total, user.epoch = 1.0, 2.0, 3.0, 4
    user.draw()
    state = on_disk(LocalState({}, {}, user).capture())
    assert set(state["attributes"]) == {
        *("metric", "scaler", "teacher", "shuffle", "noise", "legacy_noise", "choice"),
        *("several[0]", "by_name['a']", "by_name[7]"),
    }
    drawn = user.draw()
    LocalState({}, {}, other).restore(state)
    assert other.draw() == drawn


def test_what_the_engine_holds_is_not_kept_twice() -> None:
    user = Host("x", max_rounds=1)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    parts = [torch.optim.SGD(part.parameters()) for part in model]
    secure = SecureOptimizer(*parts)
    user.kept = [model, model[1], *parts, secure]  # type: ignore[attr-defined]
    assert LocalState({"infer_model": model}, {"optimizer": secure}, user).capture()["attributes"] == {}


def test_generators_of_the_process_go_on() -> None:
    def draw() -> list[Any]:
        return [torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.normal(), np.random.rand()]

    draw()  # so that both Gaussian generators hold one back
    state = on_disk(capture_generators())
    drawn = draw()
    draw()
    restore_generators(state)
    assert draw() == drawn


def test_generators_of_the_user_go_on_with_those_of_the_process() -> None:
    user, other = Rich(seed=1), Rich(seed=2)
    user.noise.random(3)
    state = on_disk(capture_generators(user))
    assert set(state["scheduler"]) == {"shuffle", "noise", "legacy_noise", "choice", "by_name[7]"}
    drawn = [torch.rand(2).tolist(), user.noise.random(), torch.rand(2, generator=user.shuffle).tolist()]
    restore_generators(state, other)
    assert [torch.rand(2).tolist(), other.noise.random(), torch.rand(2, generator=other.shuffle).tolist()] == drawn


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"torch": torch.zeros(3, dtype=torch.uint8)}, "the random generators"),
        ({"python": (3, (), None)}, "the random generators"),
        ({"numpy": {"bit_generator": "PCG64"}}, "the random generators"),
        ({"cuda": [torch.zeros(16, dtype=torch.uint8)] * 99}, "a run with 99 CUDA devices"),
        ({"scheduler": {"absent": 1}}, "self.absent, which does not exist"),
        ({"scheduler": {"shuffle": torch.zeros(3, dtype=torch.uint8)}}, "does not fit self.shuffle"),
    ],
)
def test_generators_that_do_not_fit_change_nothing(change: dict[str, Any], message: str) -> None:
    user = Rich(seed=1)
    state = capture_generators(user)
    torch.rand(3), random.random(), np.random.rand(), user.draw()
    before = pack(capture_generators(user))
    with pytest.raises(CheckpointRefused, match=message):
        restore_generators({**state, **change}, user)
    assert pack(capture_generators(user)) == before


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


# What does not fit ---------------------------------------------------------------------------------------------------


class Odd(Rich):
    """Cannot take back what it gave."""

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        raise KeyError("epoch")


class OneWay(Host):
    """Gives, and does not take back."""

    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}


def full(
    width: int = 4,
    dtype: torch.dtype = torch.float32,
    make: Callable[[Any], Optimizer] = OPTIMIZERS["Adam"],
    user: Host | None = None,
) -> LocalState:
    """A party with a bit of everything, after a step."""
    model = nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.Linear(width, 1)).to(dtype)
    optimizer = make(model.parameters())
    user = user or Rich(seed=1)
    if isinstance(user, Rich):
        user.lr_scheduler = lr.StepLR(optimizer, 2)  # type: ignore[attr-defined]
    train(model, optimizer, range(1))
    return LocalState({"infer_model": model}, {"infer": optimizer}, user)


def two_groups(parameters: Any) -> Optimizer:
    """An Adam with two parameter groups."""
    first, *rest = list(parameters)
    return torch.optim.Adam([{"params": [first]}, {"params": rest}])


def without(name: str, user: Rich | None = None) -> Rich:
    """A user who has forgotten something."""
    user = user or Rich(seed=3)
    delattr(user, name)
    return user


def with_other(name: str, value: object) -> Rich:
    """A user who has changed something."""
    user = Rich(seed=3)
    setattr(user, name, value)
    return user


WHERE = "make it in build_infer_optimizer or __init__, so that it is there before training goes on"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: full(width=6), r"does not fit the model infer_model: .*size mismatch for 0.weight"),
        (
            lambda: full(dtype=torch.float64),
            "keeps 0.weight of the model infer_model as torch.float32, .* torch.float64",
        ),
        (lambda: full(make=OPTIMIZERS["SGD"]), "keeps the optimizer infer as Adam, but it is SGD now"),
        (lambda: full(make=two_groups), "does not fit the optimizer infer: .*parameter groups"),
        (lambda: full(user=without("metric")), f"^the checkpoint keeps the state of self.metric, which .*: {WHERE}$"),
        (lambda: full(user=with_other("several", [])), r"the state of self.several\[0\], which does not exist"),
        (lambda: full(user=with_other("metric", nn.Linear(1, 1))), "keeps self.metric as Metric, but it is Linear now"),
        (lambda: full(user=with_other("teacher", nn.Linear(3, 3))), "does not fit self.teacher: .*size mismatch"),
        (
            lambda: full(user=with_other("noise", np.random.Generator(np.random.MT19937(1)))),
            "does not fit self.noise: .*MT19937",
        ),
        (lambda: full(user=Odd(seed=3)), "keeps the state of|does not fit set_extra_state: 'epoch'"),
        (
            lambda: LocalState({}, full()._optimizers, Rich(1)),
            r"keeps the models \['infer_model'\], this party has \[\]",
        ),
        (lambda: LocalState(full()._models, {}, Rich(1)), r"keeps the optimizers \['infer'\], this party has \[\]"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(other: Callable[[], LocalState], message: str) -> None:
    state = on_disk(full().capture())
    victim = other()
    before = pack(victim.capture())
    with pytest.raises(CheckpointRefused, match=message):
        victim.restore(state)
    assert pack(victim.capture()) == before


def test_an_incomplete_state_is_refused() -> None:
    local = full()
    for group in ("models", "optimizers", "attributes", "extra"):
        state = local.capture()
        del state[group]
        with pytest.raises(CheckpointRefused, match="does not hold the state of a party"):
            local.restore(state)


def test_a_collaborator_is_told_where_to_make_what_is_missing() -> None:
    local = LocalState({}, {}, Collaborator("x"))
    state = {**local.capture(), "attributes": {"scaler": {"kind": "GradScaler", "state": {}}}}
    with pytest.raises(CheckpointRefused, match="make it in build_feature_optimizer or __init__"):
        local.restore(state)


def test_who_gives_an_extra_state_must_take_it_back() -> None:
    local = LocalState({}, {}, OneWay("x", max_rounds=1))
    with pytest.raises(CheckpointRefused, match="so set_extra_state must be as well"):
        local.restore(local.capture())


def test_what_is_new_on_the_scheduler_starts_anew_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    user = Host("x", max_rounds=1)
    state = LocalState({}, {}, user).capture()
    user.metric = Metric()  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "secure_hfl"):
        LocalState({}, {}, user).restore(state)
    assert [record.getMessage() for record in caplog.records] == [
        "The checkpoint keeps no state of self.metric, which starts anew."
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1], "get_extra_state raised TypeError: it returned a list"),
        (None, "get_extra_state raised TypeError: it returned a NoneType"),
        (ValueError("no epoch"), "get_extra_state raised ValueError: no epoch"),
    ],
)
def test_the_users_errors_are_named(given: object, message: str) -> None:
    class Wrong(Host):
        def get_extra_state(self) -> Any:
            if isinstance(given, Exception):
                raise given
            return given

    with pytest.raises(UserCodeError, match=message):
        LocalState({}, {}, Wrong("x", max_rounds=1)).capture()


def test_an_error_of_what_hangs_on_the_scheduler_is_named() -> None:
    class Broken(Metric):
        def state_dict(self) -> dict[str, float]:
            raise RuntimeError("not yet computed")

    user = Host("x", max_rounds=1)
    user.metric = Broken()  # type: ignore[attr-defined]
    with pytest.raises(UserCodeError, match=r"the state of self.metric raised RuntimeError: not yet computed"):
        LocalState({}, {}, user).capture()
