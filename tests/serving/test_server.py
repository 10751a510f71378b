"""The server around an application: where it listens, how it starts, and how it stops."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from secure_hfl.errors import ConfigurationError, TaskError
from secure_hfl.identity import Identity
from secure_hfl.listening import Place
from secure_hfl.serving import connections
from secure_hfl.serving.app import HttpLimits
from secure_hfl.serving.server import HttpOptions, HttpServer, options_of
from tests.serving.fakes import FakePredictor, predicted


class Running:
    """A server in a thread, on a free port of loopback."""

    def __init__(self, directory: Path, shows_token: bool = True, is_in_notebook: bool = False, **limits: Any) -> None:
        self.predictor, self.said = FakePredictor(), list[str]()
        place = Place.parse("127.0.0.1:0", None, None, False)
        options = HttpOptions(place, directory / "token", HttpLimits(**limits), self.said.append, shows_token)
        self.server = HttpServer(self.predictor, options)
        self.url, self.token = self.server.url, self.server._token.reveal()
        self.error: BaseException | None = None
        self._is_in_notebook = is_in_notebook
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        async def cell() -> None:
            self.server.run()

        try:
            asyncio.run(cell()) if self._is_in_notebook else self.server.run()
        except BaseException as error:
            self.error = error

    def predict(self, ids: list[str]) -> httpx.Response:
        """An answer, by a connection of its own."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.post(f"{self.url}/predict", json={"ids": ids}, headers=headers, timeout=20, trust_env=False)

    def over(self) -> None:
        """It has stopped."""
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("is_in_notebook", [False, True], ids=["a script", "a notebook, whose loop runs"])
def test_it_answers_and_says_where_and_with_what_token(tmp_path: Path, is_in_notebook: bool) -> None:
    running = Running(tmp_path, is_in_notebook=is_in_notebook)
    assert running.predict(["a"]).json()["predictions"][0]["prediction"] == 1
    running.server.stop()
    running.over()
    assert running.error is None
    assert running.predictor.events[:2] == ["start", "stop"]
    assert running.said == [
        f"Predictions at {running.url}/predict. Ctrl-C or SIGTERM stops.",
        f"The token is in {tmp_path / 'token'}",
        f"Shown this once, it is: {running.token}",
    ]
    with pytest.raises(httpx.ConnectError):
        running.predict(["a"])


def test_what_is_no_terminal_is_not_shown_the_token(tmp_path: Path) -> None:
    """The logs of a service, and notebooks, are kept."""
    assert not options_of("127.0.0.1:0", tmp_path / "token").shows_token
    running = Running(tmp_path, shows_token=False)
    running.server.stop()
    running.over()
    assert running.said[-1] == f"The token is in {tmp_path / 'token'}"
    assert not any(running.token in each for each in running.said)


def test_what_is_being_answered_when_it_stops_is_answered(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.predictor.answers = lambda ids: None
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(running.predict(["a"])))
    client.start()
    while not running.predictor.futures:
        time.sleep(0.01)
    usual = running.predictor.stop

    def stop() -> None:  # as a service does: the batch in hand is answered before it has stopped
        usual()
        running.predictor.futures[0].set_result(predicted(["a"]))

    running.predictor.stop = stop  # type: ignore[method-assign]
    running.server.stop()
    running.over()
    client.join(20)
    assert answers[0].status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    running = Running(tmp_path, wait_seconds=0.1)
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token}\r\n"
    with socket.create_connection(running.server._socket.getsockname(), 20) as client:
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
    running.server.stop()
    running.over()
    assert running.predictor.asked == []


def test_connections_without_a_request_or_a_token_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent ones, ones that trickle, and also behind an answer. A request that is being answered is not closed."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.7)
    running = Running(tmp_path)
    running.predictor.answers = lambda ids: None
    address, token = running.server._socket.getsockname(), f"Authorization: Bearer {running.token}\r\n\r\n"
    head = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(running.predict(["a"])))
    asking.start()
    while not running.predictor.futures:
        time.sleep(0.01)
    with ExitStack() as stack:
        silent, trickling, known, unknown = (
            stack.enter_context(socket.create_connection(address, 20)) for _ in range(4)
        )
        trickling.sendall(head)
        unknown.sendall(head + b"\r\n")
        said = b"".join(iter(lambda: unknown.recv(65536), b""))
        assert said.startswith(b"HTTP/1.1 401 ")
        known.sendall(head + token.encode())
        assert known.recv(65536).startswith(b"HTTP/1.1 200 ")
        trickling.sendall(b"X-More: 1\r\n")
        known.sendall(head)
        for each in (silent, trickling, known):
            while each.recv(65536):
                pass
    running.predictor.futures[0].set_result(predicted(["a"]))
    asking.join(20)
    assert answers[0].status_code == 200
    running.server.stop()
    running.over()


def test_a_service_that_ends_by_itself_ends_the_server_with_its_reason(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.predictor.failure = TaskError("the disk is full")
    running.over()
    assert running.error is running.predictor.failure


@pytest.mark.parametrize("text", ["", "host", "::1:8080", "[127.0.0.1]:80", "127.0.0.1:", "127.0.0.1:70000", "a:b"])
def test_what_is_no_place_to_listen(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no place to listen"):
        options_of(text, tmp_path / "token")


def test_places_of_loopback_and_of_the_whole_network(tmp_path: Path) -> None:
    assert options_of("[::1]:8080", tmp_path).place.url(8080) == "http://[::1]:8080"
    for text in (":8080", "8080"):
        place = options_of(text, tmp_path).place
        assert (place.address, place.port) == ("127.0.0.1", 8080)
    key = tmp_path / "key.pem"
    for options in (
        options_of("0.0.0.0:0", tmp_path / "token"),
        options_of("0.0.0.0:0", tmp_path / "token", allow_remote=True),
        options_of("0.0.0.0:0", tmp_path / "token", (key, key)),
        options_of("example.org:0", tmp_path / "token"),
    ):
        with pytest.raises(ConfigurationError, match="say --allow-remote and give --tls-cert"):
            HttpServer(FakePredictor(), options)
    with pytest.raises(ConfigurationError, match="belong together"):
        HttpServer(FakePredictor(), options_of("127.0.0.1:0", tmp_path / "token", (key, None)))
    assert not (tmp_path / "token").exists()
    with pytest.raises(ConfigurationError, match="positive number of seconds"):
        options_of("127.0.0.1:0", tmp_path, wait_seconds=0.0)


def test_a_certificate_and_key_that_cannot_be_used_are_said_before_it_listens(tmp_path: Path) -> None:
    certificates, keys = [], []
    for name in "ab":
        Identity.load_or_create(tmp_path / name, name)
        certificates += tmp_path.glob(f"{name}/**/certificate.pem")
        keys += tmp_path.glob(f"{name}/**/key.pem")
    locked, missing = tmp_path / "locked.pem", tmp_path / "missing.pem"
    plain = serialization.load_pem_private_key(keys[0].read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked.write_bytes(plain.private_bytes(*form, serialization.BestAvailableEncryption(b"1234")))
    for pair, said in (
        ((certificates[0], keys[1]), "do not belong together"),
        ((certificates[0], certificates[0]), "or one is no PEM file"),
        ((certificates[0], locked), "the key of --tls-key has a password"),
        ((certificates[0], missing), "--tls-key .*: No such file"),
        ((missing, keys[0]), "--tls-cert .*: No such file"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            HttpServer(FakePredictor(), options_of("127.0.0.1:0", tmp_path / "token", pair))
    options_of("127.0.0.1:0", tmp_path / "token", (certificates[0], keys[0])).place.listen("it").close()


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    running = Running(tmp_path)
    predictor = FakePredictor()
    taken = options_of(running.url.removeprefix("http://"), tmp_path / "token")
    with pytest.raises(ConfigurationError, match="cannot listen on 127"):
        HttpServer(predictor, taken)
    assert predictor.events == []
    running.server.stop()
    running.over()
