"""The encrypted layer's order, state by state and message by message."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import (
    CallOutOfOrder,
    LocalMisuse,
    PeerViolation,
    RoleAlreadyUsed,
)
from protocols.core.steps import Receive, Send
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import (
    EqualityConfirmation,
    EqualityProof,
    InitialFactor,
    InitialShare,
    ProjectionKey,
    SecretsCommitment,
    StepSkipped,
)
from protocols.layer.parameters import LayerParameters
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
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
from protocols.schemes.shares.test_messages import FormQuery, RelationQuery, RelationReply
from tests.protocols.layer.helpers import QUIET, Layer, backward_and_settle, copied, kept, normal

ALWAYS = LayerParameters(check_every=1)

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
    answering, asking = [RelationQuery, EqualityProof], [RelationReply, EqualityConfirmation]
    first_step = [(StepGradient, StepSkipped, FormQuery), EqualityConfirmation, (StepGradient, StepSkipped)]
    conversations = [
        (lambda h: h.setup(), lambda c: c.setup()),
        (lambda h: h.forward(2, trainable), lambda c: c.forward(A, trainable)),
        *([(lambda h: h.backward(DZ, 0.1), backward_and_settle)] if trainable else []),
    ]
    expected = [
        (
            [SecretsCommitment, ProjectionKey, InitialFactor, *if_trainable, *answering, *asking * trainable],
            [SecretsCommitment, ProjectionKey, InitialShare, HostShare, *asking, *answering * trainable],
        ),
        (
            [
                (Projection, FormQuery),
                EqualityConfirmation,
                Projection,
                *[CheckReply, EqualityConfirmation] * if_checked,
            ],
            [EqualityProof, *[CheckQuery, EqualityProof] * if_checked],
        ),
        (
            [EqualityProof, WeightGradient, CollaboratorShare],
            [*first_step, FeatureGradient, HostShare],
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
    yield SecretsCommitment(bytes(32), bytes(32))
    yield FeatureGradient(0, 0, parts)
    yield CheckQuery(0, parts, ring)
    yield CheckReply(0, parts, bytes(32))
    yield RelationQuery(0, 2, parts, parts, parts)
    yield RelationReply(0, parts, 2, bytes(32))
    yield EqualityProof(bytes(32), bytes(32))
    yield EqualityConfirmation(bytes(32))
    yield ProjectionKey(b"x")
    yield StepSkipped()


def committed(steps):
    """A set-up that has heard the peer's commitment."""
    step = next(steps)
    while isinstance(step, Send):
        step = next(steps)
    step = steps.send(SecretsCommitment(bytes(32), bytes(32)))
    while isinstance(step, Send):
        step = next(steps)
    answer = yield step
    steps.send(answer)


PARKED = {
    "host waits for a commitment": (lambda h, c: h.setup(), "new", {SecretsCommitment}),
    "collaborator waits for a commitment": (lambda h, c: c.setup(), "new", {SecretsCommitment}),
    "host waits for a key": (lambda h, c: committed(h.setup()), "new", {ProjectionKey}),
    "collaborator waits for a key": (lambda h, c: committed(c.setup()), "new", {ProjectionKey}),
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
    if isinstance(message, SecretsCommitment) and type(message) in legal:
        assert isinstance(steps.send(message), Send)
        return
    if isinstance(message, StepSkipped) and type(message) in legal:
        with pytest.raises(StopIteration):
            steps.send(message)
        return
    with pytest.raises(PeerViolation if type(message) in legal else TypeError):
        steps.send(message)


def test_nothing_is_prepared_before_setup():
    for end in in_state("new"):
        assert end.prepare() is False
