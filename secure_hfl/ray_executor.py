"""Heavy work on a party's own Ray cluster (extra `ray`): the same seam as `LocalExecutor`, the same results.

    --engine ray                    Ray on this machine, started and stopped with the work
    --engine ray://host:10001       a cluster that runs; its nodes have this version of secure-hfl

What is sent there holds secrets (PSI's scalar), and who administers the cluster can read them: SECURITY.md. A task is a
pure function of what it gets, so one whose worker or node dies is run again with the same outcome.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from protocols.core.errors import MissingExtra
from protocols.core.mapper import Mapper
from secure_hfl.engine.failure import one_line
from secure_hfl.errors import ConfigurationError
from secure_hfl.executor import Executor, LocalExecutor, usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

LOCAL = "ray"
RETRIES = 5
"""Times that a piece of work is given to another worker, when its own died."""
STORE_BYTES = 100 << 20
"""Shared memory of a Ray on this machine: for two pieces of work a worker, and no more."""

_guard = threading.Lock()
_users = 0
"""Executors of this process that use the Ray which one of them has started; 0: none has."""


def check_engine(engine: str | None) -> None:
    """Raise unless work can go there: `ConfigurationError` for other text, `MissingExtra` where there is no Ray."""
    if engine is None:
        return
    if engine != LOCAL and not re.fullmatch(r"ray://\S+", engine):
        raise ConfigurationError(f"--engine {engine}: write ray, for this machine, or ray://HOST:PORT")
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

    def _connect(self) -> None:
        global _users
        if self._engine == LOCAL:  # read when Ray is imported
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # its ports are open to the network
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or it reports to its makers
        import ray

        with _guard:
            if self._is_using:
                return
            if not ray.is_initialized():
                try:
                    with _kept_signals():
                        ray.init(**self._options())
                except (ConnectionError, RuntimeError, OSError) as error:
                    why = one_line(str(error), 200)
                    raise ConfigurationError(f"--engine {self._engine}: Ray cannot be reached: {why}") from error
            elif not _users:
                _users += 1  # the user's own, which we never stop
            _users += 1
            self._is_using = True
            self._workers = max(
                1,
                int(ray.cluster_resources().get("CPU", 1)),  # type: ignore[no-untyped-call]
            )

    def _options(self) -> dict[str, Any]:
        quiet = {"log_to_driver": False, "configure_logging": False}
        if self._engine != LOCAL:
            return {"address": self._engine, **quiet}
        paths = os.pathsep.join(path for path in sys.path if path)
        runtime = {"env_vars": {"PYTHONPATH": paths}}
        here = {
            "_node_ip_address": "127.0.0.1",
            "num_cpus": usable_cores(),
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }
        return {**here, "runtime_env": runtime, **quiet}

    def _map(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        import ray

        def call(work: Callable[[Item], Result], item: Item) -> Result:  # nested: Ray sends its code, not its name
            return work(item)

        remote = ray.remote(max_retries=RETRIES, num_cpus=1)(call)
        pending: deque[Any] = deque()
        for item in items:
            pending.append(remote.remote(function, item))
            if len(pending) > 2 * self._workers:  # bounds memory, as in `LocalExecutor`
                yield self._result(pending.popleft())
        while pending:
            yield self._result(pending.popleft())

    def _result(self, reference: Any) -> Any:
        import ray

        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:  # what the function raised, as it raised it
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise ConfigurationError(
                f"--engine {self._engine}: a piece of work was lost with its worker, and {RETRIES} others after it "
                f"({type(error).__name__}); look after the cluster, or leave --engine out"
            ) from error

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


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray takes SIGTERM in the main thread, by which a run ends at its next checkpoint."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
