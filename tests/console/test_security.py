"""Who may ask the console for what, and what every answer says to the browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from secure_hfl.console import sessions as rules
from secure_hfl.console.app import Console, create_app
from secure_hfl.console.guard import HEADERS, POLICY
from secure_hfl.console.sessions import Sessions
from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskRecord
from tests.console.conftest import BASE, here, signed_in

OWN = "/preferences"
"""A form that changes nothing but cookies."""


def paths(app: Console, task: str) -> list[tuple[str, str]]:
    """Method and path of every page, with a task's id in it."""
    pages = [route for route in app.routes if isinstance(route, Route)]
    assert len(pages) > 15
    assert {type(route) for route in app.routes} == {Route, Mount}
    return [
        (method, re.sub(r"\{task(:\w+)?\}", task, route.path))
        for route in pages
        for method in sorted(route.methods or ())
    ]


def test_nobody_gets_in_without_the_address(app: Console, stranger: TestClient, task: TaskRecord) -> None:
    for method, path in paths(app, task.task_id):
        answer = stranger.request(method, path)
        if path in ("/sign-in", "/health"):
            assert answer.status_code == 200
        else:
            assert answer.status_code == 401, path
            assert "Readmission" not in answer.text


def test_every_answer_has_the_headers(app: Console, browser: TestClient, task: TaskRecord) -> None:
    asked = [*paths(app, task.task_id), ("GET", "/nowhere"), ("PUT", "/"), ("GET", "/static/console.css")]
    for method, path in asked:
        # A form that is acted on might start something.
        refused = {"x-form-token": ""} if method == "POST" and path != OWN else {}
        with browser.stream(method, path, headers=refused) as answer:  # some have no end
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, f"{method} {path}: {name}"
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY


def test_the_address_works_once(app: Console, stranger: TestClient) -> None:
    announced = []
    object.__setattr__(app.state.context, "announce", lambda: announced.append(1))
    token = app.state.context.sessions.new_address_token()
    answer = stranger.get("/sign-in", params={"token": token})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert token not in answer.text
    assert announced == [1]
    assert stranger.get("/").status_code == 200
    stranger.cookies.clear()
    again = stranger.get("/sign-in", params={"token": token})
    assert again.status_code == 401
    assert "set-cookie" not in again.headers
    assert stranger.get("/").status_code == 401


def test_who_only_looks_where_the_address_leads_does_not_use_it_up(app: Console, stranger: TestClient) -> None:
    address = f"/sign-in?token={app.state.context.sessions.new_address_token()}"
    assert "set-cookie" not in stranger.head(address).headers
    assert stranger.get(address).status_code == 200
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("token", ["", "0", "é", "x" * 5000])
def test_a_wrong_token_signs_nobody_in(app: Console, stranger: TestClient, token: str) -> None:
    right = app.state.context.sessions.new_address_token()
    assert stranger.get("/sign-in", params={"token": token}).status_code == 401
    assert stranger.get("/sign-in", params={"token": right}).status_code == 200


def test_signed_out(browser: TestClient) -> None:
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/").status_code == 401


def test_a_session_ends() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    cookie = sessions.sign_in(sessions.new_address_token())
    assert cookie is not None
    assert sessions.find(cookie) is not None
    while now[0] + 3600 < rules.AGE_SECONDS:
        now[0] += 3600
        assert sessions.find(cookie) is not None
    now[0] += 3601
    assert sessions.find(cookie) is None
    other = sessions.sign_in(sessions.new_address_token())
    assert other is not None
    now[0] += rules.IDLE_SECONDS + 1
    assert sessions.find(other) is None


def test_there_are_only_so_many_sessions() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    cookies = []
    for _ in range(rules.MAX_SESSIONS + 1):
        now[0] += 1
        cookies.append(str(sessions.sign_in(sessions.new_address_token())))
    assert [each for each in cookies if sessions.find(each) is None] == cookies[:1]


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({}, {}, 303),
        ({"x-form-token": ""}, {}, 403),
        ({"x-form-token": "0" * 64}, {}, 403),
        ({"x-form-token": ""}, {"form_token": "0" * 64}, 403),
        ({"x-form-token": ""}, {"form_token": "own"}, 303),
        ({"origin": BASE}, {}, 303),
        ({"origin": "http://evil.example"}, {}, 403),
        ({"origin": "http://127.0.0.1:9999"}, {}, 403),
        ({"origin": "null"}, {}, 403),
        ({"sec-fetch-site": "same-origin"}, {}, 303),
        ({"sec-fetch-site": "cross-site"}, {}, 403),
        ({"sec-fetch-site": "same-site"}, {}, 403),
    ],
)
def test_forms_come_from_own_pages(
    browser: TestClient, headers: dict[str, str], fields: dict[str, str], status: int
) -> None:
    own = browser.headers["x-form-token"]
    sent = {name: own if value == "own" else value for name, value in fields.items()}
    answer = browser.post(OWN, headers=headers, data={"theme": "dark", **sent})
    assert answer.status_code == status
    assert ("set-cookie" in answer.headers) == (status == 303)


def test_one_sessions_token_is_not_anothers(app: Console, browser: TestClient) -> None:
    token = browser.headers["x-form-token"]
    with TestClient(app, BASE, follow_redirects=False) as other:
        signed_in(app, other)
        assert other.post(OWN, data={"theme": "dark"}).status_code == 303
        assert other.post(OWN, data={"theme": "dark"}, headers={"x-form-token": token}).status_code == 403


def test_every_form_is_checked(app: Console, browser: TestClient, task: TaskRecord) -> None:
    for method, path in paths(app, task.task_id):
        if method == "POST":
            assert browser.post(path, headers={"x-form-token": "0" * 64}).status_code == 403, path


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8470", 200),
        ("localhost:8470", 200),
        ("LOCALHOST", 200),
        ("[::1]:8470", 200),
        ("evil.example", 421),
        ("evil.example:8470", 421),
        ("127.0.0.1.evil.example:8470", 421),
        ("127.0.0.1:8470@evil.example", 421),
        ("localhost:8470/evil.example", 421),
        ("", 421),
    ],
)
def test_the_console_has_its_own_name_only(browser: TestClient, host: str, status: int) -> None:
    assert browser.get("/", headers={"host": host}).status_code == status


def test_names_of_a_certificate(home: Path) -> None:
    app = create_app(home, ["console.example", "*.lab.example"], apart=here)
    with TestClient(app, BASE) as client:
        statuses = {
            host: client.get("/health", headers={"host": host}).status_code
            for host in ("console.example:1", "a.lab.example", "a.b.lab.example", "lab.example", "127.0.0.1")
        }
    assert statuses == {
        "console.example:1": 200,
        "a.lab.example": 200,
        "a.b.lab.example": 421,
        "lab.example": 421,
        "127.0.0.1": 421,
    }


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(browser: TestClient, method: str) -> None:
    assert browser.request(method, "/").status_code == 405


def test_what_is_sent_is_no_longer_than_a_page_takes(browser: TestClient) -> None:
    assert browser.post(OWN, data={"back": "/" * (1 << 20)}).status_code == 413

    def pieces() -> Any:
        for _ in range(40):
            yield b"a" * (1 << 16)

    form = {"content-type": "application/x-www-form-urlencoded"}
    assert browser.post(OWN, content=pieces(), headers=form).status_code == 413
    assert browser.post(OWN, content=b"", headers={"content-length": "-1"}).status_code in (400, 413)


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_form_leads_nowhere_else(browser: TestClient, back: str) -> None:
    answer = browser.post(OWN, data={"back": back, "lang": "zh"})
    assert answer.headers["location"] == "/"
    assert browser.post(OWN, data={"back": "/doctor"}).headers["location"] == "/doctor"


def test_no_page_has_a_secret(app: Console, browser: TestClient, home: Path, task: TaskRecord) -> None:
    key = Identity.load_or_create(home).private_key_pem.decode()
    lines = [line for line in key.splitlines() if not line.startswith("-")]
    cookie = browser.cookies[app.state.context.cookie]
    token = app.state.context.sessions.new_address_token()
    seen = 0
    for method, path in paths(app, task.task_id):
        if method == "GET" and not path.endswith("/events"):
            text = browser.get(path).text
            assert not [secret for secret in (*lines, cookie, token, "PRIVATE KEY") if secret in text], path
            seen += 1
    assert seen > 10


def test_a_home_that_others_can_read_is_refused(browser: TestClient, home: Path, hospital: Identity) -> None:
    home.chmod(0o755)
    answer = browser.post(OWN, data={"theme": "dark"})
    assert answer.status_code == 400
    assert "chmod 700" in answer.text


def test_an_unknown_error_says_nothing(app: Console, browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("secure_hfl.tasks.TaskStore.list", broken)
    answer = browser.get("/")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY
