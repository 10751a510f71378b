"""Ports of tests that run beside each other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.harness import ports
from benchmarks.harness.processes import ROOT

WHICH = "from benchmarks.harness.ports import free_ports; print(*free_ports(50), flush=True); input()"


def test_two_processes_never_get_the_same() -> None:
    others = [
        subprocess.Popen(
            [sys.executable, "-c", WHICH], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    found = [set(ports.free_ports(50))]
    for other in others:
        assert other.stdout is not None
        found.append({int(word) for word in other.stdout.readline().split()})
    for other in others:
        other.communicate("\n")
    assert [len(each) for each in found] == [50] * 4
    assert len(set().union(*found)) == 200


def test_a_block_is_free_again_when_its_process_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_FIRST_PORT", 9_000)
    monkeypatch.setattr(ports, "_BLOCKS", 2)
    (first, one), (second, other) = ports.claimed_block(), ports.claimed_block()
    assert not set(one) & set(other)
    with pytest.raises(RuntimeError, match="2 processes"):
        ports.claimed_block()
    first.close()
    again, block = ports.claimed_block()
    assert block == one
    for claim in (second, again):
        claim.close()
