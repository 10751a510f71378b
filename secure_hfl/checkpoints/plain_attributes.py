"""The plain attributes of the user's scheduler that have changed while the task ran.

An iterator that shuffles by `self.epoch` must find the same number after a restart, or this party would train on other
rows than its peers. What has not changed since the process started is left to the user's constructor, so that an option
that was changed for the resumed run counts. Large containers are data, and are loaded again by the user's own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from secure_hfl.checkpoints.local_state import ENGINES_OWN

MOST = 10_000
"""Numbers and texts in one attribute, at most."""

_LEAVES = (bool, int, float, complex, str, bytes, type(None))
_ABSENT = object()


class PlainAttributes:
    """What `vars(scheduler)` holds in numbers, texts and lists, tuples, sets and dicts of these.

    Args:
        scheduler: as the process made it; later changes are kept.
    """

    def __init__(self, scheduler: object) -> None:
        self._scheduler = scheduler
        self._before = {name: deepcopy(value) for name, value in self._plain().items()}

    def _plain(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self._scheduler).items()
            if name not in ENGINES_OWN and _count(value, MOST) is not None
        }

    def capture(self) -> dict[str, Any]:
        """Copies of those that differ from what they were in the beginning, by name."""
        return {
            name: deepcopy(value)
            for name, value in self._plain().items()
            if not _is_same(value, self._before.get(name, _ABSENT))
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give them back. What is not in `state` is as it was in the beginning, if it was there."""
        for name in self.capture():
            if name in self._before and name not in state:
                setattr(self._scheduler, name, deepcopy(self._before[name]))
        for name, value in state.items():
            setattr(self._scheduler, name, deepcopy(value))


def _count(value: object, most: int) -> int | None:
    """Leaves of a tree of plain values; None if it is something else, or larger."""
    if type(value) in _LEAVES:
        return 1
    if not isinstance(value, (dict, list, tuple, set)) or type(value) not in (dict, list, tuple, set):
        return None
    if len(value) > most:
        return None
    children = [*value, *value.values()] if isinstance(value, dict) else [*value]
    total = 1
    for child in children:
        count = _count(child, most - total)
        if count is None or (total := total + count) > most:
            return None
    return total


def _is_same(value: object, before: object) -> bool:
    # repr tells 1 from True and 1.0, and finds NaN equal to itself.
    return type(value) is type(before) and repr(value) == repr(before)
