"""Every page, in both themes and widths: what axe-core finds, what it weighs, when it is painted, and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from secure_hfl.identity import Identity
from secure_hfl.tasks import Invite, TaskStore, create_task, join_task
from tests.browser.consoles import NARROW, PICTURES, WIDE, Console

MOST_BYTES = 300_000
WEIGHT = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
    .reduce((sum, each) => sum + each.encodedBodySize, 0)"""
PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0].startTime"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a hospital that hosts two tasks and takes part in a third."""
    homes = {name: tmp_path / name for name in ("hospital", "laboratory")}
    parties = {name: Identity.load_or_create(home, name) for name, home in homes.items()}
    stores = {name: TaskStore(home) for name, home in homes.items()}
    for name in ("Readmission 2026", "<b>Sepsis</b> & shock"):
        pem = {"laboratory": parties["laboratory"].certificate_pem}
        create_task(stores["hospital"], parties["hospital"], name, "127.0.0.1:9500", "bfv", pem)
    pem = {"hospital": parties["hospital"].certificate_pem}
    record, _ = create_task(
        stores["laboratory"], parties["laboratory"], "Blood values", "127.0.0.1:9501", "masked", pem
    )
    join_task(stores["hospital"], parties["hospital"], Invite.of(record))
    return homes["hospital"]


def _paths(page: Page) -> list[str]:
    """All pages that links of the console's own lead to, and the tabs of the first task."""
    links = "links => links.map(link => link.getAttribute('href'))"
    found = page.locator("nav a").evaluate_all(links)
    tasks = page.locator("main a[href^='/tasks/']").evaluate_all(links)
    assert tasks, "no task is shown"
    page.goto(page.url.rstrip("/") + tasks[0])
    tabs = page.locator("nav.tabs a").evaluate_all(links)
    return list(dict.fromkeys([*found, *tabs]))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_page(open_console: Callable[..., Console], home: Path, theme: str, size: dict[str, int]) -> None:
    console = open_console("hospital", home=home, size=size)
    page, problems, figures = console.page, [], {}
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    for path in _paths(page):
        console.go(path)
        found = Axe().run(page)
        problems += [f"{path}: {each['id']}: {each['nodes'][0]['html'][:150]}" for each in found.response["violations"]]
        if page.evaluate(OVERFLOW) > 0:
            problems.append(f"{path}: it must be scrolled sideways")
        name, weight = _name(path), page.evaluate(WEIGHT)
        figures[name] = {"bytes": weight, "painted_after_ms": round(page.evaluate(PAINT))}
        if weight > MOST_BYTES:
            problems.append(f"{path}: {weight} bytes")
        if PICTURES:
            page.screenshot(
                path=Path(PICTURES) / f"{name}-{theme}-{size['width']}.png", full_page=True, animations="disabled"
            )
    if PICTURES:
        (Path(PICTURES) / f"pages-{theme}-{size['width']}.json").write_text(json.dumps(figures, indent=1) + "\n")
    assert not problems, "\n".join(problems)


def _name(path: str) -> str:
    """Of a page's picture."""
    parts = path.strip("/").split("/")
    return "-".join(["task", *parts[2:]] if len(parts) > 1 else parts) or "tasks"
