"""The parties sign for each other what has crossed the wire between them, at every boundary of phases and rounds.

    both sides    Checkpoint          signature of what I have sent                         ----->
                                      compare with what I have received, verify             <-----
    both sides    Countersignature    signature of the same statement                       ----->
                                      compare with my Checkpoint, verify                    <-----

Afterwards neither can deny, drop, change or reorder anything up to here: each holds the other's signature of both
chains. One flight and a half; both sides run the same conversation.

**Leaks** nothing. **Reference** Haber, Stornetta, How to Time-Stamp a Digital Document (1991).
"""

from __future__ import annotations

from hmac import compare_digest

from protocols.core.envelope import Phase
from protocols.core.errors import VerificationFailed
from protocols.core.steps import Receive, Send, Steps, received
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.recorder import TranscriptRecorder


def exchange_checkpoints(recorder: TranscriptRecorder, phase: Phase, round_number: int) -> Steps[None]:
    """One exchange. All messages of it must be observed by the recorder, at this phase and round.

    Raises:
        VerificationFailed: the peer signs something else than what was received from it or sent to it; the task must
            stop, and both transcripts say why.
    """
    own = recorder.checkpoint(phase, round_number)
    yield Send(own)
    theirs = received((yield Receive(Checkpoint)), Checkpoint)
    if not compare_digest(theirs.head, recorder.received_head(theirs.count)):
        raise VerificationFailed("the peer's checkpoint is about other messages than were received from it")
    signed = recorder.statement(recorder.party.other, phase, round_number, theirs)
    recorder.verify(signed, theirs.signature)
    recorder.keep_record(theirs.record)
    yield Send(Countersignature(theirs.count, theirs.head, recorder.sign(signed)))
    answer = received((yield Receive(Countersignature)), Countersignature)
    if answer.count != own.count or not compare_digest(answer.head, own.head):
        raise VerificationFailed("the peer countersigned other messages than were sent to it")
    recorder.verify(recorder.statement(recorder.party, phase, round_number, own), answer.signature)
