"""What a dry run finds in a well-behaved scheduler, and in one that a real run would stop or that trains nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
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


METHODS = [method for method in Method if method is not Method.ITERATE_TRAIN_FEATURE_LATER]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.value)
def test_a_method_that_raises_is_named_and_ends_the_dry_run(method: Method) -> None:
    found, error = findings(tiny(raises=method))
    last = only(found, "fail")
    assert (last.step, last.detail) == (
        "models" if method.value.startswith("build") else method.value,
        f"{method.value} raised ValueError: secret-value-4711",
    )
    assert last.error is error
    assert isinstance(error.__cause__, ValueError)


@dataclass(frozen=True)
class Refused:
    """A party that is like this is stopped in this step, with words like these."""

    party: dict[str, Any]
    step: str
    says: str


REFUSED = {
    "ids twice": Refused(party={"ids": ["a", "a"]}, step="load_local_ids", says="ids"),
    "ids that are no text": Refused(party={"ids": [1, 2]}, step="load_local_ids", says="position 0 is int"),
    "no ids": Refused(party={"ids": []}, step="load_local_ids", says="there are 0 sample ids"),
    "one set": Refused(
        party={"split": Split.ONE_SET}, step="split_dataset", says="must return (training ids, test ids)"
    ),
    "no training ids": Refused(party={"split": Split.NOTHING}, step="split_dataset", says="no training ids"),
    "ids from elsewhere": Refused(
        party={"split": Split.WITH_A_STRANGER}, step="split_dataset", says="1 id from outside the intersection"
    ),
    "no model": Refused(
        party={"returns_none": Method.BUILD_FEATURE_MODEL}, step="models", says="must return a torch.nn.Module"
    ),
    "no batch": Refused(party={"batches": 0}, step="iterate_train_feature", says="yielded no batch"),
    "NaN": Refused(party={"features": Features.NAN}, step="iterate_train_feature", says="holds nan"),
    "three dimensions": Refused(
        party={"features": Features.THREE_DIMENSIONS},
        step="iterate_train_feature",
        says="features [batch, features], not [1, 32, 4]",
    ),
    "integers": Refused(party={"features": Features.INTEGERS}, step="iterate_train_feature", says="floating point"),
    "nothing": Refused(party={"features": Features.NONE}, step="iterate_train_feature", says="must yield"),
    "another width": Refused(
        party={"features": Features.WIDER_LATER},
        step="iterate_train_feature",
        says="width 8, after some of width 4",
    ),
}


@pytest.mark.parametrize("index", [0, 1], ids=["host", "collaborator"])
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_what_a_real_run_refuses_is_refused(index: int, refused: Refused) -> None:
    found, error = findings(tiny(index, **refused.party))
    assert error is not None
    last = only(found, "fail")
    assert last.step == refused.step
    assert refused.says in last.detail


def stopped_while_training(stepping: Stepping) -> str:
    """What stops a Host that steps like this."""
    found, error = findings(tiny(stepping=stepping))
    assert only(found, "fail").step == "train_a_batch"
    return str(error)


def test_a_step_before_the_gradients() -> None:
    assert "step() without backward()" in stopped_while_training(Stepping.NO_BACKWARD)


def test_two_steps_in_a_batch() -> None:
    assert "step() twice" in stopped_while_training(Stepping.TWO_STEPS)


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


def with_features_of_norm(norm: float, scheme: str | None) -> tuple[list[Finding], SecureHflError | None]:
    """What a dry run finds in a collaborator whose features are as large as that."""
    scheduler = Sized("clinic", scheme=scheme)
    scheduler.norm = norm
    return findings(scheduler, intersection=None)


def test_features_just_within_the_limit_fit() -> None:
    found, error = with_features_of_norm(63.9, scheme=None)
    assert error is None
    assert only(found, "warn").detail.endswith("with a gradient, so it is not trained")


def test_features_that_an_encrypted_scheme_cannot_take_are_refused() -> None:
    found, error = with_features_of_norm(64.1, scheme=None)
    assert error is not None
    assert "has norm 64.1, the limit is 64" in only(found, "fail").detail


def test_in_the_clear_features_may_be_of_any_size() -> None:
    assert with_features_of_norm(64.1, scheme="plain")[1] is None


def test_the_scheme_of_the_command_line_counts() -> None:
    run_options.activate(RunOptions(scheme="plain"))
    assert with_features_of_norm(100.0, scheme="bfv")[1] is None


def test_a_peer_that_nobody_named_is_as_wide_as_the_hosts_own_features() -> None:
    found, error = findings(tiny(), peers={})
    assert error is None
    (peer,) = (each for each in found if each.step == "feature_projection")
    assert peer.detail == "made-up features of 'party1', 4 wide, as the Host's own: name its width if that is wrong"


def made_up_width(projection: Any, peers: dict[str, int]) -> int:
    """How wide the features are that stand for party1's, for a Host with this projection that is told these peers."""
    found, error = findings(tiny(arguments={"projection": projection}), peers=peers)
    (peer,) = (each for each in found if each.step == "feature_projection")
    width = int(peer.detail.removeprefix("made-up features of 'party1', ").partition(" wide")[0])
    if width == 4:
        assert error is None
    else:
        assert "mat1 and mat2 shapes cannot be multiplied" in str(error), "the top model wants 8 features"
    return width


@pytest.mark.parametrize("projection", [None, True, False])
def test_made_up_features_are_as_wide_as_the_peers_if_no_width_is_asked_for(projection: bool | None) -> None:
    assert made_up_width(projection, peers={"party1": 9}) == 9


@pytest.mark.parametrize("peers", [{"party1": 9}, {}], ids=["peer named", "peer not named"])
def test_made_up_features_are_as_wide_as_the_projection(peers: dict[str, int]) -> None:
    assert made_up_width(3, peers) == made_up_width({"party1": 3}, peers) == 3


def test_a_projection_for_a_stranger() -> None:
    found, _ = findings(tiny(arguments={"projection": {"lab": 4}}))
    assert "projection names ['lab'], the collaborators are ['party1']" in only(found, "fail").detail


class SecureTiny(TinyHost, SecureHeteroNNHostScheduler):
    """The tiny host under the AlphaMed platform's name."""


def with_layer_config(
    *rows: tuple[str, int, int], peers: dict[str, int]
) -> tuple[list[Finding], SecureHflError | None]:
    """What a dry run finds in a Host with these rows (feature key, width in, width out)."""
    arguments = {"max_rounds": 1, "project_layer_config": list(rows), "project_layer_lr": 0.1}
    return findings(SecureTiny(Case(arguments=arguments)), peers=peers)


def test_project_layer_config_tells_the_peers() -> None:
    assert with_layer_config(("party0", 4, 4), ("party1", 9, 4), peers={})[1] is None


def test_project_layer_config_agrees_with_a_named_peer() -> None:
    assert with_layer_config(("party1", 9, 4), peers={"party1": 9})[1] is None


def test_project_layer_config_of_another_width_than_a_named_peer() -> None:
    found, _ = with_layer_config(("party1", 9, 4), peers={"party1": 4})
    assert "'party1' has features of width 9, but they are 4 wide" in only(found, "fail").detail


def test_project_layer_config_of_another_width_than_the_hosts_own_features() -> None:
    found, _ = with_layer_config(("party0", 5, 5), ("party1", 9, 4), peers={})
    assert "'party0' has features of width 5, but they are 4 wide" in only(found, "fail").detail


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
