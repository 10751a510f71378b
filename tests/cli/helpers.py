"""The command line as a user has it: in this process for speed, in a real one where that matters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from secure_hfl import run_options
from secure_hfl.cli.app import app

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class User:
    """A person with a home directory and a working directory, both empty."""

    home: Path
    directory: Path
    monkeypatch: pytest.MonkeyPatch

    def run(self, *arguments: str) -> Result:
        """Run the app in this process."""
        self.monkeypatch.setenv("SECURE_HFL_HOME", str(self.home))
        self.monkeypatch.setattr(run_options, "_active", None)
        self.monkeypatch.chdir(self.directory)
        return CliRunner().invoke(app, list(arguments))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `python -m secure_hfl`."""
        environment = {**os.environ, "SECURE_HFL_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "secure_hfl", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=environment,
        )

    def write(self, name: str, text: str) -> str:
        """Write a file in the working directory."""
        (self.directory / name).write_text(text)
        return name


def fails(result: Result, *texts: str, code: int = 1) -> None:
    """Assert one error line with all these texts, and nothing else on stderr."""
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for text in texts:
        assert text in lines[0]


def fingerprints(text: str) -> list[str]:
    """Every certificate fingerprint in a text."""
    return re.findall(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", text)
