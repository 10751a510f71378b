"""The exchange of signed heads: what stops the task, and what may happen in parallel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.harness.pump import C, H, Wire, identity, wire_bytes
from protocols.core.envelope import Envelope, Phase, Place
from protocols.core.errors import VerificationFailed
from protocols.core.message import Message
from protocols.core.steps import Receive, Send
from protocols.schemes.masked.triple_messages import TripleRequest
from protocols.task.alignment import BatchOpen
from protocols.task.rounds import RoundStart
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.signing import exchange_signed_heads
from tests.protocols.transcript.recorded_runs import joined, texts_of

HEAD, SIGNATURE = bytes(32), bytes(70)


def half_way(wire: Wire, change: Callable[[Checkpoint], Checkpoint] = lambda message: message) -> Message:
    """The host's next step after the collaborator's Checkpoint, which may be changed on the way."""
    host = exchange_signed_heads(wire.recorders[H].signer, Phase.PSI, 0)
    step = next(host)
    assert isinstance(step, Send)
    wire.send(H, step.message)
    assert isinstance(host.send(None), Receive)  # type: ignore[arg-type]
    wire.send(C, change(wire.recorders[C].signer.sign_head(Phase.PSI, 0)))
    received = wire.receive(H)
    step = host.send(received)
    assert isinstance(step, Send)
    return step.message


def test_an_exchange_signs_what_was_sent() -> None:
    wire = joined()
    answer = half_way(wire)
    assert isinstance(answer, Countersignature)
    assert answer.count == 4  # Hello, ManifestAccepted, Checkpoint, Countersignature


@pytest.mark.parametrize("theirs_first", [False, True])
def test_an_exchange_is_sealed_when_the_second_has_signed(theirs_first: bool) -> None:
    wire = joined()
    ours = half_way(wire)  # not sent yet: another thread may read the peer's answer first
    before = texts_of(wire.files[H])
    wire.send(C, Countersignature(0, HEAD, SIGNATURE))
    steps = [lambda: wire.send(H, ours), lambda: wire.receive(H)]
    for step in reversed(steps) if theirs_first else steps:
        assert not any(text.startswith(b"seal") for text in texts_of(wire.files[H])[len(before) :])
        step()
    assert texts_of(wire.files[H])[-1].startswith(b"seal")


WRONG_HEADS = {
    "another head": {"head": HEAD},
    "another writer": {"record": HEAD},
    "the peer's signature of other bytes": {"signature": identity("collaborator").sign(b"something else")},
    "a stranger's signature": {"signature": identity("stranger").sign(b"")},
    "no signature": {"signature": SIGNATURE},
}


@pytest.mark.parametrize("wrong", WRONG_HEADS.values(), ids=WRONG_HEADS)
def test_a_wrongly_signed_head_stops_the_task(wrong: dict[str, bytes]) -> None:
    with pytest.raises(VerificationFailed):
        half_way(joined(), lambda signed: replace(signed, **wrong))


@pytest.mark.parametrize("more", [-1, 1])
def test_a_head_of_another_count_stops_the_task(more: int) -> None:
    with pytest.raises(VerificationFailed):
        half_way(joined(), lambda signed: replace(signed, count=signed.count + more))


def test_a_head_of_another_place_or_writer_stops_the_task() -> None:
    wire = joined()
    elsewhere = wire.recorders[C].signer.sign_head(Phase.ALIGN, 0)
    with pytest.raises(VerificationFailed):
        half_way(wire, lambda _: elsewhere)
    wire = joined()
    wire.recorders[C].signer._writer_digest = HEAD  # it says something else of itself than before, and signs that
    with pytest.raises(VerificationFailed, match="first one"):
        half_way(wire)


def test_a_peer_that_received_something_else_is_found_at_once() -> None:
    """The network delivers other bytes than were sent; TLS would have to be broken for that."""
    wire = joined()
    envelope = Envelope(wire.sequences[C], Phase.PSI, 0, 0, BatchOpen(4, b""))
    wire.sequences[C] += 1
    wire.recorders[C].observe(True, envelope, wire_bytes(envelope))
    forged = replace(envelope, message=BatchOpen(5, b""))
    wire.recorders[H].observe(False, forged, wire_bytes(forged))
    with pytest.raises(VerificationFailed, match="other messages than were received"):
        half_way(wire)


WRONG_ANSWERS: dict[str, dict[str, Any]] = {
    "another count": {"count": 99},
    "another head": {"head": HEAD},
    "a stranger's signature": {"signature": identity("stranger").sign(b"")},
    "the receiver's own signature": {"signature": identity("host").sign(b"this is not the peer's")},
}


@pytest.mark.parametrize("wrong", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_a_wrong_countersignature_stops_the_task(wrong: dict[str, Any]) -> None:
    wire = joined()
    host, other = (exchange_signed_heads(wire.recorders[sender].signer, Phase.PSI, 0) for sender in (H, C))
    for sender, steps in ((H, host), (C, other)):
        step = next(steps)
        assert isinstance(step, Send)
        wire.send(sender, step.message)
        next(steps)
    answer = other.send(wire.receive(C))
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Countersignature)
    host.send(wire.receive(H))
    next(host)
    wire.send(C, replace(answer.message, **wrong))
    with pytest.raises(VerificationFailed):
        host.send(wire.receive(H))


def test_the_offline_phase_may_overtake_a_signed_head_and_nothing_else_may() -> None:
    """The offline phase sends between signing and sending; the receiver knows the heads in between."""
    for message, is_legal in ((TripleRequest("train", 0, 1), True), (RoundStart(0), False)):
        wire = joined()
        phase = Phase.OFFLINE if is_legal else Phase.PSI
        checkpoint = wire.recorders[C].signer.sign_head(Phase.PSI, 0)
        wire.send(C, message, Place(phase))
        wire.send(C, message, Place(phase))
        wire.receive(H)
        wire.receive(H)
        wire.send(C, checkpoint)
        wire.receive(H)
        if is_legal:
            assert wire.recorders[H].signer.received_head(checkpoint.count) == checkpoint.head
        else:
            with pytest.raises(VerificationFailed):
                wire.recorders[H].signer.received_head(checkpoint.count)
