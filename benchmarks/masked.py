"""Scheme "masked" step by step: a training batch (online), the triples it uses up (offline), and the masks themselves.

    python -m benchmarks.masked                                  128 samples; d = 20, 128 and 512; o = 20
    python -m benchmarks.masked --batch 64 --inputs 40 --outputs 10

Both parties run in this process, one after the other, and each one's own time is measured: over a network they work at
once. Bytes are of the messages that the party sends, without frames; a note has them by type. z and da are checked
against the plaintext reference.

A triple over a channel: both parties in this process, by TLS and gRPC, and a hash at both ends. Its processor time is
that of both, with all their threads.
"""

from __future__ import annotations

import argparse
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from threading import Thread
from typing import Any

import numpy as np

from benchmarks.harness.pump import and_rest
from benchmarks.product_steps import add_shapes, describe, specs
from benchmarks.step_timings import Benchmark, Sample, StepTimings, timed
from protocols.core.envelope import Envelope, Phase
from protocols.core.message import Message
from protocols.core.randomness import OsRandomness, expand
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.bfv import BfvBackend
from protocols.he.interface import RING_BITS
from protocols.he.parameters import TRIPLES
from protocols.layer.interface import UNITS_AT_ONCE, LayerSpec, layer_randomness
from protocols.layer.parameters import LayerParameters
from protocols.layer.reference import ReferenceLayer, initial_factors
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.pool import CollaboratorTriples, HostTriples
from protocols.schemes.masked.triple_messages import TripleRequest
from protocols.schemes.masked.triples import TEST, TRAIN
from protocols.schemes.registry import known_messages
from protocols.wire.codec import Catalogue, encode
from protocols.wire.varint import Buffer
from secure_hfl.engine.link import Link
from secure_hfl.identity import Identity
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import PartyServer
from secure_hfl.transport.traffic import Direction

PARTIES = ("host", "collaborator")
MEGABYTES = 16
RATE = 0.1
TIMEOUT = 60.0
CATALOGUE = Catalogue(known_messages())


def size(message: Message) -> int:
    """Bytes on the wire, without frames."""
    return len(encode(Envelope(0, Phase.TRAIN, 1, 0, message), CATALOGUE))


@dataclass
class Cost:
    """What conversations cost the host and the collaborator: seconds, and bytes by message."""

    wall: list[float] = field(default_factory=lambda: [0.0, 0.0])
    processor: list[float] = field(default_factory=lambda: [0.0, 0.0])
    sent: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))

    def sample(self, side: int) -> Sample:
        """One party's times."""
        return self.wall[side], self.processor[side]


def step(end: Steps[Any], answer: Message | None) -> tuple[Send | Receive | None, Any]:
    """A conversation's next step, or None and its result."""
    try:
        return end.send(answer), None  # type: ignore[arg-type]
    except StopIteration as stop:
        return None, stop.value


def run(host: Steps[Any], collaborator: Steps[Any], cost: Cost) -> tuple[Any, Any]:
    """Both conversations to their ends; their results."""
    ends, inboxes = (host, collaborator), (deque[Message](), deque[Message]())
    results: list[Any] = [None, None]
    steps: list[Send | Receive | None] = [None, None]

    def go(side: int, answer: Message | None) -> None:
        (wall, processor), (steps[side], results[side]) = timed(partial(step, ends[side], answer))
        cost.wall[side] += wall
        cost.processor[side] += processor

    go(0, None)
    go(1, None)
    while any(steps):
        for side, current in enumerate(steps):
            if isinstance(current, Send):
                cost.sent[side][type(current.message).__name__] += size(current.message)
                inboxes[1 - side].append(current.message)
                go(side, None)
            elif isinstance(current, Receive) and inboxes[side]:
                go(side, inboxes[side].popleft())
    return results[0], results[1]


def answering(triples: CollaboratorTriples) -> Steps[None]:
    """What the engine does with a request for triples."""
    yield from triples.serve(received((yield Receive(TripleRequest)), TripleRequest))


def closing(collaborator: MaskedCollaborator) -> Steps[Any]:
    """The collaborator's end of a batch."""
    gradient = yield from collaborator.backward()
    yield from collaborator.settle()
    return gradient


def check(name: str, got: Any, wanted: Any, tolerance: float) -> None:
    """End the run when a result is wrong."""
    if np.abs(got - wanted).max() > tolerance:
        raise RuntimeError(f"{name} is wrong")


def report(lines: StepTimings, name: str, costs: Sequence[Cost]) -> None:
    """A line for each party, and what it sent."""
    for side, party in enumerate(PARTIES):
        sent = costs[-1].sent[side]
        lines.add(f"{name}, {party}", [cost.sample(side) for cost in costs], size=sent.total())
        lines.notes[f"{name}, {party} sends"] = dict(sent)


def measure_layer(lines: StepTimings, spec: LayerSpec, backend: BfvBackend) -> None:
    """Set-up, triples and batches of one layer."""
    parameters, where, repeats = LayerParameters(check_every=0), describe(spec), lines.repeats
    host, collaborator = MaskedHost(spec, backend, parameters), MaskedCollaborator(spec, backend, parameters)
    setup = Cost()
    run(host.setup(), collaborator.setup(), setup)
    report(lines, f"{where}: set-up, once", [setup])
    for kind in (TRAIN, TEST):
        costs = []
        # One to warm up, and the host sends a share of the batch after the last one ahead.
        for _ in range(repeats + 2 if kind == TRAIN else repeats + 1):
            costs.append(Cost())
            run(host.triples.generate(kind), answering(collaborator.triples), costs[-1])
        report(lines, f"{where}: offline, one {kind} triple", costs[1 : repeats + 1])
    report(lines, f"{where}: online, one training batch", online(spec, host, collaborator, repeats))


def online(spec: LayerSpec, host: MaskedHost, collaborator: MaskedCollaborator, repeats: int) -> list[Cost]:
    """Batches."""
    stream, outputs = np.random.default_rng(1), spec.width_out or 0
    costs, batches = [], []
    for _ in range(repeats + 1):
        a = stream.normal(size=(spec.rows, spec.width_in)).astype(np.float32)
        dz = (stream.normal(size=(spec.rows, outputs)) * 1e-3).astype(np.float32)
        costs.append(Cost())
        z, _ = run(and_rest(host, host.forward(spec.rows, True)), collaborator.forward(a, True), costs[-1])
        _, da = run(host.backward(dz, RATE), closing(collaborator), costs[-1])
        batches.append((a, dz, z, da))
    verify(spec, batches)  # afterwards: threads of the float products would show in the processor times
    return costs[1:]


def hashed(direction: Direction, envelope: Envelope, data: Buffer) -> None:
    """What a transcript costs, or nearly."""
    sha256(data).digest()


def over_a_channel(lines: StepTimings, spec: LayerSpec, backend: BfvBackend) -> None:
    """Triples as an engine makes them, beside nothing else; by a key pair of their own."""
    identities, secrets = [Identity.create(party) for party in PARTIES], [backend.generate() for _ in PARTIES]
    publics = [backend.load_public(secret.public_key()) for secret in secrets]
    host = HostTriples(spec, backend, secrets[0], publics[1])
    collaborator = CollaboratorTriples(spec, backend, secrets[1], publics[0])
    certificates = [identity.certificate_pem for identity in identities]
    with PartyServer("localhost:0", identities[0]) as server:
        lobby, address = server.open_task("triples", {PARTIES[1]: certificates[1]}, CATALOGUE), server.port
        to_host = f"localhost:{address}", "triples", identities[1], certificates[0], TIMEOUT, PARTIES[0]
        ends = [connect(*to_host, catalogue=CATALOGUE), lobby.wait(TIMEOUT)[PARTIES[1]]]
        for channel in ends:
            channel.observers.append(hashed)
        serving, asking = (Link(channel, TIMEOUT).offline_lane() for channel in ends)

        def make() -> None:
            serve = Thread(target=lambda: serving.run(collaborator.serve(serving.receive(TripleRequest))))
            serve.start()
            asking.run(host.generate(TRAIN, UNITS_AT_ONCE))
            serve.join()
            for _ in range(UNITS_AT_ONCE):
                host.take(TRAIN), collaborator.take(TRAIN)

        name = f"{describe(spec)}: offline, train triples over a channel, both parties"
        lines.time(name, make, UNITS_AT_ONCE, "triple")
        ends[1].close(TIMEOUT)


def verify(spec: LayerSpec, batches: list[tuple[Any, Any, Any, Any]]) -> None:
    """Compare every (a, dz, z, da) with the reference."""
    host, collaborator = (layer_randomness(spec, party) for party in PARTIES)
    left, right = initial_factors(host, collaborator, spec.width_out or 0, spec.width_in)
    reference = ReferenceLayer(left @ right)
    for a, dz, z, da in batches:
        exact = a.astype(np.float64), dz.astype(np.float64)
        check("z", z, reference.forward(exact[0]), 0.01)
        check("da", da, reference.backward(exact[1]), 1e-4)
        reference.update(exact[1], exact[0], RATE)


def measure_masks(lines: StepTimings, options: argparse.Namespace) -> None:
    """Where masks come from."""
    system, count = OsRandomness(), (1 if options.quick else MEGABYTES) * 1_000_000
    stream = expand(system.seed())
    lines.time("a seed from the operating system", system.seed)
    lines.time("a seed's stream, first block", lambda: expand(system.seed()).bytes(64))
    lines.time(f"expand ChaCha20, {count:,} bytes", lambda: stream.bytes(count), count // 1_000_000, "MB", count)
    for spec in specs(options):
        shape = (spec.rows, spec.width_in)
        numbers = spec.rows * spec.width_in
        where = f"{shape[0]}x{shape[1]}"
        fresh = lambda shape=shape: expand(system.seed()).ring(shape, RING_BITS)  # noqa: E731
        lines.time(
            f"{where}: expand a mask of {RING_BITS} bits from a fresh seed", fresh, numbers, "number", 8 * numbers
        )


def measure(lines: StepTimings, options: argparse.Namespace) -> None:
    """All lines."""
    measure_masks(lines, options)
    backend = BfvBackend(TRIPLES)
    for spec in specs(options):
        measure_layer(lines, spec, backend)
        over_a_channel(lines, spec, backend)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Shapes."""
    add_shapes(parser, 20, 128, 512)


BENCHMARK = Benchmark("masked", __doc__, measure, arguments)

if __name__ == "__main__":
    BENCHMARK.main()
