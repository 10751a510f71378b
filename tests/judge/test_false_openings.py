"""Whatever somebody puts into an opening of its own, or into a transcript, the other party is never convicted."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.harness.pump import C, H
from protocols.core.errors import InvalidInput
from protocols.core.sender import Sender
from protocols.judge.opening import NOTE, InvalidOpening, frames_of, message_frame, note_frame, read_note
from protocols.judge.verdict import Judgement, Outcome
from tests.judge.judged_runs import NAMES, Run, run_of
from tests.protocols.transcript.recorded_runs import key_of, rebuild, texts_of
from tests.protocols.whole_task import Case

CASE = Case(rounds=2, batches=(4, 3))
SIDES = pytest.mark.parametrize("sender", [H, C], ids=["by the host", "by the collaborator"])


def honest() -> Run:
    return run_of(CASE)


def judged(sender: Sender, change: Any, signer: str = "", number: int = 2) -> Judgement:
    """The honest opening of one party, and one of the other that was changed and signed again."""
    run = honest()
    return run.judge(run.opening(sender.other, number), run.opening(sender, number, change, signer))


def changed_note(name: str, array: str, edit: Any, every: bool = True) -> Any:
    """Change an array in notes of a name."""

    def change(frames: list[bytes]) -> Sequence[bytes]:
        out, done = [], False
        for data in frames:
            (each,) = frames_of(memoryview(data))
            if each.kind == NOTE and each.head["name"] == name and (every or not done):
                arrays = dict(read_note(each).arrays)
                arrays[array], done = np.array(edit(arrays[array].copy()), arrays[array].dtype), True
                data = note_frame(name, arrays)
            out.append(data)
        assert done
        return out

    return change


def flipped(values: Any) -> Any:
    """Another value of the same kind."""
    raw = values.reshape(-1).view(np.uint8)
    raw[0] ^= 1
    return values


FALSE = {
    "seed": changed_note("secrets", "seed", flipped),
    "session": changed_note("secrets", "session", flipped),
    "share": changed_note("state", "share", flipped),
    "version": changed_note("state", "version", lambda version: version + 1),
    "noise key": changed_note("state", "noise_key", flipped),
    "key": changed_note("key", "secret", lambda key: np.roll(key, 1)),
    "no notes": lambda frames: [each for each in frames if each[:1] != NOTE],
    "no key": lambda frames: [each for each in frames if b'"name":"key"' not in each[:200]],
}


@SIDES
@pytest.mark.parametrize("what", FALSE)
def test_an_opening_that_is_not_what_was_committed_to_is_refused(sender: Sender, what: str) -> None:
    judgement = judged(sender, FALSE[what])
    assert not judgement.convicted
    assert [each.opener for each in judgement.refused] == [NAMES[sender]]
    assert judgement.refused[0].is_false
    assert NAMES[sender] in str(judgement.refused[0])
    assert any(NAMES[sender] in each.reason for each in judgement.of(Outcome.UNDECIDED))


@SIDES
def test_an_opening_in_the_others_name_is_refused_and_says_nothing_of_it(sender: Sender) -> None:
    judgement = judged(sender, list, signer=sender.other.role)
    assert not judgement.convicted
    assert not judgement.refused[0].is_false
    assert "nothing about anybody" in str(judgement.refused[0])


def test_false_features_or_gradients_convict_who_opened_them() -> None:
    assert judged(C, changed_note("features", "features", lambda a: a + np.float32(0.25))).convicted == {NAMES[C]}
    assert judged(H, changed_note("gradient", "dz", lambda dz: -dz)).convicted == {NAMES[H]}
    assert judged(H, changed_note("gradient", "learning_rate", lambda rate: 2 * rate)).convicted == {NAMES[H]}


@SIDES
def test_an_edited_message_is_refused(sender: Sender) -> None:
    def change(frames: list[bytes]) -> list[bytes]:
        at = max(range(len(frames)), key=lambda index: len(frames[index]))
        (each,) = frames_of(memoryview(frames[at]))
        data = bytearray(each.data)
        data[-1] ^= 1
        return [*frames[:at], message_frame(Sender(each.head["sender"]), bytes(data)), *frames[at + 1 :]]

    judgement = judged(sender, change)
    assert not judgement.convicted
    assert "both have signed for" in judgement.refused[0].reason


def test_a_second_version_of_ones_own_messages_convicts_nobody_else() -> None:
    """A host signs one step for the collaborator, and another one for the judge: the receiver has signed one only."""
    run = honest()
    texts = texts_of(run.files[H])
    at = next(n for n, text in enumerate(texts) if text.split(b" ")[3:4] == [b"StepGradient"])
    digest = texts[at].split(b" ")[-1].decode()

    def change(frames: list[bytes]) -> list[bytes]:
        out = []
        for data in frames:
            (each,) = frames_of(memoryview(data))
            if sha256(each.data).hexdigest() == digest:
                other = bytearray(each.data)
                other[-1] ^= 1
                texts[at] = texts[at].replace(digest.encode(), sha256(other).hexdigest().encode())
                data = message_frame(H, bytes(other))
            out.append(data)
        return out

    openings = run.opening(C, 1), run.opening(H, 1, change)
    forged = rebuild(texts, key_of(H))
    assert digest.encode() not in forged
    for transcripts in ([forged], [run.files[C], forged], [forged, run.files[C]]):
        judgement = run.judge(*openings, transcripts=transcripts)
        assert not judgement.convicted
        assert not any(each.opener == NAMES[C] and each.is_false for each in judgement.refused)


@st.composite
def edits(draw: Any) -> Any:
    """Frames left out, doubled, moved, or with a byte changed."""
    kind = draw(st.sampled_from(["drop", "double", "swap", "byte"]))
    first, second = draw(st.integers(0, 10_000)), draw(st.integers(0, 10_000))
    value = draw(st.integers(1, 255))

    def change(frames: list[bytes]) -> list[bytes]:
        at, other = first % len(frames), second % len(frames)
        if kind == "drop":
            return [*frames[:at], *frames[at + 1 :]]
        if kind == "double":
            return [*frames[:at], frames[at], *frames[at:]]
        if kind == "swap":
            frames[at], frames[other] = frames[other], frames[at]
            return frames
        data = bytearray(frames[at])
        data[second % len(data)] ^= value
        return [*frames[:at], bytes(data), *frames[at + 1 :]]

    return change


RARELY = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@SIDES
@RARELY
@given(changes=st.lists(edits(), min_size=1, max_size=3), number=st.integers(1, 2))
def test_no_edit_of_ones_own_opening_convicts_the_other(sender: Sender, changes: list[Any], number: int) -> None:
    def all_of_them(frames: list[bytes]) -> list[bytes]:
        for change in changes:
            frames = change(frames)
        return frames

    try:
        judgement = judged(sender, all_of_them, number=number)
    except (InvalidOpening, InvalidInput):
        return
    assert judgement.convicted <= {NAMES[sender]}


@RARELY
@given(at=st.integers(0, 1_000_000), value=st.integers(1, 255), which=st.sampled_from([H, C]))
def test_no_edit_of_a_transcript_convicts_anybody(at: int, value: int, which: Sender) -> None:
    run = honest()
    edited = bytearray(run.files[which])
    edited[at % len(edited)] ^= value
    for transcripts in ([bytes(edited)], [bytes(edited), run.files[which.other]]):
        try:
            judgement = run.judge(run.opening(H, 2), run.opening(C, 2), transcripts=transcripts)
        except InvalidInput:
            continue
        assert not judgement.convicted
