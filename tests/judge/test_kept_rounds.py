"""What a party keeps for a judge: which files, for how long, for whose eyes; and openings of files that are torn."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import C, H, identity
from protocols.core.envelope import Envelope, Phase
from protocols.judge.opening import MESSAGE, frames_of
from protocols.schemes.shares.messages import HostShare
from protocols.task.alignment import EpochEnd
from protocols.transcript.messages import Countersignature
from secure_hfl.errors import TranscriptNotWritten
from secure_hfl.judge.kept_rounds import KeptRounds, kept_files
from secure_hfl.judge.open_round import NothingKept, open_round
from secure_hfl.transport.traffic import Direction

SIGNED = Countersignature(1, bytes(32), bytes(70))
SHARE = HostShare(0, (b"share",))


@pytest.fixture
def kept(tmp_path: Path) -> KeptRounds:
    return KeptRounds(tmp_path / "kept" / "bank-1", H, (HostShare,))


def observe(kept: KeptRounds, phase: Phase, number: int, message: Any, data: bytes, is_sent: bool = True) -> None:
    direction = Direction.SENT if is_sent else Direction.RECEIVED
    kept.observe(direction, Envelope(0, phase, number, 0, message), data)


def messages(path: Path) -> list[bytes]:
    return [bytes(each.data) for each in frames_of(memoryview(path.read_bytes())) if each.kind == MESSAGE]


def close_round(kept: KeptRounds, number: int) -> None:
    for is_sent in (True, False):
        observe(kept, Phase.TRAIN, number, SIGNED, b"signed", is_sent)


def test_only_set_up_and_rounds_are_kept_and_nothing_before(kept: KeptRounds) -> None:
    observe(kept, Phase.JOIN, 0, EpochEnd(0), b"joining")
    assert not kept.directory.exists()
    observe(kept, Phase.SETUP, 0, EpochEnd(0), b"set-up")
    observe(kept, Phase.TRAIN, 1, EpochEnd(0), b"round")
    assert {number: messages(path) for number, path in kept_files(kept.directory).items()} == {
        0: [b"set-up"],
        1: [b"round"],
    }


def test_a_round_begins_with_the_shares_that_are_in_force(kept: KeptRounds) -> None:
    observe(kept, Phase.SETUP, 0, SHARE, b"first share")
    observe(kept, Phase.TRAIN, 1, SHARE, b"second share")
    observe(kept, Phase.TRAIN, 2, EpochEnd(0), b"end")
    assert messages(kept_files(kept.directory)[2]) == [b"second share", b"end"]


def test_a_round_goes_when_both_have_signed_the_next(kept: KeptRounds) -> None:
    observe(kept, Phase.SETUP, 0, EpochEnd(0), b"set-up")
    close_round(kept, 1)
    assert set(kept_files(kept.directory)) == {0, 1}
    observe(kept, Phase.TRAIN, 2, SIGNED, b"signed")
    assert set(kept_files(kept.directory)) == {0, 1, 2}
    observe(kept, Phase.TRAIN, 2, SIGNED, b"signed", is_sent=False)
    assert set(kept_files(kept.directory)) == {0, 2}


def test_all_rounds_stay_if_that_was_asked_for(tmp_path: Path) -> None:
    kept = KeptRounds(tmp_path / "all", H, (), keeps_all=True)
    for number in (1, 2, 3):
        close_round(kept, number)
    assert set(kept_files(kept.directory)) == {1, 2, 3}


def test_secrets_of_a_round_begin_it(kept: KeptRounds) -> None:
    for number in (0, 1):
        kept.note("secrets", round=np.array([number], np.int64), seed=np.zeros(32, np.uint8))
        kept.note("key", secret=np.zeros(4, np.uint8))
    assert {number: path.stat().st_size for number, path in kept_files(kept.directory).items()}.keys() == {0, 1}


def test_files_are_for_their_owner_alone(kept: KeptRounds) -> None:
    previous = os.umask(0)
    try:
        observe(kept, Phase.SETUP, 0, EpochEnd(0), b"set-up")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(kept.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept_files(kept.directory)[0].stat().st_mode) == 0o600


def test_what_cannot_be_written_ends_the_run_and_says_what_to_do(kept: KeptRounds) -> None:
    kept.directory.parent.mkdir()
    kept.directory.write_bytes(b"in the way")
    with pytest.raises(TranscriptNotWritten, match="run without it"):
        observe(kept, Phase.SETUP, 0, EpochEnd(0), b"set-up")


def test_nothing_is_written_behind_the_end(kept: KeptRounds) -> None:
    observe(kept, Phase.TRAIN, 1, EpochEnd(0), b"round")
    kept.close()
    kept.close()
    observe(kept, Phase.TRAIN, 1, EpochEnd(0), b"late")
    assert messages(kept_files(kept.directory)[1]) == [b"round"]


@pytest.mark.parametrize(("number", "peer", "why"), [(3, "", "kept are rounds 1"), (1, "", "bank, shop; say which")])
def test_what_cannot_be_opened_says_why(tmp_path: Path, number: int, peer: str, why: str) -> None:
    for name in ("bank-1", "shop-2"):
        observe(KeptRounds(tmp_path / "kept" / name, H, ()), Phase.TRAIN, 1, EpochEnd(0), b"round")
    out = tmp_path / "opening"
    with pytest.raises(NothingKept, match=why):
        open_round(tmp_path, number, C, identity("host"), out, peer)
    assert not out.exists()
