"""Every task of a process has a log of its own."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.harness.limits import seconds
from secure_hfl.log import close_task_log, log_traceback, logger, of_this_task, open_task_log

QUIET = 20.0


def in_thread(function: Any) -> None:
    """Run it in a new thread, to its end."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def logged(directory: Path, name: str, both: threading.Barrier) -> None:
    """A task's thread, with helper threads that do and do not say whose they are."""
    path = directory / name / "log.txt"
    path.parent.mkdir()
    handler = open_task_log(path)
    both.wait(seconds(QUIET))
    logger.warning(f"{name} itself")
    in_thread(of_this_task(lambda: logger.warning(f"{name} helper")))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(of_this_task(lambda n: logger.warning(f"{name} pool {n}")), range(2)))
    in_thread(lambda: logger.warning(f"{name} stray"))
    logging.getLogger("secure_hfl.transport.server").warning(f"{name} module")
    log_traceback(handler, ValueError(f"{name} error"))
    both.wait(seconds(QUIET))
    close_task_log(handler)
    logger.warning(f"{name} afterwards")


def test_a_line_is_in_its_own_tasks_log_only(tmp_path: Path) -> None:
    both = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(logged, tmp_path, name, both) for name in ("left", "right")]:
            done.result(seconds(QUIET))
    for name, other in (("left", "right"), ("right", "left")):
        text = (tmp_path / name / "log.txt").read_text()
        for said in ("itself", "helper", "pool 0", "pool 1", "module", "error"):
            assert f"{name} {said}" in text
        for absent in (f"{name} stray", f"{name} afterwards", other):
            assert absent not in text


def test_a_task_alone_has_every_line_in_its_log(tmp_path: Path) -> None:
    handler = open_task_log(tmp_path / "log.txt")
    in_thread(lambda: logger.warning("stray"))
    close_task_log(handler)
    logger.warning("afterwards")
    assert (tmp_path / "log.txt").read_text().count("\n") == 1
