"""`secure-hfl bench` as a process, and what the last one has found.

<home>/bench/run.json, run.log      the process (secure_hfl/supervision/supervised.py)
<home>/bench/figures.json           what it measured
<home>/bench/report.html            the same as a page, with plots where matplotlib is installed
"""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path

from secure_hfl.bench.command import read_benchmark
from secure_hfl.bench.model import Benchmark
from secure_hfl.errors import ConfigurationError
from secure_hfl.supervision.local_party import party_environment
from secure_hfl.supervision.supervised import Started, Supervised

SHOWN_LINES = 12


class BenchmarkRun:
    """The one of a home.

    Args:
        home: the party's directory.

    Attributes:
        process: the last one.
        report: where its page is, once there is one.
    """

    def __init__(self, home: Path) -> None:
        directory = home / "bench"
        self.process = Supervised(directory, "run")
        self.report, self._figures = directory / "report.html", directory / "figures.json"
        self._home = home

    def start(self, is_quick: bool) -> Started:
        """Measure; what was found before is gone. Raises `TaskStateError`: one is under way, or cannot be started."""
        files = ["--json", str(self._figures)]
        if importlib.util.find_spec("matplotlib") is not None:
            files += ["--html", str(self.report)]
        command = [sys.executable, "-m", "secure_hfl", "bench", *files, *(["--quick"] if is_quick else [])]
        return self.process.start(command, {}, party_environment(self._home, {}), self._home, self._forget)

    def stop(self) -> bool:
        """End it. False: it was not running."""
        return self.process.stop(signal.SIGTERM)

    def lines(self) -> list[str]:
        """The last lines that it has printed."""
        last = self.process.last()
        text = "" if last is None else self.process.output(last.log_from).decode(errors="replace")
        return text.splitlines()[-SHOWN_LINES:]

    def found(self) -> Benchmark | None:
        """What the last one measured; None as long as it has not, or if the file is another version's."""
        try:
            return read_benchmark(self._figures)
        except (OSError, ConfigurationError):
            return None

    def _forget(self) -> None:
        for path in (self.report, self._figures):
            path.unlink(missing_ok=True)
