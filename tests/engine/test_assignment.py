"""What a party has to run, from its home, its options and its script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.tiny import make
from secure_hfl.engine.assignment import Assignment, find_assignment
from secure_hfl.errors import ConfigurationError, SchemeMismatch, TaskNotFound
from secure_hfl.limits import DEFAULT_LIMITS, OperatorLimits
from secure_hfl.run_options import RunOptions, activate

HOST, OTHER = "party0", "party1"


@pytest.fixture
def parties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parties]:
    """Of a task with scheme bfv; this process is the host's."""
    made = Parties(tmp_path)
    made.new_task("study", scheme="bfv")
    monkeypatch.setenv("SECURE_HFL_HOME", str(made.homes[HOST]))
    yield made
    activate(RunOptions())


def assigned(role: str = "host") -> Assignment:
    """What the host's process finds."""
    return find_assignment(make({}), role, "study")


def test_all_of_it_is_found(parties: Parties) -> None:
    found = assigned()
    assert (found.role, found.party, found.record.name, found.scheme.name) == ("host", "party0", "study", "bfv")
    assert found.identity.fingerprint == parties.identities[HOST].fingerprint
    assert {found.results.parent, found.transcripts.parent} == {found.directory}
    assert found.directory.parent.parent == parties.homes[HOST]


def test_nothing_secret_is_shown(parties: Parties) -> None:
    assert "PRIVATE" not in repr(assigned())
    assert str(parties.homes[HOST]) not in repr(assigned())


def test_another_role_or_task_is_refused(parties: Parties) -> None:
    with pytest.raises(ConfigurationError, match="makes this party the host, but the script runs a collaborator"):
        assigned("collaborator")
    with pytest.raises(TaskNotFound):
        find_assignment(make({}), "host", "absent")


def test_a_run_cannot_take_the_encryption_off(parties: Parties) -> None:
    activate(RunOptions(scheme="plain"))
    with pytest.raises(SchemeMismatch, match=r"was agreed on with scheme 'bfv'.*'plain', which encrypts nothing"):
        assigned()


def test_options_come_before_the_script_and_the_script_before_the_task(parties: Parties) -> None:
    scheduler = make({"arguments": {"scheme": "masked"}})
    assert find_assignment(scheduler, "host", "study").scheme.name == "masked"
    activate(RunOptions(scheme="paillier"))
    assert find_assignment(scheduler, "host", "study").scheme.name == "paillier"


def test_a_checkpoint_is_of_one_party_scheme_and_seed(parties: Parties) -> None:
    plain = assigned().checkpoint_owner
    activate(RunOptions(seed=7))
    seeded = assigned().checkpoint_owner
    assert {name for name in plain if plain[name] != seeded[name]} == {"seed"}
    assert plain["certificate"] == parties.identities[HOST].fingerprint


def test_limits_are_the_script_s_and_single_ones_the_environment_s(
    parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert assigned().limits == DEFAULT_LIMITS
    scheduler = make({})
    scheduler.limits = OperatorLimits(width=7, ids=8)
    monkeypatch.setenv("SECURE_HFL_LIMITS", "ids=9")
    assert find_assignment(scheduler, "host", "study").limits == OperatorLimits(width=7, ids=9)
    monkeypatch.setenv("SECURE_HFL_LIMITS", "colour=9")
    with pytest.raises(ConfigurationError, match="SECURE_HFL_LIMITS: there is no limit 'colour'"):
        assigned()
