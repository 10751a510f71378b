"""Fuzzes targets with atheris (libFuzzer, guided by the coverage of our Python code) and writes what came of it.

    python -m tests.fuzz.run TARGET [--seconds N]           of processor time
    python -m tests.fuzz.run --all [--seconds N] [--jobs 1]
    python -m tests.fuzz.run TARGET --input 0301ab          one input, in hexadecimal, as a crash shows it

An input also fails that takes more than 2 s of processor time or 200 MB of memory. Each target runs in a process of its
own, so that a crash in C++ ends only that one. Needs the extra `fuzz`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results" / "fuzz.json"
MAX_SECONDS = 2.0
MAX_BYTES = 200 << 20
_STATUS = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")
_COUNT = re.compile(r"^(?:executed|#)\s*(\d+)", re.MULTILINE)
_ERROR = re.compile(r"=== Uncaught Python exception: ===\n(.*)|==\d+== ERROR: (libFuzzer: .*)")


@dataclass(frozen=True)
class Outcome:
    """What fuzzing one target came to.

    Attributes:
        executions: inputs run.
        seconds: processor time, of which importing, seeds and keys are a part.
        edges: of our Python code that were reached, in all and by the seeds alone.
        corpus: inputs kept because each reached something new.
        crashes: the error, and the input in hexadecimal.
    """

    executions: int
    seconds: float
    edges: int
    edges_of_seeds: int
    corpus: int
    crashes: list[tuple[str, str]]


class Excess(Exception):
    """An input took too much time."""


def bounded(target: Callable[[bytes], None], seconds: float = float("inf")) -> Callable[[bytes], None]:
    """The target, failing too where an input takes too much time or memory (a `MemoryError`, or an abort in C).

    The process ends after so many seconds of processor time: libFuzzer's own limit is the wall's.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    page, executed = resource.getpagesize(), 0
    end = time.process_time() + seconds

    def run(data: bytes) -> None:
        nonlocal executed
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * page
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_BYTES, hard))
        started = time.process_time()
        try:
            target(data)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        now, executed = time.process_time(), executed + 1
        if now - started > MAX_SECONDS:
            raise Excess(f"{now - started:.1f} s for one input")
        if now > end:
            os.write(2, b"\nexecuted %d\n" % executed)
            os._exit(0)

    return run


def _child(name: str, seconds: int, corpus: str, options: list[str]) -> None:
    """Fuzz in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["protocols", "secure_hfl"]):
        from tests.fuzz.targets import TARGETS, seeds
    for number, seed in enumerate(seeds(name)):
        Path(corpus, f"seed-{number:03}").write_bytes(seed)
    TARGETS[name](b"")  # keys and runs are made here, outside of any bound
    TARGETS[name](b"\1")
    atheris.Setup([name, corpus, *options], bounded(TARGETS[name], seconds))
    atheris.Fuzz()


def fuzz(name: str, seconds: int) -> Outcome:
    """One target for so many seconds, in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory, "corpus")
        corpus.mkdir()
        options = [f"-artifact_prefix={directory}/", "-timeout=120", "-rss_limit_mb=4096", "-max_len=32768"]
        command = [sys.executable, "-m", "tests.fuzz.run", name, f"--seconds={seconds}", "--child", str(corpus)]
        command += options
        with open(Path(directory, "log"), "w+b") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            log.seek(0)
            text = log.read().decode(errors="replace")
        inputs = [file.read_bytes().hex() for file in sorted(Path(directory).glob("*-*")) if file.is_file()]
    spent = usage.ru_utime + usage.ru_stime
    statuses = [tuple(map(int, found)) for found in _STATUS.findall(text)]
    counts = [int(found) for found in _COUNT.findall(text)]
    first, last = (statuses[0], statuses[-1]) if statuses else ((0, 0, 0), (0, 0, 0))
    crashes: list[tuple[str, str]] = []
    if process.returncode:
        error = _ERROR.search(text)
        what = next(filter(None, error.groups())) if error else text[-500:]
        crashes = [(what, found) for found in inputs or [""]]
    return Outcome(max(counts, default=0), round(spent, 1), last[0], first[0], last[2], crashes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?")
    parser.add_argument("--all", action="store_true", help="every target, one after the other")
    parser.add_argument("--seconds", type=int, default=90, help="of processor time for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--input", help="run this one, in hexadecimal, without atheris")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        _child(chosen.target, chosen.seconds, chosen.child[0], chosen.child[1:])
    from tests.fuzz.targets import TARGETS

    if chosen.input is not None:
        bounded(TARGETS[chosen.target])(bytes.fromhex(chosen.input))
        return 0
    names = list(TARGETS) if chosen.all else [chosen.target]
    if not set(names) <= set(TARGETS):
        parser.error(f"give --all or one of: {', '.join(TARGETS)}")
    with ThreadPoolExecutor(chosen.jobs) as pool:
        outcomes = dict(zip(names, pool.map(lambda name: _reported(name, chosen.seconds), names), strict=True))
    _write(outcomes)
    return int(any(outcome.crashes for outcome in outcomes.values()))


def _reported(name: str, seconds: int) -> Outcome:
    outcome = fuzz(name, seconds)
    print(
        f"{name}: {outcome.executions} inputs in {outcome.seconds} s, {outcome.edges} edges ({outcome.edges_of_seeds} "
        f"by seeds), {outcome.corpus} inputs kept, {len(outcome.crashes)} crashes",
        flush=True,
    )
    for what, data in outcome.crashes:
        print(f"    {what}\n    python -m tests.fuzz.run {name} --input {data}", flush=True)
    return outcome


def _write(outcomes: dict[str, Outcome]) -> None:
    """Into the results, beside those of targets that did not run now."""
    from secure_hfl.bench.machine import machine

    known = json.loads(RESULTS.read_text())["targets"] if RESULTS.exists() else {}
    targets = {**known, **{name: asdict(outcome) for name, outcome in outcomes.items()}}
    RESULTS.write_text(json.dumps({"machine": machine(), "targets": targets}, indent=2) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
