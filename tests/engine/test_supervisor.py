"""What `launch_tasks` refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts import tiny
from secure_hfl import launch_tasks
from secure_hfl.errors import ConfigurationError
from secure_hfl.run_options import RunOptions, activate

HOST = "party0"


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two tasks that this process hosts."""
    parties = Parties(tmp_path, 2)
    monkeypatch.setenv("SECURE_HFL_HOME", str(parties.homes[HOST]))
    return parties.new_task("one"), parties.new_task("two")


def test_two_names_of_one_task_are_refused(at_home: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"^'one' and '.*' are one task"):
        launch_tasks({"one": tiny.make({}), at_home[0]: tiny.make({})})


def test_one_scheduler_for_two_tasks_is_refused(at_home: tuple[str, str]) -> None:
    scheduler = tiny.make({})
    with pytest.raises(ConfigurationError, match="a scheduler of its own"):
        launch_tasks(dict.fromkeys(at_home, scheduler))


def test_a_seed_is_refused(at_home: tuple[str, str]) -> None:
    activate(RunOptions(seed=3))
    try:
        with pytest.raises(ConfigurationError, match="one after another"):
            launch_tasks({reference: tiny.make({}) for reference in at_home})
    finally:
        activate(RunOptions())
