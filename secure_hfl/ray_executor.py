"""Heavy work on a party's own Ray cluster (extra `ray`): the same seam as `LocalExecutor`, the same results.

    --engine ray                    Ray on this machine, started and stopped with the work
    --engine ray://host:10001       a cluster that runs; its nodes have this version of secure-hfl

What is sent there holds secrets (PSI's scalar, factors of products), and who administers the cluster can read them:
SECURITY.md; `ray_address` says which networks they may cross. A task is a pure function of what it gets, so one whose
worker or node dies is run again with the same outcome.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from protocols.core.errors import MissingExtra
from protocols.core.mapper import Mapper
from protocols.core.randomness import OsRandomness
from secure_hfl.engine.failure import one_line
from secure_hfl.errors import ConfigurationError
from secure_hfl.executor import Executor, LocalExecutor, usable_cores
from secure_hfl.files import write_private
from secure_hfl.ray_address import LOCAL, ray_address

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 5
"""Times that a piece of work is given to another worker, when its own died."""
STORE_BYTES = 1 << 30
"""Shared memory of a Ray on this machine, at most. What does not fit would be written to disk."""

TOKEN = "token"  # noqa: S105 - the file's name
"""In the directory of a Ray on this machine."""

SHARED_BYTES = 1 << 16
"""What all pieces of some work have in common is sent to a node once from this size on, and before with each piece."""

_guard = threading.Lock()
_users = 0
"""Executors of this process that use the Ray which one of them has started; 0: none has."""


def check_engine(engine: str | None) -> None:
    """Raise unless work can go there: `ConfigurationError` if it names no place, or one that secrets would reach in the
    clear; `MissingExtra` where there is no Ray."""
    if engine is None:
        return
    ray_address(engine)
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra(f"--engine {engine} needs ray: pip install 'secure-hfl[ray]'")


def executor_for(engine: str | None) -> Executor:
    """Where a run's heavy work goes; `engine`: as `--engine` says it, None: this process and its workers."""
    check_engine(engine)
    return LocalExecutor() if engine is None else RayExecutor(engine)


class RayExecutor:
    """A party's own Ray. It is reached, or started, when the first work comes.

    Args:
        engine: as `check_engine` accepts it.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._is_using = False
        self._workers = 1

    def mapper(self, size: int, *, releases_lock: bool = False) -> Mapper:
        """See `Executor`. One piece stays here: to hand it over takes longer."""
        del releases_lock
        if size < 2:
            return map
        self._connect()
        return self._map

    @property
    def workers(self) -> int:
        """How many pieces are worked on at once; 1 before the first work."""
        return self._workers

    def _connect(self) -> None:
        global _users
        options = self._options()
        if self._engine == LOCAL:  # read when Ray is imported
            os.environ["RAY_AUTH_MODE"] = "token"  # its ports are open to the network
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(_own_place() / TOKEN)
            os.environ.pop("RAY_AUTH_TOKEN", None)  # it would come before
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or it reports to its makers
        os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # or, when a cluster is gone, it looks for another one
        import ray

        with _guard:
            if self._is_using:
                return
            if not ray.is_initialized():
                try:
                    with _kept_signals():
                        ray.init(**options)
                except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                    why = one_line(str(error), 200)
                    raise ConfigurationError(f"--engine {self._engine}: Ray cannot be reached: {why}") from error
            elif not _users:
                _users += 1  # the user's own, which we never stop
            _users += 1
            self._is_using = True
            warnings.filterwarnings("ignore", message="More than 10MB of messages")  # pieces of work are large
            with self._reporting():
                self._workers = max(
                    1,
                    int(ray.cluster_resources().get("CPU", 1)),  # type: ignore[no-untyped-call]
                )

    def _options(self) -> dict[str, Any]:
        own = {"address": ray_address(self._engine), "log_to_driver": False, "configure_logging": False}
        if self._engine != LOCAL:
            return own
        paths = os.pathsep.join(path for path in sys.path if path)
        return own | {
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": str(_own_place() / "ray"),
            "num_cpus": usable_cores(),
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
            "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
        }

    def _map(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        import ray

        def call(work: Callable[[Item], Result], item: Item) -> Result:  # nested: Ray sends its code, not its name
            return work(item)

        with self._reporting():
            remote = ray.remote(max_retries=RETRIES, num_cpus=1)(call)
            shared = ray.put(function) if _size(function) >= SHARED_BYTES else function
        pending: deque[Any] = deque()
        for item in items:
            with self._reporting():
                pending.append(remote.remote(shared, item))
            if len(pending) > 2 * self._workers:  # bounds memory, as in `LocalExecutor`
                yield self._result(pending.popleft())
        while pending:
            yield self._result(pending.popleft())

    def _result(self, reference: Any) -> Any:
        import ray

        with self._reporting():
            return ray.get(reference)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """What went wrong, as it was raised by the work, or in words that say what to do about the cluster."""
        import ray

        if not ray.is_initialized():  # or Ray takes the next best cluster that it finds
            raise self._gone("the cluster is gone")
        lost = ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError
        try:
            yield
        except ray.exceptions.RayTaskError as error:  # what the function raised, as it raised it
            raise error.cause from None
        except (ray.exceptions.RayError, ConnectionError) as error:
            what = "the cluster is gone"
            if isinstance(error, lost):
                what = f"a piece of work was lost with its worker, and {RETRIES} others after it"
            raise self._gone(f"{what} ({type(error).__name__})") from error

    def _gone(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"--engine {self._engine}: {what}. Look after it, or leave --engine out")

    def close(self) -> None:
        """Leave it; the last that leaves what we have started stops it."""
        global _users
        with _guard:
            if not self._is_using:
                return
            self._is_using = False
            _users -= 1
            if not _users:
                import ray

                with _kept_signals():
                    ray.shutdown()


@cache
def _own_place() -> Path:
    """A directory (0700) of this process, for what a Ray on this machine writes, and the token that it asks for.

    Ray would write to /tmp/ray (0777, objects that do not fit into its memory 0644), and keep one token for good in
    ~/.ray (0644): with that, whoever can read the home runs what he likes as this user.
    """
    place = Path(tempfile.mkdtemp(prefix="shfl-ray-", dir=os.environ.get("RAY_TMPDIR", "/tmp")))  # noqa: S108
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(place, ignore_errors=True) if os.getpid() == owner else None)
    write_private(place / TOKEN, OsRandomness().bytes(32).hex().encode())
    return place


def _size(function: object) -> int:
    """Bytes of a function with what it holds; arrays are counted, not copied."""
    import ray

    buffers: list[Any] = []
    head = ray.cloudpickle.dumps(  # type: ignore[no-untyped-call]
        function, protocol=5, buffer_callback=buffers.append
    )
    sizes: list[int] = [buffer.raw().nbytes for buffer in buffers]
    return len(head) + sum(sizes)


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray takes SIGTERM in the main thread, by which a run ends at its next checkpoint."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
