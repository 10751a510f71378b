"""The encrypted layer's order, state by state, and peers that do not keep to the protocol, message by message."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import (
    CallOutOfOrder,
    InvalidInput,
    LocalMisuse,
    PeerViolation,
    RoleAlreadyUsed,
    WrongSession,
)
from protocols.core.fixed_point import MAX_EXPONENT, MIN_EXPONENT
from protocols.core.steps import Receive, Send
from protocols.he.interface import RING_MASK
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import (
    MAX_PARTS,
    MAX_VERSION,
    InitialFactor,
    InitialShare,
    ProjectionKey,
    StepSkipped,
)
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedFeatures, QuantisedGradient
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    Projection,
    StepGradient,
    WeightGradient,
)
from tests.protocols.he import bfv_helpers
from tests.protocols.layer.helpers import QUIET, Layer, backward_and_settle, copied, kept, normal, tampering

ALWAYS = LayerParameters(check_every=1)

# Order ------------------------------------------------------------------------------------------------------------

DZ = normal(9, 2, 2, scale=1e-3)
A = normal(8, 2, 3)


def in_state(state):
    """Two ends in one state of the life of a layer."""
    if state == "new":
        spec = LayerSpec("side", 3, 2, 2, True, bytes(32))
        return EncryptedHost(spec, kept("bfv"), QUIET), EncryptedCollaborator(spec, kept("bfv"), QUIET)
    layer = Layer(3, 2, 2)
    if state != "set up":
        layer.forward(A, training=state != "evaluated")
    if state == "unsettled":
        host, collaborator = layer.host.backward(DZ, 0.1), layer.collaborator.backward()
        with pytest.raises(AssertionError, match="too few messages"):  # HostShare waits
            pump(host, collaborator)
    if state == "settled":
        layer.backward(DZ, 0.1)
    if state == "skipped":
        layer.skip()
    return layer.host, layer.collaborator


STATES = ["new", "set up", "evaluated", "waiting", "unsettled", "settled", "skipped"]
CALLS = {
    "host.setup": lambda host, _: host.setup(),
    "host.forward": lambda host, _: host.forward(2, True),
    "host.backward": lambda host, _: host.backward(DZ, 0.1),
    "collaborator.setup": lambda _, collaborator: collaborator.setup(),
    "collaborator.forward": lambda _, collaborator: collaborator.forward(A, True),
    "collaborator.backward": lambda _, collaborator: collaborator.backward(),
}
LEGAL = {
    "new": {"host.setup", "collaborator.setup"},
    "set up": {"host.forward", "collaborator.forward"},
    "evaluated": {"host.forward", "collaborator.forward"},
    "waiting": {"host.forward", "collaborator.forward", "host.backward", "collaborator.backward"},
    "unsettled": {"host.forward"},
    "settled": {"host.forward", "collaborator.forward"},
    "skipped": {"host.forward", "collaborator.forward"},
}


@pytest.fixture(scope="module")
def states():
    return {state: in_state(state) for state in STATES}


@pytest.mark.parametrize(("state", "call"), list(product(STATES, CALLS)))
def test_every_call_in_every_state(states, state, call):
    steps = CALLS[call](*map(copied, states[state]))
    if call in LEGAL[state]:
        assert isinstance(next(steps), (Send, Receive))
        return
    with pytest.raises((CallOutOfOrder, RoleAlreadyUsed)) as caught:
        next(steps)
    assert isinstance(caught.value, LocalMisuse)
    assert "side" in str(caught.value)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_gradient_for_other_rows_is_out_of_order(states, rows):
    host = copied(states["waiting"][0])
    with pytest.raises(CallOutOfOrder, match=f"no batch of {rows} rows of side"):
        next(host.backward(normal(0, rows, 2), 0.1))


def watched(steps, into):
    """The same conversation; the types that it waits for are written down."""
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(step, Receive):
            into.append(step.types)
        answer = yield step


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("every", [0, 1])
def test_each_side_waits_for_exactly_what_the_diagram_says(trainable, every):
    spec = LayerSpec("side", 3, 2, 2, trainable, bytes(32))
    parameters = LayerParameters(check_every=every)
    ends = [role(spec, kept("bfv"), parameters) for role in (EncryptedHost, EncryptedCollaborator)]
    if_trainable, if_checked = ([CollaboratorShare] if trainable else []), every
    conversations = [
        (lambda h: h.setup(), lambda c: c.setup()),
        (lambda h: h.forward(2, True), lambda c: c.forward(A, True)),
        (lambda h: h.backward(DZ, 0.1), backward_and_settle),
    ]
    expected = [
        ([ProjectionKey, InitialFactor, *if_trainable], [ProjectionKey, InitialShare, HostShare]),
        ([Projection] + [CheckReply] * if_checked, [CheckQuery] * if_checked),
        (
            [WeightGradient, *if_trainable],
            [(StepGradient, StepSkipped), *([FeatureGradient] if trainable else []), HostShare],
        ),
    ]
    for (host_call, collaborator_call), wanted in zip(conversations, expected):
        waited = ([], [])

        pump(watched(host_call(ends[0]), waited[0]), watched(collaborator_call(ends[1]), waited[1]))
        for types, want in zip(waited, wanted):
            assert types == [kind if isinstance(kind, tuple) else (kind,) for kind in want]


def sample_messages():
    parts = (b"x",)
    ring = np.ones(2, np.uint64)
    plain = [InitialFactor, InitialShare, HostShare, CollaboratorShare, Projection, StepGradient, WeightGradient]
    yield from (kind(0, parts) for kind in plain)
    yield FeatureGradient(0, 0, parts)
    yield CheckQuery(0, parts, ring)
    yield CheckReply(0, parts, ring)
    yield ProjectionKey(b"x")
    yield StepSkipped()


PARKED = {
    "host waits for a key": (lambda h, c: h.setup(), "new", {ProjectionKey}),
    "collaborator waits for a key": (lambda h, c: c.setup(), "new", {ProjectionKey}),
    "host waits for a projection": (lambda h, c: h.forward(2, True), "set up", {Projection}),
    "host waits for a weight gradient": (lambda h, c: h.backward(DZ, 0.1), "waiting", {WeightGradient}),
    "collaborator waits for a step": (lambda h, c: c.backward(), "waiting", {StepGradient, StepSkipped}),
    "collaborator waits for a share": (lambda h, c: c.settle(), "unsettled", {HostShare}),
}


@pytest.mark.parametrize("message", list(sample_messages()), ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("place", PARKED)
def test_every_message_at_every_wait(states, place, message):
    """A wait names the types it takes, takes no other, and refuses a legal type with nonsense inside."""
    call, state, legal = PARKED[place]
    steps = call(*map(copied, states[state]))
    step = next(steps)
    while isinstance(step, Send):
        step = next(steps)
    assert set(step.types) == legal
    if isinstance(message, StepSkipped) and type(message) in legal:
        with pytest.raises(StopIteration):
            steps.send(message)
        return
    with pytest.raises(PeerViolation if type(message) in legal else TypeError):
        steps.send(message)


def test_nothing_is_prepared_before_setup():
    for end in in_state("new"):
        assert end.prepare() is False


# Malformed messages -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide():
    """A layer whose replies are two ciphertexts each, set up and with a batch waiting."""
    layer = Layer(20, 20, 24, parameters=ALWAYS)
    return layer


def changed(message, **fields):
    values = {name: getattr(message, name) for name in message.__dataclass_fields__}
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
    HostShare: lambda shapes: shapes.forward(24),
    Projection: lambda shapes: shapes.forward(24),
    CollaboratorShare: lambda shapes: shapes.feature_gradient(24),
    FeatureGradient: lambda shapes: shapes.feature_gradient(24),
    StepGradient: lambda shapes: shapes.weight_gradient(24),
    WeightGradient: lambda shapes: shapes.weight_gradient(24),
    CheckQuery: lambda shapes: shapes.check(24),
    CheckReply: lambda shapes: shapes.check(24),
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
    a = normal(3, 24, 20)
    if kind in (Projection, CheckQuery, CheckReply):
        return (host, collaborator), host.forward(24, True), collaborator.forward(a, True)
    host._pending.keep(24, None)
    collaborator._pending.keep(24, QuantisedFeatures.of("side", a, ALWAYS))

    def collaborator_goes_on():
        yield from collaborator.backward()
        yield from collaborator.settle()

    def host_goes_on():
        yield from host.backward(normal(4, 24, 20), 0.1)
        if kind is CollaboratorShare:  # it is opened when the next gradient is made
            ones = np.ones((24, 20), np.int64)
            host._feature_gradient(QuantisedGradient(ones, 0, ones))

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


@pytest.mark.parametrize("kind", [CheckQuery, CheckReply])
@pytest.mark.parametrize("how", ["too long", "too short", "out of the ring"])
def test_malformed_check_values_are_refused(wide, kind, how):
    name = "combination" if kind is CheckQuery else "masked"

    def change(message):
        values = getattr(message, name)
        out_of_ring = values.copy()
        out_of_ring[-1] = RING_MASK + np.uint64(1)
        longer = np.concatenate([values, values[:1]])
        return changed(message, **{name: {"too long": longer, "too short": values[:-1]}.get(how, out_of_ring)})

    _, left, right = conversation(wide, kind)
    with pytest.raises(PeerViolation, match=r"must carry \d+ ring elements"):
        pump(tampering(left, kind, change), tampering(right, kind, change))


def test_a_projection_of_other_rows_than_announced_is_refused(wide):
    with pytest.raises(PeerViolation):
        pump(copied(wide.host).forward(24, True), copied(wide.collaborator).forward(normal(3, 23, 20), True))


def test_our_own_key_sent_back_is_refused():
    host = EncryptedHost(LayerSpec("side", 3, 2, 2, True, bytes(32)), kept("bfv"), QUIET)
    steps = host.setup()
    own = next(steps).message
    next(steps)
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
        lambda: CheckReply(0, (b"x",), np.ones(1, np.int64)),
        lambda: CheckReply(0, (b"x",), [1]),
    ],
)
def test_messages_check_themselves(make):
    with pytest.raises(InvalidInput):
        make()
