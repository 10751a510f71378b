"""How often an interrupted task goes on, from a checkpoint or from its beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_hfl.checkpoints.resume_count import MAX_RESUMES
from secure_hfl.checkpoints.task_checkpoints import TaskCheckpoints
from secure_hfl.errors import CheckpointRefused, ResumeLimit


def checkpoints(directory: Path) -> TaskCheckpoints:
    """As a process makes them that has just started."""
    return TaskCheckpoints(directory / "checkpoints", {"task": "task"})


def test_a_host_cannot_ask_for_the_intersection_again_and_again(tmp_path: Path) -> None:
    for _ in range(MAX_RESUMES):
        checkpoints(tmp_path).begin(b"", is_resuming=True)
    with pytest.raises(ResumeLimit, match=f"interrupted {MAX_RESUMES + 1} times"):
        checkpoints(tmp_path).begin(b"", is_resuming=True)
    checkpoints(tmp_path).begin(b"", is_resuming=False)  # the user starts it anew
    checkpoints(tmp_path).begin(b"", is_resuming=True)


def test_a_count_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    checkpoints(tmp_path).begin(b"", is_resuming=True)
    (tmp_path / "checkpoints" / "resumes.json").write_text("{")
    with pytest.raises(CheckpointRefused, match="damaged"):
        checkpoints(tmp_path).begin(b"", is_resuming=True)
