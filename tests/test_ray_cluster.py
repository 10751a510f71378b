"""Two raylets on this machine, reached as `--engine ray://...`: the same bytes, also when one is killed in the middle.

No secret is in Ray's files, and a cluster that is gone is said to be. Run by `make ray`, or with SECURE_HFL_TEST_RAY=1,
in a process of its own: Ray reads its settings once.
"""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.harness.limits import seconds
from benchmarks.harness.ray_nodes import RayNodes
from protocols.core.mapper import Distant, Mapper, nowhere
from protocols.core.randomness import ChaCha20Randomness, Randomness
from protocols.he import bfv_distant
from protocols.he.bfv import BfvBackend
from protocols.he.interface import Backend, MatrixShape, as_signed
from protocols.he.paillier import PaillierBackend
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import TRAINING, TRIPLES, BfvParameters
from protocols.psi import PsiReceiver, PsiSender, hash_ids
from protocols.schemes.masked.triples import mask_product
from secure_hfl.errors import ConfigurationError
from secure_hfl.ray_address import CERTIFICATES
from secure_hfl.ray_executor import RayExecutor
from tests.protocols.he.elsewhere import inputs
from tests.protocols.psi.helpers import PsiRun, run_psi
from tests.secrets.search import Search, Secret

pytestmark = pytest.mark.skipif(
    "SECURE_HFL_TEST_RAY" not in os.environ or importlib.util.find_spec("ray") is None, reason="make ray"
)
STORE_BYTES = 80 << 20
SEED = b"s" * 32


def bfv(parameters: BfvParameters, randomness: Randomness | None = None, distant: Distant = nowhere) -> Backend:
    return BfvBackend(parameters, randomness, distant=distant)


def paillier(randomness: Randomness | None = None, distant: Distant = nowhere) -> Backend:
    return PaillierBackend(PAILLIER_2048, randomness, distant=distant)


PRODUCTS: dict[str, tuple[Callable[..., Backend], MatrixShape]] = {
    "bfv": (partial(bfv, TRAINING), MatrixShape(128, 512, 256, 26)),
    "triples": (partial(bfv, TRIPLES), mask_product(128, 256, 128)),
    "paillier": (paillier, MatrixShape(140, 24, 60, 17)),
}
GRACE_SECONDS = 2


class Tap:
    """Stands between the party and the cluster, and keeps all that crosses."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.seen = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.seen += data
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def addresses() -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Of this machine: as the party calls it, and as the nodes do among themselves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.connect(("8.8.8.8", 80))  # sends nothing
        return {ipaddress.ip_address(each) for each in ("127.0.0.1", unused.getsockname()[0])}


def certificate(name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> Any:
    """Of an authority, or of this machine by one: with its key."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(each) for each in addresses()]), critical=False)
    )
    return builder.sign(key if issuer is None else issuer[1], hashes.SHA256()), key


def written_certificates(directory: Path) -> dict[str, str]:
    """Files for TLS between all, as Ray's variables name them."""
    authority = certificate("authority", None)
    own, key = certificate("node", authority)
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    content = (
        own.public_bytes(pem),
        key.private_bytes(pem, private, serialization.NoEncryption()),
        authority[0].public_bytes(pem),
    )
    found = {}
    for name, data in zip(CERTIFICATES, content, strict=True):
        (directory / name).write_bytes(data)
        found[name] = str(directory / name)
    return found


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    """They talk by TLS."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USE_TLS", "1")
        for name, value in written_certificates(tmp_path_factory.mktemp("tls")).items():
            environment.setenv(name, value)
        environment.setenv("RAY_AUTH_MODE", "token")
        environment.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", str(GRACE_SECONDS))
        nodes = RayNodes(STORE_BYTES)
        nodes.join()
        yield nodes
        nodes.end()


@pytest.fixture(scope="module")
def tap(nodes: RayNodes) -> Iterator[Tap]:
    tap = Tap(nodes.port)
    yield tap
    tap.close()


@pytest.fixture(scope="module")
def executor(tap: Tap) -> Iterator[RayExecutor]:
    executor = RayExecutor(f"ray://127.0.0.1:{tap.port}")
    yield executor
    executor.close()


def where(_: int) -> str:
    import ray

    time.sleep(0.3)
    return str(ray.get_runtime_context().get_node_id())


def psi_role(role: Any, seed: bytes, ids: range, mapper: Mapper) -> Any:
    """With all randomness from a seed."""
    hashed = hash_ids(bytes(32), [f"patient-{at}" for at in ids], mapper, chunk=100)
    return role(hashed, ChaCha20Randomness(seed * 32), mapper, chunk=100)


def whole_psi(mapper: Mapper) -> PsiRun:
    """Of 1500 ids and 1500."""
    host = psi_role(PsiReceiver, b"h", range(1500), mapper)
    return run_psi(host, psi_role(PsiSender, b"c", range(750, 2250), mapper))


def interrupted(mapper: Mapper, after: int, interrupt: Callable[[], None]) -> Mapper:
    """One that interrupts the cluster once, when it has given some results."""
    given = iter(range(after))

    def mapped(function: Any, items: Iterable[Any], /) -> Iterator[Any]:
        for result in mapper(function, items):
            yield result
            if next(given, None) == after - 1:
                interrupt()

    return mapped


def wait_for_two(executor: RayExecutor) -> None:
    """Until both nodes take work: one that has just joined starts a worker first."""
    end = time.monotonic() + seconds(60)
    while len(set(executor.mapper(4)(where, range(4)))) < 2:
        assert time.monotonic() < end


def test_both_nodes_work(executor: RayExecutor) -> None:
    wait_for_two(executor)


def test_a_whole_psi_is_the_same_byte_for_byte(executor: RayExecutor) -> None:
    assert whole_psi(executor.mapper(2)) == whole_psi(map)


def test_a_raylet_killed_in_the_middle_of_a_psi_changes_nothing(nodes: RayNodes, executor: RayExecutor) -> None:
    killed: list[float] = []

    def kill() -> None:
        nodes.kill()
        killed.append(time.monotonic())

    run = whole_psi(interrupted(executor.mapper(2), 20, kill))
    assert killed
    assert run == whole_psi(map)
    assert len(set(executor.mapper(4)(where, range(4)))) == 1
    nodes.join()
    wait_for_two(executor)


@pytest.mark.parametrize("is_killed", [False, True], ids=["two nodes", "one killed in the middle"])
@pytest.mark.parametrize("name", list(PRODUCTS))
def test_a_wide_product_is_the_same_byte_for_byte(
    name: str, is_killed: bool, nodes: RayNodes, executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the results are right: of a layer's product, of a triple's, and of Paillier's."""
    monkeypatch.setattr(bfv_distant, "PORTION_SECONDS", 0.004)  # many pieces
    wait_for_two(executor)
    make, shape = PRODUCTS[name]
    owner, mapper = make().generate(), executor.mapper(2)
    if is_killed:
        mapper = interrupted(mapper, 2, nodes.kill)
    factor, matrix, addend = inputs(shape)
    operand, replies = owner.encrypt(matrix, shape), []
    for distant in (nowhere, lambda work: mapper):
        public = make(ChaCha20Randomness(SEED), distant).load_public(owner.public_key())
        replies.append(public.multiply_add(factor, public.load_operand(operand, shape), addend, shape))
    if is_killed:
        nodes.join()
    assert replies[0] == replies[1]
    assert (as_signed(owner.decrypt(replies[0], shape)) == as_signed(factor.view(np.uint64) @ matrix + addend)).all()


def test_no_secret_is_in_ray_s_files_or_on_the_network(nodes: RayNodes, tap: Tap) -> None:
    """After the runs above: none of a scalar, of ids, of factors, and of the token that both nodes were given."""
    scalar = psi_role(PsiReceiver, b"h", range(1), map)._own.scalar.value
    token = os.environ["RAY_AUTH_TOKEN"].encode()
    known = [Secret("scalar", "int", scalar), Secret("ids", "text", b"patient-"), Secret("token", "text", token)]
    factor = inputs(PRODUCTS["triples"][1])[0].tobytes()
    known.append(Secret("factor", "ring", factor))
    search, files = Search(known), nodes.files() | {"network": bytes(tap.seen)}
    assert len(tap.seen) > 100_000
    assert sum(map(len, files.values())) > len(tap.seen) + 10_000
    assert {each.label for each in search.in_bytes("control", scalar + b"patient-7" + token + factor)} == search.labels
    assert not [found for name, data in files.items() for found in search.in_bytes(name, data)]


def test_there_is_no_dashboard(nodes: RayNodes) -> None:
    assert not nodes.dashboard


# A thread of Ray's client that watches the connection may still be at it when Ray closes it.
@pytest.mark.filterwarnings("ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning")
def test_a_cluster_that_is_gone_is_said_to_be(nodes: RayNodes, executor: RayExecutor) -> None:
    results = executor.mapper(8)(where, range(8))
    next(results)
    nodes.end()
    with pytest.raises(ConfigurationError, match=r"^--engine ray://127.*: the cluster is gone .*leave --engine out$"):
        list(results)
    with pytest.raises(ConfigurationError, match="the cluster is gone"):
        list(executor.mapper(8)(where, range(8)))
