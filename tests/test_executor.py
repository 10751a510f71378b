"""Work in other processes gives what the builtin `map` gives, lazily and in order, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.harness.limits import seconds
from protocols.core.errors import InvalidPoint
from protocols.core.mapper import Beside, Mapper, at_once
from protocols.psi import hash_ids
from secure_hfl.executor import (
    LocalExecutor,
    _threads,
    spare_threads,
    thread_beside,
    thread_map,
    usable_cores,
    when_asked,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(workers=2, much=0)
    yield executor
    executor.close()


def square(number: int) -> int:
    return number * number


def where(_: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    if number == 3:
        raise InvalidPoint(f"point {number} is bad")
    return number


def end(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order(executor: LocalExecutor) -> None:
    assert list(executor.mapper(2)(square, range(50))) == [number * number for number in range(50)]


def test_large_pieces_go_both_ways(executor: LocalExecutor) -> None:
    pieces = [os.urandom(1 << 20) for _ in range(6)]
    assert list(executor.mapper(2)(bytes.upper, pieces)) == [piece.upper() for piece in pieces]


def test_every_worker_works_and_none_is_this_process(executor: LocalExecutor) -> None:
    pids = set[int]()
    for _ in range(50):  # on a busy machine one of them may be done with a hundred before the other wakes
        pids |= set(executor.mapper(2)(where, range(100)))
        if len(pids) == 2:
            break
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_little_work_is_done_here() -> None:
    assert LocalExecutor(workers=2, much=5).mapper(4) is map
    assert LocalExecutor(workers=2, much=0).mapper(1) is map
    assert LocalExecutor(workers=1, much=0).mapper(100) is map


@pytest.mark.parametrize(
    ("workers", "size", "is_here"),
    [(2, 2, True), (2, 100, True), (3, 31, True), (3, 32, False)],
    ids=["little", "two workers", "not much", "much for many workers"],
)
def test_what_releases_the_lock_is_done_in_threads(workers: int, size: int, is_here: bool) -> None:
    executor = LocalExecutor(workers)
    try:
        mapper = executor.mapper(size, releases_lock=True)
        assert set(mapper(where, range(10))) == {os.getpid()} if is_here else os.getpid() not in mapper(where, range(9))
        assert mapper is not map
    finally:
        executor.close()


def test_threads_give_results_in_order_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=seconds(60))  # passes nobody unless two pieces of work run at the same time

    def meet(number: int) -> int:
        meeting.wait()
        return number

    executor = LocalExecutor(workers=2)
    assert list(executor.mapper(2, releases_lock=True)(meet, range(6))) == list(range(6))


def test_an_error_in_a_thread_comes_back_as_it_was_raised() -> None:
    mapper = LocalExecutor(workers=2).mapper(2, releases_lock=True)
    with pytest.raises(InvalidPoint, match="point 3 is bad"):
        list(mapper(refuse, range(10)))
    assert list(mapper(square, range(4))) == [0, 1, 4, 9]


def test_work_runs_ahead_by_two_pieces_for_each_worker(executor: LocalExecutor) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = executor.mapper(2)(square, items())
    assert next(results) == 0
    assert len(taken) == 5
    assert next(results) == 1
    assert len(taken) == 6


def test_an_error_comes_back_as_it_was_raised_and_others_are_still_served(executor: LocalExecutor) -> None:
    mapper = executor.mapper(2)
    with pytest.raises(InvalidPoint, match="point 3 is bad"):
        list(mapper(refuse, range(10)))
    assert list(mapper(square, range(10))) == [number * number for number in range(10)]


def test_a_worker_that_is_killed_is_an_error_that_says_so(executor: LocalExecutor) -> None:
    with pytest.raises(BrokenExecutor, match="SIGKILL"):
        list(executor.mapper(2)(end, range(10)))


def test_close_ends_the_processes_and_an_executor_may_start_again(executor: LocalExecutor) -> None:
    first = set(executor.mapper(2)(where, range(20)))
    results = executor.mapper(2)(where, range(100))
    next(results)
    executor.close()
    for pid in first:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    second = set(executor.mapper(2)(where, range(20)))
    assert second.isdisjoint(first)


def test_it_hashes_ids(executor: LocalExecutor) -> None:
    ids = [f"id {number}" for number in range(100)]
    assert hash_ids(bytes(32), ids, executor.mapper(2), chunk=7).points == hash_ids(bytes(32), ids).points


def run_script(directory: Path, text: str) -> str:
    script = directory / "script.py"
    script.write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=seconds(60)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_without_a_main_guard_is_not_run_again(tmp_path: Path) -> None:
    printed = run_script(
        tmp_path,
        """
        import operator
        from secure_hfl.executor import LocalExecutor
        print("once")
        executor = LocalExecutor(workers=2, much=0)
        print(list(executor.mapper(2)(operator.neg, [1, 2, 3])))
        executor.close()
        """,
    )
    assert printed == "once\n[-1, -2, -3]\n"


def test_workers_load_neither_torch_nor_the_engine(executor: LocalExecutor) -> None:
    work_and_look = "(__import__('protocols.psi.curve'), set(__import__('sys').modules))[1]"
    for loaded in executor.mapper(2)(eval, [work_and_look] * 10):
        assert "protocols.psi.curve" in loaded
        assert not {"secure_hfl", "torch", "grpc"} & loaded


def test_workers_end_with_their_party(tmp_path: Path) -> None:
    # They have this script's standard output, so that `run_script` comes back when the last of them is gone.
    printed = run_script(
        tmp_path,
        """
        from operator import neg
        from secure_hfl.executor import LocalExecutor
        executor = LocalExecutor(workers=2, much=0)
        print(*executor.mapper(2)(neg, range(50)))
        """,
    )
    assert printed.split()[-1] == "-49"


def test_pieces_for_threads_keep_their_order_and_an_error_its_place() -> None:
    assert list(thread_map(square, range(50))) == [number * number for number in range(50)]
    results = thread_map(refuse, range(5))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InvalidPoint, match="point 3 is bad"):
        next(results)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux has such a policy")
def test_a_thread_that_helps_takes_no_core_from_one_that_runs() -> None:
    assert _threads(usable_cores()).submit(os.sched_getscheduler, 0).result() == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_who_maps_over_threads_waits_for_none_that_comes_late() -> None:
    """All threads of the pool are busy until the pieces are done."""
    done = threading.Event()
    busy = [_threads(usable_cores()).submit(done.wait, 10) for _ in range(usable_cores())]
    try:
        assert set(thread_map(lambda _: threading.get_ident(), range(5))) == {threading.get_ident()}
    finally:
        done.set()
    assert all(each.result() for each in busy)


@pytest.mark.parametrize("begin", [at_once, thread_beside, when_asked])
def test_what_is_begun_is_done_once_and_asked_for_at_will(begin: Beside) -> None:
    calls: list[int] = []
    result = begin(lambda: calls.append(threading.get_ident()) or list(thread_map(square, range(9))))
    assert result() == result() == [number * number for number in range(9)]
    assert len(calls) == 1
    assert (calls[0] == threading.get_ident()) is (begin is not thread_beside)


@pytest.mark.parametrize(("cores", "mapper"), [(2, map), (4, thread_map)])
def test_small_work_is_shared_where_cores_are_spare(
    monkeypatch: pytest.MonkeyPatch, cores: int, mapper: Mapper
) -> None:
    monkeypatch.setattr("secure_hfl.executor.usable_cores", lambda: cores)
    assert spare_threads() is mapper


def test_what_is_deferred_is_done_by_who_asks_first_while_others_wait() -> None:
    began, go, calls = threading.Event(), threading.Event(), list[int]()

    def work() -> int:
        calls.append(threading.get_ident())
        began.set()
        assert go.wait(seconds(20))
        return 7

    result = when_asked(work)
    assert not calls
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(result)
        assert began.wait(seconds(20))
        second = pool.submit(result)
        go.set()
        assert first.result() == second.result() == 7
    assert len(calls) == 1


@pytest.mark.parametrize("begin", [thread_beside, when_asked])
def test_an_error_beside_is_raised_where_the_result_is_asked_for(begin: Beside) -> None:
    result = begin(lambda: refuse(3))
    for _ in range(2):
        with pytest.raises(InvalidPoint, match="point 3 is bad"):
            result()


def test_a_fork_has_threads_of_its_own() -> None:
    """Pools of the process that forked it have none there, and would be waited for in vain."""
    assert thread_beside(lambda: list(thread_map(square, range(3))))() == [0, 1, 4]
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(0 if thread_beside(lambda: list(thread_map(square, range(3))))() == [0, 1, 4] else 1)
    assert os.waitpid(child, 0)[1] == 0
