"""A browser, where this machine has one and the tests were asked for: `make browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.consoles import FLAGS, Console, start

ASKED = "SECURE_HFL_BROWSER_TESTS"


def chromium() -> str | None:
    """Where it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Not part of `make test`, which has to run on machines without a browser."""
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here) and os.environ.get(ASKED) != "1":
            item.add_marker(pytest.mark.skip(reason="make browser runs these"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    path = chromium()
    assert path, "there is no Chromium on this machine: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_console(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Console]]:
    """Opens a party's console; all are closed at the end, and what their browsers complained of is an error."""
    opened: list[Console] = []

    def opens(name: str, *options: str, home: Path | None = None, **values: dict[str, int]) -> Console:
        opened.append(start(browser, name, home or tmp_path / name, *options, **values))
        return opened[-1]

    yield opens
    for console in opened:
        console.page.context.close()
        console.stop()
    assert not [each for console in opened for each in console.refused]
