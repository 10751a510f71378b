"""SEAL's context lets go of its memory files, and says nothing while it does."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocols.core.errors import InvalidInput
from protocols.he.parameters import TRAINING
from protocols.he.seal_context import SealContext


def memory_files() -> int:
    """How many of SEAL's are open in this process."""
    gc.collect()
    return sum("memfd:seal" in os.path.realpath(path) for path in Path("/proc/self/fd").iterdir())


def test_its_memory_files_are_closed_with_it() -> None:
    before = memory_files()
    context = SealContext(TRAINING)
    context.plaintext(np.ones(TRAINING.degree, dtype=np.uint64))
    assert memory_files() == before + 1
    del context
    assert memory_files() == before


def test_a_context_that_could_not_be_made_is_forgotten_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    noise: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    monkeypatch.setattr("tenseal.sealapi.SEALContext.parameters_set", lambda _: False)
    with pytest.raises(InvalidInput, match="SEAL refuses"):
        SealContext(TRAINING)
    assert not noise


def test_a_context_that_lives_until_the_end_of_the_process_is_silent() -> None:
    program = (
        "import numpy, sys\n"
        "from protocols.he.parameters import TRAINING\n"
        "from protocols.he.seal_context import SealContext\n"
        "sys.kept = SealContext(TRAINING)\n"
        "sys.kept.plaintext(numpy.ones(TRAINING.degree, dtype=numpy.uint64))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
