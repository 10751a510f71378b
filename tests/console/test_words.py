"""Every sentence of the console is in a catalogue, and every catalogue has them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import secure_hfl.console
from protocols.core.sender import Sender
from protocols.schemes.registry import registered_scheme
from protocols.task.alignment import BatchOpen
from protocols.task.order import tables_of
from protocols.transcript.expected_ledger import expected_ledger
from protocols.transcript.run_ledger import Crossed, ledger_of_run
from secure_hfl.console.words import LANGUAGES, Words, catalogue, chosen
from tests.audit.helpers import Page

CONSOLE = Path(secure_hfl.console.__file__).parent
TEMPLATES = sorted((CONSOLE / "templates").glob("*.j2"))
SHOWN_ATTRIBUTES = re.compile(r"""\b(?:title|alt|aria-label|placeholder|data-label)="([^"]*)\"""")
NAMES = {"secure", "hfl", "TensorBoard"}


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_languages_have_the_same_sentences(language: str) -> None:
    english, other = catalogue("en"), catalogue(language)
    assert english.keys() == other.keys()
    for key, sentence in english.items():
        assert gaps(sentence) == gaps(other[key]), key
        assert bool(sentence) == bool(other[key]), key


NAMES_WITH_GAPS = ("clinic {host} (a)", "bank\\1 features of x, in 7 rounds")


@pytest.mark.parametrize("scheme", ["bfv", "masked", "paillier", "plain"])
@pytest.mark.parametrize("kind", ["trained", "frozen", "summed"])
def test_what_is_disclosed_is_said_in_chinese(scheme: str, kind: str) -> None:
    host, collaborator = NAMES_WITH_GAPS
    summed = (collaborator, "third") if kind == "summed" and scheme != "plain" else ()
    ledger = expected_ledger(scheme, host, collaborator, 7, is_trained=kind != "frozen", summed=summed)
    learned = ("host_learned", "host_may_infer", "collaborator_learned", "collaborator_may_infer")
    sentences = [each for field in learned for each in getattr(ledger, field)]
    sentences += [*ledger.never_sent_to_host, *ledger.never_sent_to_collaborator]
    for sentence in sentences:
        said = Words("zh").said(sentence)
        assert re.search("[\u4e00-\u9fff]", said), sentence
        assert (host in sentence, collaborator in sentence) == (host in said, collaborator in said)
        assert ("in 7 rounds" in sentence.replace(collaborator, "")) == ("7 轮" in said)
        assert Words("en").said(sentence) == sentence


def test_what_an_audit_may_find_besides_is_said_in_chinese() -> None:
    terms = expected_ledger("bfv", "a", "b", 1, is_trained=True)
    order = registered_scheme("bfv").task_order(True)
    tables = tables_of(order)
    crossed = {Crossed(sender, each, 1) for sender in tables for _, _, each in tables[sender]}
    found = ledger_of_run(
        "a", "b", {*crossed, Crossed(Sender.HOST, BatchOpen, 1)}, order.steps, 0.5, is_prediction=True
    )
    assert set(found.host_learned) > set(terms.host_learned)
    for sentence in (*found.host_learned, *found.host_may_infer, *found.collaborator_may_infer):
        assert re.search("[\u4e00-\u9fff]", Words("zh").said(sentence)), sentence
    assert "0.5-差分隐私" in Words("zh").said(found.collaborator_may_infer[0])


def test_a_sentence_of_a_scheme_from_elsewhere_stays() -> None:
    assert Words("zh").said("the colour of b's eyes") == "the colour of b's eyes"


def gaps(sentence: str) -> list[str]:
    """What is filled in."""
    return sorted(re.findall(r"\{(\w*)\}", sentence))


def test_sentences_are_sentences() -> None:
    assert len(catalogue("en")) > 150
    chinese = re.compile(r"[\u4e00-\u9fff]")
    assert not [key for key, sentence in catalogue("en").items() if chinese.search(sentence)]
    same = [key for key, sentence in catalogue("zh").items() if len(sentence) > 12 and not chinese.search(sentence)]
    assert not same
    assert not [key for key, sentence in catalogue("zh").items() if "主持" in sentence], (
        "the host is 发起方, as in docs"
    )


def bare_words(template: str) -> list[str]:
    """Words that a reader would see and that no catalogue has."""
    text = re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "\x00", text, flags=re.DOTALL)
    shown = [*SHOWN_ATTRIBUTES.findall(text), re.sub(r"<code>.*?</code>|<[^>]*>", "\x00", text, flags=re.DOTALL)]
    return [word for piece in shown for word in re.findall(r"[A-Za-z]{2,}", piece) if word not in NAMES]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_no_sentences(path: Path) -> None:
    assert bare_words(path.read_text("utf-8")) == []


def test_a_bare_sentence_is_found() -> None:
    assert bare_words('<p>{{ t("a.b") }} Hello</p>') == ["Hello"]
    assert bare_words('<button title="Go {{ x }}">{{ y }}</button>') == ["Go"]


def test_templates_name_sentences_that_exist() -> None:
    named = [
        (path.name, key)
        for path in TEMPLATES
        for key in re.findall(r"""\bt\("([a-z_]+\.\w+)"[,)]""", path.read_text("utf-8"))
    ]
    assert len(named) > 100
    assert [(path, key) for path, key in named if not Words("en").has(key)] == []


@pytest.mark.parametrize(
    ("wishes", "language"),
    [
        ((None, None, None), "en"),
        (("zh", "en"), "zh"),
        ((None, "zh", "en"), "zh"),
        ((None, None, "zh-CN,zh;q=0.9,en;q=0.8"), "zh"),
        ((None, None, "fr-FR, zh;q=0.5"), "zh"),
        (("<script>", "../en", "de"), "en"),
    ],
)
def test_whose_wish_counts(wishes: tuple[str | None, ...], language: str) -> None:
    assert chosen(*wishes) == language


def test_a_page_in_chinese(browser: TestClient) -> None:
    assert "任务" in browser.get("/", params={"lang": "zh"}).text
    browser.post("/preferences", data={"lang": "zh", "theme": "dark"})
    page = browser.get("/").text
    assert '<html lang="zh" data-theme="dark">' in page
    assert "任务" in page
    assert "Not started" not in page


def test_a_page_is_whole(browser: TestClient) -> None:
    """Its tags are balanced, it has landmarks, and no script or style of its own."""
    text = browser.get("/create").text
    page = Page(text)
    assert {"header", "nav", "main", "h1"} <= set(page.tags)
    assert text.count("<h1>") == 1
    assert not [name for name, _ in page.attributes if name == "style" or name.startswith("on")]
    assert not re.findall(r"<script(?![^>]*\bsrc=)", text)
    addresses = [value for name, value in page.attributes if name in ("src", "href", "action")]
    assert not [each for each in addresses if not each.startswith(("/", "#"))]


def test_pages_are_light(browser: TestClient) -> None:
    """All that a page loads is below 300 kB."""
    own = sum(path.stat().st_size for path in (CONSOLE / "static").rglob("*") if path.is_file())
    assert own + len(browser.get("/create").content) < 300_000
