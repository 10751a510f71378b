"""A host that gets the sum of two collaborators' projections, in three processes: training, and predictions with it."""

from __future__ import annotations

import csv
import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file as load_weights
from typer.testing import CliRunner

from benchmarks.harness.limits import TASK, Limit, seconds
from benchmarks.harness.parties import Parties
from benchmarks.harness.ports import free_ports
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.series import run_tiny_series, whole
from benchmarks.harness.weights import projection_weight
from protocols.layer.pads import Pads
from protocols.layer.shapes import Ring
from protocols.task.online_rounds import OnlineCollaboratorRounds
from protocols.task.rounds import CollaboratorRounds
from protocols.task.terms import RunLimits
from secure_hfl.audit.audit_files import Verdict, audit_files
from secure_hfl.cli.app import app
from secure_hfl.engine.door import Door
from secure_hfl.limits import DEFAULT_LIMITS
from secure_hfl.prediction.assignment import PredictionAssignment
from secure_hfl.prediction.collaborator import PredictionServer
from secure_hfl.prediction.host import PredictingHost
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.prediction.online_host import OnlineHost
from secure_hfl.prediction.trained import Training
from secure_hfl.run_options import RunOptions
from secure_hfl.schemes import load_scheme
from secure_hfl.transport.channel import Channel
from tests.engine.memory_channel import channel_pair

PARTIES = 3
CASE = Case(arguments={"fusion": "sum", "log_rounds": 1})
NOISE = 1e-2
"""Beyond the smoothing noise of two summands, each of deviation 4e-4, on four numbers times weights of about 1."""


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parties]:
    """After the run."""
    parties = Parties(tmp_path_factory.mktemp("sum"), PARTIES)
    task = parties.new_task("a sum", "bfv")
    cases = {who: CASE if who == "party0" else None for who in parties.names}
    rows = {who: [{"task": task, "case": parties.values(who, cases[who])}] for who in parties.names}
    (ended,) = run_tiny_series(parties, rows).tasks
    assert [end["reason"] for end in whole(ended).values()] == [""] * PARTIES
    yield parties
    parties.stop()


def directory(parties: Parties, who: str) -> Path:
    return parties.homes[who] / "tasks" / parties.store(who).get("a sum").task_id


def test_it_trains(parties: Parties) -> None:
    losses = json.loads((directory(parties, "party0") / "results" / "metrics.json").read_text())["batch_losses"]
    assert len(losses) == 4
    assert all(map(math.isfinite, losses))
    assert sum(losses[2:]) < sum(losses[:2]), "the same two batches in both rounds"


@pytest.mark.parametrize(("who", "other"), [("party1", "party2"), ("party2", "party1")])
def test_its_audit_holds_and_says_what_the_host_got(parties: Parties, who: str, other: str, tmp_path: Path) -> None:
    files = [directory(parties, each) / "transcripts" for each in ("party0", who)]
    paths = [files[0] / f"{who}-1.transcript", files[1] / "party0-1.transcript"]
    out = tmp_path / "audit.json"
    result = CliRunner().invoke(app, ["audit", *map(str, paths), "--json", str(out)])
    assert result.exit_code == 0, result.stdout
    values = json.loads(out.read_text())
    assert values["holds"]
    assert values["manifests"][0]["terms"]["projections"] == "the host gets the sum of those of party1, party2 only"
    ledger = values["ledger"]
    assert any(f"{who}'s summand in a sum of smoothed projections" in each for each in ledger["host_learned"])
    assert f"a projection of {who} by itself" in ledger["never_sent_to_host"]
    assert len(ledger["host_may_infer"]) == 1
    assert f"from the sum of its projections and those of {other}, in 2 rounds" in ledger["host_may_infer"][0]
    by_type = {row["type"]: row for row in values["by_type"]}
    assert {"SumKey", "SumKeys"} <= set(by_type)
    assert "uniform by itself" in by_type["Projection"]["receiver_learns"]


def in_the_clear(parties: Parties, ids: list[int]) -> torch.Tensor:
    """What the trained models say, computed in one process from the results of all parties."""
    results = [directory(parties, who) / "results" for who in parties.names]
    features = []
    for at, kept in enumerate(results):
        model = tiny.bottom(at)
        model.load_state_dict(load_weights(kept / "feature_model.safetensors"))
        out = model(tiny.columns(at, ids))
        if at:
            weight = projection_weight(results[0], kept, f"party{at}")
            assert weight is not None
            out = out @ weight.T
        features.append(out)
    top = tiny.top(2)
    top.load_state_dict(load_weights(results[0] / "infer_model.safetensors"))
    with torch.no_grad():
        outputs: torch.Tensor = top(torch.cat([features[0], features[1] + features[2]], 1))
    return outputs


def test_the_models_of_a_sum_are_exported(parties: Parties, tmp_path: Path) -> None:
    ended = parties.start("party0", "tiny_party.py", "--out", str(tmp_path), command="export", case=CASE).ended()
    assert ended.code == 0, ended.err
    top = torch.export.load(tmp_path / "infer_model.pt2").module()
    assert top(torch.zeros(3, 2 * tiny.FEATURES)).shape == (3, 2)


def on_line(url: str, ids: list[str]) -> list[list[float]]:
    """Outputs, as soon as all parties are there."""
    limit = Limit(TASK)
    while limit.left():
        try:
            answer = httpx.post(url, json={"ids": ids}, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=TASK)
            return [row["outputs"] for row in answer.raise_for_status().json()["predictions"]]
        except httpx.ConnectError:
            time.sleep(0.05)
    raise AssertionError("the host does not serve")


TOKEN = "0123456789abcdef" * 4


def test_what_was_trained_so_is_predicted_with_and_the_host_gets_the_sum_only(parties: Parties, tmp_path: Path) -> None:
    ids = [100, 33, 127]
    asked, out, token, (port,) = tmp_path / "ids.txt", tmp_path / "out.csv", tmp_path / "token", free_ports(1)
    asked.write_text("100\n5\n33\n127\n")
    token.write_text(TOKEN)
    token.chmod(0o600)
    servers = [parties.start(who, "tiny_party.py", command="serve") for who in ("party1", "party2")]
    options = "--ids", str(asked), "--out", str(out)
    host = parties.start("party0", "tiny_party.py", *options, command="predict", case=CASE).ended()
    assert host.code == 0, host.err
    rows = list(csv.DictReader(out.open()))
    assert [row["status"] for row in rows] == ["predicted", "missing", "predicted", "predicted"]
    found = torch.tensor(
        [[float(row[f"output_{at}"]) for at in (0, 1)] for row in rows if row["status"] == "predicted"]
    )
    torch.testing.assert_close(found, in_the_clear(parties, ids), atol=NOISE, rtol=0)

    options = "--http", f"127.0.0.1:{port}", "--token-file", str(token)
    serving = parties.start("party0", "tiny_party.py", *options, command="serve", case=CASE)
    answer = torch.tensor(on_line(f"http://127.0.0.1:{port}/predict", [str(each) for each in ids]))
    assert torch.equal(answer, found), "the same question had another answer"
    for running in (serving, *servers):
        running.process.send_signal(signal.SIGTERM)
        assert running.ended().code == 0
    for number in (1, 2):
        for who in ("party1", "party2"):
            ends = [
                directory(parties, one) / "predictions" / "transcripts" / f"{other}-{number}.transcript"
                for one, other in (("party0", who), (who, "party0"))
            ]
            audit = audit_files(*ends)
            assert audit.verdict is Verdict.HOLDS, audit.report.findings
            ledger = audit.report.ledger
            assert ledger is not None
            assert f"a projection of {who} by itself" in ledger.never_sent_to_host
            assert "the sum of their projections" in ledger.host_may_infer[0]


# The same parties in threads of one process ---------------------------------------------------------------------------


class MemoryDoor(Door):
    """Where the collaborators' threads come in."""

    def __init__(self, assignment: PredictionAssignment) -> None:
        super().__init__(assignment)
        self.arrivals: SimpleQueue[Channel] = SimpleQueue()

    def wait(self, seconds: float) -> dict[str, Channel]:
        """See `Door`."""
        came = {each.peer: each for each in [self.arrivals.get(timeout=seconds) for _ in self.certificates]}
        return {name: came[name] for name in self.certificates}


def assigned(parties: Parties, who: str) -> tuple[PredictionAssignment, Training]:
    """What a party predicts with."""
    store = parties.store(who)
    record, role = store.get("a sum"), "collaborator" if parties.names.index(who) else "host"
    options = load_scheme("bfv"), RunOptions(), DEFAULT_LIMITS
    task = PredictionAssignment(role, who, record, store, parties.identities[who], *options)
    return task, Training.of(store.directory(record.task_id), record)


@contextmanager
def served(parties: Parties, limits: RunLimits | None = None) -> Iterator[tuple[Any, MemoryDoor]]:
    """The host's scheduler, and where both collaborators come in for one session. `limits`: of party1."""
    door, threads = MemoryDoor(assigned(parties, "party0")[0]), []
    for who in ("party1", "party2"):
        (directory(parties, who) / "predictions" / "counts.sqlite").unlink(missing_ok=True)
        scheduler: Any = tiny.make(parties.values(who))
        if limits is not None and who == "party1":
            scheduler.run_limits = limits

        def connect(seconds: float, who: str = who) -> Channel:
            at_host, own = channel_pair("bfv", ("party0", who))
            door.arrivals.put(at_host)
            return own

        server = PredictionServer(scheduler, *assigned(parties, who), connect)
        threads.append(threading.Thread(target=server.serve, args=(1,), daemon=True))
        threads[-1].start()
    yield tiny.make(parties.values("party0", CASE)), door
    for thread in threads:
        thread.join(seconds(TASK))
        assert not thread.is_alive(), "a collaborator hangs"


@pytest.fixture
def pads(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bytes]]:
    """For which ids pads were drawn, and batches opened."""
    seen: dict[str, list[bytes]] = {"drawn": [], "opened": []}
    draw = Pads.draw

    def drawing(own: Pads, rows: int, width: int) -> Ring:
        seen["drawn"].append(own._ids)
        return draw(own, rows, width)

    def opening(usual: Any) -> Any:
        def opening(rounds: Any, rows: int, ids: bytes) -> Any:
            seen["opened"].append(ids)
            return usual(rounds, rows, ids)

        return opening

    monkeypatch.setattr(Pads, "draw", drawing)
    monkeypatch.setattr(CollaboratorRounds, "open_batch", opening(CollaboratorRounds.open_batch))
    monkeypatch.setattr(OnlineCollaboratorRounds, "open", opening(OnlineCollaboratorRounds.open))
    return seen


def test_pads_are_of_the_ids_that_are_shown(parties: Parties, pads: dict[str, list[bytes]]) -> None:
    """A host that asks each collaborator for other rows gets no sum: protocols/layer/pads.py."""
    with served(parties) as (scheduler, door):
        PredictingHost(scheduler, *assigned(parties, "party0"), door).predict(["100", "33", "127"])
    assert len(pads["opened"]) == 2
    assert pads["drawn"] == pads["opened"]


def test_on_line_too_and_a_batch_that_one_refuses_is_counted_by_all(
    parties: Parties, pads: dict[str, list[bytes]]
) -> None:
    with served(parties, RunLimits(predictions=1)) as (scheduler, door):
        side = HostSide(scheduler, *assigned(parties, "party0"))
        with side.party.session():
            side.meet(door.wait(seconds(TASK)), door.certificates)
            session = OnlineHost(side, side.held())
            session.open()
            first, again, later = (session.predict(ids) for ids in (["100", "33"], ["100", "127"], ["64"]))
            session.close()
    assert (set(first.at), set(again.at), again.refused) == ({"100", "33"}, {"127"}, {"100"})
    found = torch.stack([first["100"], first["33"], again["127"], later["64"]])
    torch.testing.assert_close(found, in_the_clear(parties, [100, 33, 127, 64]), atol=NOISE, rtol=0)
    assert len(pads["opened"]) == 2 + 1 + 2 + 2, "party2 has shown what party1 refuses"
    assert sorted(pads["drawn"]) == sorted(pads["opened"])
