"""A secret key does not stay behind in memory that is given back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from protocols.he.native import library

COMPILER = shutil.which("cc")
SOURCES = Path(library.__file__).parent


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")
def test_a_key_is_zeros_when_its_memory_is_given_back(tmp_path: Path) -> None:
    """Optimised, as it is shipped; and one that is refused once its memory is taken."""
    program, here = tmp_path / "keys_are_wiped", Path(__file__).with_name("keys_are_wiped.c")
    others = [str(SOURCES / name) for name in ("conversions.c", "layout.c", "packing.c")]
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Werror"]
    subprocess.run([str(COMPILER), "-O3", *warnings, "-o", str(program), str(here), *others], check=True)
    found = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "2 keys freed, 0 bytes not zero\n")
