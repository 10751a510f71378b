"""Train, serve, predict and audit, each by its command in a process of its own."""

from __future__ import annotations

import csv
import importlib.util
import json
import signal
from pathlib import Path

from benchmarks.harness.parties import Parties

HOST, COLLABORATOR = "party0", "party1"


def test_a_task_is_trained_predicted_and_audited(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    task = parties.new_task(scheme="bfv")
    ids = tmp_path / "ids.txt"
    ids.write_text("100\n5\n33\n")
    try:
        early = parties.start(HOST, "tiny_party.py", "--ids", str(ids), "--out", "x.csv", command="predict")
        ended = early.ended()
        assert ended.code == 1
        assert "has finished, and predictions need one that has" in ended.err
        assert all(each.code == 0 for each in parties.run("--rounds", "1").values())
        server = parties.start(COLLABORATOR, "tiny_party.py", command="serve")
        for name in ("first.csv", "second.csv"):
            options = "--ids", str(ids), "--out", str(tmp_path / name)
            host = parties.start(HOST, "tiny_party.py", *options, command="predict").ended()
            assert host.code == 0, host.err
            assert "2 ids predicted, 1 missing" in host.out
        if importlib.util.find_spec("torchmetrics") is not None:
            options = "--ids", str(ids), "--json", str(tmp_path / "figures.json")
            host = parties.start(HOST, "tiny_party.py", *options, command="evaluate").ended()
            assert host.code == 0, host.err
            assert "Accuracy" in host.out
            assert json.loads((tmp_path / "figures.json").read_text())["samples"] == 2
        options = "--ids", str(ids), "--out", "x.csv"
        wrong = parties.start(COLLABORATOR, "tiny_party.py", *options, command="predict").ended()
        assert "is for scripts of a HeteroNNHostScheduler" in wrong.err
        server.process.send_signal(signal.SIGTERM)
        assert server.ended().code == 0
    finally:
        parties.stop()
    with (tmp_path / "first.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["status"]) for row in rows] == [("100", "predicted"), ("5", "missing"), ("33", "predicted")]
    assert (tmp_path / "first.csv").read_text() == (tmp_path / "second.csv").read_text()
    card = parties.command(COLLABORATOR, "card", task, "--out", tmp_path / "card.html")
    assert card.code == 0, card.err
    assert task in (tmp_path / "card.html").read_text()
    ends = [parties.homes[one] / "tasks" / task / "predictions" / "transcripts" / f"{other}-2.transcript"
            for one, other in ((HOST, COLLABORATOR), (COLLABORATOR, HOST))]  # fmt: skip
    audit = parties.command(HOST, "audit", *ends)
    assert audit.code == 0, audit.out
    assert "Everything holds" in audit.out
