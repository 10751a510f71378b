"""A crash leaves no image of a party's memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from benchmarks.harness.processes import ROOT

CRASH = """
import os, resource
from secure_hfl.hardening import forbid_core_dumps
_, most = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
{call}
print(*resource.getrlimit(resource.RLIMIT_CORE), most, flush=True)
os.abort()
"""


def _crash(call: str, directory: str) -> tuple[list[int], int]:
    """The limits at the end, and how the process ended (as `waitpid` says it)."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", CRASH.format(call=call)], stdout=writer, cwd=directory, env={"PYTHONPATH": str(ROOT)}
    )
    os.close(writer)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    with os.fdopen(reader) as lines:
        return [int(word) for word in lines.read().split()], status


@pytest.mark.parametrize("call", ["forbid_core_dumps()", "forbid_core_dumps(); forbid_core_dumps()"])
def test_no_core_is_dumped(call: str, tmp_path: os.PathLike[str]) -> None:
    (soft, hard, most), status = _crash(call, str(tmp_path))
    assert soft == (1 if most == resource.RLIM_INFINITY else min(1, most))
    assert hard == most, "who wants to debug a crash can have it back"
    assert os.WIFSIGNALED(status)
    assert not os.WCOREDUMP(status)
    assert os.listdir(tmp_path) == []
