"""A Host that has labels and no features: it trains, resumes, is audited and predicts like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.harness.scripts import tiny
from secure_hfl import HeteroNNLabelHostScheduler
from secure_hfl.audit.audit_files import Verdict, audit_files
from secure_hfl.engine.user_code import own_batch
from secure_hfl.errors import UserCodeError
from secure_hfl.run_options import RunOptions
from tests.engine.memory_channel import cut_off
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.prediction.memory_sessions import Sessions

LABELS_ONLY = {HOST: {"arguments": {"is_feature_holder": False, "log_rounds": 1}}}


def parties_of(directory: Path, scheme: str) -> MemoryParties:
    parties = MemoryParties(directory, scheme, RunOptions(rounds=1, checkpoint_every=1), LABELS_ONLY)
    host: Any = parties.schedulers[HOST]
    host.build_infer_model = lambda: tiny.top(1)

    def unwanted() -> nn.Module:
        raise AssertionError("there is nothing to build a bottom model of")

    host.build_feature_model = unwanted
    return parties


def losses_in_one_process() -> list[float]:
    """The collaborator's features, and the host's labels."""
    bottom, head = tiny.bottom(1), tiny.top(1)
    optimizers = [tiny.sgd(bottom), tiny.sgd(head)]
    losses = []
    for start in range(0, len(tiny.TRAIN_IDS), 32):
        ids = list(tiny.TRAIN_IDS[start : start + 32])
        loss = nn.functional.cross_entropy(head(bottom(tiny.columns(1, ids))), tiny.labels_of(ids))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return losses


def test_it_trains_on_the_collaborators_features_alone(tmp_path: Path) -> None:
    parties = parties_of(tmp_path, "plain")
    parties.execute()
    assert not parties.errors
    assert parties.metrics(HOST).batch_losses == pytest.approx(losses_in_one_process(), abs=1e-6)
    results = parties.runs[HOST].bench.assignment.results
    assert not (results / "feature_model.safetensors").exists()
    assert (results / "infer_model.safetensors").exists()


@pytest.mark.parametrize("scheme", ["bfv", "masked", "paillier"])
def test_a_run_that_is_interrupted_goes_on_holds_and_predicts_what_the_host_has_nothing_of(
    tmp_path: Path, scheme: str
) -> None:
    parties = parties_of(tmp_path, scheme)
    cuts = []

    def cut_once(event: str, values: dict[str, Any]) -> None:
        if event == "batch" and not cuts:
            cuts.append(values)
            cut_off(*parties.channels)

    parties.heard[HOST].react = cut_once
    parties.execute()
    assert not parties.errors
    assert parties.metrics(HOST).resumes == 1
    transcripts = sorted(parties.runs[HOST].bench.assignment.transcripts.iterdir())
    assert audit_files(transcripts[-1]).verdict is Verdict.HOLDS
    found = Sessions(parties).predict(["100", "150", "170"])
    assert sorted(found.at) == ["100", "150"]  # 150 is none of the host's
    assert found.reasons["170"] == f"{COLLABORATOR} does not hold it"


def test_what_is_no_labels_is_refused() -> None:
    with pytest.raises(UserCodeError, match="must yield labels only"):
        own_batch("iterate_train_feature", (torch.ones(3, 2), torch.ones(3)), False)
    features, labels = own_batch("iterate_train_feature", torch.tensor([1, 0, 1]), False)
    assert (features.shape, len(labels)) == ((3, 0), 3)


def test_a_class_for_it_need_not_build_a_bottom_model() -> None:
    class Labels(HeteroNNLabelHostScheduler):
        load_local_ids = split_dataset = iterate_train_feature = iterate_test_feature = lambda self, *_: []
        build_infer_model = build_infer_optimizer = train_a_batch = test = lambda self, *_: None

    scheduler = Labels("registry", max_rounds=1)
    scheduler.validate_context()
    assert not scheduler.is_feature_holder
    assert not scheduler.is_feature_trainable
