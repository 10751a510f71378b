"""Which work of layers leaves a party for its cluster: what is done sooner there, and none without `--engine`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from protocols.core.mapper import Work, nowhere
from protocols.he.paillier_distant import powers_work
from secure_hfl import distant_work as module
from secure_hfl.distant_work import ClusterLink, DistantWork, as_distant, distant_work
from secure_hfl.errors import ConfigurationError
from secure_hfl.schemes import load_scheme

LAN = ClusterLink(workers=16, piece_seconds=0.002, bytes_a_second=1e8)


class Cluster:
    """An executor that says which work was handed to it."""

    workers = 16

    def __init__(self, engine: str) -> None:
        del engine
        self.reached = self.closed = 0

    def mapper(self, size: int) -> Any:
        del size
        self.reached += 1
        return self._map

    def _map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        return map(function, items)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster("ray")
    monkeypatch.setattr(module, "RayExecutor", lambda engine: cluster)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    monkeypatch.setattr(ClusterLink, "measured", lambda mapper, workers: LAN)
    return cluster


def test_little_work_reaches_no_cluster(cluster: Cluster) -> None:
    work = DistantWork("ray")
    assert work(Work(0.01, 1000)) is None
    assert not cluster.reached


@pytest.mark.parametrize(
    ("work", "goes"),
    [
        (Work(1.0, 1 << 20), True),
        (Work(1.0, 1 << 20, is_threaded=True), True),
        (Work(1.0, 200 << 20), False),
        (Work(0.23, 22_000_000, is_threaded=True), False),
        (Work(0.06, 60 << 10), True),
        (powers_work(256, 768), True),
    ],
    ids=["much", "much for two cores", "too many bytes", "a wide product of bfv", "little of few bytes", "randomisers"],
)
def test_work_goes_where_it_is_done_sooner(cluster: Cluster, work: Work, goes: bool) -> None:
    assert (DistantWork("ray")(work) is not None) == goes
    assert cluster.reached == 1


def test_no_more_workers_than_cores_help_only_what_has_one_core() -> None:
    two = ClusterLink(workers=2, piece_seconds=0.002, bytes_a_second=1e9)
    for is_threaded in (True, False):
        work = Work(1.0, 1000, is_threaded)
        assert (two.seconds(work) < work.seconds / (2 if is_threaded else 1)) is not is_threaded


def test_a_link_is_measured_by_what_crosses_it() -> None:
    crossed: list[int] = []

    def mapper(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        for item in items:
            crossed.append(len(item))
            yield function(item)

    link = ClusterLink.measured(mapper, 3)
    assert link.workers == 3
    assert sorted(crossed)[-1] >= 1 << 20
    assert link.piece_seconds > 0
    assert link.bytes_a_second > 1e6


def test_without_engine_schemes_are_lent_nothing() -> None:
    assert distant_work(None) is None
    assert as_distant(None) is nowhere
    assert load_scheme("bfv").engine.distant is nowhere


def test_every_scheme_with_products_lends_its_encryption_the_cluster(cluster: Cluster) -> None:
    work = DistantWork("ray")
    backends = [load_scheme(name, work).backend() for name in ("bfv", "paillier")]  # type: ignore[attr-defined]
    for backend in (*backends, load_scheme("masked", work)._backend):  # type: ignore[attr-defined]
        assert backend._distant is work
    work.close()
    assert (cluster.reached, cluster.closed) == (0, 1)


def test_an_engine_that_is_none_is_refused_before_anything() -> None:
    with pytest.raises(ConfigurationError, match="in the clear"):
        distant_work("ray://10.0.0.1:10001")
