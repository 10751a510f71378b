"""Makes bfv.json: python -m tests.vectors.make_bfv

Keys, operands and replies of seeded runs, as digests of their parts: the format (`protocols/he/bfv_wire.py`) and the
order of randomness (`protocols/he/bfv.py`) to the byte, for every engine. NOT SECRET. SEAL makes them; before a case is
written, an opened key, which shares no arithmetic with an engine, reads both messages, and the kernel makes the same if
it is there.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from protocols.core.randomness import SeededRandomness
from protocols.he.bfv import BfvBackend
from protocols.he.engines import SEAL, make_engine
from protocols.he.interface import RING_BITS, MatrixShape
from protocols.he.native.kernel import instruction_sets
from protocols.he.parameters import PARAMETER_SETS

PATH = Path(__file__).with_name("bfv.json")

CASES = {
    "training": ("bfv-8192-144b", MatrixShape(128, 20, 20, 18)),
    "several tiles of columns": ("bfv-8192-144b", MatrixShape(2, 1, 9000, 26)),
    "triples": ("bfv-8192-188", MatrixShape(20, 128, 20, RING_BITS)),
    "triples, several sums in a reply": ("bfv-8192-188b", MatrixShape(20, 128, 20, RING_BITS)),
}


def make_case(title: str, engine: str) -> dict[str, Any]:
    """One vector by an engine, checked."""
    name, shape = CASES[title]
    stream, bits = SeededRandomness(1, f"bfv vector inputs {title}"), min(shape.factor_bits, RING_BITS - 1)
    factor = stream.ring((shape.m, shape.k), bits).astype(np.int64) - (1 << (bits - 1))
    matrix, addend = stream.ring((shape.k, shape.n), RING_BITS), stream.ring((shape.m, shape.n), RING_BITS)
    parameters = PARAMETER_SETS[name]
    owner = BfvBackend(parameters, SeededRandomness(2, "bfv vector owner"), make_engine(parameters, engine)).generate()
    evaluator = BfvBackend(parameters, SeededRandomness(3, "bfv vector evaluator"), make_engine(parameters, engine))
    public = evaluator.load_public(owner.public_key())
    operand = owner.encrypt(matrix, shape)
    reply = public.multiply_add(factor, public.load_operand(operand, shape), addend, shape)
    key = evaluator.open_key(owner.public_key(), owner.exported())
    exact = (factor.view(np.uint64) @ matrix + addend) & np.uint64((1 << RING_BITS) - 1)
    assert (key.operand(operand, shape) == matrix).all()
    assert (key.reply(reply, shape) == exact).all()
    return {
        "title": title,
        "parameters": name,
        "shape": [shape.m, shape.k, shape.n, shape.factor_bits],
        "key": hashlib.sha256(owner.public_key()).hexdigest(),
        "operand": [hashlib.sha256(part).hexdigest() for part in operand.parts],
        "reply": [hashlib.sha256(part).hexdigest() for part in reply.parts],
    }


def main() -> None:
    cases = [make_case(title, SEAL) for title in CASES]
    for case in cases:
        assert all(make_case(case["title"], name) == case for name in instruction_sets())
    PATH.write_text(json.dumps({"note": "NOT SECRET: seeded", "cases": cases}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
