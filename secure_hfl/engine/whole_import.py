"""Imports that nothing may interrupt: a module that was imported by half stays broken for the whole process."""

from __future__ import annotations

import threading
from importlib import import_module

LATE = "torch._dynamo"
"""The first optimizer of a process imports it, for a second or more, in the middle of a user's method."""


def import_whole(name: str = LATE) -> None:
    """Import a module in a thread of its own, which Ctrl-C and `Interrupter` do not reach, and wait for it.

    An import that an interruption breaks off leaves modules behind that later imports find half made: every optimizer
    of later tasks in the same process, or of a notebook's next cell, would then fail.
    """
    thread = threading.Thread(target=import_module, args=(name,), name=f"import {name}")
    thread.start()
    thread.join()
