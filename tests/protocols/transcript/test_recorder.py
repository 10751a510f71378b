"""The recorder: which messages it takes, and what it refuses while a task runs."""

from __future__ import annotations

from hashlib import sha256

import pytest

from benchmarks.harness.pump import H, Wire, identity
from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import CallOutOfOrder, InvalidInput, MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.task.abort import Abort
from protocols.task.rounds import RoundStart
from protocols.transcript.recorder import TranscriptRecorder
from tests.protocols.transcript.recorded_runs import joined, texts_of
from tests.protocols.whole_task import Case, Task


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


NO_CERTIFICATES = {
    "nothing": b"",
    "other text": b"no",
    "a private key": identity("host").private_key_pem,
    "two certificates": identity("host").certificate_pem * 2,
}


@pytest.mark.parametrize("pem", NO_CERTIFICATES.values(), ids=NO_CERTIFICATES)
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidInput):
        TranscriptRecorder(H, pem, identity("collaborator").certificate_pem, identity("host").sign, {})


def test_wire_bytes_may_be_a_view() -> None:
    wire, message = joined(), RoundStart(3)
    data = bytearray(b"0123456789" * 20)
    envelope = Envelope(wire.sequences[H], Phase.PSI, 0, 0, message)
    line = wire.recorders[H].observe(True, envelope, memoryview(bytes(data)))
    assert sha256(data).hexdigest().encode() in texts_of(line)[0]
