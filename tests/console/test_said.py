"""What the rest of the program says in English is there in Chinese: ledger, audits, errors. New sentences, too."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from protocols.core.errors import SecureHflError
from protocols.core.ledger import KeptFromCollaborator, KeptFromHost
from protocols.core.sentence import say
from protocols.core.wire_format import wire_format
from protocols.schemes.registry import known_types, registered_names
from protocols.task.abort_code import AbortCode
from protocols.transcript import errors, run_ledger
from secure_hfl.audit.audit_files import audit_files
from secure_hfl.audit.page import page
from secure_hfl.console.words import Words, kinds, sentences
from secure_hfl.errors import TaskError, TaskNotFound
from tests.audit.helpers import PLAIN, write

ROOT = Path(__file__).parents[2]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
SPEAKING = (
    *sorted((ROOT / "protocols/transcript").glob("*.py")),
    *(ROOT / "secure_hfl/audit" / name for name in ("remarks.py", "report_text.py", "timeline_figure.py")),
    *sorted((ROOT / "secure_hfl/console").rglob("*.py")),
    *sorted((ROOT / "secure_hfl/supervision").glob("*.py")),
    *(ROOT / "secure_hfl/tasks" / name for name in ("confirmation.py", "invite.py", "record.py")),
    ROOT / "protocols/task/resumption.py",
    ROOT / "secure_hfl/identity.py",
    ROOT / "secure_hfl/cli/doctor_checks.py",
)
"""Modules whose sentences a page of the console shows."""

SHOWN_AS_ERRORS = re.compile("secure_hfl/(console|supervision|tasks|identity)")
"""Where whatever is raised is shown."""


def in_chinese(text: str) -> str | None:
    """What the catalogues have for an English sentence."""
    return sentences("zh").get(text)


def constants(node: ast.AST, known: dict[str, list[ast.expr]]) -> Iterator[str]:
    """The strings that an expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body, known)
        yield from constants(node.orelse, known)
    elif isinstance(node, ast.Name):
        for value in known.get(node.id, ()):
            yield from constants(value, {})


def spoken(path: Path) -> set[str]:
    """What a module says by `say`, and, where errors are shown as they are, what it raises without."""
    tree, known = ast.parse(path.read_text("utf-8")), dict[str, list[ast.expr]]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    known.setdefault(target.id, []).append(node.value)
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and SHOWN_AS_ERRORS.search(path.as_posix()):
            node = node.exc or node
        elif not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TELLING):
            continue
        if isinstance(node, ast.Call) and node.args:
            for argument in node.args if getattr(node.func, "id", "") != "say" else node.args[:1]:
                found.update(constants(argument, known))
    return {text for text in found if " " in text and not text.startswith(("pip install ", "secure-hfl "))}


TELLING = {"say", "Row", *(name for name, each in vars(errors).items() if isinstance(each, type))}


def test_every_sentence_of_the_ledger() -> None:
    types = {each for scheme in registered_names() for each in known_types(scheme).values()}
    entries = [wire_format(each).ledger for each in types]
    fields = ("readers", "host_learns", "collaborator_learns", "argument", "host_learns_in_sum")
    texts = {getattr(entry, field) for entry in entries for field in fields} - {""}
    texts |= {kept.value for kept in (*KeptFromHost, *KeptFromCollaborator)}
    ours = {name: value for name, value in vars(run_ledger).items() if name.strip("_").isupper()}
    texts |= {value for value in ours.values() if isinstance(value, str)}
    texts |= {entry.content.value for entry in entries}
    assert len(texts) > 100
    assert [text for text in sorted(texts) if in_chinese(text) is None] == []


@pytest.mark.parametrize("path", SPEAKING, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sentence_that_a_page_shows(path: Path) -> None:
    assert sorted(text for text in spoken(path) if in_chinese(text) is None) == []


def test_the_search_finds_sentences(tmp_path: Path) -> None:
    path = tmp_path / "secure_hfl" / "console" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        'text = "a b" if x else "c d"\nsay(text)\nraise TaskError("e f")\nBrokenChain("g h", "i j")\nother("k l")'
    )
    assert spoken(path) == {"a b", "c d", "e f", "g h", "i j"}


def test_what_a_finding_means() -> None:
    meanings = {each.meaning for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "meaning")}
    assert [text for text in sorted(meanings - {""}) if in_chinese(text) is None] == []


def test_every_kind_of_error() -> None:
    names = {code.value for code in AbortCode} | error_classes()
    assert len(names) > 60
    assert sorted(names - kinds("zh").keys()) == []
    assert sorted(kinds("zh").keys() - names) == []


def error_classes() -> set[str]:
    """All classes of the project that come from its root of errors, by their names and those of their bases."""
    sources = [path.read_text("utf-8") for root in ("protocols", "secure_hfl") for path in (ROOT / root).rglob("*.py")]
    classes = [
        each for source in sources for each in re.findall(r"^class (\w+)\(([\w.]+(?:, [\w.]+)*)\):", source, re.M)
    ]
    found, before = {SecureHflError.__name__}, 0
    while len(found) > before:
        before = len(found)
        found |= {name for name, bases in classes if found & {base.rpartition(".")[2] for base in bases.split(", ")}}
    return found


def test_translations_have_the_gaps_of_the_english() -> None:
    def gaps(text: str) -> set[tuple[str | None, str | None, str | None]]:
        return {(name, form, how) for _, name, form, how in Formatter().parse(text) if name is not None}

    known = sentences("zh")
    assert [english for english, said in known.items() if gaps(english) != gaps(said)] == []
    words = (re.sub(r"{.*?}", "", said) for said in (*known.values(), *kinds("zh").values()))
    assert [text for text in words if len(text) > 12 and not CHINESE.search(text)] == []


def test_a_page_of_an_audit_has_no_english_sentence(tmp_path: Path) -> None:
    host, other = write(tmp_path, PLAIN)
    lines = host.read_bytes().splitlines(keepends=True)
    torn = tmp_path / "torn.transcript"
    torn.write_bytes(b"".join(lines[:-4]) + b"x" + lines[-4])
    for own, peer in ((host, None), (host, other), (torn, None)):
        text = page(audit_files(own, peer, with_timeline=True), Words("zh").said, "zh")
        shown = html.unescape(re.sub(r"<style>.*?</style>|<code>.*?</code>|<[^>]*>", "\n", text, flags=re.DOTALL))
        assert re.findall(r"[A-Za-z]+ [a-z]+ [a-z]+.*", shown) == []
        assert '<html lang="zh">' in text


def test_an_error_is_explained() -> None:
    english, chinese = Words("en"), Words("zh")
    plain = TaskNotFound("no task 'x' here")
    assert english.explained(plain) == ("No task 'x' here", "")
    assert chinese.explained(plain) == (kinds("zh")["TaskNotFound"], "No task 'x' here")
    text = "two collaborators are called {name!r}; give each a name of its own"
    known = TaskError(say(text, name="{0}<b>"))
    assert english.explained(known).text == "Two collaborators are called '{0}<b>'; give each a name of its own"
    assert chinese.explained(known) == (sentences("zh")[text].format(name="{0}<b>"), "")
    assert chinese.explained("clinic left", "ConnectionLost") == (kinds("zh")["ConnectionLost"], "Clinic left")
    assert chinese.explained("a.pem: who knows") == ("", "a.pem: who knows")
