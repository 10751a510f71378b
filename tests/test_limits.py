"""An operator's limits: from a script, from the environment, and as a whole task meets them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from secure_hfl.engine.abort_codes import AbortCode
from secure_hfl.errors import ConfigurationError, PeerAborted, TaskFailed
from secure_hfl.limits import DEFAULT_LIMITS, OperatorLimits
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

DOCS = Path(__file__).parent.parent / "docs" / "operations.md"


def test_a_text_changes_single_limits() -> None:
    changed = DEFAULT_LIMITS.changed("ids=20000000, width=8192")
    assert (changed.ids, changed.width, changed.rows) == (20_000_000, 8192, DEFAULT_LIMITS.rows)
    assert OperatorLimits(rows=7).changed("width=3") == OperatorLimits(rows=7, width=3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colour=3", "there is no limit 'colour', only batch_work, ids, rows, stock_bytes, width"),
        ("", "there is no limit ''"),
        ("ids", "ids must be a number, not ''"),
        ("ids=many", "ids must be a number, not 'many'"),
        ("ids=-1", "ids must be a number"),
        pytest.param("ids=" + 5000 * "9", "ids must be a number", id="more digits than a number may have"),
        ("ids=0", "limit ids must be a positive integer, not 0"),
    ],
)
def test_a_text_that_is_none_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        DEFAULT_LIMITS.changed(text)


def test_the_page_lists_every_limit_with_its_default() -> None:
    page = DOCS.read_text()
    for each in fields(OperatorLimits):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{each.name}`"))
        assert f"{getattr(DEFAULT_LIMITS, each.name):,}" in row


ASKED_FOR = [each.name for each in fields(OperatorLimits) if each.name != "stock_bytes"]
CASES = [(who, name) for who in (HOST, COLLABORATOR) for name in ASKED_FOR]
CASES.remove((COLLABORATOR, "rows"))  # the host announces none


@pytest.mark.parametrize(("who", "name"), CASES)
def test_a_task_ends_with_the_name_of_the_limit_at_both_parties(tmp_path: Path, who: str, name: str) -> None:
    parties = MemoryParties(tmp_path, scheme="bfv", limits={who: OperatorLimits(**{name: 1})})
    parties.execute()
    for party in (HOST, COLLABORATOR):
        error = parties.errors[party]
        assert isinstance(error, TaskFailed)
        assert f"limit {name}: " in error.reason
        assert f"that operator raises {name}" in error.reason


def test_kinds_of_errors_are_known() -> None:
    assert PeerAborted("host", "reason", "LimitExceeded").code is AbortCode.LIMIT_EXCEEDED
