"""openmined-psi: client and server as two processes, each with one thread, as the library has it.

The raw data structure keeps every point, so the result is exact, as ours is (its others have false positives). Setup
and request are made at the same time; the rest waits for them. Only the client learns the intersection.
"""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.worker import Steps, answer, ids_in, main, peak_mb, save_result

FALSE_POSITIVES = 1e-9
"""Asked for by the interface; the raw data structure has none."""


def serve(connection: Any, path: str) -> None:
    """The server's process: setup, then one response."""
    from private_set_intersection.python import DataStructure, Request, server

    ids = ids_in(path)
    connection.send_bytes(b"ready")
    connection.recv_bytes()
    cpu = time.process_time()
    own = server.CreateWithNewKey(True)
    setup = own.CreateSetupMessage(FALSE_POSITIVES, len(ids), ids, DataStructure.RAW)
    connection.send_bytes(setup.SerializeToString())
    request = Request()
    request.ParseFromString(connection.recv_bytes())
    connection.send_bytes(own.ProcessRequest(request).SerializeToString())
    connection.send([time.process_time() - cpu, peak_mb()])


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """The client's process is this one."""
    directory = Path(request["directory"])
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, str(directory / "ids_1.csv")))
    process.start()

    from private_set_intersection.python import Response, ServerSetup, client

    ids = ids_in(str(directory / "ids_0.csv"))
    connection.recv_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    connection.send_bytes(b"go")
    own = client.CreateWithNewKey(True)
    question = own.CreateRequest(ids).SerializeToString()
    setup, response = ServerSetup(), Response()
    first = connection.recv_bytes()
    connection.send_bytes(question)
    second = connection.recv_bytes()
    setup.ParseFromString(first)
    response.ParseFromString(second)
    shared = own.GetIntersection(setup, response)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    server_cpu, server_peak = connection.recv()
    process.join()
    save_result(request, [ids[index] for index in shared])
    steps = Steps(1)
    steps.add("psi", wall, cpu + server_cpu, bytes=len(first) + len(question) + len(second))
    peak = {"host": peak_mb(), "collaborator": server_peak}
    return answer(request, "openmined_psi", ("openmined-psi",), steps, peak, intersection=len(shared))


if __name__ == "__main__":
    main(measure)
