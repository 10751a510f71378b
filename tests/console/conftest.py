"""A console without a network: a home with tasks, and a browser that is signed in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from secure_hfl.console.app import Console, create_app
from secure_hfl.identity import Identity

BASE = "http://127.0.0.1:8470"


@pytest.fixture(scope="session")
def parties() -> dict[str, Identity]:
    """Of a hospital, whose console is looked at, and of two others."""
    return {name: Identity.create(name) for name in ("hospital", "insurer", "laboratory")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def app(home: Path) -> Console:
    """Its console."""
    return create_app(home)


@pytest.fixture
def stranger(app: Console) -> Iterator[TestClient]:
    """A browser that is not signed in."""
    with TestClient(app, BASE, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def browser(app: Console, stranger: TestClient) -> TestClient:
    """A browser that is signed in; `form_token` of its session is in the header that scripts send."""
    token = app.state.context.sessions.new_address_token()
    answer = stranger.get("/sign-in", params={"token": token})
    assert answer.status_code == 200
    cookie = stranger.cookies[app.state.context.cookie]
    session = app.state.context.sessions.find(cookie)
    stranger.headers["x-form-token"] = session.form_token
    return stranger
