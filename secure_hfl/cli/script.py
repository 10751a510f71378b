"""Runs a user's script as `python SCRIPT` would, and makes one line of what it raises."""

from __future__ import annotations

import importlib.util
import runpy
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocols.core.errors import SecureHflError


class ScriptError(SecureHflError):
    """The user's script raised an error of its own.

    Attributes:
        where: file and line, where the user can do something about it.
    """

    def __init__(self, script: Path, error: Exception, hint: str = "") -> None:
        self.where = place(error, script)
        super().__init__(f"{script}: {type(error).__name__}: {error} ({self.where}){hint}")


def execute(script: Path) -> Exception | None:
    """Run a script. Returns what it raised, with a traceback that begins in the script; None if it has ended well."""
    try:
        _mend_torchvision()
        with _as_main(script):
            runpy.run_path(str(script), run_name="__main__")
    except Exception as error:  # user code may raise anything
        _drop_our_frames(error)
        return error
    return None


@contextmanager
def _as_main(script: Path) -> Iterator[None]:
    arguments, path = sys.argv, list(sys.path)
    sys.argv = [str(script)]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        yield
    finally:
        sys.argv = arguments
        sys.path[:] = path


def _mend_torchvision() -> None:
    # Scripts import torchvision before they import us, so this is the last moment (see torchvision_ops).
    if importlib.util.find_spec("torch") is not None and importlib.util.find_spec("torchvision") is not None:
        # Imported here, because it imports torch, which takes seconds and which `--help` does not need.
        from secure_hfl.torchvision_ops import declare_missing_operators

        declare_missing_operators()


def _drop_our_frames(error: BaseException) -> None:
    """Start the traceback in the script: how we and runpy got there says nothing about it."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
        frames = frames.tb_next
    if frames is not None:
        error.__traceback__ = frames


def place(error: BaseException, script: Path) -> str:
    """File and line of the last frame beside the script, where the user can do something, else of the last one."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return script.name
    own = [frame for frame in frames if Path(frame.filename).resolve().parent == script.resolve().parent]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
