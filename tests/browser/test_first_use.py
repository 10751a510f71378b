"""From nothing to an audited encrypted task, by two people who never see a terminal after `secure-hfl console`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

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
    host.fill("Address of this party", "127.0.0.1:9511")
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
        console.sees("Readmission <script>alert(1)</script>")
