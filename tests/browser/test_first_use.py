"""From nothing to an audited encrypted task, by two people who never see a terminal after `secure-hfl console`."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness.limits import TASK
from secure_hfl.local_parties import free_port
from tests.browser.consoles import Console

SLOW = """
import time
from secure_hfl.examples.breast_cancer import columns
from secure_hfl.examples.breast_cancer.host import Clinic

class Slow(Clinic):
    def train_a_batch(self, *given):
        time.sleep(0.2)
        super().train_a_batch(*given)

Slow("clinic", max_rounds=4, log_rounds=1, projection=columns.PROJECTION).launch_task("YOUR_TASK_ID")
"""


def test_two_people_make_a_task(open_console: Callable[..., Console], tmp_path: Path) -> None:
    host, other = open_console("hospital"), open_console("laboratory")
    begun = time.monotonic()
    make_task(host, other, "Readmission risk 2026", tmp_path / "mail")
    for console in (host, other):
        console.choose("Script", "Example: breast cancer, columns of a table")
    host.click("Check data")
    host.sees(re.compile("^(Ready|Not sure)$"), TASK)
    for console in (host, other):
        console.click("Start")
    for console in (host, other):
        console.sees("All parties have trained to the end.", 3 * TASK)
        console.page.reload()
    host.sees(re.compile("0[.][0-9]+"))
    host.picture("trained")
    host.page.goto(f"{host.page.url}?lang=zh")
    host.sees("各方已训练完毕")
    host.picture("trained-chinese")
    host.page.goto(host.page.url.partition("?")[0])
    other.click("Audit", "link")
    other.click("Audit")
    other.sees("Everything holds", TASK)
    other.picture("audited")
    host.click("Results", "link")
    host.picture("results")
    seconds = time.monotonic() - begun
    print(f"{host.clicks + other.clicks} clicks, {host.words + other.words} fields filled in, {seconds:.0f} s")


def test_a_killed_party_is_seen_and_goes_on_by_a_click(
    open_console: Callable[..., Console], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECURE_HFL_CHECKPOINT_EVERY", "2")
    scripts = tmp_path / "scripts"
    scripts.mkdir(mode=0o700)
    (scripts / "slow_host.py").write_text(SLOW)
    host = open_console("hospital", "--scripts", str(scripts))
    other = open_console("laboratory")
    make_task(host, other, "Stroke", tmp_path / "mail")
    host.choose("Script", "slow_host.py")
    other.choose("Script", "Example: breast cancer, columns of a table")
    for console in (host, other):
        console.click("Start")
    host.sees(re.compile("^Round 2 of 4"), 3 * TASK)
    ((lock,),) = [list(host.home.glob("tasks/*/run.lock"))]
    os.kill(int(lock.read_text()), signal.SIGKILL)
    host.sees("The process of this party is gone: it was killed.", TASK)
    host.click("Resume")
    for console in (host, other):
        console.sees("All parties have trained to the end.", 3 * TASK)
    other.click("Audit", "link")
    other.click("Audit")
    other.sees("Everything holds", TASK)


def make_task(host: Console, other: Console, name: str, mail: Path) -> None:
    """From two new identities to a task that both have; each is on its page at the end."""
    for console in (host, other):
        console.click("Identity", "link")
        console.fill("Name of this party", console.name)
        console.click("Make the identity")
    certificate = other.download("Download the certificate", mail)
    host.click("Create a task", "link")
    host.fill("Name of the task", name)
    host.fill("Address of this party", f"127.0.0.1:{free_port()}")
    host.upload("Certificate files, one of each collaborator", certificate)
    host.click("Next: compare fingerprints")
    shown, own = host.page.locator(".party-row .fingerprint"), other.page.locator(".fingerprint.large")
    assert "".join(shown.inner_text().split()) == "".join(own.inner_text().split())
    host.click("They are the same: create the task")
    code = host.page.locator(".code-to-read").inner_text()
    invite = host.download("Download the invite", mail)
    other.click("Join a task", "link")
    other.upload("The invite", invite)
    other.fill("What the host reads out to you", code)
    other.click("Next: the terms")
    other.sees(re.compile("fits what you were told"))
    other.click("Accept and join")
    for console in (host, other):
        console.go("/")
        console.click(name, "link")
