"""Two checkpoints are kept, whole ones, and nothing but this task's own are taken."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.limits import seconds
from protocols.core.envelope import Phase, Place
from protocols.core.errors import InvalidInput
from secure_hfl.checkpoints.store import Checkpoint, CheckpointStore, Saved
from secure_hfl.errors import CheckpointNotWritten, CheckpointRefused

OWNER = {"task": "a1b2", "role": "host", "party": "bank", "scheme": "bfv", "certificate": "AB:CD"}
ROOT = Path(__file__).parent.parent.parent


def tag(number: int) -> bytes:
    """What the parties call the checkpoint after this batch."""
    return number.to_bytes(4, "big")


def place(number: int) -> Place:
    """Where it was saved."""
    return Place(Phase.TRAIN, 2, number)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """The host's."""
    return CheckpointStore(tmp_path / "checkpoints", OWNER)


@pytest.fixture
def two(store: CheckpointStore) -> CheckpointStore:
    """A store with checkpoints 1 and 2."""
    for number in (1, 2):
        store.save(tag(number), place(number), {"weights": np.arange(number), "batch": number})
    return store


def directory_of(store: CheckpointStore) -> Path:
    """Where its files are."""
    return store._directory


def files(store: CheckpointStore) -> list[str]:
    """The names of its files."""
    return sorted(path.name for path in directory_of(store).iterdir())


def newest(store: CheckpointStore) -> Path:
    """Its newest file."""
    return max(directory_of(store).glob("*.bin"), key=lambda path: int(path.stem.partition("-")[2]))


def numbers(store: CheckpointStore) -> list[int]:
    """Of the usable checkpoints."""
    return [saved.number for saved in store.available()]


# What is kept --------------------------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back(store: CheckpointStore) -> None:
    state = {"optimizer": {0: (1.5, None)}, "share": np.arange(3, dtype=np.uint64), "": b"\0"}
    store.save(b"\0tag", Place(Phase.SETUP), state)
    assert store.available() == (Saved(b"\0tag", Place(Phase.SETUP), 1),)
    loaded = CheckpointStore(directory_of(store), OWNER).load(b"\0tag")
    assert isinstance(loaded, Checkpoint)
    assert (loaded.tag, loaded.place) == (b"\0tag", Place(Phase.SETUP))
    assert loaded.state.keys() == state.keys()
    assert loaded.state["optimizer"] == state["optimizer"]
    np.testing.assert_array_equal(loaded.state["share"], state["share"])


def test_the_last_two_are_kept_and_private(store: CheckpointStore) -> None:
    assert store.available() == ()
    for number in range(1, 13):
        store.save(tag(number), place(number), {"batch": number})
    assert files(store) == ["checkpoint-11.bin", "checkpoint-12.bin"]
    assert store.available() == (Saved(tag(12), place(12), 12), Saved(tag(11), place(11), 11))
    assert [store.load(tag(number)).state for number in (12, 11)] == [{"batch": 12}, {"batch": 11}]
    modes = [path.stat().st_mode & 0o777 for path in (directory_of(store), *directory_of(store).iterdir())]
    assert modes == [0o700, 0o600, 0o600]


def test_a_file_says_what_it_is(two: CheckpointStore) -> None:
    magic, digest, head, rest = newest(two).read_bytes().split(b"\n", 3)
    assert magic == b"secure-hfl checkpoint 1"
    assert digest.decode() == sha256(head + b"\n" + rest).hexdigest()
    described = json.loads(head)
    assert described.pop("saved_at").startswith("20")
    assert described == {"owner": OWNER, "tag": "00000002", "place": [int(Phase.TRAIN), 2, 2]}


def test_the_newest_of_one_tag_is_loaded(two: CheckpointStore) -> None:
    two.save(tag(2), place(2), {"batch": "again"})
    assert two.load(tag(2)).state == {"batch": "again"}


def test_going_back(two: CheckpointStore) -> None:
    directory_of(two).joinpath("checkpoint-3.bin").write_bytes(b"torn")
    two.drop_newer_than(tag(2))
    assert files(two) == ["checkpoint-1.bin", "checkpoint-2.bin"]
    two.drop_newer_than(tag(1))
    assert files(two) == ["checkpoint-1.bin"]
    with pytest.raises(CheckpointRefused, match="no usable checkpoint with this tag"):
        two.drop_newer_than(tag(9))
    assert files(two) == ["checkpoint-1.bin"]


def test_a_finished_task_keeps_none(two: CheckpointStore) -> None:
    directory_of(two).joinpath("checkpoint-3.bin.part").touch()
    two.clear()
    assert files(two) == []
    two.clear()
    assert two.available() == ()
    with pytest.raises(CheckpointRefused, match="holds none"):
        two.load(tag(2))
    shutil.rmtree(directory_of(two))
    two.clear()


# What is refused -----------------------------------------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Another head under a right checksum, as another program could write it."""
    magic, _, head, rest = path.read_bytes().split(b"\n", 3)
    described = json.loads(head)
    change(described)
    body = json.dumps(described).encode() + b"\n" + rest
    path.write_bytes(magic + b"\n" + sha256(body).hexdigest().encode() + b"\n" + body)


def linked(path: Path) -> None:
    """A symbolic link to a good file."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def piped(path: Path) -> None:
    """A named pipe, which blocks who opens it carelessly."""
    path.unlink()
    os.mkfifo(path, 0o600)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is torn, or is not a checkpoint"),
    "foreign format": (lambda path: path.write_bytes(b"PK" * 99), "is torn, or is not a checkpoint"),
    "half": (lambda path: path.write_bytes(path.read_bytes()[:200]), "is torn: .*SHA-256"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "is torn: .*SHA-256"),
    "version": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"checkpoint 1", b"checkpoint 2", 1)),
        "is of format '2', this version of secure-hfl knows '1'",
    ),
    "task": (lambda path: rewrite(path, lambda head: head["owner"].update(task="ffff")), "its task is ffff, .* a1b2"),
    "party": (lambda path: rewrite(path, lambda head: head["owner"].update(party="x")), "its party is x, .* bank"),
    "scheme": (lambda path: rewrite(path, lambda head: head["owner"].update(scheme="plain")), "its scheme is plain"),
    "certificate": (
        lambda path: rewrite(path, lambda head: head["owner"].pop("certificate")),
        "certificate is nothing",
    ),
    "more": (lambda path: rewrite(path, lambda head: head["owner"].update(seed="7")), "its seed is 7, .* nothing"),
    "no place": (
        lambda path: rewrite(path, lambda head: head.pop("place")),
        "not a checkpoint that this program wrote",
    ),
    "phase": (lambda path: rewrite(path, lambda head: head.update(place=[99, 0, 0])), "not a checkpoint that this"),
    "tag": (lambda path: rewrite(path, lambda head: head.update(tag="xyz")), "not a checkpoint that this"),
    "group": (lambda path: path.chmod(0o640), "other users have access to .* run: chmod 600 .*checkpoint-2.bin"),
    "world": (lambda path: path.chmod(0o604), "other users have access to .* run: chmod 600 .*checkpoint-2.bin"),
    "link": (linked, "cannot be read: it is a symbolic link"),
    "pipe": (piped, "is not a plain file"),
    "directory": (lambda path: (path.unlink(), path.mkdir(0o700)), "cannot be read: Is a directory"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_or_foreign_one_is_named_once_and_the_one_before_is_used(
    two: CheckpointStore, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage, message = DAMAGE[kind]
    damage(newest(two))
    with caplog.at_level(logging.WARNING, "secure_hfl"):
        for _ in range(3):
            assert two.available() == (Saved(tag(1), place(1), 1),)
    assert len(caplog.records) == 1
    with pytest.raises(CheckpointRefused, match=message):
        two.load(tag(2))
    assert caplog.records[0].getMessage() in f"A checkpoint cannot be used: {refusal_of(two, tag(2))}"
    assert two.load(tag(1)).state["batch"] == 1


def refusal_of(store: CheckpointStore, of: bytes) -> str:
    """What `load` says."""
    with pytest.raises(CheckpointRefused) as caught:
        store.load(of)
    return str(caught.value).removeprefix("the checkpoint that was asked for cannot be used: ")


def test_a_third_one_takes_the_place_of_a_torn_one(two: CheckpointStore) -> None:
    # There are three when a process was killed after it had written one and before it removed the oldest.
    oldest = directory_of(two) / "checkpoint-1.bin"
    kept = oldest.read_bytes()
    two.save(tag(3), place(3), {})
    oldest.write_bytes(kept)
    oldest.chmod(0o600)
    assert numbers(two) == [3, 2]
    newest(two).write_bytes(b"torn")
    assert numbers(two) == [2, 1]


def test_a_flipped_bit_anywhere_is_seen(two: CheckpointStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "secure_hfl")
    path = newest(two)
    good = path.read_bytes()
    for at in range(len(good)):
        flipped = bytearray(good)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        assert numbers(two) == [1], f"byte {at}"
    path.write_bytes(good)
    assert numbers(two) == [2, 1]


def test_a_file_cut_anywhere_is_seen(two: CheckpointStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "secure_hfl")
    path = newest(two)
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        assert numbers(two) == [1], f"{length} bytes"


def test_what_a_killed_process_left_is_removed(two: CheckpointStore) -> None:
    for name in ("checkpoint-3.bin.part", "checkpoint-9.bin.part"):
        directory_of(two).joinpath(name).write_bytes(b"half")
    assert numbers(two) == [2, 1]
    two.save(tag(3), place(3), {})
    assert files(two) == ["checkpoint-2.bin", "checkpoint-3.bin"]


def test_other_files_are_left_alone(two: CheckpointStore) -> None:
    strangers = ("checkpoint-0.bin", "checkpoint-07.bin", "checkpoint-x.bin", "checkpoint-9.bin.bak", "notes")
    for name in strangers:
        directory_of(two).joinpath(name).write_bytes(b"mine")
    for number in (3, 4):
        two.save(tag(number), place(number), {})
    two.clear()
    assert files(two) == sorted(strangers)


# What cannot be written ----------------------------------------------------------------------------------------------


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(two: CheckpointStore) -> None:
    kept = {path: path.read_bytes() for path in directory_of(two).iterdir()}
    with small_disk(50_000), pytest.raises(CheckpointNotWritten, match="File too large; the earlier ones are kept"):
        two.save(tag(3), place(3), {"weights": np.ones(100_000)})
    assert {path: path.read_bytes() for path in directory_of(two).iterdir()} == kept
    two.save(tag(3), place(3), {})
    assert numbers(two) == [3, 2]


@pytest.mark.parametrize("call", ["fsync", "write", "open"])
def test_a_broken_disk(two: CheckpointStore, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen" if call == "write" else call, fail)
        with pytest.raises(CheckpointNotWritten, match="Input/output error; the earlier ones are kept"):
            two.save(tag(3), place(3), {})
    assert files(two) == ["checkpoint-1.bin", "checkpoint-2.bin"]
    assert numbers(two) == [2, 1]


def test_a_directory_that_is_gone(two: CheckpointStore) -> None:
    shutil.rmtree(directory_of(two))
    two.save(tag(3), place(3), {})
    assert numbers(two) == [1]
    shutil.rmtree(directory_of(two))
    directory_of(two).write_bytes(b"")
    with pytest.raises(CheckpointNotWritten, match="File exists"):
        two.save(tag(4), place(4), {})
    with pytest.raises(CheckpointRefused, match="cannot be read: Not a directory"):
        two.available()
    nowhere = CheckpointStore(directory_of(two).with_name("gone") / "checkpoints", OWNER)
    with pytest.raises(CheckpointNotWritten, match="No such file or directory"):
        nowhere.save(tag(4), place(4), {})


def test_a_directory_that_others_may_enter(two: CheckpointStore) -> None:
    directory_of(two).chmod(0o755)
    with pytest.raises(CheckpointNotWritten, match=r"no checkpoint is written: .*run: chmod 700 "):
        two.save(tag(3), place(3), {})


def test_what_cannot_be_kept_is_named_and_nothing_is_touched(two: CheckpointStore) -> None:
    with pytest.raises(InvalidInput, match=r"^local\.step\[0\] is a builtin_function_or_method"):
        two.save(tag(3), place(3), {"local": {"step": [print]}})
    assert numbers(two) == [2, 1]


# A writer that is killed ---------------------------------------------------------------------------------------------


def test_a_killed_writer_leaves_a_usable_checkpoint(tmp_path: Path) -> None:
    script = Path(__file__).parent / "killed_writer.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds(120),
        check=True,
    )
    report = json.loads(done.stdout)
    # Killed before every line of a save, and then at random moments of a loop of saves.
    assert report["lines"] > 30
    assert report["random"] == 20
    assert report["parts"] > 0  # some did leave a half-written file


def test_a_loaded_checkpoint_does_not_show_its_state() -> None:
    loaded = Checkpoint(b"tag", Place(Phase.SETUP), {"share": "secret-value-4711"})
    assert "secret-value-4711" not in repr(loaded)
