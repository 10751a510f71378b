"""A frozen bottom model: features cross once, results are those of one process, interruptions are outlived.

Of the tiny task: 64 training ids in 2 batches, and 32 test ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case, Method
from protocols.transcript.auditor import audit_run
from protocols.transcript.format import lines_of
from secure_hfl.metrics import RunMetrics
from secure_hfl.results import projection_file
from secure_hfl.run_options import RunOptions
from tests.engine.memory_channel import cut_off
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

ROUNDS = 4
FROZEN: dict[str, Any] = {"arguments": {"is_feature_trainable": False}}
SHOWING = {"plain": "PlainFeatures", "bfv": "Projection", "masked": "MaskedFeatures"}


def parties_of(directory: Path, scheme: str = "plain", options: RunOptions | None = None, **host: Any) -> MemoryParties:
    arguments = {"max_rounds": ROUNDS, "log_rounds": 1, **host}
    return MemoryParties(directory, scheme, options, {HOST: {"arguments": arguments}, COLLABORATOR: FROZEN})


def run(parties: MemoryParties) -> MemoryParties:
    parties.execute()
    assert not parties.errors
    return parties


def sent(metrics: RunMetrics, name: str) -> int:
    return metrics.messages.get(name, {}).get("sent_messages", 0)


def projection(parties: MemoryParties) -> Any:
    """W, [o, d], as the host keeps it in the clear."""
    return load_file(projection_file(parties.runs[HOST].bench.assignment.results, COLLABORATOR))["weight"]


def test_features_cross_once_and_losses_are_those_of_one_process(tmp_path: Path) -> None:
    parties = run(parties_of(tmp_path))
    host, other = parties.metrics(HOST), parties.metrics(COLLABORATOR)
    assert host.batch_losses == tiny.train_in_one_process(2, ROUNDS, frozen=(1,))[0]
    assert host.rows_shown == other.rows_shown == {COLLABORATOR: 96}
    assert sent(other, "FrozenRows") == 3 * ROUNDS
    assert sent(other, "PlainFeatures") == 3
    assert sent(host, "BatchClosed") == 2 * ROUNDS
    assert not sent(host, "StepSkipped")
    first, *later = (each.bytes_sent for each in other.rounds)
    assert max(later) < first - 96 * tiny.FEATURES * 4


def test_with_a_layer_they_are_those_of_the_first_weights(tmp_path: Path) -> None:
    parties = run(parties_of(tmp_path, projection=True))
    weight = projection(parties)
    assert np.linalg.svd(weight, compute_uv=False) == pytest.approx(np.ones(tiny.FEATURES), abs=1e-4)
    assert parties.metrics(HOST).batch_losses == pytest.approx(reference_losses(weight), rel=1e-6)


def reference_losses(weight: Any) -> list[float]:
    """Of one process in which the second party's features are projected by fixed weights."""
    own, other, head = tiny.bottom(0), tiny.bottom(1), tiny.top(2)
    optimizers = [tiny.sgd(own), tiny.sgd(head)]
    losses = []
    for start in [0, 32] * ROUNDS:
        ids = list(tiny.TRAIN_IDS[start : start + 32])
        with torch.no_grad():
            z = (other(tiny.columns(1, ids)).double() @ torch.tensor(weight).T).float()
        loss = torch.nn.functional.cross_entropy(
            head(torch.cat([own(tiny.columns(0, ids)), z], 1)), tiny.labels_of(ids)
        )
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("scheme", ["bfv", "masked"])
def test_encrypted_schemes_do_as_plain_does(tmp_path: Path, scheme: str) -> None:
    metrics = {}
    for name in (scheme, "plain"):
        (tmp_path / name).mkdir()
        metrics[name] = run(parties_of(tmp_path / name, name, RunOptions(seed=3), projection=True))
    host, other = metrics[scheme].metrics(HOST), metrics[scheme].metrics(COLLABORATOR)
    assert host.batch_losses == pytest.approx(metrics["plain"].metrics(HOST).batch_losses, abs=2e-3)
    assert host.rows_shown == other.rows_shown == {COLLABORATOR: 96}
    assert sent(other, SHOWING[scheme]) == 3
    if scheme == "masked":
        # A unit for each batch of the first round, and one for its check, in one message; the later rounds have none.
        assert host.messages["TripleProduct"]["received_messages"] == 1
    for name in ("StepGradient", "WeightGradient", "MaskedStep", "MaskedGradientFeatures", "StepSkipped"):
        assert name not in host.messages
    first, *later = (each.bytes_sent + each.bytes_received for each in host.rounds)
    assert max(later) < first / 3


@pytest.mark.parametrize("at", [(1, 2), (3, 1)])
def test_an_interruption_shows_nothing_again_and_changes_no_loss(tmp_path: Path, at: tuple[int, int]) -> None:
    parties, cuts = parties_of(tmp_path, "plain", RunOptions(checkpoint_every=1), projection=True), [1]

    def react(event: str, values: dict[str, Any]) -> None:
        if event == "batch" and (values["round"], values["batch"]) == at and cuts:
            cuts.pop()
            cut_off(*parties.channels)

    parties.heard[HOST].react = react
    run(parties)
    host, other = parties.metrics(HOST), parties.metrics(COLLABORATOR)
    assert host.resumes == other.resumes == 1
    weight = projection(parties)
    assert host.batch_losses == pytest.approx(reference_losses(weight), rel=1e-6)
    assert host.rows_shown == other.rows_shown == {COLLABORATOR: 96}
    # A batch whose checkpoint was not yet made is shown again, by the same weights.
    assert sent(other, "PlainFeatures") <= 3 + (at[0] == 1)


@pytest.mark.parametrize(
    ("loses", "refusal"),
    [
        (COLLABORATOR, "party1 has none. Start all of them without --resume to begin anew"),
        (HOST, "other weights would show the frozen features once more"),
    ],
)
def test_features_that_were_shown_are_not_shown_by_other_weights(tmp_path: Path, loses: str, refusal: str) -> None:
    """A party has lost its checkpoint of the set-up, or says so: going on from the one before would draw W anew."""
    parties, cuts = parties_of(tmp_path, "bfv", RunOptions(checkpoint_every=100), projection=True), [1]

    def cut(event: str, values: dict[str, Any]) -> None:
        if event == "batch" and values.get("batch") == 2 and cuts:
            cuts.pop()
            cut_off(*parties.channels)

    def lose(event: str, values: dict[str, Any]) -> None:
        cut(event, values)
        if event == "interrupted":
            files = (parties.runs[loses].bench.assignment.directory / "checkpoints").glob("checkpoint-*")
            max(files, key=lambda path: path.stat().st_mtime_ns).write_bytes(b"")

    parties.heard[HOST].react = cut
    parties.heard[loses].react = lose
    parties.execute()
    assert not parties.heard[HOST].named("resumed")
    assert refusal in str(parties.errors[HOST]) + str(parties.errors[COLLABORATOR])
    assert sent(parties.runs[COLLABORATOR].bench.metrics_so_far(), "Projection") == 2, "one look at each row"


def test_augmented_rows_are_other_rows_and_are_counted(tmp_path: Path) -> None:
    parties = parties_of(tmp_path, "masked", RunOptions(rounds=2))
    scheduler: Any = parties.schedulers[COLLABORATOR]
    as_it_is = scheduler.iterate_train_feature

    def augmented(model: Any, ids: Any) -> Iterator[Any]:
        for batch in as_it_is(model, ids):
            yield torch.cat([batch[:8] + scheduler.current_round, batch[8:]])

    scheduler.iterate_train_feature = augmented
    run(parties)
    assert parties.metrics(HOST).rows_shown == {COLLABORATOR: 96 + 2 * 8}
    assert sent(parties.metrics(COLLABORATOR), "MaskedFeatures") == 3 + 2


def test_two_processes_one_of_which_is_killed(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    try:
        task = parties.new_task(scheme="bfv")
        slow = Case(hangs=Method.ITERATE_TRAIN_FEATURE_LATER, **FROZEN)
        host = parties.start(HOST, "tiny_party.py", "--rounds", str(ROUNDS), case=Case(arguments={"log_rounds": 1}))
        other = parties.start(COLLABORATOR, "tiny_party.py", case=slow, listens=True)
        for event in ("round", "round", "batch"):  # trained, tested, and in round 2, where it hangs in the second batch
            other.wait_for(event)
        other.kill()
        again = parties.start(COLLABORATOR, "tiny_party.py", "--resume", case=Case(**FROZEN))
        assert [party.ended().code for party in (host, again)] == [0, 0]
        files, metrics = {}, {}
        for name in parties.names:
            directory = parties.homes[name] / "tasks" / task
            metrics[name] = RunMetrics.model_validate(json.loads((directory / "results" / "metrics.json").read_text()))
            files[name] = sorted((directory / "transcripts").glob("*.transcript"))
        for name in parties.names:
            assert metrics[name].rows_shown == {COLLABORATOR: 96}
        seen = metrics[HOST].messages
        assert seen["Projection"]["received_messages"] == 3  # two batches of training, and one of the test
        assert seen["FrozenRows"]["received_messages"] >= 3 * ROUNDS
        assert "StepGradient" not in seen
        report = audit_run(*([lines_of([path.read_bytes()]) for path in files[name]] for name in parties.names))
        assert report.holds, [str(finding) for finding in report.findings]
        assert report.ledger is not None
        assert any("because the weights stood still" in sentence for sentence in report.ledger.host_may_infer)
        assert not report.ledger.collaborator_may_infer
    finally:
        parties.stop()
