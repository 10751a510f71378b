"""Work on a Ray of this machine: the same results, killed workers, errors as they were raised; and without the extra.

The tests that start Ray (some seconds) are run by `make ray`, or with SECURE_HFL_TEST_RAY=1.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.core.errors import InvalidPoint, MissingExtra
from protocols.core.randomness import ChaCha20Randomness
from protocols.psi import PsiReceiver, hash_ids
from secure_hfl.errors import ConfigurationError
from secure_hfl.executor import LocalExecutor
from secure_hfl.ray_address import CERTIFICATES, ray_address
from secure_hfl.ray_executor import RayExecutor, check_engine, executor_for

WITH_RAY = pytest.mark.skipif(
    "SECURE_HFL_TEST_RAY" not in os.environ or importlib.util.find_spec("ray") is None, reason="make ray"
)


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    before = signal.getsignal(signal.SIGTERM)
    executor = RayExecutor("ray")
    yield executor
    executor.close()
    assert signal.getsignal(signal.SIGTERM) is before


@WITH_RAY
def test_sigterm_stays_the_run_s_own(executor: RayExecutor) -> None:
    before = signal.getsignal(signal.SIGTERM)
    executor.mapper(2)
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_engine_that_is_none_or_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(executor_for(None), LocalExecutor)
    for wrong in ("spark", "ray:", "ray://", "ray:// x", "ray://head", "ray://:1", "ray://[:1]:2", "ray+tls://a:1"):
        with pytest.raises(ConfigurationError, match="ray://HOST:PORT"):
            check_engine(wrong)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'secure-hfl\[ray\]'"):
        executor_for("ray")


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RAY_USE_TLS", *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("place", ["10.0.0.1:10001", "head-node:10001", "127.0.0.1.example:1", "[::2]:1", "0.0.0.0:1"])
def test_secrets_cross_no_network_in_the_clear_unasked(no_settings: pytest.MonkeyPatch, place: str) -> None:
    with pytest.raises(ConfigurationError, match="in the clear"):
        check_engine(f"ray://{place}")
    with pytest.raises(ConfigurationError, match="in the clear"):
        RayExecutor(f"ray://{place}").mapper(2)  # nor by whoever did not check
    assert ray_address(f"ray+unencrypted://{place}") == f"ray://{place}"
    no_settings.setenv("RAY_USE_TLS", "1")
    with pytest.raises(ConfigurationError, match="RAY_TLS_CA_CERT"):
        check_engine(f"ray://{place}")
    for name in CERTIFICATES:
        no_settings.setenv(name, "file.pem")
    assert ray_address(f"ray://{place}") == f"ray://{place}"


@pytest.mark.parametrize("place", ["127.0.0.1:1", "localhost:10001", "[::1]:10001", "127.8.8.8:2"])
def test_a_cluster_on_this_machine_needs_no_tls(no_settings: pytest.MonkeyPatch, place: str) -> None:
    del no_settings
    assert ray_address(f"ray://{place}") == f"ray://{place}"


def test_a_ray_of_one_s_own_is_none_that_the_environment_names() -> None:
    """Ray would follow RAY_ADDRESS, or a file in /tmp that anybody may write."""
    assert ray_address("ray") == "local"


def test_one_piece_of_work_stays_here_and_starts_nothing() -> None:
    executor = RayExecutor("ray")
    assert executor.mapper(1) is map
    executor.close()


@WITH_RAY
def test_points_are_the_same_byte_for_byte(executor: RayExecutor) -> None:
    ids, sent = [f"id{at}" for at in range(300)], []
    for mapper in (map, executor.mapper(10)):
        hashed = hash_ids(bytes(32), ids, mapper, chunk=32)
        role = PsiReceiver(hashed, ChaCha20Randomness(bytes(32)), mapper, chunk=32)
        role.open()
        sent.append([hashed.points, *(each.points for each in role.masked_points())])
    assert sent[0] == sent[1]


@WITH_RAY
def test_a_worker_that_is_killed_in_the_middle_is_replaced(executor: RayExecutor, tmp_path: Path) -> None:
    once = tmp_path / "killed"

    def end_once(number: int) -> int:
        if number == 3 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number

    assert list(executor.mapper(8)(end_once, range(8))) == [number * number for number in range(8)]
    assert once.exists()


@WITH_RAY
def test_an_error_comes_back_as_it_was_raised(executor: RayExecutor) -> None:
    def refuse(number: int) -> int:
        if number == 3:
            raise InvalidPoint(f"point {number} is bad")
        return number

    results = executor.mapper(8)(refuse, range(8))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InvalidPoint, match=r"^point 3 is bad$") as error:
        next(results)
    assert type(error.value) is InvalidPoint


@WITH_RAY
def test_nobody_else_on_this_machine_reads_what_ray_writes(executor: RayExecutor) -> None:
    """Ray's own directories are 0777, and what it spills 0644: they lie in one that only we may enter."""
    list(executor.mapper(2)(len, [b"", b""]))
    import ray  # not before: it reads then whether there is a token

    session = Path(ray._private.worker._global_node.get_session_dir_path()).resolve()
    place, token = session.parent.parent, Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert (place.stat().st_mode & 0o777, place.stat().st_uid) == (0o700, os.getuid())
    assert (token.parent, token.stat().st_mode & 0o777) == (place, 0o600)
    assert os.environ["RAY_AUTH_MODE"] == "token"
