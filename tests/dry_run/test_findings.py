"""What a dry run finds in a well-behaved scheduler, and in one that a real run would stop or that trains nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.harness.scripts.cases import Case, Features, Method, Split, Stepping
from benchmarks.harness.scripts.tiny import TinyCollaborator, TinyHost
from protocols.core.errors import SecureHflError
from secure_hfl import (
    HeteroNNCollaboratorScheduler,
    HeteroNNHostScheduler,
    RandomizedResponse,
    SecureHeteroNNHostScheduler,
    run_options,
)
from secure_hfl.dry_run.findings import Assumptions, Finding
from secure_hfl.run_options import RunOptions
from secure_hfl.schedulers.mock_context import dry_run

PEERS = {"party1": 4}


def tiny(index: int = 0, **case: Any) -> HeteroNNHostScheduler | HeteroNNCollaboratorScheduler:
    """A party of the tiny task; its iterators yield 2 training batches and 1 test batch of 32 rows, 4 wide."""
    if index:
        return TinyCollaborator(Case(index=index, **case))
    arguments = {"max_rounds": 1, **case.pop("arguments", {})}
    return TinyHost(Case(arguments=arguments, **case))


def findings(
    scheduler: HeteroNNHostScheduler | HeteroNNCollaboratorScheduler, **assumptions: Any
) -> tuple[list[Finding], SecureHflError | None]:
    """All findings, and what stopped the dry run."""
    found: list[Finding] = []
    ids = frozenset(str(i) for i in range(32, 128))
    run = dry_run(scheduler, "task", Assumptions(**{"peers": PEERS, "intersection": ids, **assumptions}), found.append)
    try:
        run.execute()
    except SecureHflError as error:
        return found, error
    return found, None


def only(found: list[Finding], status: str) -> Finding:
    """The one finding of this status."""
    (finding,) = (each for each in found if each.status == status)
    return finding


@pytest.fixture(autouse=True)
def no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of other tests in this process."""
    monkeypatch.setattr(run_options, "_active", None)


def test_a_good_host() -> None:
    found, error = findings(tiny())
    assert error is None
    assert {each.step: each.detail for each in found if "loss" not in each.detail and "norm" not in each.detail} == {
        "load_local_ids": "128 ids, such as '0', '1', '2'",
        "split_dataset": "of 96 ids (given ids): 64 for training, 32 for testing",
        "build_feature_model": "Sequential, 16 parameters, trained by SGD",
        "build_infer_model": "Linear, 18 parameters, trained by SGD",
        "feature_projection": "made-up features of 'party1', 4 wide",
    }
    details = {each.step: each.detail for each in found}
    assert details["iterate_train_feature"].startswith("32 + 32 rows, 4 wide, float32; largest norm of a sample ")
    assert details["iterate_test_feature"].startswith("32 rows, 4 wide")
    assert details["train_a_batch"].count(", ") == 1
    assert details["test"] == "test_results/accuracy 1, test_results/average_loss 0.5"
    assert {each.status for each in found} == {"ok"}


def test_a_good_collaborator() -> None:
    found, error = findings(tiny(1))
    assert error is None
    steps = ["load_local_ids", "split_dataset", "build_feature_model", "iterate_train_feature", "iterate_test_feature"]
    assert [(each.step, each.status) for each in found] == [(step, "ok") for step in steps]


@pytest.mark.parametrize("index", [0, 1])
def test_both_models_of_a_party_are_trained(index: int) -> None:
    scheduler = tiny(index)
    findings(scheduler)
    torch.manual_seed(100 + index)
    fresh = nn.Linear(3 + index, 4)
    trained = scheduler.feature_model[0]  # type: ignore[index]
    assert not torch.equal(trained.weight, fresh.weight)


def test_a_frozen_feature_model_is_not_trained() -> None:
    found, error = findings(tiny(1, arguments={"is_feature_trainable": False}))
    assert error is None
    assert found[2].detail == "Sequential, 20 parameters, not trained"


METHODS = [
    *("validate_context", "load_local_ids", "split_dataset", "build_feature_model", "build_feature_optimizer"),
    *("build_infer_model", "build_infer_optimizer", "iterate_train_feature", "train_a_batch", "iterate_test_feature"),
    *("test", "is_task_finished"),
]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_raises_is_named_and_ends_the_dry_run(method: str) -> None:
    found, error = findings(tiny(raises=method))
    last = only(found, "fail")
    assert (last.step, last.detail) == (
        "models" if method.startswith("build") else method,
        f"{method} raised ValueError: secret-value-4711",
    )
    assert last.error is error
    assert isinstance(error.__cause__, ValueError)


FAILURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "ids twice": ({"ids": ["a", "a"]}, "load_local_ids", "ids"),
    "ids that are no text": ({"ids": [1, 2]}, "load_local_ids", "position 0 is int"),
    "no ids": ({"ids": []}, "load_local_ids", "there are 0 sample ids"),
    "one set": ({"split": Split.ONE_SET}, "split_dataset", "must return (training ids, test ids)"),
    "no training ids": ({"split": Split.NOTHING}, "split_dataset", "no training ids"),
    "ids from elsewhere": ({"split": Split.WITH_A_STRANGER}, "split_dataset", "1 ids that are not in the intersection"),
    "no model": ({"returns_none": Method.BUILD_FEATURE_MODEL}, "models", "must return a torch.nn.Module"),
    "no batch": ({"batches": 0}, "iterate_train_feature", "yielded no batch"),
    "NaN": ({"features": Features.NAN}, "iterate_train_feature", "holds nan"),
    "three dimensions": (
        {"features": Features.THREE_DIMENSIONS},
        "iterate_train_feature",
        "features [batch, features], not [1, 32, 4]",
    ),
    "integers": ({"features": Features.INTEGERS}, "iterate_train_feature", "floating point"),
    "nothing": ({"features": Features.NONE}, "iterate_train_feature", "must yield"),
    "another width": ({"features": Features.WIDER_LATER}, "iterate_train_feature", "width 8, after some of width 4"),
}


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("case", "step", "says"), FAILURES.values(), ids=FAILURES)
def test_what_a_real_run_refuses_is_refused(index: int, case: dict[str, Any], step: str, says: str) -> None:
    found, error = findings(tiny(index, **case))
    assert error is not None
    last = only(found, "fail")
    assert last.step == step
    assert says in last.detail


@pytest.mark.parametrize(
    ("stepping", "says"),
    [(Stepping.NO_BACKWARD, r"step\(\) without backward\(\)"), (Stepping.TWO_STEPS, r"step\(\) twice")],
)
def test_a_step_that_makes_no_sense(stepping: Stepping, says: str) -> None:
    found, error = findings(tiny(stepping=stepping))
    assert only(found, "fail").step == "train_a_batch"
    with pytest.raises(SecureHflError, match=says):
        raise error


def test_a_gradient_that_is_not_a_number() -> None:
    found, _ = findings(tiny(stepping=Stepping.NAN_LOSS))
    assert "gradient of the loss for feature_projection" in only(found, "fail").detail


def test_a_batch_without_a_step_trains_nothing() -> None:
    found, error = findings(tiny(stepping=Stepping.NO_STEP), batches=1)
    assert error is None
    assert only(found, "warn").detail == "self.optimizer.step() was not called, so nothing is trained on such a batch"


def test_a_split_that_depends_on_the_order_of_a_set() -> None:
    class Careless(TinyHost):
        def split_dataset(self, id_intersection: set[str]) -> Any:
            ids = list(id_intersection)
            return set(ids[:64]), set(ids[64:])

    found, _ = findings(Careless(Case(arguments={"max_rounds": 1})))
    assert "depends on the order in which the set gives its ids" in only(found, "fail").detail


class Sized(HeteroNNCollaboratorScheduler):
    """Features of one norm, made without its model."""

    norm = 64.0

    def load_local_ids(self) -> list[str]:
        return ["a", "b"]

    def split_dataset(self, id_intersection: set[str]) -> Any:
        return ["a"], ["b"]

    def build_feature_model(self) -> nn.Module:
        return nn.Linear(2, 4)

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=0.1)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: Any) -> Iterator[torch.Tensor]:
        yield torch.full((1, 4), self.norm / 2)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: Any) -> Iterator[torch.Tensor]:
        yield torch.zeros(1, 4)


@pytest.mark.parametrize(("scheme", "norm", "fits"), [(None, 63.9, True), (None, 64.1, False), ("plain", 64.1, True)])
def test_features_are_as_small_as_the_scheme_wants_them(scheme: str | None, norm: float, fits: bool) -> None:
    scheduler = Sized("clinic", scheme=scheme)
    scheduler.norm = norm
    found, error = findings(scheduler, intersection=None)
    assert (error is None) is fits
    if fits:
        assert only(found, "warn").detail.endswith("with a gradient, so it is not trained")
    else:
        assert "has norm 64.1, the limit is 64" in only(found, "fail").detail


def test_the_scheme_of_the_command_line_counts() -> None:
    run_options.activate(RunOptions(scheme="plain"))
    scheduler = Sized("clinic", scheme="bfv")
    scheduler.norm = 100.0
    assert findings(scheduler, intersection=None)[1] is None


def test_a_peer_that_nobody_named_is_as_wide_as_the_hosts_own_features() -> None:
    found, error = findings(tiny(), peers={})
    assert error is None
    (peer,) = (each for each in found if each.step == "feature_projection")
    assert peer.detail == "made-up features of 'party1', 4 wide, as the Host's own: name its width if that is wrong"


@pytest.mark.parametrize(
    ("projection", "peers", "width"),
    [
        (None, {"party1": 9}, 9),
        (3, {"party1": 9}, 3),
        ({"party1": 3}, {"party1": 9}, 3),
        ({"party1": 3}, {}, 3),
        (3, {}, 3),
        (True, {"party1": 9}, 9),
        (False, {"party1": 9}, 9),
    ],
)
def test_made_up_features_are_as_wide_as_projected_ones(projection: Any, peers: dict[str, int], width: int) -> None:
    found, error = findings(tiny(arguments={"projection": projection}), peers=peers)
    (peer,) = (each for each in found if each.step == "feature_projection")
    assert peer.detail.startswith(f"made-up features of 'party1', {width} wide")
    assert (error is None) is (width == 4)
    if error is not None:
        assert "mat1 and mat2 shapes cannot be multiplied" in str(error), "the top model wants 8 features"


def test_a_projection_for_a_stranger() -> None:
    found, _ = findings(tiny(arguments={"projection": {"lab": 4}}))
    assert "projection names ['lab'], the collaborators are ['party1']" in only(found, "fail").detail


class SecureTiny(TinyHost, SecureHeteroNNHostScheduler):
    """The tiny host under the AlphaMed platform's name."""


@pytest.mark.parametrize(
    ("rows", "peers", "says"),
    [
        ([("party0", 4, 4), ("party1", 9, 4)], {}, None),
        ([("party1", 9, 4)], {"party1": 9}, None),
        ([("party1", 9, 4)], {"party1": 4}, "'party1' has features of width 9, but they are 4 wide"),
        ([("party0", 5, 5), ("party1", 9, 4)], {}, "'party0' has features of width 5, but they are 4 wide"),
    ],
)
def test_widths_of_project_layer_config(rows: Any, peers: dict[str, int], says: str | None) -> None:
    case = Case(arguments={"max_rounds": 1, "project_layer_config": rows, "project_layer_lr": 0.1})
    found, error = findings(SecureTiny(case), peers=peers)
    if says is None:
        assert error is None
    else:
        assert says in only(found, "fail").detail


def test_a_loss_that_does_not_look_at_a_peer() -> None:
    found, error = findings(tiny(), peers={"party1": 4, "lab": 2}, batches=1)
    assert error is None
    assert only(found, "warn").detail == "the loss does not depend on feature_projection['lab']"


def test_confirmed_ids_are_those_of_the_batch() -> None:
    assert findings(tiny(confirms_batches=True))[1] is None

    class Careless(TinyHost):
        def confirm_batch_ids(self, ids: Any) -> None:
            super().confirm_batch_ids(list(ids)[:3])

    found, _ = findings(Careless(Case(arguments={"max_rounds": 1}, confirms_batches=True)))
    assert only(found, "fail").detail == "confirm_batch_ids named 3 ids for a batch of 32"


def test_label_privacy_needs_the_ids_of_every_batch() -> None:
    arguments = {"label_privacy": RandomizedResponse(1.0, 2)}
    assert findings(tiny(arguments=arguments, confirms_batches=True))[1] is None
    found, _ = findings(tiny(arguments=arguments))
    assert "call self.confirm_batch_ids(ids) before each yield" in only(found, "fail").detail


def test_validate_context_must_call_the_base() -> None:
    found, _ = findings(tiny(validates=False))
    assert "must call super().validate_context() first" in only(found, "fail").detail


def test_the_dry_run_is_the_same_every_time() -> None:
    def losses() -> str:
        (finding,) = (each for each in findings(tiny())[0] if each.step == "train_a_batch")
        return finding.detail

    assert losses() == losses()
    assert not math.isnan(float(losses().split()[1].rstrip(",")))
