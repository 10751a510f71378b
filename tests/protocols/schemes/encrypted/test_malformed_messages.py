"""Messages of a peer that break the encrypted layer's rules are refused."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import (
    InvalidInput,
    InvalidPoint,
    PeerViolation,
    WrongSession,
)
from protocols.core.fixed_point import MAX_EXPONENT, MIN_EXPONENT
from protocols.he.interface import RING_MASK
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import (
    MAX_PARTS,
    MAX_VERSION,
    EqualityConfirmation,
    EqualityProof,
    InitialFactor,
    InitialShare,
    ProjectionKey,
    SecretsCommitment,
)
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedFeatures, QuantisedGradient
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator, _Batch
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    FeatureGradient,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from tests.protocols.he import bfv_helpers
from tests.protocols.layer.helpers import QUIET, Layer, copied, kept, normal, tampering

ALWAYS = LayerParameters(check_every=1)

ROWS = 600
"""So that the replies of a batch are two ciphertexts each."""


@pytest.fixture(scope="module")
def wide():
    """A layer whose replies are two ciphertexts each, set up and with a batch waiting."""
    layer = Layer(20, 20, ROWS, parameters=ALWAYS)
    return layer


def changed(message, **fields):
    values = {each.name: getattr(message, each.name) for each in dataclasses.fields(message)}
    return type(message)(**{**values, **fields})


def foreign_parts(message, shape):
    """Well-formed, but under a key that neither side has."""
    if isinstance(message, (HostShare, StepGradient, CheckQuery, CollaboratorShare, InitialFactor)):
        return bfv_helpers.secret(number=2).encrypt(np.ones((shape.k, shape.n), np.uint64), shape).parts
    operand = bfv_helpers.public(number=2).load_operand(
        bfv_helpers.secret(number=2).encrypt(np.ones((shape.k, shape.n), np.uint64), shape), shape
    )
    factor, addend = np.ones((shape.m, shape.k), np.int64), np.ones((shape.m, shape.n), np.uint64)
    return bfv_helpers.public(number=2).multiply_add(factor, operand, addend, shape).parts


def flip(data, index):
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


MALFORMED = {
    "wrong version": lambda m, shape: changed(m, version=m.version + 1),
    "one part too many": lambda m, shape: changed(m, parts=(*m.parts, m.parts[0])),
    "one part too few": lambda m, shape: changed(m, parts=m.parts[:-1]) if len(m.parts) > 1 else None,
    "parts swapped": lambda m, shape: changed(m, parts=m.parts[::-1]) if len(m.parts) > 1 else None,
    "truncated": lambda m, shape: changed(m, parts=(*m.parts[:-1], m.parts[-1][:-1])),
    "a byte too long": lambda m, shape: changed(m, parts=(*m.parts[:-1], m.parts[-1] + b"\0")),
    "header changed": lambda m, shape: changed(m, parts=(flip(m.parts[0], 0), *m.parts[1:])),
    "nonsense": lambda m, shape: changed(m, parts=(b"\xff" * len(m.parts[0]), *m.parts[1:])),
    "another key": lambda m, shape: changed(m, parts=foreign_parts(m, shape)),
}
SHAPE_OF = {
    InitialFactor: lambda shapes: shapes.initial,
    InitialShare: lambda shapes: shapes.initial,
    HostShare: lambda shapes: shapes.forward(ROWS),
    Projection: lambda shapes: shapes.forward(ROWS),
    CollaboratorShare: lambda shapes: shapes.feature_gradient(ROWS),
    FeatureGradient: lambda shapes: shapes.feature_gradient(ROWS),
    StepGradient: lambda shapes: shapes.weight_gradient(ROWS),
    WeightGradient: lambda shapes: shapes.weight_gradient(ROWS),
    CheckQuery: lambda shapes: shapes.check(ROWS),
    CheckReply: lambda shapes: shapes.check(ROWS),
}
TWO_PARTS = {Projection, FeatureGradient, WeightGradient}


def cases():
    for kind, how in product(SHAPE_OF, MALFORMED):
        if how not in ("one part too few", "parts swapped") or kind in TWO_PARTS:
            yield pytest.param(kind, how, id=f"{kind.__name__}: {how}")


def conversation(layer, kind):
    """The two conversations in which a message of this kind is sent, on copies of the layer's ends."""
    host, collaborator = copied(layer.host), copied(layer.collaborator)
    if kind in (InitialFactor, InitialShare):
        host = EncryptedHost(layer.spec, kept("bfv"), ALWAYS)
        collaborator = EncryptedCollaborator(layer.spec, kept("bfv"), ALWAYS)
        return (host, collaborator), host.setup(), collaborator.setup()
    a = normal(3, ROWS, 20)
    if kind in (Projection, CheckQuery, CheckReply):
        return (host, collaborator), host.forward(ROWS, True), collaborator.forward(a, True)
    host._pending.keep(ROWS, None)
    quantised = QuantisedFeatures.of("side", a, ALWAYS)
    collaborator._pending.keep(ROWS, _Batch(quantised, collaborator._host_share))

    def collaborator_goes_on():
        yield from collaborator.backward()
        yield from collaborator.settle()

    def host_goes_on():
        yield from host.backward(normal(4, ROWS, 20), 0.1)
        if kind is CollaboratorShare:  # it is opened when the next gradient is made
            ones = np.ones((ROWS, 20), np.int64)
            host._feature_gradient(QuantisedGradient(ones, 0, ones), host._peer_share)

    return (host, collaborator), host_goes_on(), collaborator_goes_on()


@pytest.mark.parametrize(("kind", "how"), list(cases()))
def test_malformed_ciphertexts_are_refused_and_say_nothing_secret(wide, kind, how):
    ends, left, right = conversation(wide, kind)
    shape = SHAPE_OF[kind](wide.host._share.shapes)

    def change(message):
        return MALFORMED[how](message, shape)

    with pytest.raises(PeerViolation) as caught:
        pump(tampering(left, kind, change), tampering(right, kind, change))
    text = str(caught.value)
    assert 10 < len(text) < 300
    shown = [word for word in text.replace(",", " ").replace(".", " ").split() if word.isdigit() and len(word) > 6]
    assert not shown, "a long number in an error might be a secret"
    for end in ends:
        assert repr(end).startswith(f"<{type(end).__module__}")


@pytest.mark.parametrize("how", ["too long", "too short", "out of the ring"])
def test_malformed_combinations_are_refused(wide, how):
    def change(message):
        values = message.combination
        out_of_ring = values.copy()
        out_of_ring[-1] = RING_MASK + np.uint64(1)
        longer = np.concatenate([values, values[:1]])
        return changed(message, combination={"too long": longer, "too short": values[:-1]}.get(how, out_of_ring))

    _, left, right = conversation(wide, CheckQuery)
    with pytest.raises(PeerViolation, match=r"must carry \d+ ring elements"):
        pump(tampering(left, CheckQuery, change), tampering(right, CheckQuery, change))


@pytest.mark.parametrize("kind", [CheckReply, EqualityProof])
@pytest.mark.parametrize("element", [bytes(32), b"\xff" * 32], ids=["low order", "not canonical"])
def test_malformed_elements_are_refused(wide, kind, element):
    _, left, right = conversation(wide, CheckReply)

    def change(message):
        return changed(message, element=element)

    with pytest.raises(InvalidPoint, match="element of a comparison"):
        pump(tampering(left, kind, change), tampering(right, kind, change))


def test_a_projection_of_other_rows_than_announced_is_refused(wide):
    with pytest.raises(PeerViolation):
        pump(copied(wide.host).forward(ROWS, True), copied(wide.collaborator).forward(normal(3, ROWS - 1, 20), True))


def next_key(steps):
    """What a set-up sends as its key, once the peer has committed to its secrets."""
    next(steps)
    next(steps)
    own = steps.send(SecretsCommitment(bytes(32), bytes(32))).message
    next(steps)
    return own


def test_our_own_key_sent_back_is_refused():
    host = EncryptedHost(LayerSpec("side", 3, 2, 2, True, bytes(32)), kept("bfv"), QUIET)
    steps = host.setup()
    own = next_key(steps)
    with pytest.raises(WrongSession, match="our own public key"):
        steps.send(own)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ProjectionKey(b""),
        lambda: ProjectionKey("text"),
        lambda: Projection(-1, (b"x",)),
        lambda: Projection(MAX_VERSION + 1, (b"x",)),
        lambda: Projection(True, (b"x",)),
        lambda: Projection(0, ()),
        lambda: Projection(0, [b"x"]),
        lambda: Projection(0, (b"",)),
        lambda: Projection(0, ("x",)),
        lambda: Projection(0, (b"x",) * (MAX_PARTS + 1)),
        lambda: FeatureGradient(0, 0, ()),
        lambda: FeatureGradient(-1, 0, (b"x",)),
        lambda: FeatureGradient(0, MAX_EXPONENT + 1, (b"x",)),
        lambda: FeatureGradient(0, MIN_EXPONENT - 1, (b"x",)),
        lambda: FeatureGradient(0, 0.0, (b"x",)),
        lambda: CheckQuery(0, (b"x",), np.ones((1, 1), np.uint64)),
        lambda: CheckQuery(0, (b"x",), np.ones(0, np.uint64)),
        lambda: CheckQuery(0, (), np.ones(1, np.uint64)),
        lambda: CheckReply(0, (b"x",), bytes(31)),
        lambda: CheckReply(0, (b"x",), [1]),
        lambda: EqualityProof(bytes(33), bytes(32)),
        lambda: EqualityProof(bytes(32), b""),
        lambda: EqualityConfirmation("x" * 32),
    ],
)
def test_messages_check_themselves(make):
    with pytest.raises(InvalidInput):
        make()
