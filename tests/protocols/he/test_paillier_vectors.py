"""Known answers: the bytes on the wire do not change, and `phe` agrees with them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from protocols.he.interface import CiphertextBundle, MatrixShape
from protocols.he.paillier_math import OPERAND, REPLY
from tests.protocols.he.paillier_helpers import reference
from tests.vectors.make_paillier import CASES, PATH, check_with_phe, replay

VECTORS = {case["title"]: case for case in json.loads(PATH.read_text(encoding="utf-8"))["cases"]}


def test_every_case_has_a_vector() -> None:
    assert set(VECTORS) == set(CASES)


@pytest.mark.parametrize("title", CASES)
def test_vector(title: str) -> None:
    case: dict[str, Any] = VECTORS[title]
    shape = MatrixShape(*case["shape"])
    assert (case["parameters"], shape) == CASES[title]
    factor = np.array(case["factor"], dtype=np.int64)
    matrix, addend = (np.array(case[name], dtype=np.uint64) for name in ("matrix", "addend"))
    inputs = (factor, matrix, addend)
    owner, operand, reply = replay(case["parameters"], shape, int(case["p"], 16), int(case["q"], 16), inputs)
    assert owner.public_key().hex() == case["public_key"]
    assert operand.parts[0].hex() == case["operand"]
    assert reply.parts[0].hex() == case["reply"]
    stored = CiphertextBundle((bytes.fromhex(case["reply"]),))
    assert owner.decrypt(stored, shape).tolist() == case["result"] == reference(*inputs).tolist()
    check_with_phe(owner, operand, OPERAND, shape)
    check_with_phe(owner, stored, REPLY, shape)
