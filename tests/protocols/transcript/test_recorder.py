"""The recorder and the exchange of signatures: what is refused while a task runs, and what may happen in parallel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from benchmarks.harness.pump import C, H, Wire, identity, wire_bytes
from protocols.core.envelope import Envelope, Phase, Place
from protocols.core.errors import CallOutOfOrder, InvalidInput, MessageOutOfOrder, VerificationFailed
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send
from protocols.schemes.masked.messages import TripleRequest
from protocols.task.abort import Abort
from protocols.task.alignment import BatchOpen
from protocols.task.rounds import RoundStart
from protocols.transcript.chain import MAX_RECENT, Chain
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.recorder import TranscriptRecorder
from protocols.transcript.signing import exchange_signed_heads
from tests.protocols.transcript.recorded_runs import texts_of
from tests.protocols.whole_task import Case, Task

HEAD, SIGNATURE = bytes(32), bytes(70)


def joined() -> Wire:
    """Two recorders after the first exchange."""
    task = Task(Case(), wires=[Wire()])
    task.join()
    task.wire.place = Place(Phase.PSI)
    return task.wire


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


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, head=HEAD),
        lambda c: replace(c, count=c.count - 1),
        lambda c: replace(c, count=c.count + 1),
        lambda c: replace(c, record=HEAD),
        lambda c: replace(c, signature=identity("collaborator").sign(b"something else")),
        lambda c: replace(c, signature=identity("stranger").sign(b"")),
        lambda c: replace(c, signature=SIGNATURE),
    ],
    ids=["head", "count less", "count more", "record", "signature of other bytes", "stranger", "no signature"],
)
def test_a_wrong_checkpoint_stops_the_task(change: Callable[[Checkpoint], Checkpoint]) -> None:
    with pytest.raises(VerificationFailed):
        half_way(joined(), change)


def test_a_checkpoint_of_another_place_or_record_stops_the_task() -> None:
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


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, count=s.count + 1),
        lambda s: replace(s, head=HEAD),
        lambda s: replace(s, signature=identity("stranger").sign(b"")),
        lambda s: replace(s, signature=identity("host").sign(b"the host's own signature is not the peer's")),
    ],
)
def test_a_wrong_countersignature_stops_the_task(change: Callable[[Countersignature], Countersignature]) -> None:
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
    wire.send(C, change(answer.message))
    with pytest.raises(VerificationFailed):
        host.send(wire.receive(H))


def test_preparation_may_overtake_a_checkpoint_and_nothing_else_may() -> None:
    """The lane of one-time masks sends between signing and sending; the receiver knows the heads in between."""
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


def test_a_chain_keeps_a_bounded_number_of_heads() -> None:
    chain = Chain(HEAD, H)
    for number in range(3 * MAX_RECENT):
        chain.append(b"%d" % number, True)
        assert len(chain.recent) <= MAX_RECENT
    assert chain.recent[chain.at[0]] == chain.at[1]
    chain.append(b"main", False)
    assert chain.recent == {chain.at[0]: chain.at[1]}


def test_the_chain_is_as_the_format_says() -> None:
    head = sha256(b"secure-hfl transcript v2: chain\n" + HEAD + b"c").digest()
    chain = Chain(HEAD, C)
    assert chain.at == (0, head)
    chain.append(b"e c 0 ...", False)
    assert chain.at == (1, sha256(b"secure-hfl transcript v2: entry\n" + head + b"e c 0 ...").digest())


def new_recorder(sender: Sender = H) -> TranscriptRecorder:
    own, peer = (identity(party.role).certificate_pem for party in (sender, sender.other))
    return TranscriptRecorder(sender, own, peer, identity(sender.role).sign, {})


def test_a_recorder_wants_every_message_in_order() -> None:
    wire = joined()
    envelope = Envelope(wire.sequences[H] + 1, Phase.PSI, 0, 0, RoundStart(0))
    with pytest.raises(CallOutOfOrder, match="observed instead of"):
        wire.recorders[H].observe(True, envelope, b"...")
    repeated = Envelope(0, Phase.PSI, 0, 0, Abort("again", "host", "Stopped"))
    with pytest.raises(CallOutOfOrder):
        wire.recorders[H].observe(True, repeated, b"...")


def test_a_recorder_waits_for_the_manifest_only_so_long() -> None:
    recorder = new_recorder()
    with pytest.raises(CallOutOfOrder, match="nothing to sign"):
        recorder.signer.sign_head(Phase.JOIN, 0)
    for sequence in range(8):
        assert recorder.observe(False, Envelope(sequence, Phase.JOIN, 0, 0, RoundStart(0)), b"...") == b""
    with pytest.raises(MessageOutOfOrder, match="starts with the manifest"):
        recorder.observe(False, Envelope(8, Phase.JOIN, 0, 0, RoundStart(0)), b"...")


def test_a_type_that_is_not_in_the_ledger_is_not_recorded() -> None:
    class Unknown(RoundStart):
        pass

    with pytest.raises(InvalidInput, match="not declared with @wire"):
        joined().recorders[H].observe(True, Envelope(3, Phase.PSI, 0, 0, Unknown(0)), b"...")


def test_one_certificate_for_both_is_refused() -> None:
    same = identity("host")
    recorder = TranscriptRecorder(H, same.certificate_pem, same.certificate_pem, same.sign, {})
    task = Task(Case(), wires=[Wire()])
    task.wire.recorders[H] = recorder
    with pytest.raises(InvalidInput, match="one certificate"):
        task.join()


@pytest.mark.parametrize("pem", [b"", b"no", identity("host").private_key_pem, identity("host").certificate_pem * 2])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidInput):
        TranscriptRecorder(H, pem, identity("collaborator").certificate_pem, identity("host").sign, {})


@pytest.mark.parametrize("kind", [Checkpoint, Countersignature])
def test_malformed_messages_are_refused(kind: type[Message]) -> None:
    good = {"count": 0, "head": HEAD, "record": HEAD, "signature": SIGNATURE}
    if kind is Countersignature:
        del good["record"]
    kind(**good)
    bad = {"count": [-1, 1 << 63, True, "0"], "head": [b"", bytes(31), bytes(33), "0" * 32], "record": [b"", bytes(33)]}
    bad["signature"] = [b"", bytes(7), bytes(73), "0" * 70]
    for name in good:
        for value in bad[name]:
            with pytest.raises(InvalidInput):
                kind(**{**good, name: value})


def test_wire_bytes_may_be_a_view() -> None:
    wire, message = joined(), RoundStart(3)
    data = bytearray(b"0123456789" * 20)
    envelope = Envelope(wire.sequences[H], Phase.PSI, 0, 0, message)
    line = wire.recorders[H].observe(True, envelope, memoryview(bytes(data)))
    assert sha256(data).hexdigest().encode() in texts_of(line)[0]
