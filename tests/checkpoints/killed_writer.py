"""Kills processes that save checkpoints, and looks at what they leave. Prints how often it did so, as JSON.

    killed_writer.py DIRECTORY

Processes are forked here, where no thread runs.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from protocols.core.envelope import Phase, Place
from secure_hfl import files
from secure_hfl.checkpoints import store
from secure_hfl.checkpoints.store import CheckpointStore

OWNER = {"task": "a1b2"}
TRACED = (files.__file__, store.__file__)


def save(into: CheckpointStore, number: int, size: int) -> None:
    """Checkpoint `number`, of `size` bytes."""
    into.save(str(number).encode(), Place(Phase.TRAIN, 1, number), {"number": number, "data": np.zeros(size, np.uint8)})


def forked(work: Callable[[], None]) -> int:
    """A child that does this, then ends."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return child


def was_killed(child: int) -> bool:
    """Wait for it."""
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a writer failed")
    return os.WIFSIGNALED(status)


def save_until_line(into: CheckpointStore, number: int, last: int) -> None:
    """Save a checkpoint, but die before the `last`th line of our code."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    save(into, number, 1000)
    sys.settrace(None)


def parts(directory: Path) -> int:
    """Files that are half written."""
    return len(list(directory.glob("*.part")))


def check(into: CheckpointStore, directory: Path, at_least: int) -> tuple[int, int]:
    """What is left can be used, and the next save cleans up.

    Returns:
        The number of the newest one now, and how many files were half written.
    """
    found = [int(saved.tag) for saved in into.available()]
    left = parts(directory)
    assert found, "nothing is left"
    assert len(found) == 2 or found == [1], found
    assert found[0] >= at_least, "a checkpoint that was saved is lost"
    assert into.load(str(found[0]).encode()).state["number"] == found[0]
    last = found[0] + 1
    save(into, last, 10)
    assert [int(saved.tag) for saved in into.available()] == [last, last - 1]
    assert sorted(os.listdir(directory)) == sorted(f"checkpoint-{number}.bin" for number in (last, last - 1))
    return last, left


def kill_at_every_line(directory: Path) -> tuple[int, int]:
    """How many lines a save has, and after how many of them a half-written file was left."""
    into = CheckpointStore(directory, OWNER)
    save(into, 1, 1000)
    save(into, 2, 1000)
    line, last, half = 0, 2, 0
    while True:
        line += 1
        if not was_killed(forked(lambda: save_until_line(into, last + 1, line))):  # noqa: B023 - it runs now
            return line - 1, half
        last, left = check(into, directory, at_least=last)
        half += left


def kill_at_random(directory: Path, times: int) -> int:
    """Of writers that save in a loop. Returns how many of them left a half-written file."""
    chance, half = random.Random(7), 0

    def save_in_a_loop(into: CheckpointStore, out: int) -> None:
        for number in range(1, 10**6):
            save(into, number, 2_000_000)
            os.write(out, b".")

    for _ in range(times):
        into = CheckpointStore(directory, OWNER)
        into.clear()
        reader, writer = os.pipe()
        child = forked(lambda: save_in_a_loop(into, writer))  # noqa: B023 - it runs now
        os.close(writer)
        os.read(reader, 1)
        time.sleep(0.02 * chance.random())
        os.kill(child, signal.SIGKILL)
        assert was_killed(child)
        saved = 1 + len(os.read(reader, 1 << 16))
        os.close(reader)
        half += check(into, directory, at_least=saved)[1]
    return half


if __name__ == "__main__":
    (root,) = sys.argv[1:]
    lines, left = kill_at_every_line(Path(root) / "lines")
    left += kill_at_random(Path(root) / "random", 20)
    sys.stdout.write(json.dumps({"lines": lines, "random": 20, "parts": left}))
