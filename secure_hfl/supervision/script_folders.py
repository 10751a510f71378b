"""Which scripts may be run: those in folders that were named when the console was started, and the examples.

A page that can start any file would be a shell for whoever gets to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protocols.core.sentence import say
from secure_hfl.errors import ConfigurationError
from secure_hfl.examples.catalogue import EXAMPLES, Script
from secure_hfl.tasks import TaskRecord

MAX_LISTED = 500
MAX_DEPTH = 4
EXAMPLE = "example:"
SCRIPT = ".py"
TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Choice:
    """A script that may be run.

    Attributes:
        key: what a page sends for it.
        label: what a person reads.
        path: of the file.
        environment: variables that it needs.
        is_example: it came with this program.
    """

    key: str
    label: str
    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    is_example: bool = False


class ScriptFolders:
    """The folders.

    Args:
        folders: whose scripts may be run.
        has_examples: whether those that came with this program may be, too.
    """

    def __init__(self, folders: Sequence[Path], has_examples: bool = True) -> None:
        self.folders = tuple(folder.resolve() for folder in folders)
        self._has_examples = has_examples

    def choices(self, record: TaskRecord) -> list[Choice]:
        """What may be run as this party of this task: its own scripts by name, then examples that fit and can run."""
        own = [Choice(str(path), self._label(path), path) for path in self._files(SCRIPT)]
        return [*own, *self._examples(record)]

    def find(self, key: str, record: TaskRecord) -> Choice:
        """The script that a page asks for.

        Raises:
            ConfigurationError: it is in none of the folders, or no script. Says which folders there are.
        """
        if key.startswith(EXAMPLE):
            for choice in self._examples(record):
                if choice.key == key:
                    return choice
            raise ConfigurationError("there is no such example for this task")
        path = Path(key)
        folder = self._folder_of(path)
        if folder is None:
            there = ", ".join(map(str, self.folders)) or "none was named: secure-hfl console --scripts FOLDER"
            raise ConfigurationError(
                say("{key!r} is in no folder whose scripts may be run here ({there})", key=key, there=there)
            )
        if path.suffix != SCRIPT or not path.is_file():
            raise ConfigurationError(say("{path} is no Python script", path=path))
        return Choice(key, self._label(path), path)

    def tables(self) -> list[Choice]:
        """Tables in the folders, from which a script can be made."""
        return [Choice(str(path), self._label(path), path) for path in self._files(*TABLES)]

    def find_table(self, key: str) -> Choice:
        """The table that a page asks for. Raises `ConfigurationError`: it is in none of the folders."""
        for choice in self.tables():
            if choice.key == key:
                return choice
        raise ConfigurationError(
            say("{key!r} is no table in the folders {folders}", key=key, folders=", ".join(map(str, self.folders)))
        )

    def _folder_of(self, path: Path) -> Path | None:
        """The folder that a file is in, if neither dots nor links lead elsewhere."""
        if not path.is_absolute() or "\0" in str(path) or os.path.normpath(path) != str(path):
            return None
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return None
        if real != path:  # a link, in the file's name or above it
            return None
        return next((folder for folder in self.folders if folder in real.parents), None)

    def _files(self, *kinds: str) -> list[Path]:
        found = {path for folder in self.folders for path in _below(folder, MAX_DEPTH) if path.suffix in kinds}
        return sorted(found)[:MAX_LISTED]

    def _label(self, path: Path) -> str:
        folder = self._folder_of(path)
        if folder is None:
            return str(path)
        return str(path.relative_to(folder.parent)) if len(self.folders) > 1 else str(path.relative_to(folder))

    def _examples(self, record: TaskRecord) -> Iterator[Choice]:
        if not self._has_examples:
            return
        for name, example in EXAMPLES.items():
            if example.parties != len(record.participants) or not example.has_library:
                continue
            for script in _of_role(example.host, example.collaborators, record):
                yield Choice(f"{EXAMPLE}{name}", name, script.path, script.environment, True)


def _of_role(host: Script, collaborators: Sequence[Script], record: TaskRecord) -> Sequence[Script]:
    """The script of this party; none where the example calls its parties otherwise."""
    if record.role == "host":
        return [host]
    if len(collaborators) == 1:
        return collaborators
    return [script for script in collaborators if script.name == record.party]


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_dir(follow_symlinks=False) and depth:
            yield from _below(Path(entry.path), depth - 1)
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
