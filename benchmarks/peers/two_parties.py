"""For workers whose peers are two processes: starts both, and times what they do together. Standard library only.

A party is `python -m MODULE parties.json RANK` and prints one line of JSON. Of a call that both make at once, the wall
time is the slower party's and the processor time is the sum.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.worker import SECONDS_TO_REPEAT, Steps, peak_mb

SETTLE_SECONDS = 0.2
"""Until the last bytes are acknowledged, and so counted."""


def is_party() -> bool:
    """Whether this process is one of the two."""
    return len(sys.argv) > 2


def rank() -> int:
    """0 or 1."""
    return int(sys.argv[2])


def run_parties(request: dict[str, Any], module: str) -> tuple[list[dict[str, Any]], list[str]]:
    """What both parties answered, and their logs. Ends this process if one fails."""
    directory = Path(request["directory"])
    path = directory / "parties.json"
    path.write_text(json.dumps({**request, "ports": free_ports()}))
    running = []
    for index in (0, 1):
        with open(directory / f"log_{index}.txt", "wb") as log:
            command = [sys.executable, "-m", module, str(path), str(index)]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log))
    lines = [process.communicate()[0] for process in running]
    logs = [(directory / f"log_{index}.txt").read_text() for index in (0, 1)]
    for process, text in zip(running, logs):
        if process.returncode:
            sys.exit(text.strip()[-2000:])
    return [json.loads(line) for line in lines], logs


def free_ports() -> list[int]:
    """Two ports that nobody listens on."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in (first, second)]


def bytes_sent() -> int:
    """What the peer has acknowledged on this process's TCP connections: no library here counts them for Python."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            connection = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue  # no socket, or the descriptor of the listing
        with connection:
            if connection.family == socket.AF_INET and connection.type == socket.SOCK_STREAM:
                information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                total += int.from_bytes(information[120:128], sys.byteorder)  # tcpi_bytes_acked
    return total


class PartySteps:
    """One party's times of what both do at once.

    Args:
        agree: waits for the other party, and gives both what party 0 said.
    """

    def __init__(self, agree: Callable[[bool], bool]) -> None:
        self._agree = agree
        self._steps: dict[str, dict[str, Any]] = {}

    def add(self, name: str, seconds: float, cpu_seconds: float, sent: int) -> None:
        """A step that was done once."""
        self._steps[name] = {"seconds": [seconds], "cpu_seconds": [cpu_seconds], "sent": sent}

    def measure(self, name: str, repeats: int, work: Callable[[], Any], before: Callable[[], Any]) -> None:
        """Do a step several times; `before`, not timed, precedes each. Bytes are of one time."""
        seconds: list[float] = []
        cpu_seconds: list[float] = []
        time.sleep(SETTLE_SECONDS)
        sent, began = bytes_sent(), time.perf_counter()
        while self._agree(not seconds or (len(seconds) < repeats and time.perf_counter() - began < SECONDS_TO_REPEAT)):
            before()
            self._agree(True)
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            seconds.append(time.perf_counter() - wall)
            cpu_seconds.append(time.process_time() - cpu)
        time.sleep(SETTLE_SECONDS)
        sent = round((bytes_sent() - sent) / len(seconds))
        self._steps[name] = {"seconds": seconds, "cpu_seconds": cpu_seconds, "sent": sent}

    def answer(self, **more: Any) -> dict[str, Any]:
        """This party's line."""
        return {"steps": self._steps, "peak_mb": peak_mb(), **more}


def joined(answers: list[dict[str, Any]]) -> Steps:
    """Both parties' steps as the driver wants them: medians over the times each was done."""
    first, second = (answer["steps"] for answer in answers)
    steps = Steps(1)
    for name in first:
        walls = map(max, first[name]["seconds"], second[name]["seconds"])
        cpus = [a + b for a, b in zip(first[name]["cpu_seconds"], second[name]["cpu_seconds"])]
        sent = first[name]["sent"] + second[name]["sent"]
        steps.add(name, statistics.median(walls), statistics.median(cpus), bytes=sent)
    return steps
