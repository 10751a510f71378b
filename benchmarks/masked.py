"""Scheme "masked": milliseconds and bytes of a training batch (online), and of the triples it uses up (offline).

    python -m benchmarks.masked                 128 samples, 20 x 20
    python -m benchmarks.masked --batch 64 --inputs 40 --outputs 10 --repeats 20
    python -m benchmarks.masked --json          the same figures for a machine

Both parties run in this process, one after the other, and each one's own time is measured: over a network they work at
once. Medians over batches or triples. Bytes are of the tensors and ciphertexts, without framing. z and da are checked
against the plaintext reference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from protocols.he.bfv import BfvBackend
from protocols.he.parameters import TRIPLES
from protocols.masking.messages import TripleRequest
from protocols.masking.pool import CollaboratorTriples
from protocols.masking.triples import TEST, TRAIN
from protocols.message import Message
from protocols.projection.masked import MaskedCollaborator, MaskedHost
from protocols.projection.parameters import ProjectionParameters
from protocols.projection.reference import ReferenceLayer, initial_factors
from protocols.projection.roles import ProjectionSpec, layer_randomness
from protocols.steps import Receive, Send, Steps, received


def size(message: Message) -> int:
    """Bytes of a message's tensors and ciphertexts."""
    total = 0
    for each in fields(message):
        value = getattr(message, each.name)
        if isinstance(value, np.ndarray):
            total += value.nbytes
        elif isinstance(value, tuple):
            total += sum(map(len, value))
        elif isinstance(value, bytes):
            total += len(value)
    return total


@dataclass
class Cost:
    """What conversations cost: seconds of the host and of the collaborator, and bytes by message."""

    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    sent: Counter[str] = field(default_factory=Counter)

    @property
    def milliseconds(self) -> tuple[float, float]:
        return 1e3 * self.seconds[0], 1e3 * self.seconds[1]


def run(host: Steps[Any], collaborator: Steps[Any], cost: Cost) -> tuple[Any, Any]:
    """Both conversations to their ends; their results."""
    ends, inboxes = (host, collaborator), (deque[Message](), deque[Message]())
    results: list[Any] = [None, None]
    steps: list[Send | Receive | None] = [None, None]

    def go(side: int, answer: Message | None) -> None:
        started = time.perf_counter()
        try:
            steps[side] = ends[side].send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            steps[side], results[side] = None, end.value
        cost.seconds[side] += time.perf_counter() - started

    go(0, None)
    go(1, None)
    while any(steps):
        for side, step in enumerate(steps):
            if isinstance(step, Send):
                cost.sent[type(step.message).__name__] += size(step.message)
                inboxes[1 - side].append(step.message)
                go(side, None)
            elif isinstance(step, Receive) and inboxes[side]:
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
        sys.exit(f"{name} is wrong")


def measure(batch: int, inputs: int, outputs: int, repeats: int, trainable: bool) -> dict[str, Any]:
    """All figures as plain data."""
    spec = ProjectionSpec("benchmark", inputs, outputs, batch, trainable, bytes(32), seed=1)
    backend, parameters = BfvBackend(TRIPLES), ProjectionParameters(check_every=0)
    host, collaborator = MaskedHost(spec, backend, parameters), MaskedCollaborator(spec, backend, parameters)
    setup = Cost()
    run(host.setup(), collaborator.setup(), setup)
    offline: dict[str, list[Cost]] = {TRAIN: [], TEST: []}
    for kind, costs in offline.items():
        for _ in range(repeats + 2):
            costs.append(Cost())
            run(host.triples.generate(kind), answering(collaborator.triples), costs[-1])
    factors = initial_factors(layer_randomness(spec, "host"), layer_randomness(spec, "collaborator"), outputs, inputs)
    reference = ReferenceLayer(factors[0] @ factors[1])
    stream = np.random.default_rng(1)
    online = []
    for _ in range(repeats + 1):
        a = stream.normal(size=(batch, inputs)).astype(np.float32)
        dz = (stream.normal(size=(batch, outputs)) * 1e-3).astype(np.float32)
        online.append(Cost())
        z, _ = run(host.forward(batch, True), collaborator.forward(a, True), online[-1])
        _, da = run(host.backward(dz, 0.1), closing(collaborator), online[-1])
        check("z", z, reference.forward(a.astype(np.float64)), 0.01)
        if da is not None:
            check("da", da, reference.backward(dz.astype(np.float64)), 1e-4)
        reference.update(dz.astype(np.float64), a.astype(np.float64), 0.1)
    return {
        "batch": batch, "inputs": inputs, "outputs": outputs, "trainable": trainable, "repeats": repeats,
        "phases": [
            summary("set-up, once", [setup]),
            *(summary(f"offline, one {kind} triple", costs[1:]) for kind, costs in offline.items()),
            summary("online, one training batch", online[1:]),
        ],
    }  # fmt: skip


def summary(name: str, costs: list[Cost]) -> dict[str, Any]:
    """Medians, and the bytes of the last."""
    host, collaborator = (statistics.median(cost.milliseconds[side] for cost in costs) for side in (0, 1))
    sent = costs[-1].sent
    return {"name": name, "host_ms": host, "collaborator_ms": collaborator, "bytes": sent.total(), "sent": dict(sent)}


def show(result: dict[str, Any]) -> None:
    """The figures as a table."""
    shape = f"{result['batch']} x {result['inputs']} x {result['outputs']}"
    trained = "trained" if result["trainable"] else "frozen"
    table = Table(title=f"masked, {shape}, bottom model {trained}, median of {result['repeats']}")
    for column in ("", "host ms", "collaborator ms", "bytes"):
        table.add_column(column, justify="right" if column else "left")
    for phase in result["phases"]:
        times = (f"{phase['host_ms']:.1f}", f"{phase['collaborator_ms']:.1f}")
        table.add_row(phase["name"], *times, f"{phase['bytes']:,}", style="bold")
        for name, count in phase["sent"].items():
            table.add_row(f"  {name}", "", "", f"{count:,}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description='Scheme "masked", online and offline')
    parser.add_argument("--batch", type=int, default=128, help="samples in a batch")
    parser.add_argument("--inputs", type=int, default=20, help="inputs of the projection layer")
    parser.add_argument("--outputs", type=int, default=20, help="outputs of the projection layer")
    parser.add_argument("--repeats", type=int, default=15, help="batches and triples; the median is shown")
    parser.add_argument("--frozen", action="store_true", help="the collaborator's bottom model is not trained")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    result = measure(given.batch, given.inputs, given.outputs, given.repeats, not given.frozen)
    if given.json:
        json.dump(result, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        show(result)


if __name__ == "__main__":
    main()
