"""Ports that are in use, IPv6, proxies; and a cell that is run again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from benchmarks.harness.limits import seconds
from benchmarks.harness.ports import free_ports
from benchmarks.harness.scripts.tiny import bottom, top, train_in_one_process
from protocols.task.messages import COMMON_MESSAGES
from protocols.wire.codec import Catalogue
from secure_hfl.cli.app import app
from secure_hfl.engine.door import Door
from secure_hfl.errors import ConfigurationError, PeerRefused, TaskFailed, TransportError
from secure_hfl.identity import Identity
from secure_hfl.run_options import RunOptions, current
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import PartyServer
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

HOST_IDENTITY, ALICE = Identity.create("host"), Identity.create("alice")
CATALOGUE = Catalogue(COMMON_MESSAGES)
CLOSED = 1
"""A port of this machine where nobody listens."""


class ConnectProxy:
    """An HTTP proxy that knows CONNECT and nothing else.

    Args:
        refusal: its answer to everything, if it is to refuse.

    Attributes:
        asked: the heads of the requests.
    """

    def __init__(self, refusal: bytes = b"") -> None:
        self._refusal = refusal
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.asked.append(head.decode())
        if self._refusal:
            client.sendall(self._refusal)
            client.close()
            return
        host, _, port = self.asked[-1].split()[1].rpartition(":")
        server = socket.create_connection((host.strip("[]"), int(port)))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
        _copy(client, server)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        source.close()
        sink.close()


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    """One that lets everybody through."""
    made = ConnectProxy()
    yield made
    made.close()


def join(listen: str, proxy: str | None = None, patience: float = 20.0) -> None:
    """Alice joins a host that listens there."""
    with PartyServer(f"{listen}:0", HOST_IDENTITY) as server:
        lobby = server.open_task("a", {"alice": ALICE.certificate_pem}, CATALOGUE)
        address, pem = f"{listen}:{server.port}", HOST_IDENTITY.certificate_pem
        channel = connect(address, "a", ALICE, pem, patience, "host", catalogue=CATALOGUE, proxy=proxy)
        assert list(lobby.wait(patience)) == ["alice"]
        channel.close(1.0)


def needs_ipv6() -> None:
    """Skip where there is none."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize("listen", ["127.0.0.1", "localhost", "[::1]"])
def test_addresses(listen: str) -> None:
    if ":" in listen:
        needs_ipv6()
    join(listen, patience=seconds(20))


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{CLOSED}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{CLOSED}")
    join("127.0.0.1", patience=seconds(20))


@pytest.mark.parametrize("listen", ["127.0.0.1", "[::1]"])
def test_through_a_proxy(proxy: ConnectProxy, listen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS goes through it from end to end: it sees the address, and bytes."""
    if ":" in listen:
        needs_ipv6()
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    join(listen, proxy.url, seconds(20))
    assert proxy.asked[0].startswith(f"CONNECT {listen}:")


def test_through_a_proxy_with_a_password(proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    join("127.0.0.1", proxy.url.replace("http://", "http://me:secret@"), seconds(20))
    assert "Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.asked[0]


def test_a_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    refusing = ConnectProxy(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    with pytest.raises(PeerRefused, match=r"through the proxy 127\.0\.0\.1:\d+ .*response code 403") as refused:
        join("127.0.0.1", refusing.url.replace("http://", "http://me:secret@"), patience=0.5)
    assert "secret" not in str(refused.value)
    refusing.close()


@pytest.mark.parametrize(
    "url", ["proxy:3128", "https://proxy:3128", "http://proxy", "http://proxy:x", "http://:1", "http://proxy:1/a", ""]
)
def test_what_is_no_proxy_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^a proxy reads http://host:port or http://user:password@host:port$"):
        join("127.0.0.1", url, patience=0.1)


def test_the_option_and_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_HFL_PROXY", "http://me:secret@proxy:3128")
    assert current().proxy == "http://me:secret@proxy:3128"
    assert "secret" not in repr(RunOptions(proxy="http://me:secret@proxy:3128"))
    command: Any = typer.main.get_command(app)
    options = [flag for each in command.commands["collaborator"].params for flag in each.opts]
    assert "--proxy" in options


# Again --------------------------------------------------------------------------------------------------------------


def test_a_port_that_is_in_use_is_said_and_then_free(tmp_path: Path) -> None:
    assignment = MemoryParties(tmp_path).runs[HOST].bench.assignment
    port = int(assignment.record.address.rpartition(":")[2])
    taken = socket.create_server(("127.0.0.1", port))
    for _ in range(2):
        with pytest.raises(TransportError, match=r"another process has the port.*ss -ltnp.*another port"):
            Door(assignment).wait(0.1)
    taken.close()
    door = Door(assignment)
    with pytest.raises(PeerRefused, match="did not join"):
        door.wait(0.1)
    door.close()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(TransportError, match="is not this machine's"):
        PartyServer(f"192.0.2.1:{free_ports(1)[0]}", HOST_IDENTITY)


def test_a_cell_is_run_again_after_failures_and_interrupts(tmp_path: Path) -> None:
    """With the same schedulers, as in a notebook."""
    parties = MemoryParties(tmp_path)
    host: Any = parties.schedulers[HOST]
    train_a_batch = type(host).train_a_batch
    for error in (ValueError("mine"), KeyboardInterrupt(), KeyboardInterrupt()):

        def broken(features: dict[str, torch.Tensor], labels: torch.Tensor, error: BaseException = error) -> None:
            train_a_batch(host, features, labels)
            raise error

        host.train_a_batch = broken
        parties.execute()
        assert isinstance(parties.errors[HOST], TaskFailed if isinstance(error, ValueError) else KeyboardInterrupt)
        assert isinstance(parties.errors[COLLABORATOR], TaskFailed)
        parties.begin(RunOptions())
    del host.train_a_batch
    other: Any = parties.schedulers[COLLABORATOR]
    models = bottom(0), bottom(1), top(2)
    host.build_feature_model, other.build_feature_model, host.build_infer_model = (
        lambda model=model: model for model in models
    )
    parties.execute()
    assert not parties.errors
    assert parties.metrics(HOST).batch_losses == train_in_one_process(2, 2)[0]
