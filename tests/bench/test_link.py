"""The link's times are exact, and the proxy changes nothing but the time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.faults.echo import DATA, Echo, connect, read_to_the_end, talk
from secure_hfl.bench.link import ShapedLink, Shaper
from secure_hfl.bench.model import LINKS, LinkProfile
from secure_hfl.bench.tcp_proxy import Direction

MEGABYTE_A_SECOND = LinkProfile(name="slow", megabits=8.0, round_trip_milliseconds=20.0)
QUICK = LinkProfile(name="quick", megabits=400.0, round_trip_milliseconds=2.0)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


def test_a_chunk_takes_its_bytes_at_the_rate_and_half_a_round_trip() -> None:
    shaper = Shaper(MEGABYTE_A_SECOND)
    assert shaper.arrival(100.0, 5000) == pytest.approx(100.0 + 0.005 + 0.010)


def test_a_chunk_waits_for_those_before_it_and_the_delay_is_not_added_up() -> None:
    shaper = Shaper(MEGABYTE_A_SECOND)
    shaper.arrival(100.0, 5000)
    assert shaper.arrival(100.001, 1000) == pytest.approx(100.0 + 0.006 + 0.010)
    assert shaper.arrival(100.5, 1000) == pytest.approx(100.5 + 0.001 + 0.010), "the link was free again"


def test_an_end_comes_with_the_last_byte() -> None:
    shaper = Shaper(MEGABYTE_A_SECOND)
    assert shaper.arrival(100.0, 5000) == shaper.arrival(100.0, 0)


@pytest.mark.parametrize(
    ("profile", "arrival"),
    [
        (LINKS[0], 100.0),
        (LinkProfile(name="rate", megabits=8.0), 100.0 + 0.005),
        (LinkProfile(name="delay", round_trip_milliseconds=20.0), 100.0 + 0.010),
    ],
)
def test_what_is_not_given_is_not_shaped(profile: LinkProfile, arrival: float) -> None:
    assert Shaper(profile).arrival(100.0, 5000) == pytest.approx(arrival)


@given(
    st.lists(st.tuples(st.floats(0, 0.05), st.integers(0, 1 << 16)), min_size=1, max_size=50),
    st.sampled_from([*LINKS, MEGABYTE_A_SECOND]),
)
def test_order_is_kept_and_the_rate_is_never_exceeded(chunks: list[tuple[float, int]], profile: LinkProfile) -> None:
    shaper, now = Shaper(profile), 0.0
    rate = 1e6 * profile.megabits / 8 if profile.megabits else float("inf")
    delay = (profile.round_trip_milliseconds or 0) / 2e3
    before, total, busy_since = 0.0, 0, 0.0
    for pause, size in chunks:
        now += pause
        if now + delay > before:
            busy_since, total = now, 0
        arrival = shaper.arrival(now, size)
        total += size
        assert arrival >= max(before, now + delay)
        assert arrival == pytest.approx(busy_since + total / rate + delay)
        before = arrival


@pytest.mark.parametrize(
    ("profile", "chunk", "room"),
    [
        (LINKS[1], 1 << 16, 1 << 18),
        (LINKS[2], 1 << 14, 500_000),
        (LINKS[3], 1 << 14, 400_000),
        (LinkProfile(name="thin", megabits=1.0, round_trip_milliseconds=1.0), 1 << 14, 1 << 16),
        (LinkProfile(name="delay", round_trip_milliseconds=20.0), 1 << 16, 1 << 24),
    ],
)
def test_what_is_held_follows_the_bandwidth_delay_product(profile: LinkProfile, chunk: int, room: int) -> None:
    shaper = Shaper(profile)
    assert (shaper.chunk, shaper.room) == (chunk, room)


@pytest.mark.parametrize("profile", [LINKS[0], QUICK], ids=lambda profile: profile.name)
def test_bytes_arrive_whole_and_in_order_both_ways_after_a_half_close(echo: Echo, profile: LinkProfile) -> None:
    with ShapedLink(echo.port, profile) as link:
        long = DATA * 8  # more than the link holds
        assert talk(link, long) == long
        assert talk(link, b"x") == b"x", "the next connection"
    assert (link.delivered[Direction.UP], link.delivered[Direction.DOWN]) == (len(long) + 1, len(long) + 1)


def test_connections_beside_each_other(echo: Echo) -> None:
    with ShapedLink(echo.port, QUICK) as link, connect(link) as one, connect(link) as other:
        for number, peer in enumerate((one, other, one)):
            peer.sendall(bytes([number]))
            assert peer.recv(1) == bytes([number])


def fill(peer: socket.socket) -> int:
    """Send until that would block, or a gigabyte; how many bytes."""
    peer.setblocking(False)
    sent = 0
    with suppress(BlockingIOError):
        while sent < 1 << 30:
            sent += peer.send(DATA)
    return sent


def test_a_sender_waits_for_a_receiver_that_does_not_read() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        ShapedLink(server.getsockname()[1], QUICK) as link,
        connect(link) as sender,
        server.accept()[0] as receiver,
    ):
        sent = fill(sender)
        assert sent < 1 << 30
        sender.shutdown(socket.SHUT_WR)
        assert len(read_to_the_end(receiver)) == sent


def test_a_reset_is_passed_on_each_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ShapedLink(server.getsockname()[1], QUICK) as link:
        for resetting in (0, 1):
            near = connect(link)
            ends = (near, server.accept()[0])
            ends[resetting].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            ends[resetting].close()
            with ends[1 - resetting] as other, pytest.raises(ConnectionResetError):
                other.recv(1)


def test_without_a_target_the_connection_is_reset(echo: Echo) -> None:
    with ShapedLink(echo.port, QUICK) as link:
        echo.close()
        with pytest.raises(ConnectionResetError):  # while connecting, or just after
            connect(link).recv(1)


def test_close_ends_everything(echo: Echo) -> None:
    link = ShapedLink(echo.port, MEGABYTE_A_SECOND)
    with connect(link) as peer:
        peer.sendall(DATA)
        assert peer.recv(1) == DATA[:1]
        link.close()
        with pytest.raises(ConnectionResetError):
            read_to_the_end(peer)
    with pytest.raises(ConnectionRefusedError):
        connect(link)
    link.close()
