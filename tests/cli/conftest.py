from pathlib import Path

import pytest

from tests.cli.helpers import User


def _user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> User:
    directory = tmp_path / "work"
    directory.mkdir(exist_ok=True)
    return User(tmp_path / name, directory, monkeypatch)


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    user = _user(tmp_path, monkeypatch, "clinic")
    assert user.run("identity", "--name", "clinic", "--export", "clinic.pem").exit_code == 0
    return user


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    user = _user(tmp_path, monkeypatch, "bank")
    assert user.run("identity", "--name", "bank", "--export", "bank.pem").exit_code == 0
    return user
