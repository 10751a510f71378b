"""Latency and throughput of a channel between two processes over mutual TLS on loopback.

    python -m benchmarks.transport                a table
    python -m benchmarks.transport --json         the same figures for a machine

A round trip is an array of float32 sent to an echoing peer and received back: encoding, TLS, decoding, twice each.
Throughput is one way: arrays of 64 MB until the peer has received and decoded the last one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from multiprocessing.connection import Connection
from typing import Any

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from protocols.envelope import Phase
from protocols.projection.plain import PlainFeatures
from protocols.training import RoundStart, TaskFinished
from secure_hfl.identity import Identity
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import PartyServer

TASK = "benchmark"
TIMEOUT = 60.0
ROUND_TRIPS = {"1 kB": (16, 16), "10 kB": (128, 20), "100 kB": (1280, 20), "1 MB": (12800, 20)}
BULK_SHAPE = (800_000, 20)
BULK_MESSAGES = 8


def peer(pipe: Connection) -> None:
    """The collaborator's process: echoes features; counts those that follow a RoundStart and answers once."""
    identity = Identity.create("collaborator")
    pipe.send(identity.certificate_pem)
    port, host_certificate = pipe.recv()
    channel = connect(f"localhost:{port}", TASK, identity, host_certificate, TIMEOUT, "host")
    to_come = 0
    while True:
        message = channel.receive(TIMEOUT).message
        if isinstance(message, TaskFinished):
            break
        if isinstance(message, RoundStart):
            to_come = message.max_batches
        elif to_come == 0:
            channel.send(Phase.TRAIN, 1, 0, message, TIMEOUT)
        else:
            to_come -= 1
            if to_come == 0:
                channel.send(Phase.TRAIN, 1, 0, RoundStart(1), TIMEOUT)
    channel.close(TIMEOUT)


def round_trips(channel: Channel, shape: tuple[int, int], seconds: float) -> dict[str, float]:
    """Percentiles in milliseconds."""
    message = PlainFeatures(np.ones(shape, dtype=np.float32))
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        channel.send(Phase.TRAIN, 1, 0, message, TIMEOUT)
        channel.receive(TIMEOUT)
        times.append(time.perf_counter() - started)
    p10, p50, p99 = np.percentile(np.array(times[len(times) // 10 :]) * 1e3, (10, 50, 99))
    return {"p10_ms": float(p10), "p50_ms": float(p50), "p99_ms": float(p99), "count": len(times)}


def throughput(channel: Channel, messages: int) -> float:
    """MB/s of this many messages of 64 MB."""
    message = PlainFeatures(np.ones(BULK_SHAPE, dtype=np.float32))
    started = time.perf_counter()
    channel.send(Phase.TRAIN, 1, 0, RoundStart(messages), TIMEOUT)
    for _ in range(messages):
        channel.send(Phase.TRAIN, 1, 0, message, TIMEOUT)
    channel.receive(TIMEOUT)
    return messages * message.features.nbytes / 1e6 / (time.perf_counter() - started)


def measure(seconds: float) -> dict[str, Any]:
    """All measurements, against a peer in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=peer, args=(theirs,), daemon=True)
    process.start()
    identity = Identity.create("host")
    with PartyServer("localhost:0", identity) as server:
        lobby = server.open_task(TASK, {"collaborator": ours.recv()})
        ours.send((server.port, identity.certificate_pem))
        channel = lobby.wait(TIMEOUT)["collaborator"]
        latency = {name: round_trips(channel, shape, seconds) for name, shape in ROUND_TRIPS.items()}
        throughput(channel, 1)
        single = max(throughput(channel, 1) for _ in range(3))
        stream = throughput(channel, BULK_MESSAGES)
        channel.send(Phase.FINISH, 1, 0, TaskFinished(1), TIMEOUT)
        channel.close(TIMEOUT)
    process.join(TIMEOUT)
    return {
        "round_trip": latency,
        "one_64_MB_message_MB_per_s": single,
        "stream_of_64_MB_messages_MB_per_s": stream,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "grpcio": grpc.__version__},
    }


def show(result: dict[str, Any], console: Console) -> None:
    """As a table."""
    table = Table("measurement", "median", "10 % / 99 %", title="mutual TLS on loopback, two processes")
    latency = result["round_trip"]
    for name, row in latency.items():
        table.add_row(f"round trip {name}", f"{row['p50_ms']:.2f} ms", f"{row['p10_ms']:.2f} / {row['p99_ms']:.2f} ms")
    table.add_row("one message of 64 MB", f"{result['one_64_MB_message_MB_per_s']:.0f} MB/s", "")
    table.add_row("stream of 64 MB messages", f"{result['stream_of_64_MB_messages_MB_per_s']:.0f} MB/s", "")
    console.print(table)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each message size")
    arguments = parser.parse_args()
    result = measure(arguments.seconds)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result, Console())


if __name__ == "__main__":
    main()
