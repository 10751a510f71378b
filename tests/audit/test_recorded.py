"""Recorded transcripts of versions 2 and 3 of the protocol still hold: format 2 has not changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secure_hfl.cli.app import app

VECTORS = Path(__file__).parent.parent / "vectors"
RUNS = [run for folder in ("transcripts", "transcripts-3") for run in sorted((VECTORS / folder).iterdir())]


def ends(run: Path) -> tuple[list[Path], list[Path]]:
    host, collaborator = (sorted((run / party).iterdir()) for party in ("party0", "party1"))
    return host, collaborator


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}: {run.name}")
def test_the_audit_holds(run: Path) -> None:
    """Of version 2 as far as it is still known: the audit warns that order and sizes were not checked."""
    host, collaborator = ends(run)
    result = CliRunner().invoke(app, ["audit", str(host[-1]), str(collaborator[-1])])
    is_old = run.parent.name == "transcripts"
    assert result.exit_code == 0, result.output
    assert "error:" not in result.output
    assert ("warning:" in result.output) == is_old
    first, *_, last = result.stdout.splitlines()
    assert last.startswith(f"Verdict: {first[:20]}")
    assert first.startswith("Holds as far as an older version" if is_old else "Everything holds")
    assert ("order and sizes are not checked" in " ".join(result.output.split())) == is_old
    assert "at both ends" in result.stdout


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}: {run.name}")
def test_the_second_verifier_agrees(run: Path) -> None:
    host, collaborator = ends(run)
    command = [sys.executable, str(VECTORS / "verify_transcript.py"), *map(str, host), "--", *map(str, collaborator)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("valid\n", "")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}: {run.name}")
def test_one_changed_byte_is_found(run: Path, tmp_path: Path) -> None:
    host, _ = ends(run)
    data = bytearray(host[0].read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "changed.transcript"
    changed.write_bytes(data)
    assert CliRunner().invoke(app, ["audit", str(changed)]).exit_code != 0
