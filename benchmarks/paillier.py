"""Paillier step by step: the products of a training batch, against plain `phe`.

    python -m benchmarks.paillier                                    2048 and 3072 bits; d = 20 and 128; o = 20
    python -m benchmarks.paillier --parameters paillier-3072 --inputs 512

Each line is one call of one party, on one core, with its inputs ready. `prepare` is what training does beside the
batches; the total of a batch is what it waits for. "fast": with multi-buffer exponentiation where the processor has it;
"plain": without. `phe` is measured on a few numbers, and its batch is those times by the counts of the batch: an
extrapolation, marked as such; `phe` has hardly any cost but that of its single operations.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

import gmpy2
from phe import paillier as phe

from benchmarks.product_steps import Units, add_shapes, describe, layer_products, measure_product, specs
from benchmarks.step_timings import Benchmark, StepTiming, StepTimings
from protocols.core import multi_buffer
from protocols.core.randomness import SeededRandomness
from protocols.he.interface import RING_BITS, MatrixShape
from protocols.he.paillier import PaillierBackend, PaillierPublicSide, PaillierSecretSide
from protocols.he.paillier_parameters import PAILLIER_2048, PAILLIER_3072, PARAMETER_SETS, PaillierParameters
from protocols.layer.interface import LayerSpec

PHE_NUMBERS = 8


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


def batch(
    lines: StepTimings,
    path: str,
    spec: LayerSpec,
    parameters: PaillierParameters,
    owner: PaillierSecretSide,
    evaluator: PaillierPublicSide,
) -> None:
    """The three products."""
    where = f"{parameters.name} {path}"
    first, awaited = len(lines.lines), list[StepTiming]()
    for label, shape in layer_products(spec).items():
        layout = parameters.layout(shape)
        units = Units(layout.operand_ciphertexts, layout.row_products, layout.reply_ciphertexts)
        awaited += measure_product(lines, f"{where} {label}", shape, owner, evaluator, units)
    steps = lines.lines[first:]
    lines.total(f"{where} {describe(spec)}: batch, both parties, without prepare", awaited)
    for who in ("operand", "product"):
        chosen = [line for line in steps if line.step.endswith(f"prepare {who}")]
        lines.total(f"{where} {describe(spec)}: batch, prepare {who}", chosen)


def compare_phe(
    lines: StepTimings, parameters: PaillierParameters, owner: PaillierSecretSide, shapes: list[MatrixShape], where: str
) -> None:
    """`phe` with the same key: its single operations, and how often a batch needs them."""
    p, q = int(owner._key.p), int(owner._key.q)
    private = phe.PaillierPrivateKey(phe.PaillierPublicKey(p * q), p, q)
    source = SeededRandomness(2, "phe")
    values = source.ring((PHE_NUMBERS,), RING_BITS).tolist()
    factors = [int(x) - (1 << 17) for x in source.ring((PHE_NUMBERS,), 18).tolist()]
    name = f"phe {parameters.key_bits} bits"
    first = len(lines.lines)

    encrypted = lines.time(
        f"{name}: encrypt", lambda: [private.public_key.encrypt(x) for x in values], PHE_NUMBERS, "number"
    )
    scaled = lines.time(
        f"{name}: multiply by 17 bits",
        lambda: [c * x for c, x in zip(encrypted, factors, strict=True)],
        PHE_NUMBERS,
        "number",
    )
    lines.time(
        f"{name}: add",
        lambda: [a + b for a, b in zip(scaled, scaled[1:] + scaled[:1], strict=True)],
        PHE_NUMBERS,
        "number",
    )
    lines.time(f"{name}: decrypt", lambda: [private.decrypt(c) for c in scaled], PHE_NUMBERS, "number")
    encryptions = sum(shape.k * shape.n for shape in shapes)
    terms, results = sum(s.m * s.k * s.n for s in shapes), sum(s.m * s.n for s in shapes)
    sent = (encryptions + results) * parameters.ciphertext_bytes
    counts = (encryptions, terms, terms, results)
    lines.total(f"{name} {where}: batch, not re-randomised (extrapolated)", lines.lines[first:], counts, sent)


def measure_set(lines: StepTimings, parameters: PaillierParameters, options: argparse.Namespace) -> None:
    """All lines of one parameter set."""
    backend = PaillierBackend(parameters)
    owner = lines.time(f"{parameters.name}: generate a key pair", backend.generate, warm_up=False)
    key = owner.public_key()
    evaluator = lines.time(f"{parameters.name}: load a public key", lambda: backend.load_public(key), size=len(key))
    modulus = owner._key.p * owner._key.q
    base = gmpy2.mpz(SeededRandomness(3, "base").bytes(parameters.key_bits // 8).hex(), 16) % modulus
    lines.time(f"{parameters.name}: a textbook r^n, gmpy2", lambda: gmpy2.powmod(base, modulus, modulus**2))
    layers = specs(options)
    if multi_buffer.available():
        for spec in layers:
            batch(lines, "fast", spec, parameters, owner, evaluator)
    with plain_path():
        batch(lines, "plain", layers[0], parameters, owner, evaluator)
    compare_phe(lines, parameters, owner, list(layer_products(layers[0]).values()), describe(layers[0]))


def measure(lines: StepTimings, options: argparse.Namespace) -> None:
    """All lines."""
    lines.notes["multi-buffer"] = multi_buffer.why_unavailable() or "yes"
    names = [PAILLIER_2048.name] if options.quick else options.parameters
    for name in names:
        measure_set(lines, PARAMETER_SETS[name], options)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Shapes and keys."""
    add_shapes(parser, 20, 128)
    default = [PAILLIER_2048.name, PAILLIER_3072.name]
    parser.add_argument("--parameters", nargs="+", choices=sorted(PARAMETER_SETS), default=default)


BENCHMARK = Benchmark("paillier", __doc__, measure, arguments, repeats=3)

if __name__ == "__main__":
    BENCHMARK.main()
