"""`secure-hfl demo`: what stays of it. That it trains is tested where its parties are (tests/examples)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from secure_hfl import local_parties
from secure_hfl.cli.app import app
from secure_hfl.demo import report
from secure_hfl.errors import LocalRunFailed
from secure_hfl.examples import mnist
from secure_hfl.examples.catalogue import Example


class NoParties:
    """In place of processes."""

    fails = False
    fingerprints = ()
    parties = (SimpleNamespace(name="host"),)

    def __init__(self, scripts: Any, settings: Any, directory: Path, environment: Any) -> None:
        self.directory = directory
        (directory / "host").mkdir()

    def prepare(self) -> None:
        """Nothing."""

    def run(self) -> list[Any]:
        """No event."""
        if self.fails:
            raise LocalRunFailed("host: no")
        return []

    def transcripts(self) -> list[Any]:
        """None."""
        return []


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local_parties, "LocalParties", NoParties)
    monkeypatch.setattr(Example, "check_library", lambda self: None)
    monkeypatch.setattr(mnist, "unpack", lambda directory: directory)
    monkeypatch.setattr(report, "report", lambda run: {})
    monkeypatch.setattr(report, "print_report", lambda console, run, result: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_nothing_of_a_demo_stays(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 0, done.output
    assert "are removed; --keep DIRECTORY keeps them" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_kept_demo_says_where_its_transcripts_are(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = CliRunner().invoke(app, ["demo", "--keep", str(kept)])
    assert f"Homes, logs, results and transcripts: {kept}" in done.stdout.replace("\n", " ")
    assert (kept / "host").is_dir()


def test_a_demo_that_failed_leaves_what_its_error_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoParties, "fails", True)
    assert CliRunner().invoke(app, ["demo"]).exit_code == 1
    assert [path.name for path in next(iter(tmp_path.iterdir())).iterdir()] == ["host"]


def test_a_demo_of_tables_says_what_it_has_found_in_them(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = CliRunner().invoke(app, ["demo", "--table", "--keep", str(kept)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "clinic.csv: 485 rows, ids in 'tumour'" in done.stdout
    assert "a semicolon between cells" in done.stdout
    assert {"host.py", "collaborator.json"} <= {path.name for path in (kept / "scripts").iterdir()}
    refused = CliRunner().invoke(app, ["demo", "--table", "--width", "5"])
    assert refused.exit_code == 1
    assert "--table is of two parties" in refused.output
