"""The compiled module, if there is one that fits this source."""

from __future__ import annotations

from typing import Any

INTERFACE = 7
"""kernel.h's KERNEL_INTERFACE: another one's functions differ."""

try:
    from protocols.he.native import _kernel
except ImportError:  # not built, or for another machine
    library: Any = None
else:  # a module that was built from an older source counts as none
    library = _kernel if getattr(_kernel.lib, "KERNEL_INTERFACE", None) == INTERFACE else None


def instruction_sets() -> tuple[str, ...]:
    """What can run here, best first: of "ifma", "avx2", "neon", "scalar". None if the module was not built."""
    if library is None:
        return ()
    names: str = library.ffi.string(library.lib.kernel_instruction_sets()).decode()
    return tuple(names.split(","))
