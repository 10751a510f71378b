"""spu's ECDH-PSI: two processes over loopback TCP, each with all cores.

The worker starts the parties as `python -m benchmarks.peers.spu.psi request.json RANK`. Times are the receiver's:

    psi         psi_execute as a whole: reads and checks its CSV file, runs the protocol, sorts, writes the result
    protocol    of that, from the first point to the last comparison, by the time stamps of its own log

Variants are its curves: curve25519, its fastest, takes SHA-256 of an id for a point; elligator2 maps it to the curve.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.two_parties import bytes_sent, is_party, rank, run_parties
from benchmarks.peers.worker import Steps, answer, ids_in, main, peak_mb, save_result

MODULE = "benchmarks.peers.spu.psi"
CURVES = {"curve25519": "CURVE_25519", "elligator2": "CURVE_25519_ELLIGATOR2"}
_STAMP = r"\[([-\d]+ [:.\d]+)\].*"


def party(request: dict[str, Any]) -> dict[str, Any]:
    """One of the two, in its own process."""
    from spu import psi
    from spu.libspu import link

    own, directory = rank(), Path(request["directory"])
    description = link.Desc()
    for index, port in enumerate(request["ports"]):
        description.add_party(f"party-{index}", f"127.0.0.1:{port}")
    context = link.create_brpc(description, own)
    curve = getattr(psi.EllipticCurveType, CURVES[request["variant"]])
    config = psi.PsiExecuteConfig(
        protocol_conf=psi.PsiProtocolConfig(
            protocol=psi.PsiProtocol.PROTOCOL_ECDH,
            receiver_rank=0,
            broadcast_result=True,
            ecdh_params=psi.EcdhParams(curve=curve),
        ),
        input_params=psi.InputParams(path=str(directory / f"ids_{own}.csv"), selected_keys=["id"], keys_unique=True),
        output_params=psi.OutputParams(path=str(directory / f"out_{own}.csv"), disable_alignment=True),
    )
    context.barrier()
    sent, wall, cpu = bytes_sent(), time.perf_counter(), time.process_time()
    report = psi.psi_execute(config, context)
    wall, cpu, sent = time.perf_counter() - wall, time.process_time() - cpu, bytes_sent() - sent
    context.stop_link()
    found = {"seconds": wall, "cpu_seconds": cpu, "bytes_sent": sent, "peak_mb": peak_mb()}
    return {**found, "intersection": report.intersection_count}


def logged_seconds(log: str) -> float:
    """From the start of the receiver's PreProcess to the end of its PostProcess."""
    start, end = (
        datetime.fromisoformat(match[1])
        for words in (r"EcdhPsiReceiver::PreProcess\] start", r"EcdhPsiReceiver::PostProcess\] end")
        if (match := re.search(_STAMP + words, log))
    )
    return (end - start).total_seconds()


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Start both, wait, put their answers together."""
    answers, logs = run_parties(request, MODULE)
    for trace in re.findall(r"Trace has been written to (/\S+\.trace)", "".join(logs)):
        Path(trace).unlink(missing_ok=True)  # it writes them to /tmp, wherever temporary files belong
    receiver, sender = answers
    output = Path(request["directory"]) / "out_0.csv"
    save_result(request, [each.strip('"') for each in ids_in(str(output))])
    steps = Steps(1)
    cpu = receiver["cpu_seconds"] + sender["cpu_seconds"]
    wire = receiver["bytes_sent"] + sender["bytes_sent"]
    steps.add("psi", receiver["seconds"], cpu, bytes=wire)
    steps.add("protocol", logged_seconds(logs[0]))
    peak = {"host": receiver["peak_mb"], "collaborator": sender["peak_mb"]}
    kernels = "multi-buffer (IPPCP)" if "Using IPPCP" in logs[0] else "one at a time"
    return answer(request, "spu", ("spu",), steps, peak, intersection=receiver["intersection"], kernels=kernels)


if __name__ == "__main__" and is_party():
    main(party)
