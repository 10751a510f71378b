"""How the engine calls the user's methods, and what it takes from them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from protocols.core.errors import InvalidInput, SecureHflError
from protocols.task.alignment import OrderedIds, ids_digest
from secure_hfl.engine.models import CollaboratorModels, HostModels
from secure_hfl.engine.user_code import UserCode, check_features
from secure_hfl.errors import ConfigurationError, UserCodeError


def user(**members: Any) -> UserCode:
    """A scheduler that has these."""
    scheduler: Any = SimpleNamespace(**{"is_feature_trainable": True, **members})
    return UserCode(scheduler)


def test_what_a_method_raises_names_the_method() -> None:
    def build() -> nn.Module:
        raise ValueError("no such layer")

    with pytest.raises(UserCodeError, match="build_feature_model raised ValueError: no such layer") as raised:
        user(build_feature_model=build).build_model("build_feature_model")
    assert isinstance(raised.value.__cause__, ValueError)


def test_our_own_errors_pass_as_they_are() -> None:
    def check() -> None:
        raise ConfigurationError("max_rounds must be at least 1")

    with pytest.raises(ConfigurationError, match="max_rounds"):
        user(validate_context=check, _context_is_valid=True).validate()
    with pytest.raises(ConfigurationError, match="super"):
        user(validate_context=lambda: None, _context_is_valid=False).validate()


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (lambda ids: {"1"}, "must return"),
        (lambda ids: (set(), {"1"}), "no training ids"),
        (lambda ids: ({"1", "99"}, {"2"}), "1 id from outside the intersection"),
        (lambda ids: (["1", "1"], []), "twice"),
    ],
)
def test_splits_that_are_refused(split: Any, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        user(split_dataset=split).split(frozenset({"1", "2"}))


def test_a_split_keeps_the_order_of_lists_and_gives_sets_one() -> None:
    train, test = user(split_dataset=lambda ids: ([2, 1], {"10", "9"})).split(frozenset({"1", "2", "9", "10"}))
    assert list(train) == [2, 1]
    assert isinstance(test, OrderedIds)
    assert list(test) == ["9", "10"]


@pytest.mark.parametrize(("training", "trainable"), [(True, True), (True, False), (False, True)])
def test_gradients_are_on_where_something_is_trained(training: bool, trainable: bool) -> None:
    def iterate(model: nn.Module, ids: Any) -> Iterator[bool]:
        yield torch.is_grad_enabled()
        yield torch.is_grad_enabled()

    code = user(is_feature_trainable=trainable, iterate_train_feature=iterate, iterate_test_feature=iterate)
    assert list(code.batches(training, nn.Identity(), [])) == [training and trainable] * 2
    assert torch.is_grad_enabled()


def test_an_iterator_that_is_none_is_refused() -> None:
    code = user(iterate_train_feature=lambda model, ids: None)
    with pytest.raises(UserCodeError, match="iterate_train_feature must yield"):
        next(code.batches(True, nn.Identity(), []))


def test_confirmed_ids_are_of_one_batch() -> None:
    code = user()
    code.confirm_batch_ids(bytes(32), [1, 2])
    assert code.take_batch_ids() == ids_digest(bytes(32), "batch", ["1", "2"])
    assert code.take_batch_ids() == b""


@pytest.mark.parametrize(
    "features", [None, [1.0], torch.ones(3), torch.ones(2, 2, 2), torch.ones(0, 3), torch.ones(2, 3, dtype=torch.int64)]
)
def test_features_that_are_refused(features: Any) -> None:
    with pytest.raises(UserCodeError, match="iterate_train_feature must yield"):
        check_features("iterate_train_feature", features)


def test_a_frozen_bottom_model_has_no_optimizer_and_stays_in_eval_mode() -> None:
    models = CollaboratorModels(user(is_feature_trainable=False, build_feature_model=lambda: nn.Linear(2, 2)))
    assert not models.is_built
    models.build()
    models.set_mode(training=True)
    assert models.is_built
    assert models.optimizer is None
    assert not models.feature_model.training
    assert models.optimizers() == {}


def test_a_hosts_models_are_built_in_order_and_follow_the_mode() -> None:
    built: list[str] = []

    def note(name: str, value: Any) -> Any:
        built.append(name)
        return value

    code = user(
        build_feature_model=lambda: note("bottom", nn.Linear(2, 2)),
        build_feature_optimizer=lambda model: note("bottom's", torch.optim.SGD(model.parameters(), 0.1)),
        build_infer_model=lambda: note("top", nn.Linear(4, 1)),
        build_infer_optimizer=lambda model: note("top's", torch.optim.SGD(model.parameters(), 0.1)),
    )
    models = HostModels(code)
    models.build(["bank"], 0.05)
    assert built == ["bottom", "bottom's", "top", "top's"]
    assert models.optimizer.projection_lr == {"bank": 0.05}
    assert set(models.by_name()) == {"feature_model", "infer_model"}
    models.set_mode(training=False)
    assert not models.infer_model.training


@pytest.mark.parametrize("made", [None, 3, "model"])
def test_a_model_that_is_none_is_refused(made: Any) -> None:
    with pytest.raises(SecureHflError, match=r"must return a torch\.nn\.Module"):
        user(build_feature_model=lambda: made).build_model("build_feature_model")


def test_a_model_without_parameters_needs_no_optimizer() -> None:
    code = user(build_infer_optimizer=lambda model: None)
    assert code.build_optimizer("build_infer_optimizer", nn.Identity()) is None
    with pytest.raises(UserCodeError, match=r"must return a torch\.optim\.Optimizer"):
        code.build_optimizer("build_infer_optimizer", nn.Linear(1, 1))
