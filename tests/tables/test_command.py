"""`secure-hfl table`: two processes train on two files, and nothing is written unless table and task are right."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.harness.parties import Parties
from secure_hfl.cli.app import app
from secure_hfl.examples.tables import CLINIC, LABORATORY

HOST, COLLABORATOR = "party0", "party1"
ID = ("--id", "tumour")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def test_two_processes_train_on_two_files(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    task = parties.new_task(scheme="masked")
    try:
        with ThreadPoolExecutor() as pool:
            told = "--task", task, "--seed", "1", "--save"
            host = pool.submit(
                parties.command, HOST, "table", "host", "--data", CLINIC, *ID, "--label", "diagnosis", "--rounds", 2,
                *told, tmp_path / "ours",
            )  # fmt: skip
            other = pool.submit(
                parties.command, COLLABORATOR, "table", "collaborator", "--data", LABORATORY, *ID, *told,
                tmp_path / "theirs",
            )  # fmt: skip
            ended = host.result(), other.result()
    finally:
        parties.stop()
    assert [each.code for each in ended] == [0, 0], [each.err for each in ended]
    assert "label: binary" in ended[0].out
    assert "decimal comma" in ended[1].out
    assert "400 ids in common" in ended[0].err
    script = tmp_path / "ours" / "host.py"
    assert f"Written: {script} and host.json" in ended[0].out
    assert 'feature_key="party0"' in script.read_text()
    assert os.stat(script).st_mode & 0o077 == 0


def test_show_says_what_is_found_and_no_value() -> None:
    done = CliRunner().invoke(app, ["table", "show", "--data", str(CLINIC), *ID, "--label", "diagnosis"])
    assert done.exit_code == 0, done.output
    assert "2 classes, all of one weight" in done.stdout
    assert "malignant" not in done.stdout
    assert "T-0001" not in done.stdout


def test_show_without_an_id_lists_columns_and_which_could_be_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["table", "show", "--data", str(CLINIC)])
    assert done.exit_code == 0, done.output
    assert "--id 'tumour'" in done.stdout
    assert "T-0001" not in done.stdout
    path = tmp_path / "none.csv"
    path.write_text("a,b\n1.5,x\n1.5,\n")
    done = CliRunner().invoke(app, ["table", "show", "--data", str(path)])
    assert "No column can be the id" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", str(CLINIC), "--id", "nobody"], "there is none"),
        (["--data", str(CLINIC), *ID], "no unfinished task in"),
        ([*ID], "say --data FILE, or --sql URL with --query SQL"),
        (["--data", str(CLINIC), "--sql", "sqlite://", "--query", "x", *ID], "say --data FILE, or --sql URL"),
        (["--data", str(CLINIC), *ID, "--type", "oops"], "write COLUMN=TYPE"),
        (["--data", str(CLINIC), *ID, "--decimal", "x"], "--decimal is . or ,"),
        (["--data", str(CLINIC), *ID, "--delimiter", "ab"], "--delimiter is one character"),
    ],
    ids=["no column", "no task", "no table", "two tables", "type", "decimal", "delimiter"],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECURE_HFL_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["table", "host", "--label", "diagnosis", *words])
    assert done.exit_code == 1, done.output
    assert says in " ".join(done.output.split())
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []
