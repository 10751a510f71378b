"""From nothing to a task that both parties have, each at its own console; and what is refused on the way."""

from __future__ import annotations

import html
import re
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from secure_hfl.console.app import create_app
from secure_hfl.identity import Identity
from secure_hfl.tasks import AcceptedLimits, Invite, PlannedTerms, TaskRecord, TaskStore, create_task, pairing_code
from tests.console.conftest import BASE, HOSTILE, here, signed_in

CREATE = {"name": "Readmission", "address": "host.example:9500", "scheme": "bfv", "max_rounds": "3"}


def fields_of(page: str) -> dict[str, str | list[str]]:
    """What the hidden and the filled-in fields of a form would send; checked boxes too."""
    found: dict[str, str | list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", page):
        named = re.search(r'\bname="([^"]*)"', tag)
        value = re.search(r'\bvalue="([^"]*)"', tag)
        if named is None or ('type="checkbox"' in tag and " checked" not in tag):
            continue
        text, before = html.unescape(value[1]) if value else "", found.get(named[1])
        if before is None:
            found[named[1]] = text
        else:
            found[named[1]] = [*([before] if isinstance(before, str) else before), text]
    return found


def upload(browser: TestClient, path: str, fields: dict[str, str], **files: list[tuple[str, bytes]]) -> httpx.Response:
    """Send a form with files."""
    sent = [(name, each) for name, each_of in files.items() for each in each_of]
    return browser.post(path, data=fields, files=sent or [("none", ("", b""))])


@pytest.fixture
def insurers_browser(tmp_path: Path) -> TestClient:
    """The console of another party."""
    home = tmp_path / "insurer"
    home.mkdir(mode=0o700)
    app = create_app(home, apart=here)
    return signed_in(app, TestClient(app, BASE, follow_redirects=False))


def test_an_identity_is_made_once(browser: TestClient, home: Path) -> None:
    assert "/identity" in browser.get("/").text
    assert "Make an identity" in browser.get("/create").text
    refused = browser.post("/identity", data={"name": "x" * 65})
    assert refused.status_code == 400
    assert "1 to 64" in refused.text
    assert browser.post("/identity", data={"name": "hospital"}).status_code == 303
    own = Identity.load_or_create(home)
    page = browser.get("/identity").text
    assert own.name == "hospital"
    assert all(group in page for group in re.findall(r"(?:[0-9A-F]{2}:){3}[0-9A-F]{2}", own.fingerprint))
    assert '<svg viewBox="0 0' in page
    assert 'class="qr"' in page
    answer = browser.get("/identity/certificate.pem")
    assert answer.content == own.certificate_pem
    assert answer.headers["content-disposition"] == 'attachment; filename="hospital.pem"'
    assert browser.post("/identity", data={"name": "other"}).status_code == 400


def test_from_nothing_to_a_task_at_both(browser: TestClient, insurers_browser: TestClient, home: Path) -> None:
    for client, name in ((browser, "hospital"), (insurers_browser, "insurer")):
        client.post("/identity", data={"name": name})
    certificate = insurers_browser.get("/identity/certificate.pem").content
    review = upload(browser, "/create", CREATE, certificates=[("insurer.pem", certificate)])
    assert review.status_code == 200
    assert "What will be disclosed" in review.text
    assert "For 3 rounds of training" in review.text
    answer = browser.post("/create", data=fields_of(review.text))
    assert answer.status_code == 303
    store = TaskStore(home)
    (record,) = store.list()
    assert answer.headers["location"] == f"/tasks/{record.task_id}/invite"
    assert (record.name, record.scheme, record.terms) == ("Readmission", "bfv", PlannedTerms(max_rounds=3))
    page = browser.get(answer.headers["location"]).text
    code = pairing_code(Invite.of(record))
    assert code in page
    file = browser.get(f"/tasks/{record.task_id}/invite/file")
    assert Invite.parse(file.content) == Invite.of(record)
    assert 'filename="Readmission.invite.json"' in file.headers["content-disposition"]

    terms = upload(insurers_browser, "/join", {"told": code}, invite=[("invite.json", file.content)])
    assert terms.status_code == 200
    assert "hospital" in terms.text
    assert "What will be disclosed" in terms.text
    joined = insurers_browser.post("/join", data={**fields_of(terms.text), "rows": "64"})
    assert joined.status_code == 303, joined.text
    assert insurers_browser.get(joined.headers["location"]).status_code == 200
    own = TaskStore(home.parent / "insurer").get(record.task_id)
    assert own.limits == AcceptedLimits(rounds=3, rows=64)
    again = insurers_browser.post("/join", data=fields_of(terms.text))
    assert again.status_code == 400
    assert "in this home already" in again.text


def test_whose_model_may_be_trained(
    browser: TestClient, home: Path, hospital: Identity, others: dict[str, Identity]
) -> None:
    files = [(f"{at}.pem", party.certificate_pem) for at, party in enumerate(others.values())]
    fields = fields_of(upload(browser, "/create", CREATE, certificates=files).text)
    assert fields["party"] == list(others)
    del fields["trains_1"]
    fields["party"] = ["bank", "laboratory"]
    browser.post("/create", data=fields)
    (record,) = TaskStore(home).list()
    assert [each.name for each in record.collaborators] == ["bank", "laboratory"]
    assert record.terms.may_train == ("bank",)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "name: "),
        ({"address": "nowhere"}, "host:port"),
        ({"scheme": "rot13!"}, "scheme"),
        ({"max_rounds": "many"}, "no whole number"),
        ({"max_rounds": "-1"}, "max_rounds"),
        ({"projection_lr": "inf"}, "projection_lr"),
        ({"fusion": "other"}, "fusion"),
        ({"party": "hospital"}, "two participants are called"),
    ],
)
def test_what_is_wrong_with_a_task_is_said(
    browser: TestClient, home: Path, hospital: Identity, others: dict[str, Identity], fields: dict[str, str], said: str
) -> None:
    review = upload(browser, "/create", CREATE, certificates=[("a.pem", others["insurer"].certificate_pem)])
    answer = browser.post("/create", data={**fields_of(review.text), **fields})
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    assert not TaskStore(home).list()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a certificate"),
        (b"x" * 20_000, "at most 16,384 bytes"),
        (b"-----BEGIN PRIVATE KEY-----", "private key: it must never leave"),
        (None, "choose the certificate files"),
    ],
)
def test_what_is_no_certificate_is_refused(
    browser: TestClient, hospital: Identity, data: bytes | None, said: str
) -> None:
    files = [] if data is None else [(f"{HOSTILE}.pem", data)]
    answer = upload(browser, "/create", CREATE, certificates=files)
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    assert HOSTILE not in answer.text
    assert 'value="Readmission"' in answer.text, "what was typed is kept"


def invite_to(party: Identity, home: Path, scheme: str = "bfv", terms: PlannedTerms | None = None) -> Invite:
    """Of a host with a name that tries to be markup."""
    host = Identity.create(HOSTILE)
    store = TaskStore(home.parent / "host")
    return create_task(store, host, HOSTILE, "h.example:1", scheme, {"me": party.certificate_pem}, None, terms)[1]


def test_an_invite_is_not_shown_before_it_is_confirmed(browser: TestClient, home: Path, hospital: Identity) -> None:
    invite = invite_to(hospital, home)
    file = [("invite.json", invite.model_dump_json().encode())]
    for told, said in (
        ("", "proves nothing"),
        ("aaaa-aaaa-aaaa-aaaa", "does not have the pairing code"),
        ("AB:" * 31 + "AB", "another certificate of the host"),
    ):
        answer = upload(browser, "/join", {"told": told}, invite=file)
        assert answer.status_code == 400
        assert said in html.unescape(answer.text)
        assert pairing_code(invite) not in answer.text
        assert HOSTILE not in answer.text
        step = upload(browser, "/join", {"told": told, "step": "join"}, invite=file)
        assert step.status_code == 400
    assert not TaskStore(home).list()
    for told in (pairing_code(invite), invite.host.fingerprint.lower()):
        shown = upload(browser, "/join", {"told": told}, invite=file)
        assert shown.status_code == 200
        assert HOSTILE not in shown.text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{}", "version"),
        (b"\xff\xfe", "invite.json"),
        (b" " * ((1 << 20) + 1), "at most 1,048,576 bytes"),
        (None, "No file was chosen"),
    ],
)
def test_what_is_no_invite_is_refused(browser: TestClient, hospital: Identity, data: bytes | None, said: str) -> None:
    answer = upload(browser, "/join", {"told": "x"}, invite=[] if data is None else [("invite.json", data)])
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)


def test_plain_must_be_agreed_to(browser: TestClient, home: Path, hospital: Identity) -> None:
    invite = invite_to(hospital, home, "plain")
    terms = upload(
        browser, "/join", {"told": pairing_code(invite)}, invite=[("i.json", invite.model_dump_json().encode())]
    )
    assert "hides nothing" in terms.text
    fields = fields_of(terms.text)
    assert "accepts_plain" not in fields
    refused = browser.post("/join", data=fields)
    assert refused.status_code == 400
    assert "unencrypted" in refused.text
    assert browser.post("/join", data={**fields, "accepts_plain": "yes"}).status_code == 303
    assert TaskStore(home).get(invite.task_id).scheme == "plain"


def test_a_plan_that_asks_for_too_much_is_refused(browser: TestClient, home: Path, hospital: Identity) -> None:
    invite = invite_to(hospital, home, terms=PlannedTerms(max_rounds=10))
    file = [("i.json", invite.model_dump_json().encode())]
    fields = fields_of(upload(browser, "/join", {"told": pairing_code(invite)}, invite=file).text)
    assert fields["rounds"] == "10"
    answer = browser.post("/join", data={**fields, "rounds": "5"})
    assert answer.status_code == 400
    assert "more than this side allows" in answer.text
    assert not TaskStore(home).list()


def test_only_the_host_gives_invites(browser: TestClient, home: Path, hospital: Identity) -> None:
    invite = invite_to(hospital, home)
    file = [("i.json", invite.model_dump_json().encode())]
    fields = fields_of(upload(browser, "/join", {"told": pairing_code(invite)}, invite=file).text)
    browser.post("/join", data=fields)
    for path in ("invite", "invite/file"):
        answer = browser.get(f"/tasks/{invite.task_id}/{path}")
        assert answer.status_code == 400
        assert "only the host gives invites" in answer.text


def test_a_task_that_is_not_there(browser: TestClient, task: TaskRecord) -> None:
    for path in ("", "/invite", "/audit", "/privacy"):
        answer = browser.get(f"/tasks/aaaaaaaaaaaaaaaaaaaaaaaaaa{path}")
        assert answer.status_code == 404
        assert "No task" in answer.text
