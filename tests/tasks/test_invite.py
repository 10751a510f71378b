"""Invites: creating, joining, and everything a file from elsewhere may get wrong."""

import json
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_hfl.errors import InvalidInvite, SchemeMismatch, TaskError, TaskExists, TaskNotFound
from secure_hfl.identity import check_certificate
from secure_hfl.tasks import Invite, TaskState, create_task, join_task, resolve_task
from secure_hfl.tasks.invite import MAX_INVITE_BYTES
from tests.tasks.helpers import ADDRESS, Party, make_party, make_task


def test_host_and_collaborator_get_the_same_task(clinic: Party, bank: Party, tmp_path: Path):
    record, invite = make_task(clinic, bank)
    invite.write(tmp_path / "invite.json")
    joined = join_task(bank.store, bank.identity, Invite.read(tmp_path / "invite.json"))
    assert (record.role, record.party) == ("host", "clinic")
    assert (joined.role, joined.party, joined.state) == ("collaborator", "bank", TaskState.CREATED)
    same = ("task_id", "name", "address", "scheme", "participants")
    assert [getattr(joined, field) for field in same] == [getattr(record, field) for field in same]
    assert bank.store.get(record.task_id) == joined


def test_the_host_names_everyone(clinic: Party, bank: Party):
    certificates = {"Bank of X": bank.identity.certificate_pem}
    record, invite = create_task(clinic.store, clinic.identity, "digits", ADDRESS, "bfv", certificates, "Clinic Y")
    assert record.party == "Clinic Y"
    assert join_task(bank.store, bank.identity, invite).party == "Bank of X"


@pytest.mark.parametrize("line_end", [b"\r\n", b" "], ids=["as Windows writes it", "as a form sends it"])
def test_a_certificate_whose_lines_were_changed_on_its_way_is_kept_as_it_was_made(
    clinic: Party, bank: Party, line_end: bytes
):
    changed = bank.identity.certificate_pem.rstrip(b"\n").replace(b"\n", line_end)
    record, _ = create_task(clinic.store, clinic.identity, "digits", ADDRESS, "bfv", {"bank": changed})
    assert record.participants[1].certificate_pem == bank.identity.certificate_pem


def test_an_invite_can_be_made_again_from_the_record(clinic: Party, bank: Party):
    record, invite = make_task(clinic, bank)
    assert Invite.of(clinic.store.get(record.task_id)) == invite


def test_an_invite_file_is_private_and_never_overwritten(clinic: Party, bank: Party, tmp_path: Path):
    _, invite = make_task(clinic, bank)
    path = tmp_path / "invite.json"
    invite.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(TaskError, match="exists"):
        invite.write(path)
    assert b"PRIVATE" not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"name": ""}, "name: "),
        ({"name": "a\x1b[31m"}, "name: must be printable"),
        ({"address": "localhost"}, "address: an address reads host:port"),
        ({"scheme": "no scheme"}, "scheme: "),
        ({"collaborators": {}}, "1 to 64 collaborators, not 0"),
        ({"collaborators": {"bank": b"no certificate"}}, "the certificate of 'bank': "),
        ({"host_name": " "}, "name: must be printable"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_stored(
    clinic: Party, bank: Party, arguments: dict[str, Any], problem: str
):
    good = {
        "name": "digits",
        "address": ADDRESS,
        "scheme": "bfv",
        "collaborators": {"bank": bank.identity.certificate_pem},
    }
    with pytest.raises(TaskError, match=f"cannot create the task: .*{problem}"):
        create_task(clinic.store, clinic.identity, **{**good, **arguments})
    assert clinic.store.list() == ()


def test_the_host_cannot_be_its_own_collaborator(clinic: Party):
    with pytest.raises(TaskError, match="two participants are called 'clinic'"):
        make_task(clinic, clinic)
    me_too = {"me too": clinic.identity.certificate_pem}
    with pytest.raises(TaskError, match="'clinic' and 'me too' have the same certificate"):
        create_task(clinic.store, clinic.identity, "digits", ADDRESS, "bfv", me_too)


def test_a_stranger_cannot_join_and_sees_both_fingerprints(clinic: Party, bank: Party, tmp_path: Path):
    _, invite = make_task(clinic, bank)
    stranger = make_party(tmp_path / "stranger", "bank")
    with pytest.raises(InvalidInvite, match="not for this identity") as caught:
        join_task(stranger.store, stranger.identity, invite)
    assert stranger.identity.fingerprint in str(caught.value)
    assert bank.identity.fingerprint in str(caught.value)
    assert stranger.store.list() == ()


def test_the_host_cannot_join_its_own_invite(clinic: Party, bank: Party):
    _, invite = make_task(clinic, bank)
    with pytest.raises(InvalidInvite, match="this identity hosts"):
        join_task(clinic.store, clinic.identity, invite)


def test_a_task_is_joined_once(clinic: Party, bank: Party):
    _, invite = make_task(clinic, bank)
    join_task(bank.store, bank.identity, invite)
    with pytest.raises(TaskExists, match="already"):
        join_task(bank.store, bank.identity, invite)


@pytest.mark.parametrize(
    ("asked", "said", "problem"),
    [
        ("bfv", None, None),
        ("bfv", "bfv", None),
        ("plain", "plain", None),
        ("plain", None, "unencrypted"),
        ("plain", "bfv", "asks for scheme plain, this side for bfv"),
        ("bfv", "plain", "asks for scheme bfv, this side for plain"),
        ("bfv", "paillier", "asks for scheme bfv, this side for paillier"),
    ],
)
def test_both_sides_agree_on_a_scheme_and_plain_must_be_said(
    clinic: Party, bank: Party, asked: str, said: str | None, problem: str | None
):
    _, invite = make_task(clinic, bank, scheme=asked)
    if problem is None:
        assert join_task(bank.store, bank.identity, invite, said).scheme == asked
        return
    with pytest.raises(SchemeMismatch, match=problem):
        join_task(bank.store, bank.identity, invite, said)
    assert bank.store.list() == ()


def _set(*path: str | int) -> Callable[[dict[str, Any], Any], None]:
    def change(document: Any, value: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "value", "problem"),
    [
        (_set("version"), 2, "version: "),
        (_set("version"), "1", "version: "),
        (_set("task_id"), "../../tmp", "task_id: "),
        (_set("task_id"), 7, "task_id: "),
        (_set("name"), "x\u202ey", "name: must be printable"),
        (_set("name"), "x" * 65, "name: "),
        (_set("scheme"), "", "scheme: "),
        (_set("address"), "host:99999", "address: an address reads"),
        (_set("address"), "a" * 301, "address: "),
        (_set("host", "role"), "collaborator", "'clinic' has the wrong role"),
        (_set("host", "certificate_pem"), "", "host.certificate_pem: "),
        (_set("host", "certificate_pem"), "x" * 20000, "host.certificate_pem: "),
        (_set("host", "name"), "BANK", "two participants are called 'bank'"),
        (_set("collaborators"), [], "1 to 64 collaborators"),
        (_set("collaborators"), None, "collaborators: "),
        (_set("collaborators", 0), {}, "collaborators.0.name: "),
        (_set("collaborators", 0, "role"), "king", "collaborators.0.role: "),
        (_set("collaborators", 0, "certificate_pem"), "-----BEGIN", "the certificate of 'bank': "),
        (_set("collaborators", 0, "key"), "k", "collaborators.0.key: "),
        (_set("surprise"), 1, "surprise: "),
    ],
)
def test_a_changed_invite_is_refused_and_the_field_named(
    clinic: Party, bank: Party, change: Callable[[Any, Any], None], value: Any, problem: str
):
    _, invite = make_task(clinic, bank)
    document = json.loads(invite.model_dump_json())
    change(document, value)
    with pytest.raises(InvalidInvite, match=problem) as caught:
        Invite.parse(json.dumps(document).encode(), "theirs.json")
    assert str(caught.value).startswith("theirs.json: ")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("a003020102", "a003020163"),  # the certificate's version
        ("06082a8648ce3d030107", "06082a8648ce3d030163"),  # the key's curve
        ("06082a8648ce3d040302", "06082a8648ce3d040363"),  # the signature's algorithm
    ],
)
def test_a_certificate_with_unknown_parts_is_refused(clinic: Party, bank: Party, good: str, bad: str):
    _, invite = make_task(clinic, bank)
    der = ssl.PEM_cert_to_DER_cert(bank.identity.certificate_pem.decode())
    assert bytes.fromhex(good) in der
    changed = der.replace(bytes.fromhex(good), bytes.fromhex(bad))
    document = json.loads(invite.model_dump_json())
    document["collaborators"][0]["certificate_pem"] = ssl.DER_cert_to_PEM_cert(changed)
    with pytest.raises(InvalidInvite, match="the certificate of 'bank': "):
        Invite.parse(json.dumps(document).encode())


@pytest.mark.parametrize("field", ["version", "task_id", "name", "scheme", "address", "host", "collaborators"])
def test_a_missing_field_is_refused_and_named(clinic: Party, bank: Party, field: str):
    _, invite = make_task(clinic, bank)
    document = json.loads(invite.model_dump_json())
    del document[field]
    with pytest.raises(InvalidInvite, match=f"{field}: Field required"):
        Invite.parse(json.dumps(document).encode())


def test_a_private_key_in_an_invite_is_refused_without_showing_it(clinic: Party, bank: Party):
    _, invite = make_task(clinic, bank)
    document = json.loads(invite.model_dump_json())
    document["host"]["certificate_pem"] += clinic.identity.private_key_pem.decode()
    with pytest.raises(InvalidInvite, match="private key") as caught:
        Invite.parse(json.dumps(document).encode())
    assert clinic.identity.private_key_pem.decode().splitlines()[1] not in str(caught.value)


def test_an_unknown_field_with_an_enormous_name_does_not_fill_the_screen():
    with pytest.raises(InvalidInvite) as caught:
        Invite.parse(json.dumps({"x" * 100_000: 1}).encode())
    assert len(str(caught.value)) < 600


def test_the_size_limit_holds_for_bytes_and_files(tmp_path: Path):
    huge = b" " * (MAX_INVITE_BYTES + 1)
    with pytest.raises(InvalidInvite, match="at most 1048576 bytes"):
        Invite.parse(huge)
    (tmp_path / "huge.json").write_bytes(huge)
    with pytest.raises(InvalidInvite, match="at most 1048576 bytes"):
        Invite.read(tmp_path / "huge.json")


def test_an_unreadable_file_is_reported(tmp_path: Path):
    with pytest.raises(InvalidInvite, match=r"none\.json: No such file"):
        Invite.read(tmp_path / "none.json")
    with pytest.raises(InvalidInvite, match="directory"):
        Invite.read(tmp_path)


@given(st.binary(max_size=200) | st.just(b"[" * 100_000) | st.just(b'{"version":1e400}'))
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_noise_is_never_an_invite_and_never_crashes(data: bytes):
    with pytest.raises(InvalidInvite):
        Invite.parse(data)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_one_wrong_byte_gives_an_error_of_ours_or_a_valid_invite(clinic_invite: bytes, data: st.DataObject):
    at = data.draw(st.integers(0, len(clinic_invite) - 1))
    changed = clinic_invite[:at] + bytes([data.draw(st.integers(0, 255))]) + clinic_invite[at + 1 :]
    try:
        invite = Invite.parse(changed)
    except InvalidInvite:
        return
    for party in invite.participants:
        check_certificate(party.certificate_pem)


@pytest.fixture
def clinic_invite(clinic: Party, bank: Party) -> bytes:
    return make_task(clinic, bank)[1].model_dump_json().encode()


@pytest.mark.parametrize("placeholder", ["YOUR_TASK_ID", "TASK_ID"])
def test_a_placeholder_means_the_chosen_task_or_the_only_unfinished_one(clinic: Party, bank: Party, placeholder: str):
    first, _ = make_task(clinic, bank, name="first")
    assert resolve_task(clinic.store, placeholder) == first
    second, _ = make_task(clinic, bank, name="second")
    with pytest.raises(TaskNotFound, match="2 tasks are unfinished"):
        resolve_task(clinic.store, placeholder)
    assert resolve_task(clinic.store, placeholder, "second") == second
    assert resolve_task(clinic.store, placeholder, first.task_id[:8]) == first


def test_a_real_reference_stands_unless_the_options_contradict_it(clinic: Party, bank: Party):
    first, _ = make_task(clinic, bank, name="first")
    make_task(clinic, bank, name="second")
    assert resolve_task(clinic.store, "first") == first
    assert resolve_task(clinic.store, "first", first.task_id) == first
    with pytest.raises(TaskError, match="options say 'second'"):
        resolve_task(clinic.store, "first", "second")
    with pytest.raises(TaskNotFound):
        resolve_task(clinic.store, "third")
