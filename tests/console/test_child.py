"""Work in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secure_hfl.audit.audit_files import audit_files
from secure_hfl.console.child import ChildFailed, in_child


def test_it_returns_what_the_function_returns() -> None:
    assert in_child(os.getppid) == os.getpid()


def test_an_error_of_ours_comes_back_as_its_text(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"missing\.transcript"):
        in_child(audit_files, tmp_path / "missing.transcript")


def test_work_that_dies_is_said() -> None:
    with pytest.raises(ChildFailed, match="has died"):
        in_child(os._exit, 3)
