"""Predictions over HTTP of three parties in processes: a load, one that is killed and comes back, an orderly end."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from benchmarks.harness.limits import TASK, Limit
from benchmarks.harness.parties import Parties
from benchmarks.harness.ports import free_ports
from secure_hfl.audit.audit_files import Verdict, audit_files

HOST, STAYS, KILLED = "party0", "party1", "party2"
TOKEN = "0123456789abcdef" * 4


class Client:
    """Of a server, by one connection for each thread."""

    def __init__(self, url: str) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TASK, trust_env=False)

    def predict(self, ids: Sequence[str]) -> httpx.Response:
        return self._client.post("/predict", json={"ids": list(ids)})

    def wait_for(self, status: str) -> None:
        limit = Limit(TASK)
        while True:
            try:
                if self._client.get("/healthz").json()["status"] == status:
                    return
            except httpx.ConnectError:
                pass
            assert limit.left() > 0, f"it never was {status}"
            time.sleep(0.05)


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    three = Parties(tmp_path, 3)
    yield three
    three.stop()


def test_a_load_a_killed_collaborator_and_an_orderly_end(parties: Parties, tmp_path: Path) -> None:
    task = parties.new_task(scheme="bfv")
    assert all(each.code == 0 for each in parties.run("--rounds", "1").values())
    token, (port,) = tmp_path / "token", free_ports(1)
    token.write_text(TOKEN)
    token.chmod(0o600)
    options = "--http", f"127.0.0.1:{port}", "--token-file", str(token)
    host = parties.start(HOST, "tiny_party.py", *options, command="serve")
    client = Client(f"http://127.0.0.1:{port}")
    client.wait_for("waiting")
    servers = {name: parties.start(name, "tiny_party.py", command="serve") for name in (STAYS, KILLED)}
    client.wait_for("ready")

    with ThreadPoolExecutor(8) as pool:
        asked = [[str(at), "5"] for at in range(32, 96)]
        for ids, answer in zip(asked, pool.map(client.predict, asked), strict=True):
            body = answer.json()
            assert (answer.status_code, body["missing"]) == (200, ["5"]), body
            assert [row["id"] for row in body["predictions"]] == ids
        before = client.predict(["100"]).json()

        servers[KILLED].process.send_signal(signal.SIGKILL)
        servers[KILLED].ended()
        waiting = pool.submit(client.predict, ["100"])
        client.wait_for("waiting")
        servers[KILLED] = parties.start(KILLED, "tiny_party.py", command="serve")  # the other comes back by itself
        assert waiting.result().json() == before, "the same question had another answer"

    figures = client._client.get("/metrics").text
    assert 'secure_hfl_requests_total{code="200"} 66.0' in figures
    assert "secure_hfl_sessions_total 2.0" in figures
    (batches,) = (line for line in figures.splitlines() if line.startswith("secure_hfl_batch_seconds_count"))
    assert float(batches.split()[1]) < 66, "no two requests shared a batch"

    host.process.send_signal(signal.SIGTERM)
    ended = host.ended()
    assert ended.code == 0, ended.err
    assert f"Predictions at http://127.0.0.1:{port}/predict" in ended.out
    assert TOKEN not in ended.out + ended.err
    for name, server in servers.items():
        server.process.send_signal(signal.SIGTERM)
        assert server.ended().code == 0
        ends = [
            parties.homes[one] / "tasks" / task / "predictions" / "transcripts" / f"{other}-2.transcript"
            for one, other in ((HOST, name), (name, HOST))
        ]
        audited = audit_files(*ends)
        assert audited.verdict is Verdict.HOLDS, audited.report.findings
        assert all(file.is_finished for file in audited.report.files)
    broken = audit_files(ends[0].with_name(f"{KILLED}-1.transcript"))
    assert {each.kind for each in broken.report.findings} == {"IncompleteTranscript"}
