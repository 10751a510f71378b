"""The key that labels are drawn with lives as long as its task."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.core.randomness import OsRandomness
from secure_hfl.checkpoints.task_checkpoints import TaskCheckpoints
from secure_hfl.errors import CheckpointRefused, ConfigurationError

PROTECTION = {"epsilon": 1.0, "classes": 10}


def checkpoints(directory: Path) -> TaskCheckpoints:
    """As a process makes them that has just started."""
    return TaskCheckpoints(directory / "checkpoints", {"task": "task"})


def key_of(directory: Path, protection: dict[str, float] | None = None) -> bytes:
    """What a process that has just started gets."""
    return checkpoints(directory).label_key.open(PROTECTION if protection is None else protection, OsRandomness())


def test_it_outlives_processes_and_all_checkpoints(tmp_path: Path) -> None:
    key = key_of(tmp_path)
    assert len(key) == 32
    assert key_of(tmp_path) == key
    checkpoints(tmp_path).begin(b"", is_resuming=True)  # peers had no checkpoint in common with us
    assert key_of(tmp_path) == key


def test_it_goes_when_the_task_ends_or_begins_anew(tmp_path: Path) -> None:
    keys = {key_of(tmp_path)}
    checkpoints(tmp_path).clear()
    assert not list((tmp_path / "checkpoints").iterdir())
    keys.add(key_of(tmp_path))
    checkpoints(tmp_path).begin(b"", is_resuming=False)
    keys.add(key_of(tmp_path))
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("before", "after"), [(PROTECTION, {**PROTECTION, "epsilon": 1.5}), (PROTECTION, {}), ({}, PROTECTION)]
)
def test_a_task_goes_on_as_it_began(tmp_path: Path, before: dict[str, float], after: dict[str, float]) -> None:
    """Or labels that were shown as they are would be said to be protected."""
    key_of(tmp_path, before)
    with pytest.raises(ConfigurationError, match=r"this task began with .*label_privacy.*go on as it began"):
        key_of(tmp_path, after)
    assert len(key_of(tmp_path, before)) == (32 if before else 0)


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    key_of(tmp_path)
    (path,) = (tmp_path / "checkpoints").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{}",
        '{"protection":{"epsilon":1.0,"classes":10.0},"key":""}',
        '{"protection":{"epsilon":1.0,"classes":10.0},"key":"00"}',
    ],
)
def test_damage_is_not_taken_for_a_new_task(tmp_path: Path, damage: str) -> None:
    key_of(tmp_path)
    (path,) = (tmp_path / "checkpoints").iterdir()
    path.write_text(damage)
    with pytest.raises(CheckpointRefused, match=r"label-key\.json among the checkpoints is damaged"):
        key_of(tmp_path)
