"""From nothing to an audited encrypted task, by two people who never see a terminal after `secure-hfl console`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.limits import TASK
from secure_hfl.local_parties import free_port
from tests.browser.consoles import Console


def test_two_people_make_a_task(open_console: Callable[..., Console], tmp_path: Path) -> None:
    host, other = open_console("hospital"), open_console("laboratory")
    for console in (host, other):
        console.click("Identity", "link")
        console.fill("Name of this party", console.name)
        console.click("Make the identity")
    certificate = other.download("Download the certificate", tmp_path / "mail")
    host.click("Create a task", "link")
    host.fill("Name of the task", "Readmission <script>alert(1)</script>")
    host.fill("Address of this party", f"127.0.0.1:{free_port()}")
    host.upload("Certificate files, one of each collaborator", certificate)
    host.click("Next: compare fingerprints")
    shown = host.page.locator(".party-row .fingerprint").inner_text()
    assert other.page.locator(".fingerprint.large").inner_text() == shown
    host.click("They are the same: create the task")
    code = host.page.locator(".code-to-read").inner_text()
    invite = host.download("Download the invite", tmp_path / "mail")
    other.click("Join a task", "link")
    other.upload("The invite", invite)
    other.fill("What the host reads out to you", code)
    other.click("Next: the terms")
    other.sees(re.compile("fits what you were told"))
    other.click("Accept and join")
    for console in (host, other):
        console.go("/")
        console.click("Readmission <script>alert(1)</script>", "link")
        console.choose("Script", "Example: breast cancer, columns of a table")
    host.click("Check data")
    host.sees(re.compile("^(Ready|Not sure)$"), TASK)
    for console in (host, other):
        console.click("Start")
    for console in (host, other):
        console.sees("All parties have trained to the end.", 3 * TASK)
        console.page.reload()
    host.sees(re.compile("0[.][0-9]+"))
    other.click("Audit", "link")
    other.click("Audit")
    other.sees("Everything holds", TASK)
    print(f"{host.clicks + other.clicks} clicks, {host.words + other.words} fields filled in")
