"""The terms of a run in its audit: printed, and what goes beyond them is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secure_hfl.cli.app import app
from tests.audit.helpers import PLAIN, forged

TERMS = {
    "max_rounds": 2,
    "projection_lr": 0.05,
    "width_limit": 2,
    "round_limit": 3,
    "row_limit": 4,
    "id_limit": 9,
    "least_others": 3,
}
SAID = {
    "rounds": "the host says 2; at most 3 allowed",
    "projection width": "the host says 2; at most 2 allowed",
    "projection_lr": "the host says 0.05",
    "samples in a batch": "at most 4 allowed",
    "samples in common": "at most 9 allowed",
    "projections": "patient asks for a sum with at least 3 others",
    "gradients": "may be shown to patient, as the host decided",
}


def audit(directory: Path, **agreed: object) -> tuple[int, str, dict[str, object]]:
    """Exit code, what is printed, and the JSON, of a run in which this was agreed on."""
    path, out = directory / "host.transcript", directory / "audit.json"
    path.write_bytes(forged(PLAIN, **agreed))
    result = CliRunner().invoke(app, ["audit", str(path), "--json", str(out)])
    return result.exit_code, " ".join(result.stdout.split()), json.loads(out.read_text())


def test_a_run_within_its_terms_holds(tmp_path: Path) -> None:
    code, printed, _ = audit(tmp_path, max_rounds=2, projection_lr=0.05)
    assert code == 0, printed


def test_terms_are_shown(tmp_path: Path) -> None:
    _, printed, values = audit(tmp_path, **TERMS)
    (finding,) = values["findings"]  # type: ignore[misc]
    assert "(Hello)" in finding["entry"], "the real one said no limits, so it is shorter than one that says these"
    assert values["manifests"][0]["terms"] == SAID  # type: ignore[index]
    for text in SAID.values():
        assert text in printed


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"max_rounds": 1}, "round 2 of training, and at most 1 were agreed on"),
        ({"round_limit": 1}, "round 2 of training, and at most 1 were agreed on"),
        ({"width_limit": 1}, "a layer of 2 outputs, and the collaborator allows 1"),
        ({"row_limit": 3}, "a batch of 4 samples, and the collaborator allows 3"),
        ({"may_train": False}, "a bottom model is trained though may_train is false"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_run_beyond_its_terms_does_not_hold(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    code, _, values = audit(tmp_path, **{**TERMS, **change})
    assert code == 1
    assert any(problem in finding["problem"] for finding in values["findings"])  # type: ignore[attr-defined]
