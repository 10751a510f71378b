"""Layers that are resumed out of order, from what is not their state, or against a peer that is elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import and_rest, pump
from protocols.core.errors import CallOutOfOrder, InvalidInput, MalformedMessage, RoleAlreadyUsed, WrongSession
from protocols.core.steps import Send
from protocols.he.interface import RING_BITS
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import ProjectionKey, SecretsCommitment
from protocols.schemes.masked.messages import MaskedStep
from protocols.schemes.masked.triples import KINDS, TRAIN
from protocols.schemes.plain.host import PlainHost
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from tests.protocols.layer import helpers as encrypted_layers
from tests.protocols.layer.helpers import backward_and_settle, normal
from tests.protocols.layer.resume_helpers import SECURE, Run, ends, states_of
from tests.protocols.schemes.masked import helpers as masked_layers

# Order --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("scheme", ["plain", *SECURE])
def test_what_is_said_in_a_resume(scheme: str, trainable: bool) -> None:
    states = states_of(scheme, trainable)
    host, collaborator = ends(scheme, trainable)
    talk = pump(host.resume(states[0]), collaborator.resume(states[1]))
    sent = [[type(message) for message in side] for side in (talk.from_left, talk.from_right)]
    if scheme == "plain":
        assert sent == [[], []]
    elif scheme == "masked":
        assert sent == [[ProjectionKey], [ProjectionKey]]
        for end in (host, collaborator):
            assert all(not end.triples.stock(kind) and not end.triples._made[kind] for kind in KINDS)
    else:
        assert sent == [
            [SecretsCommitment, ProjectionKey, HostShare],
            [SecretsCommitment, ProjectionKey, *[CollaboratorShare] * trainable],
        ]


def test_a_share_that_was_sent_ahead_is_dropped_with_its_triple() -> None:
    run = Run.new("masked", 3, 2, 4)
    run.layer.deal(TRAIN, 3)
    run.layer.forward(normal(0, 4, 3))
    run.layer.backward(normal(1, 4, 2, scale=0.1), 0.1)
    step = run.layer.sent[-1]
    assert isinstance(step, MaskedStep)
    assert step.ahead == 2
    assert run.layer.host.needs(True, 4) == run.layer.collaborator.needs(True, 4) == (TRAIN, 0)
    again = run.resumed()
    assert again.layer.host.needs(True, 4) == again.layer.collaborator.needs(True, 4) == (TRAIN, 1)
    again.batch(2, 4, "step")
    indices = [message.index for message in again.layer.sent if hasattr(message, "index")]
    assert set(indices) == {0}


@pytest.mark.parametrize("scheme", ["plain", *SECURE])
def test_a_layer_is_set_up_or_resumed_once(scheme: str) -> None:
    states = states_of(scheme)
    for first in ("setup", "resume"):
        pair = ends(scheme)
        begin = [end.setup() if first == "setup" else end.resume(state) for end, state in zip(pair, states)]
        pump(*begin)
        for end, state in zip(pair, states):
            for call in (end.setup, lambda end=end, state=state: end.resume(state)):
                with pytest.raises(RoleAlreadyUsed, match="side is set up, or resumed, once"):
                    next(call())


@pytest.mark.parametrize("scheme", SECURE)
def test_not_even_while_it_is_being_set_up(scheme: str) -> None:
    states = states_of(scheme)
    for end, state in zip(ends(scheme), states):
        next(end.setup())
        with pytest.raises(RoleAlreadyUsed):
            next(end.resume(state))
        with pytest.raises(CallOutOfOrder, match="it is not set up"):
            end.state()


@pytest.mark.parametrize("scheme", ["plain", *SECURE])
def test_there_is_no_state_before_the_set_up(scheme: str) -> None:
    for end in ends(scheme):
        with pytest.raises(CallOutOfOrder, match="side has no state for a checkpoint: it is not set up"):
            end.state()


def step_by_step(left: Any, right: Any, look: Callable[[], None]) -> None:
    """The same as `pump`, calling `look` wherever one of the two stops."""

    def watched(steps: Any) -> Any:
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            look()
            answer = yield step

    pump(watched(left), watched(right))


@pytest.mark.parametrize("scheme", SECURE)
def test_there_is_no_state_inside_a_batch(scheme: str) -> None:
    """At no message of a batch does any end have one before its own part is done; after it, it has."""
    run = Run.new(scheme, 3, 2, 4, every=1)
    host, collaborator = run.layer.host, run.layer.collaborator
    run.batch(0, 4, "step")
    run.mark()
    version = int(host.state()["version"][0])

    def refused(*pair: Any) -> None:
        for end in pair:
            with pytest.raises(CallOutOfOrder, match="a batch is under way"):
                end.state()

    def whole_or_refused() -> None:
        """The two ends finish at different times; a state that is given is the one after the batch."""
        for end in (host, collaborator):
            try:
                state = end.state()
            except CallOutOfOrder:
                continue
            assert int(state["version"][0]) == version + 1

    if run.is_masked:
        run.layer.stock_up(4)
        run.layer.deal(TRAIN)
    started = []

    def forward_of(end: Any, steps: Any) -> Any:
        started.append(end)
        result = yield from steps
        return result

    a, dz = normal(1, 4, 3), normal(2, 4, 2, scale=0.1)
    step_by_step(
        forward_of(host, and_rest(host, host.forward(4, True))),
        forward_of(collaborator, collaborator.forward(a, True)),
        lambda: refused(*started),
    )
    refused(host, collaborator)
    step_by_step(host.backward(dz, 0.1), backward_and_settle(collaborator), whole_or_refused)
    run.mark()
    assert [int(end.state()["version"][0]) for end in (host, collaborator)] == [version + 1] * 2


def test_there_is_no_state_of_an_unsettled_batch() -> None:
    layer = encrypted_layers.Layer(3, 2, 4)
    layer.forward(normal(0, 4, 3))
    with pytest.raises(AssertionError, match="too few messages"):  # HostShare waits
        pump(layer.host.backward(normal(1, 4, 2, scale=0.1), 0.1), layer.collaborator.backward())
    layer.host.state()
    with pytest.raises(CallOutOfOrder):
        layer.collaborator.state()


@pytest.mark.parametrize("trainable", [True, False])
def test_there_is_no_plain_state_inside_a_batch(trainable: bool) -> None:
    host, collaborator = ends("plain", trainable)
    pump(host.setup(), collaborator.setup())
    for closing in (lambda: host.backward(normal(1, 4, 2), 0.1), host.skip):
        pump(and_rest(host, host.forward(4, True)), collaborator.forward(normal(0, 4, 3), True))
        for end in (host, collaborator):
            with pytest.raises(CallOutOfOrder, match="a batch is under way"):
                end.state()
        pump(closing(), collaborator.backward())
        assert (set(host.state()), set(collaborator.state())) == ({"weight"}, set())
    pump(host.forward(4, False), collaborator.forward(normal(0, 4, 3), False))
    host.state(), collaborator.state()


@pytest.mark.parametrize("scheme", SECURE)
@pytest.mark.parametrize("what", ["skip", "test"])
def test_batches_that_train_nothing_end_too(scheme: str, what: str) -> None:
    run = Run.new(scheme, 3, 2, 4)
    run.batch(0, 4, what)
    for state in run.layer.states():
        assert (int(state["version"][0]), int(state["batches"][0])) == (0, 1)


# What is refused ----------------------------------------------------------------------------------------------------

HUGE = 1 << RING_BITS
NUMBERS = {
    "negative": [-1],
    "unsigned": np.array([1], np.uint64),
    "floating": [1.0],
    "two": [1, 2],
    "none": np.zeros(0, np.int64),
    "0-d": np.array(1),
    "a list": None,
}
MALFORMED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "nothing": lambda state: {},
    "too much": lambda state: {**state, "weight": np.zeros((2, 3))},
    "of scheme plain": lambda state: {"weight": np.zeros((2, 3))},
    **{
        f"without {name}": lambda state, name=name: {key: state[key] for key in state if key != name}
        for name in ("share", "version", "batches", "noise_key")
    },
    **{
        f"share {how}": lambda state, change=change: {**state, "share": change(state["share"])}
        for how, change in {
            "signed": lambda share: share.view(np.int64),
            "floating": lambda share: share.astype(float),
            "big-endian": lambda share: share.astype(">u8"),
            "transposed": lambda share: share.T.copy(),
            "flat": lambda share: share.ravel(),
            "empty": lambda share: share[:0],
            "a row short": lambda share: share[:1],
            "a list": lambda share: share.tolist(),
            "out of the ring": lambda share: share | np.uint64(HUGE),
        }.items()
    },
    **{
        f"{name} {how}": lambda state, name=name, value=value: {
            **state,
            name: [1] if value is None else np.asarray(value),
        }
        for name in ("version", "batches")
        for how, value in NUMBERS.items()
    },
    **{
        f"noise_key {how}": lambda state, change=change: {**state, "noise_key": change(state["noise_key"])}
        for how, change in {
            "short": lambda key: key[:31],
            "long": lambda key: np.append(key, key[:1]),
            "signed": lambda key: key.view(np.int8),
            "bytes": lambda key: key.tobytes(),
            "square": lambda key: key.reshape(4, 8),
        }.items()
    },
}


@pytest.fixture(scope="module")
def made() -> Any:
    return {scheme: states_of(scheme) for scheme in ("plain", "bfv", "masked")}


@pytest.mark.parametrize("scheme", ["bfv", "masked"])
@pytest.mark.parametrize("how", MALFORMED)
def test_malformed_states_are_refused_before_anything_is_sent(made: Any, scheme: str, how: str) -> None:
    for end, state in zip(ends(scheme), made[scheme]):
        with pytest.raises(InvalidInput, match="the checkpoint of side's layer") as caught:
            next(end.resume(MALFORMED[how](state)))
        shown = [word for word in str(caught.value).replace("(", " ").replace(")", " ").split() if word.isdigit()]
        assert all(len(word) < 4 for word in shown), "a long number might be a secret"
        with pytest.raises(RoleAlreadyUsed):
            next(end.setup())


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: {},
        lambda weight: {"weight": weight, "share": weight},
        lambda weight: {"weights": weight},
        lambda weight: {"weight": weight.astype(np.float32)},
        lambda weight: {"weight": weight.T.copy()},
        lambda weight: {"weight": weight[:0]},
        lambda weight: {"weight": weight.tolist()},
        lambda weight: {"weight": np.where(weight == weight.max(), np.nan, weight)},
        lambda weight: {"weight": np.where(weight == weight.max(), np.inf, weight)},
    ],
)
def test_malformed_plain_states_are_refused(made: Any, change: Callable[[Any], Any]) -> None:
    host, collaborator = ends("plain")
    with pytest.raises(InvalidInput, match="the checkpoint of side's layer"):
        next(host.resume(change(made["plain"][0]["weight"])))
    with pytest.raises(InvalidInput, match="it must hold nothing"):
        next(collaborator.resume({"weight": made["plain"][0]["weight"]}))


def test_without_a_layer_there_is_nothing_to_resume_from(made: Any) -> None:
    with pytest.raises(InvalidInput, match="it must hold nothing"):
        next(PlainHost(LayerSpec("side", 3, None, 4, True, bytes(32))).resume(made["plain"][0]))


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("scheme", SECURE)
def test_ends_of_two_checkpoints_do_not_go_on_together(scheme: str, who: int, trainable: bool) -> None:
    states = [dict(state) for state in states_of(scheme, trainable)]
    states[who]["version"] = states[who]["version"] + 1
    host, collaborator = ends(scheme, trainable)

    def resume_and_start() -> None:
        pump(host.resume(states[0]), collaborator.resume(states[1]))
        masked_layers.deal(host.triples, collaborator.triples, TRAIN)  # says nothing of versions
        pump(and_rest(host, host.forward(4, True)), collaborator.forward(normal(0, 4, 3), True))

    with pytest.raises(MalformedMessage, match=r"Share is about version \d of the weights, this is \d"):
        resume_and_start()


def test_the_host_refuses_a_share_of_another_version_as_it_comes() -> None:
    host, _ = ends("bfv")
    steps = host.resume(states_of("bfv")[0])
    parts = states_of("bfv")
    other, collaborator = ends("bfv")
    talk = pump(other.resume(parts[0]), collaborator.resume(parts[1]))
    *before, share = talk.from_right
    step = next(steps)
    for message in before:
        while isinstance(step, Send):
            step = next(steps)
        step = steps.send(message)
    while isinstance(step, Send):
        step = next(steps)
    with pytest.raises(MalformedMessage, match="CollaboratorShare is about version 3"):
        steps.send(CollaboratorShare(3, share.parts))


@pytest.mark.parametrize("scheme", SECURE)
def test_our_own_key_sent_back_is_refused(scheme: str) -> None:
    for end, state in zip(ends(scheme), states_of(scheme)):
        steps = end.resume(state)
        own = next(steps).message
        next(steps)
        if isinstance(own, SecretsCommitment):
            own = steps.send(own).message
            next(steps)
        with pytest.raises(WrongSession, match="our own public key"):
            steps.send(own)


def test_states_are_not_shown() -> None:
    run = Run.new("bfv", 3, 2, 4)
    for end, state in zip((run.layer.host, run.layer.collaborator), run.layer.states()):
        shown = repr(end) + repr(end._share.noise)
        assert bytes(state["noise_key"]).hex() not in shown
        assert not any(str(value) in shown for value in state["share"].ravel().tolist())
