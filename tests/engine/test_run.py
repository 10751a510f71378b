"""Whole runs of both roles over channels in memory: to the end, through interruptions, and to one error at both."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.harness.limits import seconds
from benchmarks.harness.scripts.tiny import train_in_one_process
from protocols.core.envelope import Phase
from protocols.core.errors import MalformedMessage, VerificationFailed
from protocols.he import engines
from protocols.schemes.encrypted.products import HostProducts
from protocols.task.manifest import Manifest
from protocols.transcript.messages import Countersignature
from protocols.wire.codec import decode
from protocols.wire.frames import Assembler
from secure_hfl.engine.failure import Failure
from secure_hfl.errors import ConnectionLost, PeerAborted, PeerFault, TaskFailed, TaskStateError
from secure_hfl.failed_test import FAILED, FailedTest
from secure_hfl.run_options import RunOptions
from secure_hfl.tasks import TaskState
from secure_hfl.transport.outbound import Outbound
from tests.engine.memory_channel import cut_off
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

ROUNDS = 2
LOSSES = train_in_one_process(2, ROUNDS)[0]


@pytest.mark.parametrize("scheme", ["plain", "masked"])
def test_a_task_runs_to_its_end(tmp_path: Path, scheme: str) -> None:
    parties = MemoryParties(tmp_path, scheme, cases={HOST: {"arguments": {"max_rounds": ROUNDS, "log_rounds": 1}}})
    parties.execute()
    assert not parties.errors
    host, other = parties.metrics(HOST), parties.metrics(COLLABORATOR)
    assert [each.batches for each in host.rounds] == [each.batches for each in other.rounds] == [2] * ROUNDS
    assert host.psi is not None
    assert other.psi is not None
    assert host.psi.intersection == other.psi.intersection == 96
    assert (host.psi.bytes_sent, host.psi.bytes_received) == (other.psi.bytes_received, other.psi.bytes_sent)
    assert host.rounds[0].accuracy == 1.0
    for name in (HOST, COLLABORATOR):
        task = parties.runs[name].bench.assignment
        assert task.store.get(task.record.task_id).state is TaskState.FINISHED
        assert (task.results / "feature_model.safetensors").exists()
        assert len(list(task.transcripts.glob("*.transcript"))) == 1
        assert not list((task.directory / "checkpoints").glob("checkpoint-*"))
        assert parties.heard[name].named("end")[0]["ok"]
        shown: Any = parties.schedulers[name]
        assert (shown.task_id, shown.current_round, len(shown.id_intersection)) == (task.record.task_id, ROUNDS, 96)
        assert len(shown.train_ids) + len(shown.test_ids) == 96
        assert shown.feature_model is parties.runs[name].view.models.feature_model
    if scheme == "plain":
        assert host.batch_losses == LOSSES


def test_a_task_in_which_a_test_has_failed_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further try might tell a cheat something: tests/attacks/test_mark_row_by_row.py."""
    honest = HostProducts.encrypt_share
    monkeypatch.setattr(HostProducts, "encrypt_share", lambda products, share: honest(products, share ^ np.uint64(1)))
    parties = MemoryParties(tmp_path, "bfv")
    files, was_kept = {}, list[bool]()
    for name, run in parties.runs.items():
        file = files[name] = run.bench.assignment.directory / FAILED

        def abort(failure: Failure, abort: Any = run.bench.peers.abort, file: Path = file) -> None:
            was_kept.append(file.exists())
            abort(failure)

        monkeypatch.setattr(run.bench.peers, "abort", abort)
    parties.execute()
    assert was_kept == [True, True], "peers are told when it is written"
    for file in files.values():
        assert "the host's share of the weights for party1 is not its part of the first weights" in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for resume in (True, None):
        parties.begin(RunOptions(resume=resume))
        parties.execute()
        for name, file in files.items():
            task, error = parties.runs[name].bench.assignment, parties.errors[name]
            assert isinstance(error, TaskStateError)
            assert "does not begin anew: a test of what the parties send has failed" in str(error)
            assert str(file) in str(error)
            assert "first weights" in task.store.get(task.record.task_id).failure, "what ended it stays in the record"
    files[HOST].unlink()
    FailedTest(files[HOST].parent).check_training()


@pytest.mark.parametrize(
    ("error", "phase", "is_kept"),
    [
        (VerificationFailed("another share"), Phase.TRAIN, True),
        (PeerFault("party0", VerificationFailed("another share")), Phase.SETUP, True),
        (VerificationFailed("another manifest"), Phase.JOIN, False),
        (PeerFault("party0", MalformedMessage("short")), Phase.TRAIN, False),
        (PeerAborted("party0", "has found a lie", "VerificationFailed"), Phase.TRAIN, None),
        (PeerAborted("party0", "is gone", "ConnectionLost"), Phase.TRAIN, False),
        (ConnectionLost("the cable is out"), Phase.TRAIN, False),
    ],
    ids=["at once", "through a link", "in the agreement", "malformed", "a peer's word", "a peer is gone", "lost"],
)
def test_only_a_failed_test_is_kept(tmp_path: Path, error: Exception, phase: Phase, is_kept: bool | None) -> None:
    """Predictions go on whatever a peer says; None: only they do."""
    for takes_their_word in (False, True):
        FailedTest(tmp_path).keep(error, phase, takes_their_word)
        assert (tmp_path / FAILED).exists() is (takes_their_word if is_kept is None else is_kept)


def test_a_peer_that_goes_after_the_last_signature_ends_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it is gone before the host's writer comes back from handing over that signature."""
    original, is_over = Outbound.frames, threading.Event()

    def frames(outbound: Outbound) -> Iterator[bytes]:
        for frame in original(outbound):
            yield frame
            data = Assembler(1 << 20).add(frame)
            sent = data and decode(data, outbound._catalogue)
            is_last = sent and sent.phase is Phase.FINISH and isinstance(sent.message, Countersignature)
            if is_last and outbound._state.peer == COLLABORATOR:
                assert is_over.wait(seconds(30))

    def react(event: str, values: dict[str, Any]) -> None:
        if event in ("end", "interrupted"):
            is_over.set()

    monkeypatch.setattr(Outbound, "frames", frames)
    parties = MemoryParties(tmp_path)
    parties.heard[HOST].react = react
    parties.execute()
    assert not parties.errors
    assert not parties.heard[HOST].named("interrupted")


def test_an_interruption_is_outlived_and_changes_no_loss(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path, options=RunOptions(checkpoint_every=1))
    cuts = [1]

    def react(event: str, values: dict[str, Any]) -> None:
        if event == "batch" and values["round"] == 2 and cuts:
            cuts.pop()
            cut_off(*parties.channels)

    parties.heard[HOST].react = react
    parties.execute()
    assert not parties.errors
    for name in (HOST, COLLABORATOR):
        assert parties.metrics(name).resumes == 1
        assert parties.heard[name].named("interrupted")
        transcripts = parties.runs[name].bench.assignment.transcripts
        assert len(list(transcripts.glob("*.transcript"))) == 2
    assert parties.metrics(HOST).batch_losses == LOSSES


def test_a_host_that_resumes_with_another_engine_keeps_the_packing_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engines.PACKING, "0")
    parties = MemoryParties(tmp_path, "bfv", RunOptions(rounds=1, batches=2, checkpoint_every=1))
    train, calls = parties.schedulers[HOST].train_a_batch, iter((True, False, True))

    def fails_once(*values: Any) -> None:
        if not next(calls):
            raise ValueError("once")
        train(*values)

    parties.schedulers[HOST].train_a_batch = fails_once
    parties.execute()
    monkeypatch.setenv(engines.PACKING, "1")
    parties.begin(RunOptions(rounds=1, batches=2, resume=True))
    parties.execute()
    assert not parties.errors
    for name in (HOST, COLLABORATOR):
        assert parties.metrics(name).encryption == "bfv-8192-144b-unpacked, a reply for each sum"


def test_what_is_slow_here_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = MemoryParties(tmp_path, "bfv").runs[COLLABORATOR].bench
    scheme = bench.assignment.scheme
    monkeypatch.setattr(scheme, "caution", lambda: "It is slow")
    for _ in range(2):
        bench.adopt(cast(Manifest, SimpleNamespace(scheme_parameters=scheme.parameters())))
    assert caplog.text.count("It is slow.") == 1


def test_an_interruption_before_the_set_up_begins_again(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path)
    cuts = [1]

    def react(event: str, values: dict[str, Any]) -> None:
        if event == "phase" and values["phase"] == "setup" and cuts:
            cuts.pop()
            cut_off(*parties.channels)

    parties.heard[COLLABORATOR].react = react
    parties.execute()
    assert not parties.errors
    assert parties.heard[HOST].named("resumed")[0]["from"] == "the end of the intersection"
    assert parties.metrics(HOST).batch_losses == LOSSES


@pytest.mark.parametrize(
    ("party", "case", "reason", "place"),
    [
        (HOST, {"raises": "train_a_batch"}, "party0 stopped in training round 1, batch 1: UserCodeError", Phase.TRAIN),
        (COLLABORATOR, {"split": "two swapped"}, "split_dataset differs", Phase.ALIGN),
        (COLLABORATOR, {"ids": ["a", "b"]}, "no id is held by all parties", Phase.PSI),
        (COLLABORATOR, {"batch_size": 16}, "Use the same batch size", Phase.SETUP),
    ],
)
def test_a_failure_has_one_reason_at_both(
    tmp_path: Path, party: str, case: dict[str, Any], reason: str, place: Phase
) -> None:
    parties = MemoryParties(tmp_path, cases={party: case})
    parties.execute()
    failures = [parties.errors[name] for name in (HOST, COLLABORATOR)]
    assert all(isinstance(each, TaskFailed) for each in failures)
    reasons = {each.reason for each in failures if isinstance(each, TaskFailed)}
    assert len(reasons) == 1
    assert reason in reasons.pop()
    assert parties.runs[HOST].bench.peers.place.phase is place
    for name in (HOST, COLLABORATOR):
        task = parties.runs[name].bench.assignment
        assert task.store.get(task.record.task_id).state is TaskState.FAILED


def test_what_own_ids_look_like_is_told_to_nobody_else(tmp_path: Path) -> None:
    parties = MemoryParties(tmp_path, cases={COLLABORATOR: {"ids": ["patient-1", "patient-2"]}})
    parties.execute()
    ours, theirs = (parties.errors[name] for name in (COLLABORATOR, HOST))
    assert isinstance(ours, TaskFailed)
    assert isinstance(theirs, TaskFailed)
    assert "'letters-digits' (2)" in ours.detail
    assert "letters" not in str(theirs)
    assert "'digits' (128)" in theirs.detail
