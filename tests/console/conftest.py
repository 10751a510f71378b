"""A console without a network: a home with tasks, and a browser that is signed in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from secure_hfl.console.app import Console, create_app
from secure_hfl.identity import Identity
from secure_hfl.tasks import PlannedTerms, TaskRecord, TaskStore, create_task

BASE = "http://127.0.0.1:8470"
HOSTILE = "<script>alert('x')</script>"


def here(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Instead of a process of its own, which `test_child` is about."""
    return function(*args, **kwargs)


@pytest.fixture(autouse=True)
def nobody_else_may_look() -> Iterator[None]:
    """What tests put into a home is as private as what the program does: forms are refused where others can read."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def parties() -> dict[str, Identity]:
    """Of a hospital, and of two others."""
    return {name: Identity.create(name) for name in ("hospital", "insurer", "laboratory")}


@pytest.fixture(scope="session")
def others(parties: dict[str, Identity]) -> dict[str, Identity]:
    """Collaborators, one with a name that tries to be markup."""
    return {"insurer": parties["insurer"], HOSTILE: Identity.create(HOSTILE)}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def hospital(home: Path) -> Identity:
    """Who the home belongs to."""
    return Identity.load_or_create(home, "hospital")


@pytest.fixture
def task(home: Path, hospital: Identity, others: dict[str, Identity]) -> TaskRecord:
    """A task that the hospital hosts."""
    pems = {name: party.certificate_pem for name, party in others.items()}
    terms = PlannedTerms(max_rounds=3)
    return create_task(TaskStore(home), hospital, "Readmission", "host.example:9500", "bfv", pems, terms=terms)[0]


@pytest.fixture
def app(home: Path) -> Console:
    """Its console."""
    return create_app(home, apart=here)


@pytest.fixture
def stranger(app: Console) -> Iterator[TestClient]:
    """A browser that is not signed in."""
    with TestClient(app, BASE, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def browser(app: Console, stranger: TestClient) -> TestClient:
    """A browser that is signed in, whose requests have its session's token in the header that scripts send."""
    return signed_in(app, stranger)


def signed_in(app: Console, client: TestClient) -> TestClient:
    """Open the printed address."""
    sessions = app.state.context.sessions
    answer = client.get("/sign-in", params={"token": sessions.new_address_token()})
    assert answer.status_code == 200
    client.headers["x-form-token"] = sessions.find(client.cookies[app.state.context.cookie]).form_token
    return client
