"""Two parties' consoles as processes of their own, each looked at with a browser of its own, as their people would.

What they are told travels as it does in life: files are downloaded and uploaded, codes are read out.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from benchmarks.harness.limits import START, seconds

ROOT = Path(__file__).parents[2]
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
"""A browser that asks nobody for anything but the page."""

PICTURES = os.environ.get("SECURE_HFL_SCREENSHOTS", "")
"""A directory that pictures go to; empty: they are not wanted."""

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 400, "height": 800}


@dataclass
class Console:
    """A party's console and the browser that it is looked at with.

    Attributes:
        name: of the party.
        home: its directory.
        page: of the browser, signed in.
        clicks: how often its person has clicked or chosen a file.
        words: how many fields the person has filled in.
        refused: what the browser has refused or failed to load, and every request that did not go to the console.
    """

    name: str
    home: Path
    process: subprocess.Popen[str]
    page: Page
    base: str
    clicks: int = 0
    words: int = 0
    refused: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """To a page of the console."""
        self.page.goto(self.base + path)

    def click(self, name: str, role: Any = "button") -> None:
        """What has this name; the first, if there are several."""
        self.press(self.page.get_by_role(role, name=name, exact=True).first)

    def press(self, what: Locator) -> None:
        """Click it."""
        what.click()
        self.clicks += 1

    def fill(self, label: str, text: str) -> None:
        """A field, by its label."""
        self.page.get_by_label(label, exact=True).fill(text)
        self.words += 1

    def choose(self, label: str, option: str) -> None:
        """Of a list."""
        self.page.get_by_label(label, exact=True).select_option(label=option)
        self.clicks += 1

    def upload(self, label: str, *files: Path) -> None:
        """Choose files."""
        self.page.get_by_label(label, exact=True).set_input_files(list(files))
        self.clicks += 1

    def download(self, name: str, to: Path) -> Path:
        """What a link gives."""
        with self.page.expect_download() as begun:
            self.click(name, "link")
        to.mkdir(exist_ok=True)
        path = to / begun.value.suggested_filename
        begun.value.save_as(path)
        return path

    def sees(self, text: str | re.Pattern[str], quiet_seconds: float = 10.0) -> Locator:
        """Wait until this text is to be seen."""
        found = self.page.get_by_text(text).first
        expect(found).to_be_visible(timeout=1000 * seconds(quiet_seconds))
        return found

    def picture(self, name: str) -> None:
        """Of what is to be seen, at both widths and in both themes, if pictures are wanted: `PICTURES`."""
        for width, size in (("narrow", NARROW), ("wide", WIDE)) if PICTURES else ():
            self.page.set_viewport_size(size)  # type: ignore[arg-type]
            for theme in ("dark", "light"):
                self.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
                path = Path(PICTURES) / f"{name}-{width}-{theme}.png"
                self.page.screenshot(path=path, animations="disabled")

    def stop(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(seconds(10))


def start(browser: Browser, name: str, home: Path, *options: str, size: dict[str, int] | None = None) -> Console:
    """A console and a browser that has opened its address."""
    command = [sys.executable, "-m", "secure_hfl", "console", "--port", "0", "--no-open", *options]
    environment = {**os.environ, "SECURE_HFL_HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    address = _address(process)
    page = browser.new_context(viewport=size or WIDE, locale="en-GB", accept_downloads=True).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(1000 * seconds(10))
    base = address.partition("/sign-in")[0]
    console = Console(name, home, process, page, base)
    page.on("request", lambda sent: console.refused.append(sent.url) if not _is_own(sent.url, base) else None)
    page.on("console", lambda said: console.refused.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: console.refused.append(str(error)))
    page.goto(address)
    page.wait_for_url(base + "/")
    return console


def _is_own(url: str, base: str) -> bool:
    return url.startswith((base + "/", "data:", "blob:"))


def _address(process: subprocess.Popen[str]) -> str:
    """What it prints. Of what follows it prints a line or two, which wait in the pipe."""
    assert process.stdout is not None
    end, said = time.monotonic() + seconds(START), ""
    for line in process.stdout:
        said += line
        found = re.search(r"https?://\S+/sign-in\?token=\S+", line)
        if found:
            return found.group()
        assert time.monotonic() < end, said
    raise AssertionError(f"the console ended: {said}")
