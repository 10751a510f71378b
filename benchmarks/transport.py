"""The transport step by step: a message to bytes and back, then through a channel over mutual TLS on loopback.

    python -m benchmarks.transport

A message is an array of float32. A round trip sends one to an echoing peer in another process and receives it back:
encoding, TLS, decoding, twice each; processor times are this end's alone. Throughput is one way: until the peer has
received and decoded the last one. A note has the percentiles of the round trips.

Two messages stand for all, because the codec knows two kinds of large fields: `PlainFeatures` is one array, and
`StepGradient` a list of ciphertexts.
"""

from __future__ import annotations

import argparse
import multiprocessing
from functools import partial
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.step_timings import Benchmark, StepTimings, timed
from protocols.core.envelope import Envelope, Phase
from protocols.schemes.encrypted.messages import StepGradient
from protocols.schemes.plain.messages import PlainFeatures
from protocols.schemes.registry import known_messages
from protocols.task.rounds import RoundStart
from protocols.wire.codec import Catalogue, decode, encode
from protocols.wire.frames import Assembler, cut
from secure_hfl.errors import ConnectionLost
from secure_hfl.identity import Identity
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import PartyServer

TASK = "benchmark"
TIMEOUT = 60.0
SIZES = (1_000, 10_000, 100_000, 1_000_000)
BULK = 64_000_000
BULK_MESSAGES = 8
ROUND_TRIPS = 50
"""For each repeat."""


def features(size: int) -> PlainFeatures:
    """An array of so many bytes."""
    return PlainFeatures(np.ones((size // 40, 10), dtype=np.float32))


CATALOGUE = Catalogue(known_messages())


def peer(pipe: Connection) -> None:
    """The collaborator's process: echoes features; counts those that follow a RoundStart and answers once."""
    identity = Identity.create("collaborator")
    pipe.send(identity.certificate_pem)
    port, host_certificate = pipe.recv()
    channel = connect(f"localhost:{port}", TASK, identity, host_certificate, TIMEOUT, "host", catalogue=CATALOGUE)
    to_come = 0
    while True:
        try:
            message = channel.receive(TIMEOUT).message
        except ConnectionLost:  # the host has closed it
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


def measure_codec(lines: StepTimings, size: int) -> None:
    """To bytes, into frames, and back; no network."""
    ciphertexts = StepGradient(1, tuple(bytes(size // 4) for _ in range(4)))
    envelopes = {
        "array": Envelope(1, Phase.TRAIN, 1, 0, features(size)),
        "four ciphertexts": Envelope(1, Phase.TRAIN, 1, 0, ciphertexts),
    }
    for name, envelope in envelopes.items():
        where = f"{name} of {size:,} bytes"
        data = lines.time(f"{where}: encode", partial(encode, envelope, CATALOGUE), size=len)
        lines.time(f"{where}: decode", partial(decode, data, CATALOGUE))
    frames = lines.time(f"{size:,} bytes: cut into frames", lambda: list(cut(data)), size=lambda it: sum(map(len, it)))
    lines.time(f"{size:,} bytes: put together", lambda: assemble(frames, len(data)))


def assemble(frames: list[bytes], length: int) -> None:
    """Read the frames of a message."""
    assembler = Assembler(length)
    if not [whole for frame in frames if (whole := assembler.add(frame)) is not None]:
        raise RuntimeError("the frames make no message")


def round_trips(lines: StepTimings, channel: Channel, size: int) -> None:
    """One line, and percentiles."""
    message = features(size)

    def once() -> None:
        channel.send(Phase.TRAIN, 1, 0, message, TIMEOUT)
        channel.receive(TIMEOUT)

    count = lines.repeats * ROUND_TRIPS
    samples = [timed(once)[0] for _ in range(count + count // 10)][count // 10 :]
    step = f"round trip of {size:,} bytes"
    lines.add(step, samples, size=2 * message.features.nbytes)
    percentiles = np.percentile(1e3 * np.array([wall for wall, _ in samples]), (10, 50, 90, 99))
    lines.notes[f"{step}, ms"] = dict(zip(("10 %", "50 %", "90 %", "99 %"), percentiles.round(3).tolist(), strict=True))


def throughput(lines: StepTimings, channel: Channel, size: int, messages: int) -> None:
    """One line."""
    message = features(size)

    def send() -> None:
        channel.send(Phase.TRAIN, 1, 0, RoundStart(messages), TIMEOUT)
        for _ in range(messages):
            channel.send(Phase.TRAIN, 1, 0, message, TIMEOUT)
        channel.receive(TIMEOUT)

    sent = messages * message.features.nbytes
    lines.time(f"{messages} x {size:,} bytes, one way", send, sent // 1_000_000, "MB", sent)


def measure_channel(lines: StepTimings, sizes: tuple[int, ...], bulk: int) -> None:
    """Against a peer in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=peer, args=(theirs,), daemon=True)
    process.start()
    identity = Identity.create("host")
    with PartyServer("localhost:0", identity) as server:
        lobby = server.open_task(TASK, {"collaborator": ours.recv()}, CATALOGUE)
        ours.send((server.port, identity.certificate_pem))
        channel = lobby.wait(TIMEOUT)["collaborator"]
        for size in sizes:
            round_trips(lines, channel, size)
        for messages in (1, BULK_MESSAGES):
            throughput(lines, channel, bulk, messages)
        channel.close(TIMEOUT)
    process.join(TIMEOUT)


def measure(lines: StepTimings, options: argparse.Namespace) -> None:
    """All lines."""
    sizes = SIZES[:1] if options.quick else SIZES
    for size in sizes:
        measure_codec(lines, size)
    measure_channel(lines, sizes, 1_000_000 if options.quick else BULK)


BENCHMARK = Benchmark("transport", __doc__, measure)

if __name__ == "__main__":
    BENCHMARK.main()
