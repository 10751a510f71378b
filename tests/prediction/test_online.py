"""Predictions on line between a Host and a Collaborator that have trained: what comes out, who waits, how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.harness.limits import TASK, Limit
from protocols.core.message import Message
from protocols.schemes.shares.test_messages import FormQuery
from protocols.task.terms import RunLimits
from secure_hfl.audit.audit_files import Verdict, audit_files
from secure_hfl.engine.link import Link
from secure_hfl.errors import ConfigurationError, PeerFault, TaskStateError, UserCodeError
from secure_hfl.failed_test import FAILED, UNANSWERED
from secure_hfl.prediction import online_host, service
from secure_hfl.prediction.budget import PredictionBudget
from secure_hfl.prediction.outcome import Predictions
from secure_hfl.prediction.service import MOST_WAITING, Unavailable
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.prediction.memory_online import Online
from tests.prediction.memory_sessions import Sessions, trained
from tests.prediction.test_sessions import NOISE, in_the_clear, outputs

WAIT = 30.0


@pytest.fixture(scope="module", params=["bfv", "masked"])
def parties(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MemoryParties:
    return trained(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> MemoryParties:
    return trained(tmp_path_factory.mktemp("trained"), "plain")


@pytest.fixture
def online(plain: MemoryParties) -> Iterator[Online]:
    with Online(plain) as both:
        yield both


class Batches:
    """Hears how many requests were answered together, and whether a session is open."""

    def __init__(self) -> None:
        self.requests: list[int] = []
        self.rows: list[int] = []
        self.is_open = threading.Event()

    def batch(self, requests: int, rows: int, seconds: float) -> None:
        self.requests.append(requests)
        self.rows.append(rows)

    def session(self, is_open: bool) -> None:
        (self.is_open.set if is_open else self.is_open.clear)()


def transcripts(parties: MemoryParties) -> list[Path]:
    """Both ends' newest, the host's first."""
    found = []
    for name in (HOST, COLLABORATOR):
        directory = parties.runs[name].bench.assignment.directory / "predictions" / "transcripts"
        found.append(max(directory.iterdir(), key=lambda path: int(path.stem.rpartition("-")[2])))
    return found


def test_predictions_are_those_of_a_session_of_its_own_and_of_the_models_in_the_clear(parties: MemoryParties) -> None:
    ids = [100, 33, 127, 64, 96]
    with Online(parties) as online:
        found = online.service.predict(["100", "33", "5", "nobody", "127", "100"], WAIT)
        rest = online.service.predict(["64", "96", "100"], WAIT)
    assert [found.status(each) for each in found.ids] == [
        "predicted",
        "predicted",
        "missing",
        "missing",
        *["predicted"] * 2,
    ]
    assert found.reasons == {"5": "party1 does not hold it", "nobody": "party0 does not hold it"}
    assert torch.equal(found["100"], rest["100"]), "the same question had another answer"
    both = torch.stack([*outputs(found, ids[:3]), *outputs(rest, ids[3:])])
    assert torch.allclose(both, in_the_clear(parties, ids), atol=NOISE, rtol=0)
    report = audit_files(*transcripts(parties))
    assert report.verdict is Verdict.HOLDS, report.report.findings
    alone = Sessions(parties).predict([str(each) for each in ids])
    assert torch.allclose(outputs(alone, ids), both, atol=1e-6, rtol=0), "another session had other noise"


def test_requests_that_come_together_share_a_batch(plain: MemoryParties) -> None:
    online, heard = Online(plain), Batches()
    online.service.listener = heard
    asked = [[str(at), str(at + 1)] for at in range(40, 60)] + [["3"], [str(at) for at in range(32, 128)]]
    answers: list[Future[Predictions]] = [online.service.submit(each) for each in asked]
    with online:
        for ids, answer in zip(asked, answers, strict=True):
            found = answer.result(WAIT)
            assert found.ids == tuple(ids)
            assert set(found.at) == set(ids) - {"3"}
            known = [int(each) for each in found.at]
            if known:
                assert torch.allclose(outputs(found, known), in_the_clear(plain, known), atol=1e-6)
    assert heard.requests == [21, 1], "all that fits, and what does not behind it"
    assert heard.rows == [21, 96]


def test_a_budget_holds_single_ids_back_and_others_go_on(plain: MemoryParties, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = plain.runs[COLLABORATOR].bench.assignment.directory / "predictions" / "counts.sqlite"
    counts.unlink(missing_ok=True)
    limits = RunLimits(predictions=1, asked_a_day=4)
    monkeypatch.setattr(plain.schedulers[COLLABORATOR], "run_limits", limits)
    with Online(plain) as online:
        first = online.service.predict(["100", "101"], WAIT)
        again = online.service.predict(["101", "102"], WAIT)
        third = online.service.predict(["100", "103", "104"], WAIT)
    counts.unlink()
    assert set(first.at) == {"100", "101"}
    assert set(again.at) == {"102"}
    assert again.refused == {"101"}
    assert again.reasons == {"101": "party1 allows 1 prediction of it, and it has had as many"}
    assert set(third.at) == {"103"}, "what the day had left"
    assert third.status("104") == "refused"
    assert "party1 lets a host ask about 4 ids a day" in third.reasons["104"]
    report = audit_files(*transcripts(plain))
    assert report.verdict is Verdict.HOLDS, report.report.findings


def test_a_batch_of_more_rows_than_were_agreed_on_is_neither_shown_nor_counted(
    plain: MemoryParties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that cheats: it asks for all at once."""
    counts = plain.runs[COLLABORATOR].bench.assignment.directory / "predictions" / "counts.sqlite"
    counts.unlink(missing_ok=True)
    monkeypatch.setattr(plain.schedulers[COLLABORATOR], "run_limits", RunLimits(rows=2, predictions=3))
    monkeypatch.setattr(online_host, "batches_of", lambda ids, rows: [slice(0, len(ids))])
    monkeypatch.setattr(service, "MOST_ATTEMPTS", 1)
    with Online(plain) as online:
        assert set(online.service.predict(["100", "101"], WAIT).at) == {"100", "101"}
        with pytest.raises(Unavailable, match="RowsAsked of 3 rows; a batch has 2 at most"):
            online.service.predict(["100", "101", "102"], WAIT)
    budget = PredictionBudget(counts, COLLABORATOR, RunLimits())
    assert [budget.times(each) for each in ("100", "102")] == [1, 0]
    counts.unlink()


def test_a_collaborator_that_leaves_is_waited_for(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_host, "IDLE_SECONDS", 0.0)
    assert online.service.predict(["100"], WAIT).at
    online.leave()
    with pytest.raises(
        Unavailable, match=r"no answer within 0\.7 s: (party1 is not on line|the session .*stopped serv)"
    ):
        online.service.predict(["100"], 0.7)
    assert not online.service.is_ready
    waiting = online.service.submit(["101"])
    online.serve()
    assert waiting.result(WAIT).at == {"101": 0}
    assert online.service.online() == {COLLABORATOR: True}


def test_a_session_that_has_lasted_is_followed_by_another(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    first = online.service.predict(["100"], WAIT)
    with monkeypatch.context() as patched:
        patched.setattr(service, "SESSION_SECONDS", 0.0)
        limit = Limit(TASK)
        while not online.server.served:
            assert limit.left() > 0
            time.sleep(0.01)
    assert torch.equal(online.service.predict(["100"], WAIT)["100"], first["100"])


def test_a_connection_that_breaks_costs_no_request(online: Online) -> None:
    assert online.service.predict(["100"], WAIT).at
    online.cut()
    assert online.service.predict(["101"], WAIT).at


def test_a_connection_that_breaks_at_a_question_is_a_failed_test(
    parties: MemoryParties, monkeypatch: pytest.MonkeyPatch
) -> None:
    online, receive = Online(parties), Link.receive
    path = online.server.party.assignment.directory / FAILED

    def cut(link: Link, *types: type[Message]) -> Message:
        message = receive(link, *types)
        if isinstance(message, FormQuery):
            online.cut()
        return message

    monkeypatch.setattr(Link, "receive", cut)
    online.service.submit(["100", "33"])
    online.service.start()
    try:
        with pytest.raises(TaskStateError, match="or has left one unanswered"):
            online.server.serve(1)
        assert path.read_text().endswith(f" {UNANSWERED}: the cable is out\n")
    finally:
        online.service.stop()
        path.unlink(missing_ok=True)


def test_a_request_at_which_the_hosts_code_fails_takes_no_other_with_it(
    plain: MemoryParties, monkeypatch: pytest.MonkeyPatch
) -> None:
    host: Any = plain.schedulers[HOST]
    usual = host.predict_a_batch

    def fails(features: Any) -> Any:
        if (features["party0"] == poison).all(dim=1).any():
            raise ValueError("secret")
        return usual(features)

    online = Online(plain)
    poison = online.service._side.party.features.of(["77"]).features
    monkeypatch.setattr(host, "predict_a_batch", fails)
    bad, good = online.service.submit(["77", "78"]), online.service.submit(["79"])
    with online:
        with pytest.raises(UserCodeError):
            bad.result(WAIT)
        assert good.result(WAIT).at
        assert online.service.predict(["78"], WAIT).at
    assert online.server.served == 1, "it was one session"


def test_what_is_no_id_fails_by_itself(plain: MemoryParties) -> None:
    online = Online(plain)
    online.service._side.held = lambda: None  # type: ignore[method-assign]  # as of a Host that has labels only
    with online:
        with pytest.raises(ConfigurationError, match="has 0 bytes"):
            online.service.predict([""], WAIT)
        with pytest.raises(ConfigurationError, match="must be a list of texts, not str"):
            online.service.submit("100")
        assert online.service.predict(["100", "nobody"], WAIT).reasons == {"nobody": "party1 does not hold it"}


def test_it_stops_in_order(plain: MemoryParties) -> None:
    online, heard = Online(plain), Batches()
    online.service.listener = heard
    with online:
        assert heard.is_open.wait(WAIT)
        assert online.service.predict(["100"], WAIT).at
    assert not online.service.is_ready
    with pytest.raises(Unavailable, match="is stopping"):
        online.service.submit(["100"])
    report = audit_files(*transcripts(plain))
    assert report.verdict is Verdict.HOLDS, report.report.findings
    assert all(file.is_finished for file in report.report.files)
    assert online.server.served == 1
    online.service.stop()


def test_what_waits_when_it_stops_is_told_so(plain: MemoryParties) -> None:
    online = Online(plain)
    waiting = online.service.submit(["100"])
    cancelled = online.service.submit(["101"])
    assert cancelled.cancel()
    online.service.start()
    online.service.stop()
    with pytest.raises(Unavailable, match="is stopping"):
        waiting.result(WAIT)


def test_sessions_that_do_not_come_about_are_tried_ever_more_rarely(
    plain: MemoryParties, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Online(plain).service

    def meet(*_: object) -> None:
        raise PeerFault("party1 has the result of another training")

    monkeypatch.setattr(waiting._side, "meet", meet)
    for pause in (1, 2, 4, 8, 10, 10):
        before = time.monotonic()
        waiting._serve_session({})
        assert before + pause <= waiting._not_before <= time.monotonic() + pause
    waiting.start()
    waiting.stop()
    assert time.monotonic() < waiting._not_before, "it stops in the middle of a pause"


def test_the_queue_is_bounded(plain: MemoryParties) -> None:
    online = Online(plain)
    for _ in range(MOST_WAITING):
        online.service.submit(["100"])
    with pytest.raises(Unavailable, match="waiting already"):
        online.service.submit(["100"])


def test_features_are_trusted_once_enough_ids_came_out_in_order(plain: MemoryParties) -> None:
    """Each id beyond that is asked for once: what an on-line request costs."""
    features = Online(plain).server.party.features
    many = [str(each) for each in range(32, 96)]
    for _ in range(4):
        features.of(many)
    asked: list[int] = []
    usual = features._ask

    def counting(name: str, ids: Any) -> Any:
        asked.append(len(ids))
        return usual(name, ids)

    features._ask = counting  # type: ignore[method-assign]
    assert torch.equal(features.of(["40"]).features, features.of(["40"]).features)
    features.of([str(each) for each in range(32, 64)])
    assert asked == [1, 1, 32, 1]
