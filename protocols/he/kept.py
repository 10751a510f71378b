"""What a worker keeps of what it has made from what it was sent: it may be sent the same again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The last few, by name. For one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[bytes, Value] = OrderedDict()

    def get(self, name: bytes) -> Value | None:
        """What was put under this name, if it is still here."""
        if name in self._values:
            self._values.move_to_end(name)
        return self._values.get(name)

    def put(self, name: bytes, value: Value) -> Value:
        """Keep it, and let the oldest go."""
        self._values[name] = value
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return value
