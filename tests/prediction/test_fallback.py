"""The Host's fallback head: trained beside a task that does not notice; what answers when a collaborator is away."""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.harness.scripts import tiny
from secure_hfl.engine import fallback
from secure_hfl.engine.fallback import FallbackHead, default_head
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction import online_host
from secure_hfl.prediction.alone import PredictingAlone
from secure_hfl.prediction.evaluation import Evaluation, beside
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.prediction.outcome import Predictions
from secure_hfl.run_options import RunOptions
from tests.engine.memory_parties import HOST, MemoryParties
from tests.prediction.memory_online import Online
from tests.prediction.memory_sessions import Sessions

WAIT = 60.0
FALLBACK = {HOST: {"arguments": {"fallback": True}}}


def run(directory: Path, scheme: str = "plain", cases: Any = None, **options: Any) -> MemoryParties:
    parties = MemoryParties(directory, scheme, RunOptions(**{"rounds": 2, "seed": 5, **options}), cases)
    parties.execute()
    assert not parties.errors, parties.errors
    return parties


def weights(parties: MemoryParties, name: str) -> dict[str, torch.Tensor]:
    return load_file(parties.runs[HOST].bench.assignment.results / f"{name}.safetensors")


def alone(parties: MemoryParties) -> PredictingAlone:
    scheduler: Any = parties.schedulers[HOST]
    return PredictingAlone(HostSide(scheduler, *Sessions._assigned(parties.runs[HOST].bench.assignment)))


@pytest.fixture(scope="module")
def with_head(tmp_path_factory: pytest.TempPathFactory) -> MemoryParties:
    return run(tmp_path_factory.mktemp("with"), cases=FALLBACK)


@pytest.mark.parametrize("scheme", ["plain", "bfv"])
def test_the_task_does_not_notice(tmp_path: Path, scheme: str) -> None:
    """To the bit, also where the head draws at random, and so does the user's own code."""
    kept = []
    for name, cases in (("without", None), ("with", FALLBACK)):
        (tmp_path / name).mkdir()
        parties = MemoryParties(tmp_path / name, scheme, RunOptions(rounds=2, seed=5), cases)
        scheduler: Any = parties.schedulers[HOST]
        scheduler.build_fallback_model = lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(tiny.FEATURES, 2))
        train, drawn = scheduler.train_a_batch, []

        def draws(features: Any, labels: Any, train: Any = train, drawn: list[float] = drawn) -> None:
            if not drawn:
                torch.manual_seed(7)  # not before: both parties seed the process's one generator as they start
            drawn.append(float(torch.rand(())))
            train(features, labels)

        scheduler.train_a_batch = draws
        parties.execute()
        assert not parties.errors, parties.errors
        kept.append((parties.metrics(HOST).batch_losses, drawn, weights(parties, "feature_model")))
        assert (parties.runs[HOST].bench.assignment.results / "fallback_model.safetensors").exists() == (name == "with")
    assert kept[0][:2] == kept[1][:2]
    assert all(torch.equal(kept[0][2][name], kept[1][2][name]) for name in kept[0][2])


def test_it_is_trained_on_every_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the same head is by itself, on the features and labels of these batches, also where the task is resumed."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    first: list[nn.Module] = []
    train = FallbackHead.train

    def watched(head: FallbackHead, features: torch.Tensor, labels: Any, number: int) -> None:
        if not first:
            first.append(copy.deepcopy(head.model))
        assert number == len(seen) + 1
        seen.append((features.detach().clone(), labels))
        train(head, features, labels, number)

    monkeypatch.setattr(fallback.FallbackHead, "train", watched)
    parties = MemoryParties(tmp_path, "plain", RunOptions(rounds=2, seed=5, checkpoint_every=1), FALLBACK)
    scheduler: Any = parties.schedulers[HOST]
    train_a_batch, fails = scheduler.train_a_batch, iter((False, True, False, False, False))

    def fails_once(*values: Any) -> None:
        if next(fails):
            raise ValueError("once")
        train_a_batch(*values)

    scheduler.train_a_batch = fails_once
    parties.execute()
    assert parties.errors
    parties.begin(RunOptions(rounds=2, seed=5, checkpoint_every=1, resume=True))
    parties.execute()
    assert not parties.errors, parties.errors
    assert len(seen) == 4
    model = first[0]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for features, labels in seen:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(features), labels).backward()
        optimizer.step()
    saved = weights(parties, "fallback_model")
    assert all(torch.equal(each, saved[name]) for name, each in model.state_dict().items())


def test_the_host_predicts_alone(with_head: MemoryParties, tmp_path: Path) -> None:
    """Also ids that no other party holds; those that it does not hold itself have a reason."""
    found = alone(with_head).predict(["5", "100", "130", "5"])
    head, bottom = weights(with_head, "fallback_model"), tiny.bottom(0)
    bottom.load_state_dict(weights(with_head, "feature_model"))
    own = bottom(tiny.columns(0, [5, 100])).detach()
    expected = nn.functional.linear(own, head["weight"], head["bias"])
    assert torch.allclose(torch.stack([found["5"], found["100"]]), expected, atol=1e-6)
    assert found.reasons == {"130": f"{HOST} does not hold it"}
    assert found.labels == tuple(tiny.labels_of([5, 100]))
    found.write(tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["status"] for row in rows] == ["predicted", "predicted", "missing", "predicted"]
    assert {row["source"] for row in rows} == {"fallback"}
    assert not len(alone(with_head).predict(["130"]).outputs)


def test_iterators_that_confirm_their_ids_work_without_a_session(
    with_head: MemoryParties, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ["100", "33", "5"]
    expected = alone(with_head).predict(ids)
    monkeypatch.setattr(with_head.schedulers[HOST].case, "confirms_batches", True)
    assert torch.equal(alone(with_head).predict(ids).outputs, expected.outputs)


def test_all_parties_predict_as_without_it(with_head: MemoryParties, tmp_path: Path) -> None:
    without = run(tmp_path)
    ids = ["100", "33"]
    found, other = Sessions(with_head).predict(ids), Sessions(without).predict(ids)
    assert (found.source, "source" in found.columns) == ("joint", False)
    assert torch.equal(found.outputs, other.outputs)
    with pytest.raises(ConfigurationError, match="has no fallback head: it is trained where"):
        alone(without)


def wait_for_joint(online: Online) -> None:
    """Until the collaborator has come: the fallback answers before."""
    while online.service.predict(["100", "5"], WAIT).source == "fallback":
        pass


def test_it_answers_while_a_collaborator_is_away(with_head: MemoryParties, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_host, "IDLE_SECONDS", 0.0)
    with Online(with_head, fallback=True) as online:
        wait_for_joint(online)
        online.leave()
        found = online.service.predict(["100", "5"], WAIT)
        assert (found.source, set(found.at)) == ("fallback", {"100", "5"})
        with pytest.raises(ConfigurationError, match="must be a list of texts"):
            online.service.predict([5], WAIT)  # type: ignore[list-item]
        online.serve()
        wait_for_joint(online)


def test_its_accuracy_stands_beside_the_joint_one() -> None:
    figures = Evaluation(
        samples=4, missing=0, classes=2, accuracy=1.0, auc=1.0, confusion=[], calibration_error=0.0, reliability=[]
    )
    ids = ("a", "b", "c", "d")
    found = Predictions(
        ids, torch.tensor([[1.0], [1.0], [-1.0], [1.0]]), {each: at for at, each in enumerate(ids)}, {}, (1, 0, 0, 1)
    )
    assert beside(figures, found).model_dump()["alone_accuracy"] == 0.75


def test_what_cannot_be_read_off_the_models_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"off the bottom model, which has no linear layer; implement"):
        default_head(nn.Flatten(), nn.Linear(3, 2))
    assert default_head(nn.Sequential(nn.Linear(9, 5), nn.ReLU()), nn.Linear(3, 2)).weight.shape == (2, 5)


def test_what_it_cannot_be_trained_with_is_refused() -> None:
    host = tiny.make({"index": 0, "parties": 2, "arguments": {"fallback": True}})
    assert isinstance(host, tiny.TinyHost)
    loss = host.fallback_loss(torch.zeros(2, 1), torch.tensor([1, 0]))
    assert loss.item() == pytest.approx(0.6931, abs=1e-4)
    with pytest.raises(ConfigurationError, match="implement fallback_loss"):
        host.fallback_loss(torch.zeros(2, 1), torch.tensor([1.0, 7.0]))
    host.is_feature_holder = False
    with pytest.raises(ConfigurationError, match="needs features of the Host's own"):
        host.validate_context()
