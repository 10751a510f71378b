"""Paillier products of one training batch, step by step: python -m benchmarks.paillier [--json FILE]

Each line names its parameters. "stocked" lines are what a batch waits for when both pools are full; "prepare" lines
are what the background does for them. Fast path: multi-buffer decryption where the CPU has it. The last lines are plain
`phe`, one number at a time: measured on a few numbers and multiplied by the counts of the full batch. That is an
extrapolation, marked as such; `phe` has hardly any cost but that of its single operations.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from phe import paillier as phe
from rich.console import Console
from rich.table import Table

from protocols import multi_buffer
from protocols.he.interface import RING_BITS, MatrixShape
from protocols.he.paillier import PaillierBackend, PaillierPublicSide, PaillierSecretSide
from protocols.he.paillier_parameters import PARAMETER_SETS
from protocols.randomness import SeededRandomness

Result = TypeVar("Result")


@dataclass(frozen=True)
class Line:
    """One measured step."""

    name: str
    path: str
    seconds: float
    bytes: int = 0
    extrapolated: bool = False


@contextmanager
def plain_path() -> Iterator[None]:
    """Switches the multi-buffer kernels off."""
    before = os.environ.get(multi_buffer.SWITCH)
    os.environ[multi_buffer.SWITCH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[multi_buffer.SWITCH]
        else:
            os.environ[multi_buffer.SWITCH] = before


def timed(action: Callable[[], Result], repeat: int) -> tuple[float, Result]:
    """Median seconds, and the last result."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def products(batch: int, inputs: int, outputs: int) -> dict[str, MatrixShape]:
    """The three products of a batch, with the factor bits of the fixed-point formats."""
    return {
        "aU": MatrixShape(batch, inputs, outputs, 17),
        "dzV": MatrixShape(batch, outputs, inputs, 19),
        "dzTa": MatrixShape(inputs, batch, outputs, 20),
    }


def measure_product(
    title: str, path: str, shape: MatrixShape, owner: PaillierSecretSide, evaluator: PaillierPublicSide, repeat: int
) -> list[Line]:
    """Every step of one product; the result is checked."""
    source = SeededRandomness(1, title)
    limit = 1 << shape.factor_bits
    factor = np.maximum(source.ring((shape.m, shape.k), shape.factor_bits + 1).astype(np.int64) - limit, 1 - limit)
    matrix, addend = source.ring((shape.k, shape.n), RING_BITS), source.ring((shape.m, shape.n), RING_BITS)
    stock_owner, _ = timed(lambda: owner.prepare(shape), repeat)
    stock_evaluator, _ = timed(lambda: evaluator.prepare(shape), repeat)
    encrypt, bundle = timed(lambda: owner.encrypt(matrix, shape), repeat)
    load, operand = timed(lambda: evaluator.load_operand(bundle, shape), repeat)
    multiply, reply = timed(lambda: evaluator.multiply_add(factor, operand, addend, shape), repeat)
    decrypt, result = timed(lambda: owner.decrypt(reply, shape), repeat)
    expected = (factor.astype(object) @ matrix.astype(object) + addend.astype(object)) % (1 << RING_BITS)
    if result.tolist() != expected.tolist():
        raise RuntimeError(f"{title}: the result is wrong")
    tag = f"{title} m={shape.m} k={shape.k} n={shape.n} bits={shape.factor_bits}"
    sent = [len(bundle.parts[0]), len(reply.parts[0])]
    return [
        Line(f"{tag} prepare owner", path, stock_owner),
        Line(f"{tag} prepare evaluator", path, stock_evaluator),
        Line(f"{tag} encrypt", path, encrypt, sent[0]),
        Line(f"{tag} load_operand", path, load),
        Line(f"{tag} multiply_add", path, multiply, sent[1]),
        Line(f"{tag} decrypt", path, decrypt),
        Line(f"{tag} stocked total", path, encrypt + load + multiply + decrypt, sum(sent)),
    ]


def measure_phe(owner: PaillierSecretSide, shapes: dict[str, MatrixShape], numbers: int) -> list[Line]:
    """`phe` for the same batch: single operations measured on `numbers` numbers, times how often a batch needs them."""
    p, q = int(owner._key.p), int(owner._key.q)
    private = phe.PaillierPrivateKey(phe.PaillierPublicKey(p * q), p, q)
    source = SeededRandomness(2, "phe")
    values = source.ring((numbers,), RING_BITS).tolist()
    factors = [int(x) - (1 << 17) for x in source.ring((numbers,), 18).tolist()]
    encrypt, encrypted = timed(lambda: [private.public_key.encrypt(x) for x in values], 1)
    multiply, scaled = timed(lambda: [c * x for c, x in zip(encrypted, factors, strict=True)], 1)
    add, _ = timed(lambda: [a + b for a, b in zip(scaled, scaled[1:] + scaled[:1], strict=True)], 1)
    decrypt, _ = timed(lambda: [private.decrypt(c) for c in scaled], 1)
    key_bits = owner._public.parameters.key_bits
    lines = [
        Line(f"phe {name} bits={key_bits} one number", "phe", seconds / numbers)
        for name, seconds in (("encrypt", encrypt), ("multiply", multiply), ("add", add), ("decrypt", decrypt))
    ]
    encryptions = sum(s.k * s.n for s in shapes.values())
    terms, results = sum(s.m * s.k * s.n for s in shapes.values()), sum(s.m * s.n for s in shapes.values())
    total = (encryptions * encrypt + terms * (multiply + add) + results * decrypt) / numbers
    size = (encryptions + results) * owner._public.parameters.ciphertext_bytes
    return [*lines, Line("phe batch, no re-randomisation", "phe", total, size, extrapolated=True)]


def measure(arguments: argparse.Namespace) -> list[Line]:
    """All lines."""
    parameters = PARAMETER_SETS[arguments.parameters]
    backend = PaillierBackend(parameters)
    generate, owner = timed(backend.generate, 1)
    load, evaluator = timed(lambda: backend.load_public(owner.public_key()), 1)
    lines = [
        Line(f"generate {parameters.name}", "both", generate),
        Line(f"load_public {parameters.name}", "both", load, len(owner.public_key())),
    ]
    shapes = products(arguments.batch, arguments.inputs, arguments.outputs)

    def batch(path: str) -> None:
        steps = [
            line
            for title, shape in shapes.items()
            for line in measure_product(title, path, shape, owner, evaluator, arguments.repeats)
        ]
        for suffix in ("stocked total", "prepare owner", "prepare evaluator"):
            chosen = [line for line in steps if line.name.endswith(suffix)]
            name = f"batch B={arguments.batch} d={arguments.inputs} o={arguments.outputs} {suffix}"
            seconds, sent = sum(line.seconds for line in chosen), sum(line.bytes for line in chosen)
            steps.append(Line(name, path, seconds, sent))
        lines.extend(steps)

    if multi_buffer.available():
        batch("fast")
    with plain_path():
        batch("plain")
    if arguments.phe_numbers:
        lines += measure_phe(owner, shapes, arguments.phe_numbers)
    return lines


def show(lines: list[Line], console: Console) -> None:
    """A table for people."""
    table = Table(title="Paillier, one thread; seconds are medians; both parties' work added up")
    for heading in ("step", "path"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ms", "kB sent"):
        table.add_column(heading, justify="right")
    for line in lines:
        style = "bold" if "batch" in line.name else None
        note = " (extrapolated)" if line.extrapolated else ""
        sent = f"{line.bytes / 1000:.1f}" if line.bytes else ""
        table.add_row(line.name + note, line.path, f"{line.seconds * 1000:.2f}", sent, style=style)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", choices=sorted(PARAMETER_SETS), default="paillier-3072")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--inputs", type=int, default=20, help="d, columns of the features")
    parser.add_argument("--outputs", type=int, default=20, help="o, columns of the projection")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--phe-numbers", type=int, default=8, help="numbers to measure phe on; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="also write the lines to this file")
    arguments = parser.parse_args()
    lines = measure(arguments)
    show(lines, Console())
    if arguments.json:
        report = {
            "benchmark": "paillier",
            "parameters": arguments.parameters,
            "batch": arguments.batch,
            "inputs": arguments.inputs,
            "outputs": arguments.outputs,
            "repeats": arguments.repeats,
            "machine": {"architecture": platform.machine(), "multi_buffer": multi_buffer.why_unavailable() or "yes"},
            "lines": [asdict(line) for line in lines],
        }
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
