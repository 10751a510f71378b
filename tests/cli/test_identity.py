"""`secure-hfl identity`."""

import stat
from pathlib import Path

import pytest

from secure_hfl.identity import Identity, fingerprint_of
from tests.cli.helpers import User, fails, fingerprints


def test_it_makes_an_identity_once_and_shows_it(clinic: User):
    own = Identity.load_or_create(clinic.home)
    result = clinic.run("identity")
    assert result.exit_code == 0
    assert fingerprints(result.stdout) == [own.fingerprint]
    assert "clinic" in result.stdout
    assert str(clinic.home / "identity") in result.stdout
    assert stat.S_IMODE(clinic.home.stat().st_mode) == 0o700


def test_the_exported_file_is_the_certificate_and_nothing_else(clinic: User):
    exported = (clinic.directory / "clinic.pem").read_bytes()
    assert fingerprint_of(exported) == Identity.load_or_create(clinic.home).fingerprint
    assert b"PRIVATE" not in exported


def test_exporting_again_is_harmless_and_never_overwrites_another_file(clinic: User, bank: User):
    assert clinic.run("identity", "--export", "clinic.pem").exit_code == 0
    before = (bank.directory / "bank.pem").read_bytes()
    fails(clinic.run("identity", "--export", "bank.pem"), "bank.pem exists and holds something else")
    assert (bank.directory / "bank.pem").read_bytes() == before
    fails(clinic.run("identity", "--export", "no/such/place.pem"), "No such file or directory")


def test_another_name_is_refused(clinic: User):
    fails(clinic.run("identity", "--name", "hospital"), "'clinic', not 'hospital'")


def test_nobody_gets_a_name_that_it_did_not_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Before, a random one was made, and it lasts."""
    new = User(tmp_path / "home", tmp_path, monkeypatch)
    for command in (
        ["identity"],
        ["task", "create", "digits", "--collaborator", "a=a.pem", "--address", "localhost:1", "--invite", "new.json"],
        ["task", "join", "new.json"],
    ):
        (tmp_path / "a.pem").write_text("")
        fails(new.run(*command), "there is no identity", "secure-hfl identity --name NAME")
    assert not (new.home / "identity").exists()
