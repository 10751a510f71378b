"""An accuser chooses what the judge sees: lines behind the last signature, signatures and messages that it leaves out.

Each of these convicted an honest party once. All that the accuser signs here is its own: its transcript, its opening.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import C, H
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.judge.opening import MESSAGE, frames_of, message_frame
from protocols.layer.messages import FrozenRows
from protocols.schemes.encrypted.messages import Projection, StepGradient
from protocols.schemes.registry import registered_scheme
from protocols.task.alignment import BatchOpen
from protocols.wire.codec import Catalogue, decode
from tests.judge import judged_runs
from tests.judge.judged_runs import Run, run_of
from tests.protocols.transcript.recorded_runs import key_of, rebuild, texts_of
from tests.protocols.whole_task import Case

CASE = Case(rounds=2)
ALL = Catalogue(registered_scheme("bfv").all_messages())
TRAIN = 5
"""As a line of a transcript writes the phase."""

Change = Callable[[list[bytes]], list[bytes]]


def without(*types: type[Message], batch: int | None = None) -> Change:
    """Leave out messages of these types, of one batch or of all."""

    def change(frames: list[bytes]) -> list[bytes]:
        left = []
        for data in frames:
            (each,) = frames_of(memoryview(data))
            said = decode(each.data, ALL) if each.kind == MESSAGE else None
            if said is None or not isinstance(said.message, types) or batch not in (None, said.batch):
                left.append(data)
        assert len(left) < len(frames)
        return left

    return change


@pytest.mark.parametrize("opens_too", [False, True], ids=["the other has not opened", "both open"])
def test_a_line_behind_the_signatures_with_the_number_of_a_signed_message(opens_too: bool) -> None:
    """A host makes up a message of the collaborator's, and lists it at the end of its own transcript."""
    run = run_of(CASE)
    texts = texts_of(run.files[H])
    line = next(text for text in texts if text.split(b" ")[3:6] == [b"WeightGradient", b"5", b"1"])
    digest = line.split(b" ")[-1].decode()

    def change(frames: list[bytes]) -> list[bytes]:
        out = []
        for data in frames:
            (each,) = frames_of(memoryview(data))
            if sha256(each.data).hexdigest() == digest:
                made_up = bytearray(each.data)
                made_up[-9000:-8000] = bytes(1000)
                texts.append(line.replace(digest.encode(), sha256(made_up).hexdigest().encode()))
                data = message_frame(C, bytes(made_up))
            out.append(data)
        return out

    openings = [run.opening(H, 1, change), *([run.opening(C, 1)] if opens_too else [])]
    forged = rebuild(texts, key_of(H))
    for transcripts in ([forged], [run.files[C], forged], [forged, run.files[C]]):
        judgement = run.judge(*openings, transcripts=transcripts)
        assert not judgement.convicted
        assert [each.opener for each in judgement.refused] == [judged_runs.NAMES[H]]


@pytest.mark.parametrize("kept_by", [H, C])
@pytest.mark.parametrize("honest", [H, C], ids=["the host is honest", "the collaborator is honest"])
def test_a_transcript_without_ones_own_later_signatures(honest: Sender, kept_by: Sender) -> None:
    """So that what the accuser sent in the rounds counts as unsigned, and the honest share seems not to have moved."""
    run = run_of(CASE)
    beginning = b"checkpoint %s " % honest.other.value.encode()
    texts = [
        text
        for text in texts_of(run.files[kept_by])
        if not (text.startswith(beginning) and int(text.split(b" ")[2]) >= TRAIN)
    ]
    assert len(texts) < len(texts_of(run.files[kept_by]))
    judgement = run.judge(run.opening(honest, 1), transcripts=[rebuild(texts, key_of(kept_by))])
    assert not judgement.convicted


def test_an_opening_without_the_step_of_a_batch() -> None:
    """The answer to it is not read as one to the smaller batch before."""
    run = run_of(Case(rounds=1, batches=(3, 4, 4)))
    opening = run.opening(H, 1, without(Projection, StepGradient, batch=1))
    assert not run.judge(opening).convicted


@pytest.mark.parametrize("left_out", [FrozenRows, BatchOpen])
def test_an_opening_without_how_many_rows_crossed(monkeypatch: pytest.MonkeyPatch, left_out: type[Message]) -> None:
    """Of four equal rows of a frozen bottom model one crosses. Its projection is not read as one of four rows."""

    class EqualRows(judged_runs.KeptTask):
        """All rows of a batch are the same."""

        def build(self, line: Any) -> None:
            super().build(line)
            different = line.features
            line.features = lambda rows, seed: np.repeat(different(1, seed), rows, axis=0)

    monkeypatch.setattr(judged_runs, "KeptTask", EqualRows)
    run = Run(Case(rounds=1, trainable=False))
    assert not run.judged(1).convicted
    assert not run.judge(run.opening(H, 1, without(left_out))).convicted
