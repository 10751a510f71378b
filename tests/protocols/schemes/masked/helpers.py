"""What only tests may do with masked layers: deal triples without making them, and set shares without a set-up."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.pump import Talk, and_rest, pump
from protocols.core.message import Array, Message
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, as_ring, as_signed
from protocols.he.parameters import TRIPLES
from protocols.layer.initial import Keys
from protocols.layer.interface import LayerSpec
from protocols.layer.lifecycle import Stage
from protocols.layer.parameters import LayerParameters
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Ring, add, subtract
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.pool import CollaboratorTriples, HostTriples
from protocols.schemes.masked.triple_messages import TripleRequest
from protocols.schemes.masked.triples import OF_SHARES, TRAIN, Half
from tests.protocols.he.bfv_helpers import backend, public, secret

RANDOM = OsRandomness()
QUIET = LayerParameters(check_every=0, test_shares_every=0)
EVERY_BATCH = LayerParameters(check_every=1, test_shares_every=0)


def values(seed: int, rows: int, width: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Normal numbers [rows, width]."""
    return (np.random.default_rng(seed).normal(size=(rows, width)) * scale).astype(np.float32)


def layer_spec(rows: int, d: int, o: int, trainable: bool = True) -> LayerSpec:
    return LayerSpec("patient", d, o, rows, trainable, bytes(32))


def product_of(name: str, host: Ring, collaborator: Ring) -> Ring:
    """What the halves of a product must add up to."""
    if name == "projection":
        return matmul(collaborator, host.T.copy())
    if name == "weight_gradient":
        return matmul(host.T.copy(), collaborator)
    return matmul(host, collaborator)


def deal(host: HostTriples, collaborator: CollaboratorTriples, kind: str, count: int = 1) -> None:
    """A dealer's triples, straight into both stocks."""
    for _ in range(count):
        halves: tuple[dict[str, Half], dict[str, Half]] = ({}, {})
        for product in host._shapes.products(kind):
            ours, theirs = (RANDOM.ring(shape, RING_BITS) for shape in (product.host_mask, product.collaborator_mask))
            total = product_of(product.name, ours, theirs)
            share = RANDOM.ring(total.shape, RING_BITS)
            kept: tuple[tuple[bytes, ...], ...] = ((), ())
            if host._keeps_operands and product.name in OF_SHARES:
                owner, mask = (collaborator, theirs) if product.host_evaluates else (host, ours)
                parts = owner._secret.encrypt(product.operand(mask), product.shape).parts
                kept = (parts, ()) if product.host_evaluates else ((), parts)
            halves[0][product.name] = Half(ours, subtract(total, share), kept[0])
            halves[1][product.name] = Half(theirs, share, kept[1])
        for triples, half in zip((host, collaborator), halves, strict=True):
            triples._store(kind, triples._made[kind], half)


def key_pairs() -> tuple[Keys, Keys]:
    """The host's and the collaborator's, cached."""
    return Keys(secret(TRIPLES, 0), public(TRIPLES, 1)), Keys(secret(TRIPLES, 1), public(TRIPLES, 0))


def pools(spec: LayerSpec, keeps_operands: bool = False) -> tuple[HostTriples, CollaboratorTriples]:
    """Both pools of a layer, empty, under two cached key pairs."""
    scheme, (host, collaborator) = backend(TRIPLES), key_pairs()
    return (
        HostTriples(spec, scheme, *host, keeps_operands),
        CollaboratorTriples(spec, scheme, *collaborator, keeps_operands),
    )


def answering(triples: CollaboratorTriples) -> Steps[None]:
    """The collaborator's side of `generate`, which the engine starts on receipt of the request."""
    yield from triples.serve(received((yield Receive(TripleRequest)), TripleRequest))


def altered(steps: Steps[Any], change: Callable[[Message], Message]) -> Steps[Any]:
    """The same conversation, each message that it sends changed on the way."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Send):
                yield Send(change(step.message))
                step = next(steps)
            else:
                step = steps.send((yield step))
    except StopIteration as end:
        return end.value


class Layer:
    """Both ends of a masked layer with known weights and dealt triples.

    Args:
        spec: the layer.
        weights: W [o, d]; None for a random one with norms about 1.
        parameters: the bounds; no checks or tests unless asked for.
    """

    def __init__(
        self,
        spec: LayerSpec,
        weights: NDArray[np.float64] | None = None,
        parameters: LayerParameters | None = None,
    ) -> None:
        bounds = parameters or QUIET
        self.spec = spec
        self.host = MaskedHost(spec, backend(TRIPLES), bounds)
        self.collaborator = MaskedCollaborator(spec, backend(TRIPLES), bounds)
        self.host.triples, self.collaborator.triples = pools(spec, bounds.test_shares_every > 0)
        self.host._life._stage = self.collaborator._life._stage = Stage.BETWEEN_BATCHES
        shape = (spec.width_out or 1, spec.width_in)
        if weights is None:
            weights = SeededRandomness(1, "weights").gaussian(shape) / np.sqrt(max(shape))
        self.host._share.values = RANDOM.ring(shape, RING_BITS)
        self.collaborator._share.values = subtract(
            as_ring(np.rint(weights * 2.0**32).astype(np.int64)), self.host._share.values
        )
        self.sent: list[Message] = []
        if bounds.test_shares_every:
            self._begin_tests()

    def _begin_tests(self) -> None:
        """Shares that are encrypted and marked, as behind a set-up."""
        ours, theirs = self.host._tests, self.collaborator._tests
        for tests, keys in zip((ours, theirs), key_pairs(), strict=True):
            tests.open(keys)
        pump(ours._exchange(), theirs._exchange())
        reads = [each._last and each._products.read(each._last) for each in (ours, theirs)]
        marking = [each._marks.exchange(each._products, read) for each, read in zip((ours, theirs), reads, strict=True)]
        pump(*marking)

    def deal(self, kind: str = TRAIN, count: int = 1) -> None:
        deal(self.host.triples, self.collaborator.triples, kind, count)

    def stock_up(self, rows: int, training: bool = True) -> None:
        """Deal just what the next batch takes."""
        needs = self.host.needs(training, rows)
        assert needs == self.collaborator.needs(training, rows)
        self.deal(*needs)

    def forward(self, features: NDArray[np.float32], training: bool = True) -> NDArray[np.float32]:
        talk = self._pump(
            and_rest(self.host, self.host.forward(len(features), training)),
            self.collaborator.forward(features, training),
        )
        z: NDArray[np.float32] = talk.left
        return z

    def closing(self) -> Steps[Any]:
        """The collaborator's end of a batch: backward, then settle."""
        da = yield from self.collaborator.backward()
        yield from self.collaborator.settle()
        return da

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> NDArray[np.float32] | None:
        da: NDArray[np.float32] | None = self._pump(self.host.backward(dz, learning_rate), self.closing()).right
        return da

    def _pump(self, left: Any, right: Any) -> Talk:
        talk = pump(left, right)
        self.sent += talk.from_left + talk.from_right
        return talk

    def states(self) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """What the two ends would keep in a checkpoint."""
        pump(self.host.before_checkpoint(), self.collaborator.before_checkpoint())
        return self.host.state(), self.collaborator.state()

    def resumed(self, states: tuple[Mapping[str, Array], Mapping[str, Array]] | None = None) -> Layer:
        """Two new ends that go on from these states, or from where we are; their pools are empty."""
        ours, theirs = states or self.states()
        layer, bounds = copy.copy(self), self.host._parameters
        layer.host = MaskedHost(self.spec, backend(TRIPLES), bounds)
        layer.collaborator = MaskedCollaborator(self.spec, backend(TRIPLES), bounds)
        layer.sent = []
        layer._pump(layer.host.resume(ours), layer.collaborator.resume(theirs))
        return layer

    @property
    def weights(self) -> NDArray[np.float64]:
        """W, which nobody knows."""
        return as_signed(add(self.host._share.values, self.collaborator._share.values)) * 2.0**-32
