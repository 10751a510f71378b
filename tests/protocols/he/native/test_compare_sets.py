"""The comparison without Python, which emulators of other processors run, keeps to the kernel's interface."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which("cc")


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")
def test_it_compiles_without_a_warning() -> None:
    source = Path(__file__).with_name("compare_sets.c")
    checked = subprocess.run(
        [str(COMPILER), "-fsyntax-only", "-Wall", "-Wextra", "-Wshadow", "-Werror", str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
