"""The background thread that makes randomness ahead of time."""

from __future__ import annotations

import threading

import pytest

from protocols.core.errors import InvalidInput
from secure_hfl.engine.precomputation import Precomputation
from secure_hfl.errors import BackgroundFailed


class Shelf:
    """Wants `target` units; says when it is full."""

    def __init__(self, target: int) -> None:
        self.made = 0
        self.target = target
        self.full = threading.Event()

    def prepare(self) -> bool:
        """Make one unit unless full."""
        if self.made >= self.target:
            self.full.set()
            return False
        self.made += 1
        return True


def test_it_fills_every_shelf_and_stops_there() -> None:
    shelves = [Shelf(3), Shelf(5)]
    precomputation = Precomputation([shelf.prepare for shelf in shelves])
    precomputation.start()
    assert all(shelf.full.wait(10) for shelf in shelves)
    precomputation.stop()
    assert [shelf.made for shelf in shelves] == [3, 5]


def test_it_goes_on_when_something_was_used() -> None:
    shelf = Shelf(2)
    precomputation = Precomputation([shelf.prepare])
    precomputation.start()
    assert shelf.full.wait(10)
    shelf.full.clear()
    shelf.target = 4
    precomputation.wake()
    assert shelf.full.wait(10)
    precomputation.stop()
    assert shelf.made == 4


def test_what_goes_wrong_is_raised_where_the_work_is_done() -> None:
    called = threading.Event()

    def prepare() -> bool:
        called.set()
        raise InvalidInput("no more")

    precomputation = Precomputation([prepare])
    precomputation.start()
    assert called.wait(10)
    precomputation.stop()
    with pytest.raises(InvalidInput, match="no more"):
        precomputation.wake()


def test_an_error_that_is_none_of_ours_arrives_as_ours_with_its_cause() -> None:
    def prepare() -> bool:
        raise MemoryError("no room")

    work = Precomputation([prepare])
    work.start()
    work._thread.join()
    with pytest.raises(BackgroundFailed, match="MemoryError while randomness was made") as caught:
        work.wake()
    assert isinstance(caught.value.__cause__, MemoryError)


def test_stopping_twice_or_before_the_start_is_harmless() -> None:
    precomputation = Precomputation([])
    precomputation.stop()
    precomputation.stop()
