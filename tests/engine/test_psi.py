"""The host's two directions of a PSI over one channel: what goes wrong in one ends both, and is what is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from benchmarks.harness.known_messages import known_catalogue
from benchmarks.harness.limits import seconds
from protocols.core.envelope import Phase, Place
from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.core.randomness import OsRandomness
from protocols.psi import PsiReceiver, hash_ids
from secure_hfl.engine.link import Link
from secure_hfl.engine.psi import BothWays
from secure_hfl.engine.psi_work import Stretch, counted
from secure_hfl.errors import ConnectionLost, PeerFault
from secure_hfl.progress import Silent
from secure_hfl.transport.channel import Channel
from tests.engine.memory_parties import Heard

PATIENCE = seconds(60)
"""Seconds: what the silent peer may owe us. A test that waits for it has failed."""


def mapper_that_raises(error: BaseException) -> Callable[..., Iterator[Any]]:
    def mapper(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        raise error
        yield

    return mapper


def pair_with_a_silent_peer(mapper: Any) -> tuple[Link, Callable[[], PsiReceiver]]:
    link = Link(Channel("bank", known_catalogue(), lambda: None), PATIENCE)
    link.place = Place(Phase.PSI)
    role = PsiReceiver(hash_ids(bytes(32), ["a", "b"]), OsRandomness(), mapper)
    return link, lambda: BothWays(link, Silent()).run(lambda: role)


@pytest.mark.parametrize("error", [InvalidInput("a point is bad"), RuntimeError("a worker has died")])
def test_an_error_while_sending_is_what_the_run_ends_with(error: Exception) -> None:
    link, run = pair_with_a_silent_peer(mapper_that_raises(error))
    with pytest.raises(type(error)) as raised:
        run()
    assert raised.value is error
    assert not link.channel.is_usable


def test_the_first_error_keeps_its_cause() -> None:
    """As the peer's bad message may be found while the other direction sends: the log says what was bad."""
    bad = MalformedMessage("a field is unknown")
    _, run = pair_with_a_silent_peer(mapper_that_raises(PeerFault("bank", bad)))
    with pytest.raises(PeerFault) as raised:
        run()
    assert raised.value.__cause__ is bad


def test_an_error_while_receiving_wakes_who_sends() -> None:
    link, run = pair_with_a_silent_peer(map)
    link.channel.fail(ConnectionLost("the cable is out"))
    with pytest.raises(ConnectionLost, match="the cable is out"):
        run()


def test_the_last_of_a_stream_is_heard_of_though_nobody_asks_for_one_more() -> None:
    heard = Heard()
    items = counted(iter("abc"), heard, "own points", 3, Stretch(1, 2))  # type: ignore[arg-type]
    assert [next(items) for _ in range(3)] == ["a", "b", "c"]
    assert [(each["done"], each["total"]) for each in heard.events] == [(4, 6), (5, 6), (6, 6)]
