"""Where a party keeps its identity and its tasks: `$SECURE_HFL_HOME`, else `~/.secure-hfl`."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from secure_hfl.errors import ConfigurationError

HOME_VARIABLE = "SECURE_HFL_HOME"


def home_directory() -> Path:
    """The party's directory, made (0700) if there is none.

    Raises:
        ConfigurationError: It is not a directory of this user, or others can read it. Says what to run.
    """
    named = os.environ.get(HOME_VARIABLE)
    home = Path(named).expanduser().absolute() if named else Path.home() / ".secure-hfl"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = home.stat()
    except OSError as error:
        raise ConfigurationError(f"{home} cannot be used: {error.strerror}; set {HOME_VARIABLE}") from error
    if problem := privacy_problem(home, status):
        raise ConfigurationError(problem)
    return home


def privacy_problem(path: Path, status: os.stat_result) -> str | None:
    """What is wrong, and what to run, unless this user owns the file or directory and nobody else has access."""
    if status.st_uid != os.geteuid():
        return f"{path} belongs to another user; set {HOME_VARIABLE} to a directory of your own"
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        wanted = "700" if stat.S_ISDIR(status.st_mode) else "600"
        return f"other users have access to {path} (mode {mode:o}); run: chmod {wanted} {shlex.quote(str(path))}"
    return None
