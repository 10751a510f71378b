"""The order of a task while it runs: each side's own messages and its peer's."""

from __future__ import annotations

import pytest

from benchmarks.harness.pump import pinned
from protocols.core.envelope import Phase, Place
from protocols.core.errors import CallOutOfOrder, MessageOutOfOrder
from protocols.core.message import Message
from protocols.core.randomness import SeededRandomness
from protocols.core.sender import Sender
from protocols.schemes.registry import registered_scheme
from protocols.task.abort import Abort
from protocols.task.agreement import HostPlan, make_manifest
from protocols.task.alignment import SplitDigest
from protocols.task.live_order import LiveOrder
from protocols.task.manifest import Hello, Manifest, ManifestAccepted

HELLO = Hello(3, "task", "bank", "plain", True, False, bytes(32))
PLAN = HostPlan("task", "clinic", "plain", "", False, 10.0, pinned({"bank": "bank"}))
SPLIT = SplitDigest(1, bytes(32), bytes(32), 0, bytes(32), bytes(32))


def manifest(*hellos: Hello) -> Manifest:
    return make_manifest(hellos or [HELLO], PLAN, None, SeededRandomness(1, "test"))


def at(phase: Phase, message: Message) -> tuple[Place, Message]:
    return Place(phase), message


def live(own: Sender) -> LiveOrder:
    return LiveOrder(own, registered_scheme("plain").order)


def test_both_sides_follow_one_conversation() -> None:
    host, collaborator = live(Sender.HOST), live(Sender.COLLABORATOR)
    for sender, message in (
        (Sender.COLLABORATOR, HELLO),
        (Sender.HOST, manifest()),
        (Sender.COLLABORATOR, ManifestAccepted(bytes(32))),
    ):
        ends = (host, collaborator) if sender is Sender.HOST else (collaborator, host)
        ends[0].sent(*at(Phase.JOIN, message))
        ends[1].received(*at(Phase.JOIN, message))


def test_the_blame_is_in_the_type() -> None:
    with pytest.raises(CallOutOfOrder, match="before Hello and Manifest"):
        live(Sender.HOST).sent(*at(Phase.JOIN, manifest()))
    with pytest.raises(MessageOutOfOrder, match="before Hello and Manifest"):
        live(Sender.COLLABORATOR).received(*at(Phase.JOIN, manifest()))


def test_a_hello_comes_once() -> None:
    order = live(Sender.HOST)
    order.received(*at(Phase.JOIN, HELLO))
    with pytest.raises(MessageOutOfOrder):
        order.received(*at(Phase.JOIN, HELLO))


def test_the_manifest_lists_the_collaborator() -> None:
    order = live(Sender.COLLABORATOR)
    order.sent(*at(Phase.JOIN, HELLO))
    other = Hello(3, "task", "shop", "plain", True, False, bytes(32))
    with pytest.raises(MessageOutOfOrder, match="does not list"):
        order.received(*at(Phase.JOIN, manifest(other)))


def test_a_phase_is_not_left_out() -> None:
    order = live(Sender.HOST)
    order.received(*at(Phase.JOIN, HELLO))
    order.sent(*at(Phase.JOIN, manifest()))
    with pytest.raises(MessageOutOfOrder, match="without a signed head"):
        order.received(*at(Phase.ALIGN, SPLIT))


def test_an_abort_may_come_at_once() -> None:
    order = live(Sender.HOST)
    order.received(*at(Phase.JOIN, Abort("over", "bank", "PeerTimeout")))
    order.sent(*at(Phase.JOIN, Abort("over", "clinic", "PeerTimeout")))
