"""Compiles protocols/he/native while the package is installed, and by `make native`, where there is a compiler.

Without one, or where it fails, the package is installed all the same and encrypts through SEAL: a build never fails
here, it says what happened. SECURE_HFL_NATIVE_CFLAGS and SECURE_HFL_NATIVE_LDFLAGS add to the flags of compiler and
linker (-Werror, -fsanitize=address,undefined); SECURE_HFL_NO_NATIVE=1 skips the build.
"""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "protocols" / "he" / "native"
FLAGS = ("-O3", "-g0", "-fvisibility=hidden", "-ffp-contract=off")


def declarations() -> str:
    """The part of kernel.h that Python calls."""
    text = (HERE / "kernel.h").read_text(encoding="utf-8")
    return text.partition("/* cffi reads from here */")[2].partition("/* cffi reads to here */")[0]


def compile_into(folder: Path) -> Path:
    """Builds the module in a folder of its own and returns its path there; raises what cffi and the compiler raise."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(declarations())
    ffi.set_source(
        "_kernel",
        '#include "kernel.h"',
        sources=[str(path) for path in sorted(HERE.glob("*.c"))],
        include_dirs=[str(HERE)],
        extra_compile_args=[*FLAGS, *shlex.split(os.environ.get("SECURE_HFL_NATIVE_CFLAGS", ""))],
        extra_link_args=shlex.split(os.environ.get("SECURE_HFL_NATIVE_LDFLAGS", "")),
        py_limited_api=True,
    )
    return Path(ffi.compile(tmpdir=str(folder)))


def build(target: Path = HERE) -> Path:
    """Builds the module and moves it into `target`, in one step: who has the old file loaded keeps it."""
    with tempfile.TemporaryDirectory(dir=target) as folder:
        built = compile_into(Path(folder))
        return built.replace(target / built.name)


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `make native` needs cffi and a compiler only
    BuildHookInterface = object


class KernelBuildHook(BuildHookInterface):  # type: ignore[misc]
    """hatchling's custom build hook: adds the compiled module to the wheel, or leaves it out."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is made; `version` is "editable" for an installation that points here."""
        if self.target_name != "wheel" or os.environ.get("SECURE_HFL_NO_NATIVE", "") not in ("", "0"):
            return
        try:
            built = build()
        except Exception as error:  # whatever a compiler, its absence or its setting up raises
            self.app.display_warning(
                f"the native kernel was not built, so SEAL is used: {type(error).__name__}: {error}"
            )
            return
        build_data["artifacts"].append(str(built.relative_to(self.root)))
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        abi = "abi3" if ".abi3." in built.name else f"cp{sys.version_info.major}{sys.version_info.minor}"
        build_data["tag"] = f"cp310-{abi}-{platform}" if abi == "abi3" else f"{abi}-{abi}-{platform}"


if __name__ == "__main__":
    print(build())
