"""Task records: what may stand in one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from secure_hfl.identity import Identity
from secure_hfl.tasks import Participant, TaskRecord, split_address
from secure_hfl.tasks.record import check_participants, new_task_id
from tests.tasks.helpers import Party, make_task


def test_task_ids_are_long_lower_case_and_differ():
    ids = {new_task_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[a-z2-7]{26}", task_id) for task_id in ids)


@given(st.from_regex(r"\A[a-z0-9.-]{1,40}\Z"), st.integers(1, 65535))
def test_addresses_split_into_what_they_were_made_of(host: str, port: int):
    assert split_address(f"{host}:{port}") == (host, port)


def test_an_ipv6_address_loses_its_brackets():
    assert split_address("[::1]:50051") == ("::1", 50051)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "host:-1",
        "host:1x",
        "::1:5",
        "ho st:1",
        "host:1\n",
        "a/b:1",
        "host:٣",
    ],
)
def test_other_addresses_are_refused(address: str):
    with pytest.raises(ValueError, match="host:port"):
        split_address(address)


def test_a_record_knows_its_parties(clinic: Party, bank: Party):
    record, _ = make_task(clinic, bank)
    assert record.host.name == record.party == "clinic"
    assert [party.name for party in record.collaborators] == ["bank"]
    assert record.host.fingerprint == clinic.identity.fingerprint
    assert record.created_at.utcoffset().total_seconds() == 0


def test_a_record_is_frozen_and_survives_json(clinic: Party, bank: Party):
    record, _ = make_task(clinic, bank)
    assert TaskRecord.model_validate_json(record.model_dump_json()) == record
    with pytest.raises(ValidationError, match="frozen"):
        record.name = "other"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task_id": "../../etc/passwd"}, "task_id"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "printable"),
        ({"name": " a"}, "spaces"),
        ({"name": "x" * 65}, "name"),
        ({"scheme": "BFV!"}, "scheme"),
        ({"address": "nowhere"}, "host:port"),
        ({"rounds_finished": -1}, "rounds_finished"),
        ({"rounds_finished": "1"}, "rounds_finished"),
        ({"party": "stranger"}, "not a host"),
        ({"role": "collaborator"}, "not a collaborator"),
        ({"participants": ()}, "participants"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_wrong_field_is_named(clinic: Party, bank: Party, change: dict[str, object], problem: str):
    record, _ = make_task(clinic, bank)
    with pytest.raises(ValidationError, match=problem):
        TaskRecord.model_validate({**dict(record), **change})


def _participant(name: str, role: str, identity: Identity | None = None) -> Participant:
    identity = identity or Identity.create("someone")
    return Participant(name=name, role=role, certificate_pem=identity.certificate_pem)


def test_participants_must_differ_in_name_and_certificate_and_have_their_roles():
    host, twin = _participant("a", "host"), Identity.create("twin")
    with pytest.raises(ValueError, match="two participants are called 'A'"):
        check_participants(host, (_participant("A", "collaborator"),))
    with pytest.raises(ValueError, match="'b' and 'c' have the same certificate"):
        check_participants(host, (_participant("b", "collaborator", twin), _participant("c", "collaborator", twin)))
    with pytest.raises(ValueError, match="'b' has the wrong role"):
        check_participants(host, (_participant("b", "host"),))
    with pytest.raises(ValueError, match="1 to 64 collaborators, not 0"):
        check_participants(host, ())
