"""What a process that holds secrets asks of the operating system."""

from __future__ import annotations

import resource


def forbid_core_dumps() -> None:
    """From now on a crash of this process, or of one that it starts, leaves no image of its memory: keys are in it.

    The limit is 1, not 0. Under either no file is written, but a program that takes cores (systemd-coredump, apport) is
    given them under any limit except 1. The hard limit stays, for who wants to debug a crash.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 1 if most == resource.RLIM_INFINITY else min(1, most)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, most))
