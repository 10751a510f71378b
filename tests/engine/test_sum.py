"""A host that gets the sum of two collaborators' projections, in three processes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.cases import Case
from benchmarks.harness.series import run_tiny_series, whole
from secure_hfl.cli.app import app

PARTIES = 3


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parties]:
    """After the run."""
    parties = Parties(tmp_path_factory.mktemp("sum"), PARTIES)
    task = parties.new_task("a sum", "bfv")
    case = Case(arguments={"fusion": "sum", "log_rounds": 1})
    cases = {who: case if who == "party0" else None for who in parties.names}
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
    assert losses[-1] < losses[0]


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
