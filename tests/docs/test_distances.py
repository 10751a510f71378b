"""SECURITY.md's figures of whole runs are what the formulas give, and no more than what is promised."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.core.distance import RUN_BITS, Distance
from protocols.he.bfv import BfvBackend
from protocols.he.interface import Backend
from protocols.he.paillier import PaillierBackend
from protocols.he.parameters import TRIPLES
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.run_distance import RunDistance
from protocols.layer.weight_share import ROLES, WeightShare
from protocols.schemes.encrypted.products import run_distance as encrypted_run
from protocols.schemes.masked.pieces import run_distance as masked_run
from protocols.schemes.masked.shapes import MaskedShapes

PAGE = Path(__file__).parents[2] / "SECURITY.md"
SCHEMES = ("bfv", "paillier", "masked")
RUNS = {
    "tutorial's task: 20 to 20, batches of 128, ten epochs": (20, 128, 10 * (469 + 79)),
    "512 to 512, batches of 1,024, 10,000 batches": (512, 1024, 10_000),
}
BACKENDS: dict[str, Backend] = {
    "bfv": BfvBackend(),
    "paillier": PaillierBackend(),
    "masked": BfvBackend(TRIPLES),
}


def run_of(scheme: str, role: str, spec: LayerSpec) -> RunDistance:
    share, backend = WeightShare(spec, LayerParameters(), role), BACKENDS[scheme]
    if scheme == "masked":
        layer = MaskedShapes(spec.width_in, spec.width_out, LayerParameters())
        return masked_run(role, spec, backend, share, layer)
    return encrypted_run(role, spec, backend, share)


@pytest.mark.parametrize("name", RUNS)
def test_the_table_has_the_larger_of_both_directions(name: str) -> None:
    width, rows, batches = RUNS[name]
    spec = LayerSpec("patient", width, width, rows, True, bytes(32), batches=batches)
    worst: list[Distance] = []
    for scheme in SCHEMES:
        runs = [run_of(scheme, role, spec) for role in ROLES]
        for run in runs:
            run.check("patient", batches)
        worst.append(max((run.of(batches) for run in runs), key=lambda distance: distance.total))
    assert f"| {name} | {' | '.join(map(str, worst))} |" in PAGE.read_text()
    assert all(distance.bits > RUN_BITS for distance in worst)
