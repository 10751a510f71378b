"""Tasks whose sets are cut into buckets: the same training, one bucket repeated after a crash, nothing left behind."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import replay
from protocols.core.errors import MalformedMessage, WrongSession
from protocols.psi import PsiResult, buckets
from protocols.psi.buckets import Shape
from protocols.psi.packed import PackedIds
from secure_hfl.engine.psi_buckets import _learn
from secure_hfl.engine.psi_files import PsiFiles
from secure_hfl.engine.psi_work import PsiWork
from secure_hfl.run_options import RunOptions
from tests.engine.memory_channel import cut_off
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

BUCKETS = 4


@pytest.fixture(autouse=True)
def sets_of_128_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MOST_IN_ONE", 20)
    monkeypatch.setattr(buckets, "BUCKET_IDS", 128 // BUCKETS)


def halves(ids: Any) -> tuple[Any, Any]:
    assert isinstance(ids, PackedIds)
    return ids[:64], ids[64:]


def parties_of(directory: Path, **cases: dict[str, Any]) -> MemoryParties:
    parties = MemoryParties(directory, options=RunOptions(rounds=1), cases=cases)
    for scheduler in parties.schedulers.values():
        scheduler.split_dataset = halves
    return parties


def sent(parties: MemoryParties, name: str, message: str) -> int:
    return parties.metrics(name).messages[message]["sent_messages"]


def kept(parties: MemoryParties, name: str) -> list[Path]:
    directory = parties.runs[name].bench.psi_files.directory
    return sorted(directory.iterdir()) if directory.exists() else []


def test_a_task_trains_on_what_buckets_have_found(tmp_path: Path) -> None:
    parties = parties_of(tmp_path)
    parties.execute()
    assert parties.errors == {}
    for name in (HOST, COLLABORATOR):
        state = parties.runs[name].bench.state
        assert list(state.train_ids) == sorted(map(str, range(32, 128)), key=lambda each: (len(each), each))[:64]
        assert len(parties.heard[name].named("psi_bucket")) == BUCKETS
        assert kept(parties, name) == []
    assert sent(parties, HOST, "PsiResult") == BUCKETS
    assert sent(parties, HOST, "PsiOpen") == 1 + BUCKETS


def test_a_small_set_meets_a_large_one_in_buckets(tmp_path: Path) -> None:
    """The host's few ids are cut as finely, and what it sends is in proportion to them."""
    few = [str(i) for i in range(60, 72)]
    parties = MemoryParties(tmp_path, options=RunOptions(rounds=1), cases={HOST: {"ids": few}})
    for scheduler in parties.schedulers.values():
        scheduler.split_dataset = lambda ids: (set(sorted(ids)[:8]), set(sorted(ids)[8:]))
    parties.execute()
    assert parties.errors == {}
    assert parties.runs[COLLABORATOR].bench.state.intersection == set(few)
    host, other = (parties.metrics(name).messages["PsiPoints"] for name in (HOST, COLLABORATOR))
    assert host["sent_bytes"] * 3 < other["sent_bytes"]


def test_a_host_is_held_to_its_points_and_not_to_what_it_announces(tmp_path: Path) -> None:
    """It could put ids where padding belongs."""
    parties = MemoryParties(tmp_path, options=RunOptions(rounds=1), cases={HOST: {"ids": ["60"]}})
    told: list[int] = []
    shown: list[int] = []

    def refuse(size: int) -> None:
        told.append(size)
        shown.append(len(parties.heard[COLLABORATOR].named("psi")))
        raise WrongSession("that many a day are too many")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PsiWork, "peer_opened", property(lambda self: refuse, lambda self, value: None), raising=False)
        parties.execute()
    assert told == [BUCKETS], "of one id: a point in each bucket"
    assert shown == [0]
    assert "that many a day" in str(parties.errors[COLLABORATOR])


@pytest.mark.parametrize("dies", [HOST, COLLABORATOR])
def test_after_a_crash_only_the_bucket_under_way_is_run_again(tmp_path: Path, dies: str) -> None:
    """Both processes are new; they know what is on the disk. The third of four buckets was under way."""
    names = {HOST: "found", COLLABORATOR: "order"}
    parties = parties_of(tmp_path)
    files: Any = parties.runs[dies].bench.psi_files
    method = "keep_found" if dies == HOST else "keep_order"
    keep = getattr(files, method)

    def crash(*of: Any) -> None:
        if of[-2] == 2:  # the bucket's index
            raise KeyboardInterrupt
        keep(*of)

    setattr(files, method, crash)
    parties.execute()
    assert set(parties.errors) == {HOST, COLLABORATOR}
    for name in (HOST, COLLABORATOR):
        paths = kept(parties, name)
        assert {path.name.split("-")[0] for path in paths} == {"ids", "bucket", "cut", names[name]}
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    before = {name: len(parties.heard[name].named("psi_bucket")) for name in (HOST, COLLABORATOR)}
    assert sorted(before.values()) in ([2, 2], [2, 3])  # who answers may be done with it, where who compares is not
    parties.begin(RunOptions(rounds=1, resume=True))
    parties.execute()
    assert parties.errors == {}
    for name in (HOST, COLLABORATOR):
        again = parties.heard[name].named("psi_bucket")[before[name] :]
        assert [each["done"] for each in again] == [3, 4]
        assert sent(parties, name, "PsiOpen") == 1 + 2
        assert kept(parties, name) == []
        assert len(parties.runs[name].bench.state.intersection) == 96


def test_a_full_disk_is_said_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parties = parties_of(tmp_path)

    def full(chunks: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parties.runs[HOST].bench.psi_files, "write_ids", full)
    parties.execute()
    assert "No space left on device. Large sets of ids go there" in str(parties.errors[HOST])


def test_a_cut_cable_repeats_one_bucket_in_the_same_processes(tmp_path: Path) -> None:
    parties, cuts = parties_of(tmp_path), [1]

    def cut(event: str, values: dict[str, Any]) -> None:
        if event == "psi_bucket" and values["done"] == 2 and cuts:
            cuts.pop()
            cut_off(*parties.channels)

    parties.heard[HOST].react = cut
    parties.execute()
    assert parties.errors == {}
    done = [each["done"] for each in parties.heard[HOST].named("psi_bucket")]
    assert done in ([1, 2, 3, 4], [1, 2, 2, 3, 4])


def test_a_result_that_marks_padding_or_too_many_points_is_refused() -> None:
    """By the collaborator's pump, so that the host is named."""
    shape, order = Shape(2, 3, 4), np.array([2, 0, 3, 1])
    assert replay(_learn(["a", "b"], order, shape), PsiResult.marking(np.array([3]), 4)).read(slice(0, 1)) == ["b"]
    for slots, size, problem in (([0], 4, "padding"), ([0, 1, 2, 3], 4, "at most 3"), ([1], 9, "2 bytes")):
        with pytest.raises(MalformedMessage, match=problem):
            replay(_learn(["a", "b"], order, shape), PsiResult.marking(np.array(slots), size))


def test_other_ids_after_a_crash_begin_anew(tmp_path: Path) -> None:
    files = PsiFiles(tmp_path)
    parties, nonce = bytes(32), bytes([1] * 32)
    ids = [f"id{i}" for i in range(50)]
    assert files.cut(ids, parties, nonce, 3, 50)
    assert files.kept(ids[::-1], parties) == (nonce, 3)  # in another order they are the same
    assert files.kept([*ids[:-1], "other"], parties) is None
    assert files.kept(ids[:-1], parties) is None
    assert files.kept(ids, bytes([2] * 32)) is None
    assert sorted(each for index in range(3) for each in files.bucket(index)) == sorted(ids)
    assert not files.cut(ids, parties, nonce, 3, 5)
    assert files.kept(ids, parties) is None, "what did not fit is not gone on with"
    files.clear()
    assert not files.directory.exists()
