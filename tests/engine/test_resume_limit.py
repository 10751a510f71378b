"""How often an interrupted task goes on, from a checkpoint or from its beginning."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from secure_hfl.engine.checkpointing import MAX_RESUMES, Checkpoints
from secure_hfl.errors import CheckpointRefused, ResumeLimit


def checkpoints(directory: Path) -> Checkpoints:
    """As a process makes them that has just started."""
    run: Any = SimpleNamespace(
        store=SimpleNamespace(directory=lambda task: directory),
        record=SimpleNamespace(task_id="task"),
        role="collaborator",
        party="bank",
        scheme=SimpleNamespace(name="bfv"),
        identity=SimpleNamespace(fingerprint="AA"),
        options=SimpleNamespace(seed=None),
        scheduler=SimpleNamespace(),
    )
    return Checkpoints(cast(Any, run))


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
