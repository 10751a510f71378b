"""Where a party keeps its identity and its tasks: `$SECURE_HFL_HOME`, else `~/.secure-hfl`. For its owner's eyes only.

    home/                                 0700
    home/identity/, key.pem               0700, 0600    the private key
    home/tasks.sqlite, -wal, -shm         0600          what runs with whom, and how it ended
    home/tasks/<id>/log.txt               0700, 0600    errors with the values that they are about
    home/tasks/<id>/progress.jsonl        0700, 0600    how far the last run is, or went
    home/tasks/<id>/results/              0700, 0600    models, and shares of the projections
    home/tasks/<id>/checkpoints/          0700, 0600    the same, and the ids in common
    home/tasks/<id>/psi/                  0700, 0600    while PSI in buckets runs: own ids, and which others have
    home/tasks/<id>/transcripts/          0700, 0600    what crossed the wire, never the payload

Everything is made with these modes, whatever the umask. Wider ones are refused: somebody has opened what is secret, and
may have read it.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secure_hfl.errors import ConfigurationError

HOME_VARIABLE = "SECURE_HFL_HOME"

_DATABASE = ("tasks.sqlite", "tasks.sqlite-wal", "tasks.sqlite-shm")
_PRIVATE = ("", "identity", "identity/key.pem", *_DATABASE, "secure-hfl.log", "tasks")
_PRIVATE_OF_A_TASK = (
    *("results", "results/state", "checkpoints", "transcripts", "console", "psi"),
    *("predictions", "predictions/checkpoints", "predictions/transcripts", "predictions/psi"),
)
_SHARED_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to run or do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


def home_directory() -> Path:
    """The party's directory, made (0700) if there is none.

    Raises:
        ConfigurationError: It cannot be used, or others have access to it or to a secret in it. Says what to run.
    """
    home = existing_home()
    check_private(home)
    return home


def check_private(home: Path) -> None:
    """Raise `ConfigurationError` if others have access to a home directory or to a secret in it. Says what to run."""
    problems = list(privacy_problems(home))
    if problems:
        more = f" ({len(problems) - 1} more: secure-hfl doctor lists them)" if len(problems) > 1 else ""
        raise ConfigurationError(f"{problems[0]}{more}")


def existing_home() -> Path:
    """The party's directory, made if there is none, whoever has access to it: for who then looks at that.

    Raises:
        ConfigurationError: It is not a directory, or cannot be made.
    """
    named = os.environ.get(HOME_VARIABLE)
    home = Path(named).expanduser().absolute() if named else Path.home() / ".secure-hfl"
    try:
        make_private_directory(home)
    except OSError as error:
        raise ConfigurationError(f"{home} cannot be used: {error.strerror}; set {HOME_VARIABLE}") from error
    return home


def make_private_directory(path: Path) -> None:
    """Make a directory and its missing parents, all 0700: who may write into a parent can replace what is in it."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(exist_ok=True)  # raises if it is a file


def privacy_problem(path: Path, status: os.stat_result) -> Problem | None:
    """What is wrong unless this user owns the file or directory and nobody else has access."""
    if status.st_uid != os.geteuid():
        return Problem(f"{path} belongs to another user", f"set {HOME_VARIABLE} to a directory of your own")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        wanted = "700" if stat.S_ISDIR(status.st_mode) else "600"
        what = f"other users have access to {path} (mode {mode:o})"
        return Problem(what, f"run: chmod {wanted} {shlex.quote(str(path))}")
    return None


def privacy_problems(home: Path) -> Iterator[Problem]:
    """What is wrong with the home directory, and with everything in it that the table above names."""
    for path in _private_paths(home):
        try:
            problem = privacy_problem(path, path.stat())
        except (FileNotFoundError, NotADirectoryError):  # not made yet, or gone meanwhile
            continue
        except OSError as error:
            problem = Problem(f"{path} cannot be looked at: {error.strerror}", "make it yours, or move it away")
        if problem is not None:
            yield problem


def replaceable_by_others(home: Path) -> Problem | None:
    """A directory above the home in which others may put another one in its place. Common, so it is not refused."""
    for parent in home.resolve().parents:
        mode = parent.stat().st_mode
        if mode & _SHARED_WRITE and not mode & stat.S_ISVTX:
            what = f"other users can replace {home}: they may write to {parent} (mode {stat.S_IMODE(mode):o})"
            return Problem(what, f"chmod go-w {shlex.quote(str(parent))}, or set {HOME_VARIABLE}")
    return None


def _private_paths(home: Path) -> Iterator[Path]:
    for name in _PRIVATE:
        yield home / name
    for task in _entries(home / "tasks"):
        yield task
        yield from (task / "log.txt", task / "progress.jsonl")
        for name in _PRIVATE_OF_A_TASK:
            yield task / name
            # What TensorBoard writes has its own modes, in a directory that nobody else can enter.
            yield from (path for path in _entries(task / name) if path.name != "tensorboard")


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []  # missing, or reported when it was looked at
