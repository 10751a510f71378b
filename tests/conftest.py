"""What holds for every test, and how tests are shared out to processes."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# pytest-xdist sets it for its workers; what our commands print is as wide as they say themselves.
os.environ.pop("COLUMNS", None)

# Two processes of tests, and the parties that they start, share the cores: PyTorch's threads would wait for each other,
# which takes ten times as long as the work. Before anything imports it.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# An example takes as long as the machine lets it.
settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")

LONG_ROOMS = (
    *("bench", "contract", "engine", "examples", "faults", "hostile", "judge", "plug_in", "prediction", "privacy"),
    *("schedulers", "secrets", "serving", "tables"),
)
"""Folders whose tests run real parties. They come first: what is short fills the gaps at the end."""

SHARED_ROOMS = ("secrets",)
"""Folders whose modules look at the same runs: one process has them all, and makes the runs once."""


def room_of(nodeid: str) -> str:
    """The folder below tests/."""
    return nodeid.partition("::")[0].removeprefix("tests/").partition("/")[0]


def scope_of(nodeid: str) -> str:
    """Tests of one scope run in one process: those of a module, or of a whole folder."""
    room = room_of(nodeid)
    return room if room in SHARED_ROOMS else nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, otherwise as they stand."""
    items.sort(key=lambda item: room_of(item.nodeid) not in LONG_ROOMS)


class ByScope(LoadScopeScheduling):
    """Hands scopes to processes."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByScope:
    """By scope, whatever pytest-xdist would do."""
    return ByScope(config, log)
