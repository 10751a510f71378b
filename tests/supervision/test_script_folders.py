"""Which scripts may be run: no dots, no links, no other folder, whatever a page asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_hfl.errors import ConfigurationError
from secure_hfl.supervision.script_folders import ScriptFolders
from secure_hfl.tasks import TaskRecord
from tests.tasks.helpers import Party


@pytest.fixture
def record(clinic: Party, task_id: str) -> TaskRecord:
    """The clinic's."""
    return clinic.store.get(task_id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scripts in it, one below, and links that lead out of it."""
    folder = tmp_path / "scripts"
    for path in (folder / "a.py", folder / "study" / "b.py", folder / ".hidden" / "c.py", folder / "notes.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    secret = tmp_path / "elsewhere" / "secret.py"
    secret.parent.mkdir()
    secret.touch()
    (folder / "link.py").symlink_to(secret)
    (folder / "out").symlink_to(secret.parent)
    return folder.resolve()


def test_scripts_of_the_folders_and_examples_that_fit_are_offered(folder: Path, record: TaskRecord) -> None:
    choices = ScriptFolders([folder]).choices(record)
    assert [choice.label for choice in choices if not choice.is_example] == ["a.py", "study/b.py"]
    assert {choice.label for choice in choices if choice.is_example} == {
        "mnist_halves",
        "breast_cancer",
        "images_and_labels",
    }
    assert all(choice.path.name == "collaborator.py" for choice in choices if choice.is_example)
    assert not [choice for choice in ScriptFolders([folder], False).choices(record) if choice.is_example]


def test_every_script_that_is_offered_is_found_again(folder: Path, record: TaskRecord) -> None:
    folders = ScriptFolders([folder])
    for choice in folders.choices(record):
        assert folders.find(choice.key, record) == choice


ELSEWHERE = (
    "{folder}/../elsewhere/secret.py",
    "{folder}/link.py",
    "{folder}/out/secret.py",
    "{folder}/../../etc/passwd",
    "/etc/passwd",
    "a.py",
    "",
    "{folder}/missing.py",
    "{folder}/notes.txt",
    "{folder}",
    "{folder}/a.py\0",
    "example:../mnist",
    "example:digits",
)


def test_nothing_else_is(folder: Path, record: TaskRecord) -> None:
    for asked in ELSEWHERE:
        with pytest.raises(ConfigurationError):
            ScriptFolders([folder]).find(asked.format(folder=folder), record)


def test_no_folder_is_no_permission(record: TaskRecord, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="none was named"):
        ScriptFolders([]).find(str(folder / "a.py"), record)
