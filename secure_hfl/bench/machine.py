"""What a measurement was made on, to stand beside its figures."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from protocols.core import multi_buffer
from protocols.he import engines
from secure_hfl.executor import usable_cores
from secure_hfl.version import __version__

PACKAGES = ("torch", "numpy", "grpcio", "cryptography", "tenseal", "gmpy2", "phe", "ipp-crypto")
PROJECT = Path(__file__).parents[2]


def machine() -> dict[str, Any]:
    """Processor, cores, memory, load, system, versions. Call it before measuring: the load is then what others make."""
    return {
        "processor": _cpu_info("model name") or platform.processor() or "unknown",
        "avx512_ifma": "avx512ifma" in _cpu_info("flags").split(),
        "cores": usable_cores(),
        "memory_mb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "system": _system(),
        "python": platform.python_version(),
        "secure_hfl": __version__,
        "commit": _commit(),
        "multi_buffer": multi_buffer.available(),
        "bfv_arithmetic": engines.description(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _cpu_info(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _system() -> str:
    """Kernel and C library, without the words that a builder or a host puts behind their versions."""
    library, number = platform.libc_ver()
    kernel = platform.release().partition("-")[0]
    return f"{platform.system()} {kernel}" + (f", {library} {number}" if library else "")


def _commit() -> str | None:
    """Of this project's checkout, with "-dirty" if files differ from it; None where it is not run from one."""
    git = shutil.which("git")
    if git is None or not (PROJECT / ".git").exists():
        return None
    command = [git, "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - no text from outside
    return done.stdout.strip() or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
