"""The processes that help with PSI get its scalar through a pipe: no argument, variable or file holds it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from protocols.core.randomness import OsRandomness
from protocols.psi.curve import Scalar
from secure_hfl.executor import LocalExecutor
from tests.secrets.search import Search, Secret


def look(scalar: Scalar, _: int) -> tuple[int, bytes, bytes]:
    """What others can read of the process that has been given a scalar, and the scalar."""
    seen = [Path("/proc/self", name).read_bytes() for name in ("cmdline", "environ")]
    return os.getpid(), b"\n".join(seen), scalar.value


def test_a_scalar_in_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "LOKY_TEMP_FOLDER", "JOBLIB_TEMP_FOLDER"):
        monkeypatch.setenv(name, str(tmp_path))
    scalar = Scalar(OsRandomness())
    executor = LocalExecutor(workers=2, much=0)
    try:
        for pid, seen, given in executor.mapper(2)(partial(look, scalar), range(4)):
            assert pid != os.getpid()
            assert given == scalar.value
            search = Search([Secret("scalar", "int", given)])
            files = b"\n".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
            assert len(seen) > 100
            assert not search.in_bytes("worker", seen + files)
    finally:
        executor.close()
