"""Sessions between a Host and a Collaborator that have trained: what comes out, for whom, and what is refused."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from benchmarks.harness.limits import TASK, seconds
from benchmarks.harness.scripts import tiny
from benchmarks.harness.weights import projection_weight
from protocols.core.envelope import Phase
from protocols.core.errors import InvalidPoint, MessageOutOfOrder, VerificationFailed
from protocols.core.message import Message
from protocols.schemes.registry import known_types
from protocols.task.terms import RunLimits
from secure_hfl.audit.audit_files import Verdict, audit_files
from secure_hfl.engine.link import Link
from secure_hfl.engine.shutdown import ShuttingDown
from secure_hfl.errors import (
    BackgroundFailed,
    CheckpointRefused,
    ConnectionLost,
    PeerFault,
    PeerTimeout,
    Stopped,
    TaskError,
    TaskFailed,
    TaskStateError,
    UserCodeError,
)
from secure_hfl.failed_test import FAILED, UNANSWERED, FailedTest
from secure_hfl.prediction.collaborator import PredictionServer
from secure_hfl.prediction.outcome import Predictions
from tests.engine.memory_channel import channel_pair
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.prediction.memory_sessions import Sessions, trained

SCHEMES = ("plain", "bfv", "masked", "paillier")
NOISE = 5e-3
"""Beyond the smoothing noise on four numbers, times weights of about 1: 4e-4 is its deviation."""

REQUEST = ["100", "33", "5", "nobody", "127", "100"]


@pytest.fixture(scope="module", params=SCHEMES)
def parties(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MemoryParties:
    return trained(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> MemoryParties:
    return trained(tmp_path_factory.mktemp("trained"), "plain")


@pytest.fixture
def copied(plain: MemoryParties, tmp_path: Path) -> Iterator[MemoryParties]:
    """The trained task, whose files a test changes; as they were afterwards."""
    directory = plain._parties.directory
    shutil.copytree(directory, tmp_path / "kept")
    yield plain
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "kept", directory)


def results(parties: MemoryParties, name: str) -> Path:
    return parties.runs[name].bench.assignment.results


def in_the_clear(parties: MemoryParties, ids: list[int]) -> torch.Tensor:
    """What the trained models say, computed in one process from both parties' results."""
    models = [parties.runs[name].bench.user_state._local._models for name in (HOST, COLLABORATOR)]  # type: ignore[union-attr]
    features = [model["feature_model"].eval()(tiny.columns(at, ids)) for at, model in enumerate(models)]
    weight = projection_weight(results(parties, HOST), results(parties, COLLABORATOR), COLLABORATOR)
    if weight is not None:
        features[1] = features[1] @ weight.T
    with torch.no_grad():
        fused: torch.Tensor = models[0]["infer_model"](torch.cat(features, 1))
    return fused


def outputs(found: Predictions, ids: list[int]) -> torch.Tensor:
    return torch.stack([found[str(each)] for each in ids])


def test_predictions_are_those_of_the_models_in_the_clear(parties: MemoryParties) -> None:
    """Training ids, test ids and ids of neither are predicted alike; who asks again gets the same numbers."""
    ids = [100, 33, 127, 64, 96]
    sessions = Sessions(parties)
    found = sessions.predict([*REQUEST, "64", "96"])
    assert torch.allclose(outputs(found, ids), in_the_clear(parties, ids), atol=NOISE, rtol=0)
    many = Sessions(parties).predict([str(each) for each in range(32, 128)])
    assert torch.equal(outputs(many, ids), outputs(found, ids)), "the same question had another answer"
    assert len(many.at) == 96
    for session in (found, many):
        mine = session.transcripts[0]
        other = parties.runs[COLLABORATOR].bench.assignment.directory / "predictions" / "transcripts"
        report = audit_files(mine, other / f"{HOST}-{mine.stem.rpartition('-')[2]}.transcript")
        assert report.verdict is Verdict.HOLDS, report.report.findings


def test_rows_are_in_the_order_of_the_request_and_missing_ids_have_a_reason(plain: MemoryParties) -> None:
    found = Sessions(plain).predict(REQUEST)
    rows = list(found.rows())
    assert [row[0] for row in rows] == REQUEST
    assert [row[1] for row in rows] == ["predicted", "predicted", "missing", "missing", "predicted", "predicted"]
    assert [row[2] for row in rows[2:4]] == ["party1 does not hold it", "party0 does not hold it"]
    assert rows[0] == rows[-1]
    assert rows[0][3] == int(found["100"].argmax())
    with pytest.raises(KeyError, match="party1 does not hold it"):
        found["5"]
    assert [int(each) for each in found.labels] == tiny.labels_of([33, 100, 127]).tolist()


def test_ids_that_nobody_has_need_no_session_and_ids_of_the_host_alone_need_no_feature(plain: MemoryParties) -> None:
    sessions = Sessions(plain)
    assert sessions.host.predict(["nobody"]).reasons == {"nobody": "party0 does not hold it"}
    found = sessions.predict(["3", "4"])
    assert (found.at, found.reasons["3"]) == ({}, "party1 does not hold it")
    assert sessions.server.served == 1
    assert audit_files(found.transcripts[0]).verdict is Verdict.HOLDS


def test_a_task_that_kept_no_last_state_predicts_too_and_keeps_its_noise(tmp_path: Path) -> None:
    parties = trained(tmp_path, "bfv")
    for name in (HOST, COLLABORATOR):
        shutil.rmtree(results(parties, name) / "state")
    found, again = (Sessions(parties).predict(["100", "127"]) for _ in range(2))
    assert torch.allclose(outputs(found, [100, 127]), in_the_clear(parties, [100, 127]), atol=NOISE, rtol=0)
    assert torch.equal(found.outputs, again.outputs)


def test_a_frozen_bottom_model_predicts(tmp_path: Path) -> None:
    frozen = {"arguments": {"is_feature_trainable": False}}
    parties = trained(tmp_path, "bfv", cases={COLLABORATOR: frozen})
    found = Sessions(parties).predict(["100", "40"])
    assert torch.allclose(outputs(found, [100, 40]), in_the_clear(parties, [100, 40]), atol=NOISE, rtol=0)


def test_without_predict_a_batch_it_is_what_infer_model_returns_in_test(
    plain: MemoryParties, monkeypatch: pytest.MonkeyPatch
) -> None:
    host: Any = plain.schedulers[HOST]
    monkeypatch.setattr(type(host), "has_predict_a_batch", False)
    seen = []

    def test(features: Any, labels: Any) -> None:
        fused = [torch.cat([each["party0"], each["party1"]], 1) for each in features]
        seen.append([host.infer_model(each) for each in fused])
        raise AssertionError("what follows on infer_model is not run")

    monkeypatch.setattr(host, "test", test)
    found = Sessions(plain).predict(["100"])
    assert torch.allclose(outputs(found, [100]), in_the_clear(plain, [100]), atol=1e-6)
    assert not seen


def test_where_test_does_not_show_the_fusion_an_example_is_given(
    plain: MemoryParties, monkeypatch: pytest.MonkeyPatch
) -> None:
    host: Any = plain.schedulers[HOST]
    monkeypatch.setattr(type(host), "has_predict_a_batch", False)
    with pytest.raises(TaskFailed, match=r"does not call infer_model; implement it.*return self\.infer_model\(fused\)"):
        Sessions(plain).predict(["100"])


# What is refused ------------------------------------------------------------------------------------------------------


def test_the_result_of_another_training(plain: MemoryParties) -> None:
    sessions = Sessions(plain)
    party = sessions.host.party
    others = {key: replace(terms, manifest_digest="0" * 64) for key, terms in party.training.by_peer.items()}
    party.training = replace(party.training, by_peer=others)
    with pytest.raises(TaskFailed, match="the result of another training than party1; no data was sent"):
        sessions.predict(["100"])


def test_a_script_that_builds_other_models(copied: MemoryParties, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied.schedulers[COLLABORATOR], "build_feature_model", lambda: torch.nn.Linear(4, 7))
    with pytest.raises(CheckpointRefused, match="keeps the model feature_model as Sequential, but it is Linear now"):
        Sessions(copied)
    shutil.rmtree(results(copied, COLLABORATOR) / "state")
    with pytest.raises(CheckpointRefused, match=r"feature_model\.safetensors does not fit what the script builds"):
        Sessions(copied)


def test_transcripts_that_were_taken_away(copied: MemoryParties) -> None:
    for path in copied.runs[HOST].bench.assignment.transcripts.iterdir():
        path.unlink()
    with pytest.raises(TaskError, match="it says which training the results are of; put it back"):
        Sessions(copied)


def test_results_that_were_taken_away_or_torn(copied: MemoryParties) -> None:
    (torn,) = results(copied, HOST).glob("state/checkpoint-*.bin")
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(CheckpointRefused, match=r"none of the checkpoints in .*state can be used"):
        Sessions(copied)
    metrics = results(copied, HOST) / "metrics.json"
    for change, why in ((lambda: metrics.write_text("{"), "it is damaged"), (metrics.unlink, "No such file")):
        change()
        with pytest.raises(TaskError, match=rf"metrics\.json cannot be read \({why}.*put the results of the task back"):
            Sessions(copied)


def test_a_collaborator_that_does_not_serve(plain: MemoryParties, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain.schedulers[HOST], "schedule_timeout", 0.1)
    with pytest.raises(TaskFailed, match=r"party1 did not come.*must run `secure-hfl serve`"):
        Sessions(plain).host.predict(["100"])


def test_a_session_that_fails_is_not_the_last(plain: MemoryParties, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(plain)
    with monkeypatch.context() as patched:
        patched.setattr(plain.schedulers[HOST], "predict_a_batch", lambda features: None)
        with pytest.raises(TaskFailed, match="must return a tensor with one entry for each of 1 row,"):
            sessions.predict(["100"])
    assert sessions.server.served == 0
    assert len(sessions.predict(["100"]).at) == 1


def test_what_is_refused_is_one_line_at_who_serves(
    plain: MemoryParties, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plain.schedulers[COLLABORATOR], "run_limits", RunLimits(asked_a_day=1))
    sessions = Sessions(plain)
    log = sessions.server.party.assignment.directory / "log.txt"
    before = log.read_text().count("Traceback") if log.exists() else 0
    with pytest.raises(TaskFailed, match="lets a host ask about 1 id in a day"):
        sessions.predict(["100", "101"])
    (line,) = (each for each in caplog.records if each.levelno >= logging.WARNING)
    assert line.message.startswith("A session was refused: asked_a_day: party1 lets")
    assert log.read_text().count("Traceback") == before


def test_a_host_that_went_before_a_session_began_is_no_error(
    plain: MemoryParties, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = Sessions(plain).server
    monkeypatch.setattr(server, "_session", lambda channel: fail(ConnectionLost("gone")))
    with caplog.at_level(logging.INFO):
        server.serve(1)
    assert "The Host went away before a session began." in caplog.messages
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_one_process_serves_a_task(plain: MemoryParties, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would each count what they show of a share, in one file."""
    first, second = (Sessions(plain).server for _ in range(2))
    seen = []

    def meanwhile() -> None:
        with pytest.raises(TaskStateError, match=rf"process {os.getpid()} serves task .* already; stop that one first"):
            second.serve(1)
        seen.append(True)

    monkeypatch.setattr(first, "_next_host", meanwhile)
    monkeypatch.setattr(second, "_next_host", lambda: None)
    first.serve(1)
    assert seen
    second.serve(1)


def test_a_host_that_has_failed_a_test_is_served_no_more(plain: MemoryParties, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why: tests/attacks/test_mark_row_by_row.py."""
    server = Sessions(plain).server
    path, was_kept = server.party.assignment.directory / FAILED, list[bool]()
    monkeypatch.setattr(server._bench.peers, "abort", lambda failure: was_kept.append(path.exists()))
    with monkeypatch.context() as patched:
        patched.setattr(server, "_session", lambda channel: fail(ConnectionLost("gone")))
        server.serve(1)
        assert not path.exists()
        failed = PeerFault("party0", VerificationFailed("another share"))  # as a link says it
        patched.setattr(server, "_session", lambda channel: go_to_set_up_and_fail(server, failed))
        with pytest.raises(TaskStateError, match="no predictions are served: the host has failed a test"):
            server.serve(1)
    try:
        assert was_kept == [False, True], "the host is told when it is written"
        assert path.read_text().endswith(" another share\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        again = Sessions(plain).server
        monkeypatch.setattr(again, "_next_host", lambda: pytest.fail("it waits for a host"))
        with pytest.raises(TaskStateError, match="Remove the file to serve it again"):
            again.serve()
    finally:
        path.unlink()
    assert len(Sessions(plain).predict(["100"]).at) == 1


HUNG_UP_AT = {
    "plain": {"PlainFeatures": False},
    "bfv": {"MarkQuery": True, "FormQuery": True, "Projection": False},
    "masked": {"MarkQuery": True, "FormQuery": True, "SameShareQuery": True, "MaskedCheckReply": False},
    "paillier": {"MarkQuery": True},
}
"""What a host gets in a session, and whether it is a question."""


def test_a_host_that_hangs_up_at_a_question_is_served_no_more(
    parties: MemoryParties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says farewell at questions of the form, and else it is simply gone."""
    receive, at = Link.receive, [""]

    def hang_up(link: Link, *types: type[Message]) -> Message:
        message = receive(link, *types)
        if type(message).__name__ == at[0]:
            if at[0] != "FormQuery":
                link.channel.close(0)
            raise Stopped("the host has stopped")
        return message

    monkeypatch.setattr(Link, "receive", hang_up)
    for at[0], is_kept in HUNG_UP_AT[parties.runs[HOST].bench.assignment.scheme.name].items():
        sessions = Sessions(parties)
        path = sessions.server.party.assignment.directory / FAILED
        with ThreadPoolExecutor(1) as pool:
            predicted = pool.submit(sessions.host.predict, ["100", "127"])
            try:
                if is_kept:
                    with pytest.raises(TaskStateError, match=r"has left one unanswered.*just when.*Remove the file"):
                        sessions.server.serve(1)
                    assert f" {UNANSWERED}: " in path.read_text()
                else:
                    sessions.server.serve(1)
                    assert not path.exists()
            finally:
                path.unlink(missing_ok=True)
            with pytest.raises(TaskFailed, match="stopped"):
                predicted.result(seconds(TASK))


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (PeerTimeout("party0 owed EqualityProof"), True),
        (PeerFault("party0", MessageOutOfOrder("sent Abort")), True),
        (PeerFault("party0", InvalidPoint("of low order")), True),
        (KeyboardInterrupt(), False),
        (ShuttingDown(), False),
        (UserCodeError("a table is gone"), False),
        (BackgroundFailed("no memory"), False),
        (MemoryError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "kept" if value else "not kept",
)
def test_only_what_the_host_or_the_network_does_leaves_a_test_unanswered(
    plain: MemoryParties, tmp_path: Path, error: BaseException, is_kept: bool
) -> None:
    party, link = Sessions(plain).server.party, Link(channel_pair()[1], 1.0)
    for link.has_open_question in (False, True):
        party.bench.peers.links = {"party0": link}
        with pytest.raises((TaskFailed, type(error))), party.session(FailedTest(tmp_path)):
            raise error
        assert (tmp_path / FAILED).exists() is (is_kept and link.has_open_question)


def test_a_question_is_written_down_before_it_is_asked(
    plain: MemoryParties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a host that has this process killed in place of answering is served no more either."""
    failed, (_, end) = FailedTest(tmp_path), channel_pair()
    link, was_kept = Link(end, 1.0), list[bool]()
    link.on_question = failed.answer_owed
    monkeypatch.setattr(end, "send", lambda *arguments: was_kept.append(failed.is_kept))
    question, other = SimpleNamespace(is_question=True), SimpleNamespace(is_question=False)
    for message in (other, question, question, other, question):
        link.send(cast(Message, message))
    assert was_kept == [False, True, True, False, True]
    with pytest.raises(TaskStateError, match=r"or has left one unanswered.*a party's program broke down"):
        FailedTest(tmp_path).check_serving()
    assert failed.path.read_text().endswith("killed before the answer came\n")


def test_what_cannot_be_written_down_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link(channel_pair()[1], 1.0)
    link.on_question = FailedTest(tmp_path / "gone").answer_owed
    monkeypatch.setattr(link.channel, "send", lambda *arguments: pytest.fail("asked"))
    with pytest.raises(FileNotFoundError):
        link.send(cast(Message, SimpleNamespace(is_question=True)))
    assert not link.has_open_question


def test_every_test_of_a_share_is_a_question() -> None:
    """All but those of training whose sender must prove something itself, and the host's check of a projection."""
    types = {each for scheme in SCHEMES for each in known_types(scheme).values()}
    queries = {each.__name__ for each in types if each.__name__.endswith("Query")}
    assert {each.__name__ for each in types if each.is_question} == queries - {"CheckQuery", "RelationQuery"}
    assert len(queries) == 6


def fail(error: Exception) -> int:
    raise error


def go_to_set_up_and_fail(server: PredictionServer, error: Exception) -> int:
    server._bench.peers.go_to(Phase.SETUP)
    raise error
