"""Training is the same whatever computes the encryption: z, da and the weights of a seeded layer, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import and_rest, pump
from protocols.he.engines import SEAL, chosen
from protocols.he.native.kernel import instruction_sets
from protocols.he.parameters import TRAINING, TRIPLES, UNPACKED
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import add
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.triples import TEST, TRAIN
from tests.protocols.he.kept_keys import KeptBfv
from tests.protocols.layer.helpers import backward_and_settle, normal
from tests.protocols.schemes.masked.helpers import answering

ROWS, D, O = 6, 5, 3  # noqa: E741
QUIET = LayerParameters(check_every=0, test_shares_every=0)
SPEC = LayerSpec("side", D, O, ROWS, True, bytes(32), 5)
ENDS = {
    "bfv": (TRAINING, EncryptedHost, EncryptedCollaborator),
    "masked": (TRIPLES, MaskedHost, MaskedCollaborator),
    "unpacked": (UNPACKED, EncryptedHost, EncryptedCollaborator),
}


def trained(scheme: str, engine: str) -> list[Any]:
    """Everything that two batches and a test show, and the weights after them."""
    parameters, host_type, collaborator_type = ENDS[scheme]
    backend = KeptBfv(parameters, 0, engine)
    host, collaborator = host_type(SPEC, backend, QUIET), collaborator_type(SPEC, backend, QUIET)
    pump(host.setup(), collaborator.setup())
    if scheme == "masked":
        for kind, count in ((TRAIN, 2), (TEST, 1)):
            pump(host.triples.generate(kind, count), answering(collaborator.triples))
    seen: list[Any] = []
    for number in range(2):
        z = pump(and_rest(host, host.forward(ROWS, True)), collaborator.forward(normal(number, ROWS, D), True)).left
        da = pump(host.backward(normal(9, ROWS, O, scale=0.1), 0.1), backward_and_settle(collaborator)).right
        seen += [z, da]
    seen.append(pump(host.forward(ROWS, False), collaborator.forward(normal(3, ROWS, D), False)).left)
    return [*seen, add(host._share.values, collaborator._share.values)]


@pytest.mark.skipif(not instruction_sets(), reason="the native kernel is not built here: make native")
@pytest.mark.parametrize("scheme", ["bfv", "masked"])
def test_both_engines_train_alike(scheme: str) -> None:
    by_seal, natively = trained(scheme, SEAL), trained(scheme, instruction_sets()[0])
    assert len(by_seal) == 6
    for one, other in zip(by_seal, natively, strict=True):
        assert np.array_equal(one, other)
        assert np.abs(one.astype(float)).max() > 0


def test_packed_replies_train_alike() -> None:
    for one, other in zip(trained("bfv", chosen()), trained("unpacked", chosen()), strict=True):
        assert np.array_equal(one, other)
