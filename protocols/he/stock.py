"""A stock of what is made ahead of time, each item for one use."""

from __future__ import annotations

import os
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stock(Generic[Item]):
    """Any number of threads may put and take at once.

    A child process that was forked gets an empty stock: what it inherited is its parent's to use.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._process = os.getpid()

    def _own(self) -> deque[Item]:
        if self._process != os.getpid():
            self._items, self._process = deque(), os.getpid()
        return self._items

    def put(self, item: Item) -> None:
        self._own().append(item)

    def take(self) -> Item | None:
        """An item that nobody else has or gets, or None: `popleft` is atomic."""
        try:
            return self._own().popleft()
        except IndexError:
            return None

    def take_up_to(self, count: int) -> list[Item]:
        """As many as there are, up to `count`."""
        found: list[Item] = []
        while len(found) < count and (item := self.take()) is not None:
            found.append(item)
        return found

    def __len__(self) -> int:
        return len(self._own())
