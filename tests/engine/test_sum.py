"""A host that gets the sum of two collaborators' projections, in three processes: training, and predictions with it."""

from __future__ import annotations

import csv
import json
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_weights
from typer.testing import CliRunner

from benchmarks.harness.limits import TASK, Limit
from benchmarks.harness.parties import Parties
from benchmarks.harness.ports import free_ports
from benchmarks.harness.scripts import tiny
from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.series import run_tiny_series, whole
from protocols.core.fixed_point import WEIGHT_BITS
from protocols.he.interface import as_signed
from protocols.layer.shapes import add
from secure_hfl.audit.audit_files import Verdict, audit_files
from secure_hfl.cli.app import app

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
            name = f"projection.party{at}.safetensors"
            weight = as_signed(add(*(load_file(each / name)["share"] for each in (results[0], kept)))).astype(
                np.float64
            )
            out = out @ torch.from_numpy(weight / 2.0**WEIGHT_BITS).float().T
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
