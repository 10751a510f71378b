"""What PyTorch users do in `train_a_batch` and in their optimizers: the table of docs/pytorch-contract.md, row by row.

"As one process" is the same network in plain PyTorch with one optimizer over all of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.harness.scripts.tiny import bottom, sgd, top
from secure_hfl.errors import StepError
from tests.contract.split_training import OTHER, OWN, Features, OneProcess, SplitTraining, close, rows, step

BATCHES = range(4)


def trained(train_a_batch: Any = step, **more: Any) -> SplitTraining:
    """Both parties after some batches."""
    training = SplitTraining(**more)
    for number in BATCHES:
        training.batch(number, train_a_batch)
    return training


def one_process(change: Callable[[OneProcess, int], None] = OneProcess.step) -> list[torch.Tensor]:
    """The weights after the same batches in plain PyTorch."""
    whole = OneProcess()
    for number in BATCHES:
        change(whole, number)
    return whole.weights()


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad_backward_step(set_to_none: bool) -> None:
    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad(set_to_none=set_to_none)
        training.loss(features, labels).backward()
        training.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process())


def test_zero_grad_after_the_step() -> None:
    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.loss(features, labels).backward()
        training.optimizer.step()
        training.optimizer.zero_grad()

    assert close(trained(train_a_batch).weights(), one_process())


def test_the_models_own_zero_grad() -> None:
    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.feature_model.zero_grad()
        training.infer_model.zero_grad()
        training.loss(features, labels).backward()
        training.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process())


def test_several_losses_with_several_backward_calls() -> None:
    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        loss = training.loss(features, labels)
        (0.25 * loss).backward(retain_graph=True)
        (0.75 * loss).backward()
        training.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process())


def test_parts_of_a_batch_add_up_to_one_step() -> None:
    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        for part in torch.arange(len(labels)).split(3):
            some = {key: values[part] for key, values in features.items()}
            (training.loss(some, labels[part]) * len(part) / len(labels)).backward()
        training.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process())


def test_gradients_of_several_batches_do_not_add_up() -> None:
    """Collaborators have dropped theirs: refused at the second batch, before anything is sent."""

    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.loss(features, labels).backward()

    training = SplitTraining()
    before = training.weights()
    training.batch(0, train_a_batch)
    with pytest.raises(StepError, match=r"zero_grad\(\) first\. .* yield larger ones"):
        training.batch(1, train_a_batch)
    assert close(training.weights(), before)
    assert training.sent == [None]


def test_without_zero_grad_the_second_batch_is_refused() -> None:
    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.loss(features, labels).backward()
        training.optimizer.step()

    training = SplitTraining()
    training.batch(0, train_a_batch)
    with pytest.raises(StepError, match="zero_grad"):
        training.batch(1, train_a_batch)


def test_a_batch_that_is_left_out_trains_nobody() -> None:
    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        training.loss(features, labels).backward()
        if training.sent:
            training.optimizer.step()

    whole = OneProcess()
    for number in BATCHES[1:]:
        whole.step(number)
    assert close(trained(train_a_batch).weights(), whole.weights())


# Clipping -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 2], ids=["the Host's bottom model", "the top model"])
@pytest.mark.parametrize("by", ["norm", "value"])
def test_clipping_a_model_before_the_step(which: int, by: str) -> None:
    """The Host's bottom model has its gradients when they are looked at."""

    def clip(model: nn.Module) -> None:
        if by == "norm":
            assert nn.utils.clip_grad_norm_(model.parameters(), 0.01) > 0.01
        else:
            nn.utils.clip_grad_value_(model.parameters(), 0.001)

    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        training.loss(features, labels).backward()
        clip((training.feature_model, training.infer_model)[which // 2])
        training.optimizer.step()

    def expected(whole: OneProcess, number: int) -> None:
        whole.optimizer.zero_grad()
        whole.loss(number).backward()
        clip(whole.models[which])
        whole.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process(expected))


def test_clipping_all_groups_clips_what_collaborators_get() -> None:
    norms: list[float] = []

    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        training.loss(features, labels).backward()
        every = [each for group in training.optimizer.param_groups for each in group["params"]]
        nn.utils.clip_grad_norm_(every, 0.01)
        norms.append(float(nn.utils.get_total_norm([each.grad for each in every if each.grad is not None])))
        training.optimizer.step()

    training = trained(train_a_batch)
    assert norms == pytest.approx([0.01] * len(BATCHES), rel=1e-3)
    assert all(gradient is not None and 0 < abs(gradient).max() < 0.01 for gradient in training.sent)


def test_clipping_by_the_optimizers_own_hook() -> None:
    """At a Collaborator too: where its gradients are, just before its step."""

    def clipped(model: nn.Module) -> torch.optim.Optimizer:
        optimizer = sgd(model)

        def clip(*_: Any) -> None:
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)

        optimizer.register_step_pre_hook(clip)
        return optimizer

    def expected(whole: OneProcess, number: int) -> None:
        whole.optimizer.zero_grad()
        whole.loss(number).backward()
        for model in whole.models:
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        whole.optimizer.step()

    assert close(trained(make=clipped).weights(), one_process(expected))


def test_gradients_are_there_to_be_read_before_the_step() -> None:
    seen: list[torch.Tensor] = []

    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        loss = training.loss(features, labels)
        (0.5 * loss).backward(retain_graph=True)
        for _ in range(2):
            gradient = next(training.feature_model.parameters()).grad
            assert gradient is not None
            seen.append(gradient.clone())
        (0.5 * loss).backward()  # what comes later adds up
        training.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process())
    whole = OneProcess()
    whole.loss(0).backward()
    first = next(whole.models.parameters()).grad
    assert first is not None
    assert close(seen[:2], [first / 2, first / 2])


# Mixed precision ----------------------------------------------------------------------------------------------------


def scaled_step(scaler: torch.amp.GradScaler, explicit: bool = False, spoil: Callable[..., Any] | None = None) -> Any:
    """`train_a_batch` with a GradScaler."""

    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        loss = training.loss(features, labels)
        if spoil is not None:
            spoil(training, features)
        scaler.scale(loss).backward()
        if explicit:
            scaler.unscale_(training.optimizer)
        scaler.step(training.optimizer)
        scaler.update()

    return train_a_batch


@pytest.mark.parametrize("explicit", [False, True], ids=["step", "unscale_ and step"])
def test_grad_scaler(explicit: bool) -> None:
    """Nobody trains on gradients 65,536 times too large."""
    training = trained(scaled_step(torch.amp.GradScaler("cpu"), explicit))
    assert close(training.weights(), one_process())
    assert all(gradient is not None and abs(gradient).max() < 1 for gradient in training.sent)


@pytest.mark.parametrize("key", [OWN, OTHER])
def test_grad_scaler_skips_a_batch_at_all_parties(key: str) -> None:
    """Also where only the gradient of one party's features has overflowed."""

    def spoil(training: SplitTraining, features: Features) -> None:
        if not training.sent:
            features[key].register_hook(lambda gradient: gradient * float("inf"))

    scaler = torch.amp.GradScaler("cpu")
    training = trained(scaled_step(scaler, spoil=spoil))
    assert training.sent[0] is None
    assert scaler.get_scale() == 65536.0 / 2
    whole = OneProcess()
    for number in BATCHES[1:]:
        whole.step(number)
    assert close(training.weights(), whole.weights())


@pytest.mark.parametrize("party", [OWN, OTHER])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_at_one_party(party: str, dtype: torch.dtype) -> None:
    def cast(who: str) -> Any:
        return torch.autocast("cpu", dtype, enabled=who == party)

    assert close(trained(cast=cast).weights(), one_process(), tolerance=3e-3)


def test_autocast_of_the_top_model() -> None:
    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = training.loss(features, labels)
        loss.backward()
        training.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process(), tolerance=3e-3)


def test_small_gradients_survive_float16_at_a_collaborator() -> None:
    """Float16 has nothing below 6e-8, and a Collaborator has no loss to scale: the engine scales the gradient."""
    weights: list[list[torch.Tensor]] = []
    for dtype in (torch.float32, torch.float16):

        def cast(who: str, dtype: torch.dtype = dtype) -> Any:
            return torch.autocast("cpu", dtype, enabled=who == OTHER and dtype is torch.float16)

        def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
            training.optimizer.zero_grad()
            (1e-9 * training.loss(features, labels)).backward()
            training.optimizer.step()

        training = SplitTraining(make=lambda model: torch.optim.SGD(model.parameters(), lr=1e8), cast=cast)
        training.batch(0, train_a_batch)
        weights.append(training.weights())
    assert not torch.equal(weights[0][2], next(bottom(1).parameters()))
    assert close(weights[0], weights[1], tolerance=1e-3)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["the Host", "the Collaborator", "everything"])
def test_float64(which: int) -> None:
    models = bottom(0), bottom(1), top(2)
    for model in {0: (models[0], models[2]), 1: (models[1],), 2: models}[which]:
        model.double()
    assert close(trained(models=models).weights(), one_process())


# Learning rates, hooks, copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2], ids=["per batch", "per round"])
@pytest.mark.parametrize(
    "make", [lambda each: StepLR(each, 1, 0.5), lambda each: CosineAnnealingLR(each, 4)], ids=["StepLR", "Cosine"]
)
def test_lr_schedulers(every: int, make: Callable[[torch.optim.Optimizer], Any]) -> None:
    """They drive the Host's optimizers and the projection layers. A Collaborator has one on its own optimizer."""
    training, whole = SplitTraining(), OneProcess()
    schedulers = [make(training.optimizer), make(training.other_optimizer), make(whole.optimizer)]
    for number in BATCHES:
        training.batch(number, step)
        whole.step(number)
        if number % every == every - 1:
            for scheduler in schedulers:
                scheduler.step()
    assert close(training.weights(), whole.weights())
    share = whole.optimizer.param_groups[0]["lr"] / 0.1
    assert training.optimizer.projection_lr[OTHER] == pytest.approx(0.01 * share)


def test_reduce_lr_on_plateau() -> None:
    training = SplitTraining()
    scheduler = ReduceLROnPlateau(training.optimizer, factor=0.5, patience=0)
    for number in BATCHES:
        training.batch(number, step)
        scheduler.step(1.0)
    assert [group["lr"] for group in training.optimizer.param_groups] == pytest.approx([0.0125, 0.0125, 0.00125])


def test_entries_of_groups_are_set_by_assignment_and_the_list_is_not() -> None:
    training = SplitTraining()
    for group in training.optimizer.param_groups:
        group["lr"] = 0.0
    before = training.weights()
    training.batch(0, step)
    assert close(training.weights()[:2] + training.weights()[4:], before[:2] + before[4:])
    assert not close(training.weights()[2:4], before[2:4]), "a Collaborator's rate is its own"
    groups = training.optimizer.param_groups
    for change in (
        lambda: groups.__setitem__(0, {"params": [], "lr": 1.0}),
        lambda: groups.append({}),
        lambda: groups.clear(),
        lambda: setattr(training.optimizer, "param_groups", []),
    ):
        with pytest.raises(StepError, match="change the entries"):
            change()
    copied = copy.deepcopy(groups)
    copied.append({"params": []})
    copied[0]["lr"] = 7.0
    assert [group["lr"] for group in training.optimizer.param_groups] == [0.0] * 3


def test_hooks() -> None:
    called: list[str] = []
    training = SplitTraining()
    for name in ("feature_model", "other_model", "infer_model"):
        model = getattr(training, name)
        model.register_forward_hook(lambda *_, name=name: called.append(f"{name} forward"))
        model.register_full_backward_hook(lambda *_, name=name: called.append(f"{name} backward"))
    training.optimizer.register_step_pre_hook(lambda *_: called.append("before step"))
    training.optimizer.register_step_post_hook(lambda *_: called.append("after step"))

    def train_a_batch(own: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        features[OTHER].register_hook(lambda gradient: gradient * 0)
        step(own, features, labels)

    training.batch(0, train_a_batch)
    assert called == [
        "feature_model forward",
        "other_model forward",
        "infer_model forward",
        "infer_model backward",
        "before step",
        "other_model backward",
        "feature_model backward",
        "after step",
    ]
    assert training.sent[0] is not None
    assert not training.sent[0].any(), "a hook on the features changes what is sent"


def test_averaged_copies() -> None:
    """EMA by the Host in train_a_batch, by a Collaborator in its optimizer's hook."""

    def ema(model: nn.Module) -> AveragedModel:
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))

    training, whole = SplitTraining(), OneProcess()
    ours = [ema(training.feature_model), ema(training.other_model), ema(training.infer_model)]
    theirs = ema(whole.models)
    training.other_optimizer.register_step_post_hook(lambda *_: ours[1].update_parameters(training.other_model))

    def train_a_batch(own: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        step(own, features, labels)
        ours[0].update_parameters(own.feature_model)
        ours[2].update_parameters(own.infer_model)

    for number in BATCHES:
        training.batch(number, train_a_batch)
        whole.step(number)
        theirs.update_parameters(whole.models)
    averaged = [parameter for model in ours for parameter in model.module.parameters()]
    assert close(averaged, list(theirs.module.parameters()))


def test_compiled_models() -> None:
    """With the backend that needs no C++ compiler; what others compute is torch's."""
    models = [torch.compile(model, backend="eager") for model in (bottom(0), bottom(1), top(2))]
    assert close(trained(models=tuple(models)).weights(), one_process())


def test_a_penalty_on_the_hosts_models_in_the_loss() -> None:
    def penalty(*models: nn.Module) -> torch.Tensor:
        return torch.stack([each.square().sum() for model in models for each in model.parameters()]).sum() * 0.1

    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        (training.loss(features, labels) + penalty(training.feature_model, training.infer_model)).backward()
        training.optimizer.step()

    def expected(whole: OneProcess, number: int) -> None:
        whole.optimizer.zero_grad()
        (whole.loss(number) + penalty(whole.models[0], whole.models[2])).backward()
        whole.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process(expected))


def test_a_gradient_penalty() -> None:
    """A gradient of a gradient, as far as the features."""

    def penalty(loss: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(loss, features, create_graph=True)
        return gradient.square().sum()

    def train_a_batch(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
        training.optimizer.zero_grad()
        loss = training.loss(features, labels)
        (loss + penalty(loss, features[OTHER])).backward()
        training.optimizer.step()

    def expected(whole: OneProcess, number: int) -> None:
        x, y, labels = rows(number)
        own, other, head = whole.models
        features = other(y)
        loss = nn.functional.cross_entropy(head(torch.cat([own(x), features], 1)), labels)
        whole.optimizer.zero_grad()
        (loss + penalty(loss, features)).backward()
        whole.optimizer.step()

    assert close(trained(train_a_batch).weights(), one_process(expected))


def test_a_penalty_of_a_collaborators_own() -> None:
    """A backward pass in its iterator, before it yields, counts with the Host's gradient."""
    training, whole = SplitTraining(), OneProcess()

    def penalty(model: nn.Module) -> torch.Tensor:
        return torch.stack([parameter.square().sum() for parameter in model.parameters()]).sum() * 0.1

    for number in BATCHES:
        penalty(training.other_model).backward()
        training.batch(number, step)
        whole.optimizer.zero_grad()
        (whole.loss(number) + penalty(whole.models[1])).backward()
        whole.optimizer.step()
    assert close(training.weights(), whole.weights())
