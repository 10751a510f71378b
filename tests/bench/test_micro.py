"""Every micro-benchmark runs, and its lines can be told apart and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.lines import Lines

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
    lines = Lines(repeats=3)
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

    lines = Lines(repeats=3)
    assert lines.time("step", call, size=lambda last: 10 * last) == 4
    assert lines.lines[0].bytes == 40


def test_two_steps_must_not_have_one_name() -> None:
    lines = Lines(repeats=1)
    lines.add("step", [(1.0, 1.0)])
    with pytest.raises(ValueError, match="'step'"):
        lines.add("step", [(1.0, 1.0)])
