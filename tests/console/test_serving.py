"""Where the console listens, what it prints, and what it leaves behind."""

from __future__ import annotations

import re
import socket
import stat
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.testclient import TestClient
from typer.testing import CliRunner

from secure_hfl.cli.app import app as command_line
from secure_hfl.console import serving
from secure_hfl.console.app import LOOPBACK_NAMES, create_app
from secure_hfl.console.serving import DANGER
from secure_hfl.errors import ConfigurationError
from secure_hfl.listening import Place
from secure_hfl.tasks import TaskRecord
from tests.console.conftest import BASE, signed_in

CERT, KEY = Path("server.pem"), Path("server.key")
EVERYWHERE = "0.0.0.0"  # noqa: S104 - refused, or not listened on


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_no_leave(address: str) -> None:
    Place(address, 8470).check(DANGER)
    Place(address, 8470, CERT, KEY).check(DANGER)


@pytest.mark.parametrize("address", [EVERYWHERE, "::", "192.0.2.1", "console.example", "127.0.0.1.example", ""])
def test_other_machines_need_leave_and_tls(address: str) -> None:
    for place in (
        Place(address, 8470),
        Place(address, 8470, allow_remote=True),
        Place(address, 8470, CERT, KEY),
    ):
        with pytest.raises(ConfigurationError, match="--allow-remote and give --tls-cert and --tls-key"):
            place.check(DANGER)
    Place(address, 8470, CERT, KEY, allow_remote=True).check(DANGER)


def test_half_of_tls_is_refused() -> None:
    for place in (Place("127.0.0.1", 8470, CERT), Place("127.0.0.1", 8470, None, KEY, True)):
        with pytest.raises(ConfigurationError, match="belong together"):
            place.check(DANGER)


def certificate(path: Path, *names: x509.GeneralName) -> Path:
    """Of a server."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "console")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def test_names_come_from_the_certificate(tmp_path: Path) -> None:
    names = (x509.DNSName("Console.Example"), x509.IPAddress(ip_address("192.0.2.1")))
    place = Place(EVERYWHERE, 8470, certificate(tmp_path / "cert.pem", *names), KEY, True)
    assert place.names() == {*LOOPBACK_NAMES, "console.example", "192.0.2.1"}
    assert Place("127.0.0.1", 8470).names() == {*LOOPBACK_NAMES}
    for path in (certificate(tmp_path / "none.pem"), tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match="--tls-cert"):
            Place(EVERYWHERE, 8470, path, KEY, True).names()


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The application that would be served, once `serve` has come so far."""
    found: list[Any] = []
    monkeypatch.setenv("SECURE_HFL_HOME", str(home))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: found.append((self.config, sockets)))
    return found


def test_what_is_printed_signs_in(served: list[Any], capsys: pytest.CaptureFixture[str], home: Path) -> None:
    serving.serve(Place("127.0.0.1", 0), open_browser=False)
    ((config, (listening,)),) = served
    assert config.access_log is False, "its lines would hold tokens"
    printed = re.search(r"http://127\.0\.0\.1:([0-9]+)(/sign-in\?token=[0-9a-f]{64})", capsys.readouterr().out)
    assert printed is not None
    assert listening.fileno() == -1, "closed again"
    with TestClient(config.app, f"http://127.0.0.1:{printed[1]}") as client:
        assert client.get(printed[2]).status_code == 200
        assert list(client.cookies) == [f"secure_hfl_console_{printed[1]}"]
        assert client.get("/").status_code == 200
    another = re.search(r"/sign-in\?token=[0-9a-f]{64}", capsys.readouterr().out)
    assert another is not None
    assert another[0] != printed[2]
    assert not (home / "open-console.html").exists()


def test_other_users_do_not_see_the_address(
    served: list[Any], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def opened(address: str) -> bool:
        path = Path(unquote(urlparse(address).path))
        seen.update(address=address, mode=stat.S_IMODE(path.stat().st_mode), text=path.read_text("utf-8"))
        return True

    monkeypatch.setattr(serving.webbrowser, "open", opened)
    serving.serve(Place("127.0.0.1", 0), open_browser=True)
    assert seen["address"].startswith("file:///")
    assert "token" not in seen["address"]
    assert seen["mode"] == 0o600
    assert re.search(r"token=[0-9a-f]{64}", seen["text"])
    assert not (home / "open-console.html").exists()


def test_a_port_in_use_is_said(served: list[Any]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ConfigurationError, match="is another one running"),
    ):
        serving.serve(Place("127.0.0.1", other.getsockname()[1]), open_browser=False)
    assert not served


def test_started_again_it_shows_the_same(home: Path, task: TaskRecord) -> None:
    pages = []
    for _ in range(2):
        app = create_app(home)
        with TestClient(app, BASE) as client:
            pages.append(re.sub("[0-9a-f]{64}", "", signed_in(app, client).get("/").text))
    assert pages[0] == pages[1]
    assert task.task_id in pages[0]


def test_the_command_refuses_other_machines(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_HFL_HOME", str(home))
    result = CliRunner().invoke(command_line, ["console", "--address", EVERYWHERE, "--no-open"])
    assert result.exit_code == 1
    assert "--allow-remote" in result.stderr
