"""A layer of any scheme that can be resumed: what the labs of the schemes call by different names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.harness.pump import pump
from protocols.core.fixed_point import BLOCK_BITS, FEATURE_BITS
from protocols.he.parameters import TRIPLES
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import add
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.messages import CheckQuery
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.messages import MaskedCheck
from protocols.schemes.plain.collaborator import PlainCollaborator
from protocols.schemes.plain.host import PlainHost
from tests.protocols.he.bfv_helpers import backend
from tests.protocols.layer import helpers as encrypted_layers
from tests.protocols.layer.helpers import QUIET, backward_and_settle, kept, normal
from tests.protocols.schemes.masked import helpers as masked_layers

SIGMA = LayerParameters().smoothing_sigma(7)  # for all widths here; no tail is longer than 8.6 of them
Z_ERROR = 9 * SIGMA * 2.0**-FEATURE_BITS
SECURE = ["bfv", "paillier", "masked"]


def da_error(dz: Any) -> float:
    return float(9 * SIGMA * 2.0 ** (1 - BLOCK_BITS) * 2.0 ** np.frexp(np.abs(dz).max())[1])


@dataclass
class Run:
    """A layer of any secure scheme, and what both labs call by different names."""

    layer: Any

    @classmethod
    def new(cls, scheme: str, d: int, o: int, rows: int, trainable: bool = True, every: int = 0) -> Run:
        bounds = LayerParameters(check_every=every)
        if scheme == "masked":
            bounds = replace(bounds, test_shares_every=0)
            return cls(masked_layers.Layer(masked_layers.layer_spec(rows, d, o, trainable), parameters=bounds))
        return cls(encrypted_layers.Layer(d, o, rows, trainable, scheme, bounds, seed=None))

    @property
    def is_masked(self) -> bool:
        return isinstance(self.layer, masked_layers.Layer)

    @property
    def weights(self) -> Any:
        return self.layer.weights if self.is_masked else self.layer.weights()

    @property
    def ring(self) -> Any:
        return add(self.layer.host._share.values, self.layer.collaborator._share.values)

    def resumed(self, states: Any = None) -> Run:
        return Run(self.layer.resumed(states))

    def forward(self, a: Any, training: bool = True) -> Any:
        if self.is_masked:
            self.layer.stock_up(len(a), training)
        return self.layer.forward(a, training)

    def mark(self) -> None:
        """What both say before a checkpoint."""
        pump(self.layer.host.before_checkpoint(), self.layer.collaborator.before_checkpoint())

    def skip(self) -> None:
        pump(self.layer.host.skip(), backward_and_settle(self.layer.collaborator))

    def batch(self, number: int, rows: int, what: str, rate: float = 0.3) -> tuple[Any, Any]:
        """z, and da if there is one."""
        spec = self.layer.spec
        z, da = self.forward(normal(number, rows, spec.width_in), what != "test"), None
        if what == "skip":
            self.skip()
        if what == "step":
            da = self.layer.backward(normal(number + 1000, rows, spec.width_out, scale=0.1), rate)
        return z, da

    def checks(self) -> int:
        sent = self.layer.sent if self.is_masked else self.layer.view.from_host
        return sum(isinstance(message, (CheckQuery, MaskedCheck)) for message in sent)


def ends(scheme: str, trainable: bool = True) -> tuple[Any, Any]:
    spec = LayerSpec("side", 3, 2, 4, trainable, bytes(32))
    if scheme == "plain":
        return PlainHost(spec), PlainCollaborator(spec)
    if scheme == "masked":
        return MaskedHost(spec, backend(TRIPLES), QUIET), MaskedCollaborator(spec, backend(TRIPLES), QUIET)
    return EncryptedHost(spec, kept(scheme), QUIET), EncryptedCollaborator(spec, kept(scheme), QUIET)


def states_of(scheme: str, trainable: bool = True) -> Any:
    host, collaborator = ends(scheme, trainable)
    pump(host.setup(), collaborator.setup())
    return host.state(), collaborator.state()
