"""The same in whole runs, and what is said before training: one task in memory, and the engine's parts alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.harness.scripts.cases import Case, Stepping
from benchmarks.harness.scripts.tiny import TinyCollaborator, TinyHost, bottom, train_in_one_process
from secure_hfl.engine.batch import received_features
from secure_hfl.engine.bottom_step import step_bottom_model
from secure_hfl.engine.last_batch import last_batch_problem
from secure_hfl.engine.user_code import UserCode, check_features
from secure_hfl.errors import UserCodeError
from secure_hfl.prediction.features import Rows
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.results import save_model
from tests.dry_run.test_findings import findings, only
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.prediction.memory_sessions import Sessions, trained


def test_a_task_with_a_scaler_and_a_look_at_gradients(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path)
    host: Any = parties.schedulers[HOST]
    scaler = torch.amp.GradScaler("cpu")
    norms: list[float] = []

    def train_a_batch(feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(host.infer_model(torch.cat(list(feature_projection.values()), 1)), labels)
        host.optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(host.optimizer)
        norms.append(float(nn.utils.clip_grad_norm_(host.feature_model.parameters(), 1e9)))
        scaler.step(host.optimizer)
        scaler.update()
        return loss

    host.train_a_batch = train_a_batch
    parties.execute()
    assert not parties.errors
    assert parties.metrics(HOST).batch_losses == pytest.approx(train_in_one_process(2, 2)[0], abs=1e-6)
    assert all(0 < norm < 10 for norm in norms)


def test_a_task_that_never_steps_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "secure_hfl"):
        parties = MemoryParties(tmp_path, cases={HOST: {"stepping": Stepping.NO_STEP.value}})
        parties.execute()
    assert not parties.errors
    said = [each.message for each in caplog.records if "self.optimizer.step() was called in no batch" in each.message]
    assert len(said) == 2, "one a round"


# A last batch of one ------------------------------------------------------------------------------------------------


def with_batch_norm(training: bool = True) -> nn.Module:
    """A model that has it."""
    return nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(2))).train(training)


@pytest.mark.parametrize(
    ("model", "samples", "rows", "is_a_problem"),
    [
        (with_batch_norm(), 129, 128, True),
        (with_batch_norm(), 128, 128, False),
        (with_batch_norm(), 130, 128, False),
        (with_batch_norm(), 5, 1, False),
        (with_batch_norm(training=False), 129, 128, False),
        (nn.Linear(3, 2), 129, 128, False),
    ],
    ids=["1 left", "none left", "2 left", "batches of 1", "frozen", "no BatchNorm"],
)
def test_a_last_batch_of_one(model: nn.Module, samples: int, rows: int, is_a_problem: bool) -> None:
    problem = last_batch_problem({"feature_model": model}, samples, rows)
    assert ("drop_last=True" in problem) == is_a_problem
    if is_a_problem:
        with pytest.raises(ValueError, match="more than 1 value"):
            model(torch.zeros(samples % rows, 3))


def test_a_last_batch_of_one_is_said_before_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "secure_hfl"):
        parties = MemoryParties(tmp_path, cases={HOST: {"batch_size": 21}, "party1": {"batch_size": 21}})
        host: Any = parties.schedulers[HOST]
        host.build_feature_model = lambda: nn.Sequential(bottom(0), nn.BatchNorm1d(4))
        parties.execute()
    said = [each.message for each in caplog.records if "drop_last" in each.message]
    assert said == [
        "64 samples in batches of 21 leave a last batch of 1, and BatchNorm1d in feature_model cannot train on a "
        "single sample: give the loaders of all parties drop_last=True, or train on one sample less."
    ]
    assert "raised ValueError: Expected more than 1 value" in str(parties.errors[HOST]), "as it was said"


@pytest.mark.parametrize("kind", [TinyHost, TinyCollaborator])
def test_secure_hfl_check_says_it_too(kind: Any) -> None:
    class Normed(kind):  # type: ignore[misc]
        def build_feature_model(self) -> nn.Module:
            return nn.Sequential(super().build_feature_model(), nn.BatchNorm1d(4))

    case = Case(index=int(kind is TinyCollaborator), batch_size=21)
    if kind is TinyHost:
        case.arguments = {"max_rounds": 1}
    found, error = findings(Normed(case), batches=1)
    assert error is None
    assert "64 samples in batches of 21 leave a last batch of 1" in only(found, "warn").detail


# Features -----------------------------------------------------------------------------------------------------------


def test_features_without_a_gradient_are_said_before_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Detached(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).detach()

    with caplog.at_level(logging.WARNING, "secure_hfl"):
        parties = MemoryParties(tmp_path)
        other: Any = parties.schedulers[COLLABORATOR]
        other.build_feature_model = lambda: Detached(4, 4)
        parties.execute()
    assert not parties.errors
    assert [each.message.count("is not trained") for each in caplog.records if "gradient" in each.message] == [1]


def test_features_out_of_inference_mode() -> None:
    with torch.inference_mode():
        features = torch.ones(2, 3)
    checked = check_features("iterate_train_feature", features)
    assert checked.detach().requires_grad_().is_leaf
    assert torch.equal(checked, torch.ones(2, 3))


def test_sparse_features_are_refused() -> None:
    with pytest.raises(UserCodeError, match=r"must yield dense features, .* call to_dense\(\)"):
        check_features("iterate_train_feature", torch.ones(2, 3).to_sparse())


# Devices, optimizers, compiled models -------------------------------------------------------------------------------


def test_features_follow_the_hosts_own_to_their_device() -> None:
    """`meta` is the only other device that every machine has. `python -m benchmarks.devices` is for a GPU."""
    values = np.ones((3, 2), dtype=np.float32)
    beside = received_features(values, torch.empty(3, 4, device="meta", dtype=torch.bfloat16))
    assert (beside.device.type, beside.dtype) == ("meta", torch.float32)
    assert received_features(values, torch.empty(3, 4, dtype=torch.float64)).dtype is torch.float64


@pytest.mark.parametrize(
    ("own", "others"),
    [(torch.empty(3, 4, device="meta"), torch.float32), (torch.empty(3, 4, dtype=torch.float64), torch.float64)],
    ids=["another device", "float64"],
)
def test_what_predicts_finds_features_as_in_training(
    own: torch.Tensor, others: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties, seen = trained(tmp_path, "plain"), list[Any]()
    host: Any = parties.schedulers[HOST]
    side = HostSide(host, *Sessions._assigned(parties.runs[HOST].bench.assignment))

    def fusion(features: dict[str, torch.Tensor], labels: object) -> torch.Tensor:
        seen.extend((each.device, each.dtype) for each in features.values())
        return torch.zeros(2, 1)

    monkeypatch.setattr(side, "_fusion", fusion)
    side.fused(Rows(("a", "b", "c"), own), slice(1, 3), {COLLABORATOR: np.ones((2, 4), np.float32)})
    assert seen == [(own.device, own.dtype), (own.device, others)]


def test_a_gradient_follows_a_collaborators_features_to_their_device() -> None:
    model = nn.Linear(3, 2, device="meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[torch.Tensor] = []
    model.weight.register_hook(seen.append)
    step_bottom_model(model(torch.empty(5, 3, device="meta")), np.ones((5, 2), dtype=np.float32), optimizer)
    assert [gradient.device.type for gradient in seen] == ["meta"]


def test_an_optimizer_that_needs_a_closure_is_refused_when_it_is_built() -> None:
    scheduler: Any = TinyCollaborator(Case(index=1))
    scheduler.build_feature_optimizer = lambda model: torch.optim.LBFGS(model.parameters())
    with pytest.raises(UserCodeError, match="LBFGS computes the loss of a batch several times"):
        UserCode(scheduler).build_optimizer("build_feature_optimizer", bottom(1))


def test_results_of_a_compiled_model_are_those_of_the_model(tmp_path: Path) -> None:
    inner = bottom(0)
    path = save_model(tmp_path / "model.safetensors", nn.Sequential(torch.compile(inner, backend="eager")))
    saved = load_file(path)
    assert set(saved) == set(nn.Sequential(inner).state_dict())
