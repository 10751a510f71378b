"""The proxy does to a stream what its breaks say, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from benchmarks.harness.faults.echo import DATA, PATIENCE, Echo, connect, read_to_the_end, talk
from benchmarks.harness.faults.proxy import Break, Kind, Proxy, Way


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


def test_nothing_happens_by_itself(echo: Echo) -> None:
    with Proxy(echo.port) as proxy:
        assert [talk(proxy), talk(proxy)] == [DATA, DATA]
        assert proxy.connections == 2
        assert proxy.bytes == {Way.UP: 2 * len(DATA), Way.DOWN: 2 * len(DATA)}


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("after", [0, 1, 70_001])
def test_a_reset_comes_at_its_byte_and_once(echo: Echo, way: Way, after: int) -> None:
    with Proxy(echo.port, Break(Kind.RST, after, way)) as proxy:
        with pytest.raises(ConnectionResetError):
            talk(proxy)
        assert proxy.bytes[way] == after
        assert talk(proxy) == DATA
        assert len(proxy.done) == 1


def test_an_orderly_end_delivers_what_came_before(echo: Echo) -> None:
    with Proxy(echo.port, Break(Kind.FIN, 5000, Way.DOWN)) as proxy:
        assert talk(proxy, DATA[:9000]) == DATA[:5000]


@pytest.mark.parametrize("way", Way)
def test_bytes_are_dropped_in_the_middle(echo: Echo, way: Way) -> None:
    with Proxy(echo.port, Break(Kind.TRUNCATE, 1000, way, amount=40_000)) as proxy:
        assert talk(proxy) == DATA[:1000] + DATA[41_000:]
        assert talk(proxy) == DATA


def test_a_chunk_is_sent_twice(echo: Echo) -> None:
    with Proxy(echo.port, Break(Kind.DUPLICATE, 100)) as proxy:
        got = talk(proxy, DATA[:300])
        assert got == DATA[:100] + 2 * DATA[100:300]


def test_a_black_hole_gives_everything_back(echo: Echo) -> None:
    with Proxy(echo.port, Break(Kind.BLACK_HOLE, 1000, amount=0.2)) as proxy:
        started = time.monotonic()
        assert talk(proxy) == DATA
        assert time.monotonic() - started >= 0.2


def test_silence_does_not_end(echo: Echo) -> None:
    with Proxy(echo.port, Break(Kind.SILENCE, 1000)) as proxy, connect(proxy) as peer:
        peer.sendall(DATA[:2000])
        peer.settimeout(0.1)
        with pytest.raises(TimeoutError):
            read_to_the_end(peer)
        assert talk(proxy) == DATA, "other connections are not concerned"


def test_every_chunk_waits(echo: Echo) -> None:
    with Proxy(echo.port) as proxy:
        proxy.do(Break(Kind.DELAY, amount=0.05))
        started = time.monotonic()
        assert talk(proxy, b"x") == b"x"
        assert time.monotonic() - started >= 0.1


def test_the_port_is_closed_for_a_while(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as peer:
        peer.sendall(b"x")
        assert peer.recv(1) == b"x"
        proxy.do(Break(Kind.CLOSED, amount=0.1))
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(ConnectionRefusedError):
                assert talk(proxy) == DATA
                return
        raise AssertionError("it never listened again")


def test_without_a_host_the_connection_is_reset(echo: Echo) -> None:
    with Proxy(echo.port) as proxy:
        echo.close()
        with pytest.raises(ConnectionResetError):  # while connecting, or just after
            connect(proxy).recv(1)
