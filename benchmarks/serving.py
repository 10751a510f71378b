"""Predictions over HTTP: how long a client waits, and how many requests are answered in a second.

    python -m benchmarks.serving [--schemes plain masked bfv paillier] [--seconds 1] [--json FILE]

Host and Collaborator in processes of their own over mutual TLS, clients in threads of this one, everything on loopback.
20 features a party, a projection layer of 20 x 20, 10,000 ids a side. Latency is that of a client that asks one request
after the other: of ids that were not asked for before in this session, which are looked up first, and of the same ids
again. Throughput is that of clients that each ask for one id after the other, most of them known by then.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.harness.parties import Parties, Running
from benchmarks.harness.ports import free_ports
from benchmarks.markdown import number, table
from benchmarks.step_timings import write_json
from secure_hfl.bench.machine import machine

SCRIPT = Path(__file__).parent / "scripts" / "serving_party.py"
SCHEMES = ("plain", "masked", "bfv", "paillier")
CLIENTS = (1, 2, 4, 8, 16)
ROWS = (1, 128)
IDS, FIRST = 10_000, 256
START_SECONDS = 60.0


class Client:
    """One connection."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def predict(self, ids: Sequence[int]) -> float:
        """Seconds until all of these are predicted."""
        started = time.perf_counter()
        body = json.dumps({"ids": list(map(str, ids))})
        self._connection.request("POST", "/predict", body, self._headers)
        answer = self._connection.getresponse()
        found = json.loads(answer.read())
        seconds = time.perf_counter() - started
        if answer.status != 200 or found["missing"] or found["refused"]:
            raise RuntimeError(f"not all were predicted: {answer.status} {found.get('error')}")
        return seconds

    def is_ready(self) -> bool:
        """Whether the collaborator is on line."""
        try:
            self._connection.request("GET", "/healthz")
            answer = self._connection.getresponse()
            answer.read()
        except OSError:
            self._connection.close()
            return False
        return answer.status == 200


@contextmanager
def served(scheme: str, directory: Path) -> Iterator[tuple[int, str]]:
    """A trained task, served: the port and the token."""
    parties = Parties(directory)
    parties.new_task(scheme=scheme)

    def start(name: str, command: str = "", *options: str) -> Running:
        return parties.start(name, str(SCRIPT), *options, command=command, environment={"SERVING_ROLE": name})

    try:
        for running in [start(name) for name in parties.names]:
            ended = running.ended()
            if ended.code:
                raise RuntimeError(ended.err)
        port, file = free_ports(1)[0], directory / "token"
        start(parties.names[1], "serve")
        start(parties.names[0], "serve", "--http", f"127.0.0.1:{port}", "--token-file", str(file))
        deadline = time.monotonic() + START_SECONDS
        while not Client(port, "").is_ready():
            if time.monotonic() > deadline:
                raise RuntimeError("the collaborator did not come")
            time.sleep(0.1)
        yield port, file.read_text().strip()
    finally:
        parties.stop()


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: the median, and what one request in a hundred exceeds."""
    ordered = sorted(seconds)
    return {
        "p50": 1e3 * ordered[len(ordered) // 2],
        "p99": 1e3 * ordered[min(len(ordered) - 1, 99 * len(ordered) // 100)],
    }


def latency(client: Client, rows: int, requests: int, first: int) -> dict[str, Any]:
    """Of requests of so many rows, with ids from `first` on: new ones, then the same again."""
    pieces = [range(first + at * rows, first + (at + 1) * rows) for at in range(requests)]
    new, known = ([client.predict(each) for each in pieces] for _ in range(2))
    return {"rows": rows, "requests": requests, "new": quantiles(new), "known": quantiles(known)}


def throughput(port: int, token: str, clients: int, seconds: float) -> dict[str, Any]:
    """Requests of one row, by so many clients at once."""
    counts, over = [0] * clients, time.perf_counter() + seconds

    def ask(at: int) -> None:
        client, draw = Client(port, token), random.Random(at)
        while time.perf_counter() < over:
            client.predict([draw.randrange(FIRST, FIRST + 2000)])
            counts[at] += 1

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"clients": clients, "requests_per_second": sum(counts) / (time.perf_counter() - started)}


def measure(scheme: str, seconds: float) -> dict[str, Any]:
    """One scheme."""
    with tempfile.TemporaryDirectory() as directory, served(scheme, Path(directory)) as (port, token):
        client = Client(port, token)
        for at in range(20):  # pools fill, and threads start
            client.predict([FIRST + 4000 + at])
        one = latency(client, 1, round(200 * seconds), FIRST + 5000)
        many = latency(client, 128, round(10 * seconds), FIRST)
        load = [throughput(port, token, clients, seconds) for clients in CLIENTS]
    return {"scheme": scheme, "latency": [one, many], "throughput": load}


def serving_table(found: dict[str, Any]) -> str:
    """By scheme: milliseconds, p50 / p99, then requests of one row in a second."""
    rows = []
    for each in found["schemes"]:
        kinds = itertools.product(each["latency"], ("new", "known"))
        waits = [f"{number(of[kind]['p50'])} / {number(of[kind]['p99'])}" for of, kind in kinds]
        rows.append([f"`{each['scheme']}`", *waits, *(number(at["requests_per_second"]) for at in each["throughput"])])
    waits = ["one row, new", "one row, known", "128 rows, new", "128 rows, known"]
    counts = [at["clients"] for at in found["schemes"][0]["throughput"]]
    clients = [f"{each} client{'' if each == 1 else 's'}" for each in counts]
    return table(["scheme", *waits, *clients], rows)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each step of the throughput")
    parser.add_argument("--json", type=Path, help="write the figures there")
    asked = parser.parse_args()
    about, found = machine(), {"schemes": [measure(each, asked.seconds) for each in asked.schemes]}
    Console().print(Markdown(serving_table(found)))
    if asked.json is not None:
        write_json(asked.json, "python -m benchmarks.serving", about, found)


if __name__ == "__main__":
    main()
