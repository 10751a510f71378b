"""Transcripts that version 0.1 recorded still hold: format 2 has not changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secure_hfl.cli.app import app

VECTORS = Path(__file__).parent.parent / "vectors"
RUNS = sorted((VECTORS / "transcripts").iterdir())


def ends(run: Path) -> tuple[list[Path], list[Path]]:
    host, collaborator = (sorted((run / party).iterdir()) for party in ("party0", "party1"))
    return host, collaborator


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_audit_holds(run: Path) -> None:
    host, collaborator = ends(run)
    result = CliRunner().invoke(app, ["audit", str(host[-1]), str(collaborator[-1])])
    assert result.exit_code == 0, result.output
    assert "at both ends" in result.stdout


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_second_verifier_agrees(run: Path) -> None:
    host, collaborator = ends(run)
    command = [sys.executable, str(VECTORS / "verify_transcript.py"), *map(str, host), "--", *map(str, collaborator)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("valid\n", "")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_one_changed_byte_is_found(run: Path, tmp_path: Path) -> None:
    host, _ = ends(run)
    data = bytearray(host[0].read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "changed.transcript"
    changed.write_bytes(data)
    assert CliRunner().invoke(app, ["audit", str(changed)]).exit_code != 0
