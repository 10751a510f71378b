"""Layers whose host gets the sum of their projections, in memory, and the references beside them."""

from __future__ import annotations

from typing import Any

from benchmarks.harness.pump import and_rest, pump
from protocols.core.steps import Receive, Steps, received
from protocols.he.parameters import TRIPLES
from protocols.layer.interface import LayerSpec, layer_randomness
from protocols.layer.pads import Pads, PairSeed, total
from protocols.layer.parameters import LayerParameters
from protocols.layer.reference import ReferenceLayer, initial_factors
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.triple_messages import TripleRequest
from tests.protocols.he.kept_keys import KeptBfv
from tests.protocols.layer.helpers import QUIET, Floats, backward_and_settle, kept

D, O, ROWS, RATE = (3, 5, 4), 2, 6, 0.05  # noqa: E741


def pads_of(count: int) -> list[Pads]:
    """What collaborators that trust each other have agreed on."""
    return [
        Pads([PairSeed(bytes([min(one, two), max(one, two)] * 16), one < two) for two in range(count) if two != one])
        for one in range(count)
    ]


class Summed:
    """Several layers whose host gets the sum, in memory, and the references beside them.

    Args:
        scheme: its name.
        count: of collaborators.
        widths: of their features.
        width_out, rows: of all layers.
    """

    def __init__(
        self,
        scheme: str,
        count: int,
        parameters: LayerParameters = QUIET,
        widths: tuple[int, ...] = D,
        width_out: int = O,
        rows: int = ROWS,
    ) -> None:
        self.ends: list[tuple[Any, Any]] = []
        self.references: list[ReferenceLayer] = []
        for number, (width, pads) in enumerate(zip(widths, pads_of(count))):
            key = f"side{number}"
            spec = LayerSpec(key, width, width_out, rows, True, bytes(32), 5, summands=count, pads=pads)
            host, other = _ends(scheme, spec, parameters)
            pump(host.setup(), other.setup())
            if scheme == "masked":
                for training, units in ((True, 5), (False, 2)):
                    kind = host.offline.kind(training)
                    pump(host.offline.generate(kind, units), _serves(other.offline))
            own = (layer_randomness(spec, role) for role in ("host", "collaborator"))
            factors = initial_factors(*own, width_out, width)
            self.ends.append((host, other))
            self.references.append(ReferenceLayer(factors[0] @ factors[1]))

    def padded(self, features: list[Floats], training: bool = True) -> list[Any]:
        """What the host gets of each collaborator."""
        return [
            pump(and_rest(host, host.forward_padded(len(a), training)), other.forward(a, training)).left
            for (host, other), a in zip(self.ends, features, strict=True)
        ]

    def forward(self, features: list[Floats], training: bool = True) -> Floats:
        z: Floats = self.ends[0][0].decode_sum(total(self.padded(features, training)))
        return z

    def backward(self, dz: Floats) -> list[Floats]:
        """Every collaborator's da, of the one dz."""
        return [pump(host.backward(dz, RATE), backward_and_settle(other)).right for host, other in self.ends]


def _ends(scheme: str, spec: LayerSpec, parameters: LayerParameters) -> tuple[Any, Any]:
    if scheme == "masked":
        backend = KeptBfv(TRIPLES)
        return MaskedHost(spec, backend, parameters), MaskedCollaborator(spec, backend, parameters)
    return EncryptedHost(spec, kept(scheme), parameters), EncryptedCollaborator(spec, kept(scheme), parameters)


def _serves(phase: Any) -> Steps[None]:
    yield from phase.serve(received((yield Receive(TripleRequest)), TripleRequest))
