"""What malloc keeps is bounded and given back. In processes of their own: it cannot be undone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.harness.vitals import growth, vitals_of

SHARED = """
import sys, threading
from pathlib import Path
from secure_hfl.memory import give_back, share_arenas

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

if sys.argv[1] == "shared":
    share_arenas()
    share_arenas()
barrier, kept = threading.Barrier(8), []

def many_small():
    barrier.wait()  # all at once, so that no two have one arena if there are enough
    pieces = [bytes(600) for _ in range(20_000)]
    kept.append(pieces[-1])  # a piece at the end of an arena keeps what is below it from the system

threads = [threading.Thread(target=many_small) for _ in range(8)]
before = held()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
freed = held()
give_back()
heaps = sum("---p" in line and line.startswith("7") for line in Path("/proc/self/maps").read_text().splitlines())
print(freed - before, held() - before, heaps)
"""


def in_a_process(*arguments: str) -> tuple[float, ...]:
    """What the script prints."""
    done = subprocess.run([sys.executable, "-c", SHARED, *arguments], capture_output=True, text=True, check=True)
    return tuple(map(float, done.stdout.split()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_arenas_are_shared_and_free_memory_is_given_back() -> None:
    freed, given_back, heaps = in_a_process("shared")
    assert given_back < freed / 3
    assert heaps < in_a_process("own")[2]


def test_growth_is_that_behind_the_warm_up() -> None:
    steady = [(float(x), min(x, 30) + (x % 7) + (500 if x == 80 else 0)) for x in range(100)]
    assert abs(growth(steady, 0.4)) < 1
    rising = [(x, y + 0.2 * x) for x, y in steady]
    assert 10 < growth(rising, 0.4) < 14


def test_vitals_are_this_process_s() -> None:
    own = vitals_of()
    assert own is not None
    assert own.rss_mb > 20
    assert own.threads >= 1
    assert own.descriptors >= 3
    assert vitals_of(2**22 + 1) is None
