"""Every micro-benchmark runs, and its lines can be told apart and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import psi, psi_processes
from benchmarks.__main__ import BENCHMARKS
from benchmarks.step_timings import Benchmark, StepTimings
from secure_hfl.local_parties import LocalParties

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", BENCHMARKS)
def test_its_lines_have_times_and_names_of_their_own(name: str) -> None:
    lines = BENCHMARKS[name].run(["--quick", "--repeats", "1"]).lines
    assert lines
    assert len({line.step for line in lines}) == len(lines)
    assert all(line.seconds >= line.least_seconds > 0 and line.items > 0 for line in lines)


def test_all_of_them_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "micro.json"
    command = [sys.executable, "-m", "benchmarks", "fixed_point", "--quick", "--repeats", "3", "--json", str(file)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = json.loads(file.read_text())
    assert found["machine"]["cores"] > 0
    assert found["command"].startswith("python -m benchmarks fixed_point")
    (lines,) = (each["lines"] for each in found["benchmarks"].values())
    assert found["benchmarks"]["fixed_point"]["repeats"] == 3
    for line in lines:
        assert line["step"] in printed
        assert line["seconds_per_item"] == line["seconds"] / line["items"]


def test_a_line_is_the_median_and_the_least_of_its_calls() -> None:
    lines = StepTimings(repeats=3)
    line = lines.add("step", [(3.0, 30.0), (1.0, 10.0), (2.0, 40.0)], items=4, unit="number", size=7)
    assert (line.seconds, line.least_seconds, line.cpu_seconds, line.seconds_per_item) == (2.0, 1.0, 30.0, 0.5)
    total = lines.total("twice", [line, line])
    assert (total.seconds, total.least_seconds, total.cpu_seconds, total.bytes) == (4.0, 2.0, 60.0, 14)
    assert lines.total("as if for 12 numbers", [line], [12]).seconds == 6.0


def test_a_step_is_called_once_to_warm_up_and_then_as_often_as_asked() -> None:
    calls: list[int] = []

    def call() -> int:
        calls.append(0)
        return len(calls)

    lines = StepTimings(repeats=3)
    assert lines.time("step", call, size=lambda last: 10 * last) == 4
    assert lines.lines[0].bytes == 40


def test_two_steps_must_not_have_one_name() -> None:
    lines = StepTimings(repeats=1)
    lines.add("step", [(1.0, 1.0)])
    with pytest.raises(ValueError, match="'step'"):
        lines.add("step", [(1.0, 1.0)])


def test_the_machine_is_looked_at_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = 0.25

    def measure(lines: StepTimings, _: object) -> None:
        nonlocal load
        lines.add("step", [(1.0, 1.0)])
        load = 2.0

    file = tmp_path / "one.json"
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    monkeypatch.setattr(sys, "argv", ["one", "--json", str(file)])
    Benchmark("one", "One.", measure).main()
    found = json.loads(file.read_text())
    assert found["machine"]["load_average"] == [0.25] * 3
    assert found["benchmark"] == "one"


# PSI -----------------------------------------------------------------------------------------------------------------

OPENSSL = """#!/bin/sh
echo called >> "$0.calls"
case $(wc -l < "$0.calls") in *1) rate=100.0 ;; *2) rate=400.0 ;; *) rate=200.0 ;; esac
echo " 253 bits ecdh (X25519)   0.0000s  $rate"
"""


def test_the_rate_of_openssl_is_the_median_of_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "openssl"
    program.write_text(OPENSSL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert psi.openssl_rate() == 200.0


class SlowCollaborator(LocalParties):
    """Real parties, of which one reports that its intersection took longer than it did."""

    def run(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from super().run()
        self.parties[1].metrics["psi"]["seconds"] += 1000.0


def test_psi_between_processes_takes_as_long_as_its_slower_party(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi_processes, "LocalParties", SlowCollaborator)
    monkeypatch.setenv("SECURE_HFL_PSI_IDS", "")  # it sets it
    found = psi_processes.run(200)
    assert found["seconds"] > 1000
    assert found["intersection"] == 100
    assert min(found["host_peak_mb"], found["collaborator_peak_mb"], found["cpu_seconds"]) > 0
