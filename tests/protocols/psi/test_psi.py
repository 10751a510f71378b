"""Whole runs: equal to set intersection, whoever drives them and however; and secrets stay where they belong."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.limits import seconds
from protocols.core.errors import InvalidInput
from protocols.core.randomness import OsRandomness
from protocols.psi import PsiPoints, PsiReceiver, PsiSender, hash_ids
from protocols.psi.curve import Scalar
from tests.protocols.psi.helpers import PsiRun, run_psi

SESSION = bytes(range(32))


def pair(host_ids: list[str], collaborator_ids: list[str], **options: Any) -> tuple[PsiReceiver, PsiSender]:
    host = PsiReceiver(hash_ids(SESSION, host_ids), OsRandomness(), **options)
    return host, PsiSender(hash_ids(SESSION, collaborator_ids), OsRandomness(), **options)


def points_of(messages: list[Any]) -> list[bytes]:
    joined = b"".join(message.points for message in messages if isinstance(message, PsiPoints))
    return [joined[at : at + 32] for at in range(0, len(joined), 32)]


unique_ids = st.lists(st.text("abcé0", min_size=1, max_size=4), min_size=1, max_size=40, unique=True)


@settings(max_examples=40, deadline=None)
@given(host_ids=unique_ids, collaborator_ids=unique_ids, chunk=st.integers(1, 50), keep=st.integers(1, 3))
def test_equals_set_intersection(host_ids: list[str], collaborator_ids: list[str], chunk: int, keep: int) -> None:
    host, collaborator = pair(host_ids, collaborator_ids, chunk=chunk)
    run = run_psi(host, collaborator, final=lambda pairwise: sorted(pairwise)[::keep])
    expected = set(host_ids) & set(collaborator_ids)
    assert run.host_learns == expected
    assert run.collaborator_learns == set(sorted(expected)[::keep])


def test_equal_ids_in_different_spelling_meet_and_each_side_sees_its_own() -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    run = run_psi(*pair([composed, "x"], ["y", decomposed]))
    assert run.host_learns == {composed}
    assert run.collaborator_learns == {decomposed}


def test_an_empty_intersection_is_a_result() -> None:
    run = run_psi(*pair(["a", "b"], ["c"]))
    assert run.host_learns == run.collaborator_learns == frozenset()


def test_different_chunk_sizes_and_sizes_of_sets() -> None:
    host_ids, collaborator_ids = [str(i) for i in range(50)], [str(i) for i in range(45, 60)]
    random = OsRandomness()
    host = PsiReceiver(hash_ids(SESSION, host_ids), random, chunk=7)
    run = run_psi(host, PsiSender(hash_ids(SESSION, collaborator_ids), random, chunk=4))
    assert run.host_learns == run.collaborator_learns == {str(i) for i in range(45, 50)}


def test_three_parties_share_hashed_ids_and_learn_the_final_intersection_only() -> None:
    host_ids = [str(i) for i in range(20)]
    sets = [[str(i) for i in range(5, 30)], [str(i) for i in range(0, 20, 2)]]
    hashed = hash_ids(SESSION, host_ids, chunk=6)
    final = frozenset(str(i) for i in range(6, 20, 2))
    runs = []
    for ids in sets:
        host = PsiReceiver(hashed, OsRandomness())
        runs.append(run_psi(host, PsiSender(hash_ids(SESSION, ids), OsRandomness()), final=lambda pairwise: final))
    assert frozenset.intersection(*(run.host_learns for run in runs)) == final
    assert [run.collaborator_learns for run in runs] == [final, final]
    assert not set(points_of(runs[0].from_host)) & set(points_of(runs[1].from_host))  # one scalar for each pair


def pickling_map(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
    """What a process pool does to functions, arguments and results."""
    for item in items:
        there, argument = pickle.loads(pickle.dumps((function, item)))  # noqa: S301 - made here
        yield pickle.loads(pickle.dumps(there(argument)))  # noqa: S301 - made here


def test_work_can_go_to_other_processes() -> None:
    run = run_psi(*pair(["a", "b", "c"], ["b", "c", "d"], mapper=pickling_map, chunk=2))
    assert run.host_learns == run.collaborator_learns == {"b", "c"}
    assert hash_ids(SESSION, ["a", "b"], pickling_map, chunk=1).points == hash_ids(SESSION, ["a", "b"]).points


class Wire(queue.Queue[Any]):
    """One direction of a link; soon full, so that a run stalls unless both directions are served."""

    def __init__(self, maxsize: int = 1) -> None:
        super().__init__(maxsize)

    def send(self, messages: Iterable[Any]) -> None:
        for message in messages:
            self.put(message, timeout=seconds(20))

    def messages(self) -> Iterator[Any]:
        while True:
            yield self.get(timeout=seconds(20))


def test_two_threads_may_drive_each_role() -> None:
    host_ids, collaborator_ids = [str(i) for i in range(60)], [str(i) for i in range(30, 80)]
    host, collaborator = pair(host_ids, collaborator_ids, chunk=4)
    to_host, to_collaborator, to_replies = Wire(), Wire(), Wire(maxsize=0)

    def host_receives() -> None:
        incoming = to_host.messages()
        host.receive_open(next(incoming))
        host.receive_points(incoming)
        host.receive_digests(incoming)

    def collaborator_receives() -> None:
        incoming = to_collaborator.messages()
        collaborator.receive_open(next(incoming))
        to_replies.send(islice(incoming, 15))

    replies = collaborator.replies(to_replies.messages())
    works: list[Callable[[], None]] = [
        host_receives,
        collaborator_receives,
        lambda: to_collaborator.send(chain([host.open()], host.masked_points())),
        lambda: to_host.send(chain([collaborator.open()], collaborator.masked_points(), replies)),
    ]
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()
    expected = {str(i) for i in range(30, 60)}
    assert host.intersection() == expected
    assert collaborator.receive_result(host.result(expected)) == expected


def test_masking_is_lazy() -> None:
    calls: list[int] = []

    def counting_map(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        for item in items:
            calls.append(len(item))
            yield function(item)

    host = PsiReceiver(hash_ids(SESSION, [str(i) for i in range(10)]), OsRandomness(), counting_map, chunk=4)
    host.open()
    points = host.masked_points()
    next(points)
    assert calls == [4 * 32]
    list(points)
    assert calls == [4 * 32, 4 * 32, 2 * 32]


def fresh_run() -> PsiRun:
    return run_psi(*pair([str(i) for i in range(40)], [str(i) for i in range(20, 60)]))


def test_no_point_or_digest_comes_twice_over_two_runs_of_one_session() -> None:
    first, second = fresh_run(), fresh_run()
    for one, other in ((first.from_host, second.from_host), (first.from_collaborator, second.from_collaborator)):
        assert len(set(points_of(one))) == 40
        assert not set(points_of(one)) & set(points_of(other))
    digests = [run.from_collaborator[-1].digests for run in (first, second)]  # type: ignore[attr-defined]
    assert not {digests[0][i : i + 16] for i in range(0, 640, 16)} & {digests[1][i : i + 16] for i in range(0, 640, 16)}


def test_positions_on_the_wire_say_nothing_about_the_original_order() -> None:
    results = [fresh_run().from_host[-1].matches for _ in range(3)]  # type: ignore[attr-defined]
    in_original_order = int.to_bytes((1 << 20) - 1, 5, "little")
    assert len(set(results)) == 3  # equal by chance: 1 / (40 choose 20) = 2^-37
    assert in_original_order not in results
    hashed = hash_ids(SESSION, [str(i) for i in range(40)])
    orders = [PsiReceiver(hashed, OsRandomness())._own.order.tolist() for _ in range(2)]
    assert sorted(orders[0]) == list(range(40))
    assert orders[0] != orders[1]


def test_repr_and_errors_show_no_secret_and_no_id() -> None:
    host, collaborator = pair(["secret-id-1", "secret-id-2"], ["secret-id-2"])
    shown = f"{host!r} {collaborator!r} {host._own.scalar!r}"
    run_psi(host, collaborator)
    with pytest.raises(InvalidInput) as caught:
        host.result(["secret-id-9"])
    shown += f"{host!r} {caught.value}"
    assert "secret-id" not in shown
    assert repr(host.matches()) == "<1 matches>"
    for role in (host, collaborator):
        assert role._own.scalar.value.hex() not in shown
        assert repr(role._own.scalar.value)[2:-1] not in shown


def test_scalars_are_clamped_and_fresh() -> None:
    scalars = [Scalar(OsRandomness()).value for _ in range(20)]
    assert len(set(scalars)) == 20
    for value in scalars:
        number = int.from_bytes(value, "little")
        assert number % 8 == 0
        assert 2**254 <= number < 2**255
