"""What the documentation names exists: paths, commands, options, variables, links; and its Python compiles."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from protocols.core.message import Message
from protocols.core.wire_format import FIRST_PLUG_IN, wire_format
from secure_hfl import mock_context
from secure_hfl.cli.app import app
from secure_hfl.run_options import PREFIX, RunOptions

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
    ROOT / "protocols" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
ROOMS = ("protocols", "secure_hfl", "tests", "benchmarks", "docs", "proto", ".ci")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(text: str, *languages: str) -> Iterator[str]:
    """The fenced blocks in one of these languages."""
    return (body for language, body in FENCE.findall(text) if language in languages)


def spans(text: str) -> list[str]:
    """What stands in backquotes, outside of blocks."""
    return SPAN.findall(FENCE.sub("", text))


def heading_names(text: str) -> set[str]:
    """What links call the headings, here and on the repository's web pages."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def commands(text: str) -> Iterator[list[str]]:
    """Every use of the command line: in blocks, and in backquotes."""
    lines = [line for body in blocks(text, "sh") for line in body.replace("\\\n", " ").splitlines()]
    for line in (*lines, *spans(text)):
        if line.startswith("secure-hfl "):
            yield shlex.split(line.replace("|", " "), comments=True)[1:]


@every_page
def test_paths_exist(page: Path) -> None:
    named = [name for name in spans(page.read_text("utf-8")) if re.fullmatch(r"[\w./*-]+", name)]
    paths = [name for name in named if "/" in name and name.split("/")[0] in ROOMS]
    assert [name for name in paths if not (ROOT / name).exists()] == []


@every_page
def test_python_files_that_are_named_alone_exist(page: Path) -> None:
    known = {path.name for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    named = {name for name in spans(page.read_text("utf-8")) if re.fullmatch(r"\w+\.py", name)}
    assert named - known == set()


@every_page
def test_modules_that_are_run_exist(page: Path) -> None:
    modules = set(re.findall(r"python -m (benchmarks[\w.]*)", page.read_text("utf-8")))
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


@every_page
def test_commands_and_options_exist(page: Path) -> None:
    for words in commands(page.read_text("utf-8")):
        command = typer.main.get_command(app)
        said = "secure-hfl"
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            name = words.pop(0)
            assert name in command.commands, f"{said} has no command {name}"
            command, said = command.commands[name], f"{said} {name}"
        known = {"--help", "-h"} | {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
        for word in words:
            assert not word.startswith("-") or word in known, f"{said} has no option {word}"


@every_page
def test_options_that_are_named_alone_exist(page: Path) -> None:
    known = {"--strict", *all_options(typer.main.get_command(app))}
    known |= set(re.findall(r'"(--[\w-]+)"', sources("benchmarks")))
    named = {word for name in spans(page.read_text("utf-8")) for word in re.findall(r"(?<![\w-])--[a-z-]+", name)}
    assert named - known == set()


def all_options(command: object) -> Iterator[str]:
    """Of a command and those below it."""
    for each in getattr(command, "params", ()):
        yield from (*each.opts, *each.secondary_opts)
    for below in getattr(command, "commands", {}).values():
        yield from all_options(below)


def sources(room: str) -> str:
    """All Python of a room in one text."""
    return "\n".join(path.read_text("utf-8") for path in sorted((ROOT / room).rglob("*.py")))


@every_page
def test_environment_variables_exist(page: Path) -> None:
    known = set(re.findall(r"SECURE_HFL_\w+", sources("secure_hfl") + sources("protocols")))
    known |= set(re.findall(r"SECURE_HFL_\w+", (ROOT / "hatch_build.py").read_text("utf-8")))
    known |= {f"SECURE_HFL_{name}" for name in re.findall(r'"([A-Z_]+)"', sources("secure_hfl"))}
    known |= {PREFIX + name.upper() for name in RunOptions.model_fields}
    assert set(re.findall(r"SECURE_HFL_\w+", page.read_text("utf-8"))) - known == set()


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if link.startswith("https://"):
            continue
        target, _, heading = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.is_file(), link
        assert not heading or heading in heading_names(path.read_text("utf-8")), link


@every_page
def test_python_compiles(page: Path) -> None:
    for body in blocks(page.read_text("utf-8"), "python"):
        ast.parse(body)


def kinds(base: type[Message]) -> Iterator[type[Message]]:
    """All types of message that have no further ones below them."""
    for below in base.__subclasses__():
        yield from kinds(below) if below.__subclasses__() else (below,)


def test_make_targets_that_readme_names_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    lines = [line for page in PAGES for body in blocks(page.read_text("utf-8"), "sh") for line in body.splitlines()]
    named = {words[1] for words in map(str.split, lines) if words[:1] == ["make"]}
    assert {"demo", "test", "docs"} <= named <= targets


def test_the_protocols_page_has_every_message() -> None:
    """As every message has its entry in the ledger: no type travels that the page does not explain."""
    page = (ROOT / "protocols" / "README.md").read_text("utf-8")
    table = page.split("## Who learns what")[1].split("\n## ")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", table))
    importlib.import_module("protocols.schemes.registry")
    importlib.import_module("protocols.task.order")
    rooms = tuple(
        f"protocols.{room}." for room in ("layer", "lookup", "overlap", "psi", "schemes", "task", "transcript")
    )
    assert named == {each.__name__ for each in kinds(Message) if each.__module__.startswith(rooms)}


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").split("nav:")[1]
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in navigation] == []
    named = set(re.findall(r"[\w.-]+\.md", navigation))
    brought = set(re.findall(r'": "([\w.-]+\.md)"', (ROOT / "docs" / "hooks.py").read_text("utf-8")))
    assert named == brought | {page.name for page in (ROOT / "docs").glob("*.md")}


def test_pages_ask_nothing_of_other_servers() -> None:
    """Links may lead elsewhere; pictures, styles and scripts may not come from there."""
    listed = subprocess.run(["git", "ls-files", "docs"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    texts = {name for name in listed.split() if not name.endswith(".png")}
    for name in {*texts, *(str(page.relative_to(ROOT)) for page in PAGES), "docs/architecture.svg"}:
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"!\[[^\]]*\]\(https?:|(?:src|href)=.https?:|@import|url\(\s*.?https?:", text), name
    assert "font: false" in (ROOT / "mkdocs.yml").read_text("utf-8")


def test_the_host_in_readme_and_its_collaborator_run() -> None:
    """As a task would run them, with made-up peers and rows."""
    for page, key, peer, columns in (
        ("README.md", "hospital_a", "hospital_b", 30),
        ("docs/writing-a-task.md", "hospital_b", "hospital_a", 12),
    ):
        source = next(blocks((ROOT / page).read_text("utf-8"), "python"))
        assert f'feature_key="{key}"' in source

        is_host = key == "hospital_a"

        def loader(ids: set[str], _: int, columns: int = columns, is_host: bool = is_host) -> Iterator[Any]:
            for start in range(0, len(ids), 32):
                rows = torch.randn(min(32, len(ids) - start), columns)
                yield (rows, torch.randint(2, (len(rows),))) if is_host else rows

        with mock_context(peers={peer: 20}) as mock:
            exec(compile(source, page, "exec", dont_inherit=True), {"loader": loader})  # noqa: S102
        assert {finding.status for finding in mock.findings} <= {"ok"}, mock.findings
        assert {"load_local_ids", "iterate_train_feature"} <= {finding.step for finding in mock.findings}


def test_the_message_in_writing_a_scheme_may_travel() -> None:
    source = next(blocks((ROOT / "docs" / "writing-a-scheme.md").read_text("utf-8"), "python"))
    module = {"__name__": "my_package.messages"}
    exec(compile(source, "writing-a-scheme.md", "exec", dont_inherit=True), module)  # noqa: S102
    declared = wire_format(module["HalvedFeatures"])
    assert declared.number == FIRST_PLUG_IN
    assert [(field.name, field.type) for field in declared.fields] == [("features", "Tensor")]
    assert declared.ledger.host_learns
