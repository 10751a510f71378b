"""The recorded messages, to the byte, whatever computes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocols.he.engines import SEAL
from protocols.he.native.kernel import instruction_sets
from tests.vectors.make_bfv import CASES, PATH, make_case

RECORDED = {case["title"]: case for case in json.loads(PATH.read_text())["cases"]}


@pytest.mark.parametrize("title", CASES)
@pytest.mark.parametrize("engine", sorted({SEAL, *instruction_sets()}))
def test_vector(title: str, engine: str) -> None:
    case: dict[str, Any] = make_case(title, engine)
    assert case == RECORDED[title]
