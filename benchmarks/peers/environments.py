"""Where peers live: a virtual environment each, made on request from benchmarks/peers/<peer>/requirements.txt.

A peer that this interpreter already has (phe and tenseal, which we use ourselves) needs none.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

PEERS = ("spu", "openmined_psi", "heu", "phe", "tenseal")

_STAMP = "requirements.txt"
"""In an environment: what was installed. Written last, so that half an environment is none."""


class NoEnvironment(Exception):
    """A peer cannot run here. The message says what to do."""


def default_directory() -> Path:
    """Under the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secure-hfl" / "peers"


@dataclass(frozen=True)
class Environments:
    """The peers' environments in one directory."""

    directory: Path

    def python(self, peer: str) -> Path:
        """The interpreter that runs a peer's worker. Raises `NoEnvironment`."""
        if peer == "ours":
            return Path(sys.executable)
        home = self.directory / peer
        stamp = home / _STAMP
        if stamp.is_file() and stamp.read_text() == _requirements(peer).read_text():
            return home / "bin" / "python"
        if peer in ("phe", "tenseal") and importlib.util.find_spec(peer):
            return Path(sys.executable)
        what = "was made from another requirements.txt" if stamp.is_file() else "is not there"
        raise NoEnvironment(f"its environment {home} {what}; make it with: python -m benchmarks.peers --install {peer}")

    def install(self, peer: str) -> None:
        """Make a peer's environment anew. Raises `NoEnvironment` if that fails."""
        home = self.directory / peer
        if home.exists() and not (home / "pyvenv.cfg").is_file() and any(home.iterdir()):
            raise NoEnvironment(f"{home} is not a virtual environment; it is left alone")
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", str(home)],
            [*pip, "--only-binary", ":all:", "--requirement", str(_requirements(peer))],
        ):
            if subprocess.run(command).returncode:
                raise NoEnvironment(f"{peer} could not be installed in {home}: see above (peers were tried on 3.11)")
        shutil.copy(_requirements(peer), home / _STAMP)


def _requirements(peer: str) -> Path:
    return HERE / peer / "requirements.txt"
