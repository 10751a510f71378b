"""Who may ask the console for what."""

from __future__ import annotations

from starlette.testclient import TestClient


def test_nobody_gets_in_without_the_address(stranger: TestClient) -> None:
    assert stranger.get("/").status_code == 401


def test_signed_in(browser: TestClient) -> None:
    answer = browser.get("/")
    assert answer.status_code == 200
    assert "Tasks" in answer.text
