"""The matrix product of spu's Cheetah protocol: two processes over loopback TCP, each with all cores.

Party 0 has X [m, k] and party 1 has M [k, n], as integers of the 64-bit ring; both end with a share of X M. Nothing is
truncated, so no oblivious transfer is needed: it is the protocol's product alone, and it is exact.

    setup       link, runtime, keys and the first product
    product     a product after that
"""

from __future__ import annotations

import base64
import time
from typing import Any

from benchmarks.peers.two_parties import PartySteps, bytes_sent, is_party, joined, rank, run_parties
from benchmarks.peers.worker import Matrices, answer, main, save_result

MODULE = "benchmarks.peers.spu.cheetah"
NAMES = ["x", "m"]


def party(request: dict[str, Any]) -> dict[str, Any]:
    """One of the two, in its own process."""
    import jax
    import numpy as np
    from spu import api, libspu
    from spu.utils import frontend

    jax.config.update("jax_enable_x64", True)  # else integers have 32 bits
    config = libspu.RuntimeConfig(protocol=libspu.ProtocolKind.CHEETAH, field=libspu.FieldType.FM64)
    config.experimental_enable_colocated_optimization = True  # a factor stays whole with its owner, and is not shared
    given, io, secret = Matrices(request), api.Io(2, config), libspu.Visibility.VIS_SECRET
    factors = [np.array(each, dtype=np.int64) for each in (given.factor, given.matrix)]
    inputs = [io.make_shares(each, secret, owner_rank=owner)[rank()] for owner, each in enumerate(factors)]
    program, _ = frontend.compile(
        frontend.Kind.JAX, jax.numpy.matmul, factors, {}, NAMES, [secret, secret], lambda outputs: ["z"]
    )
    description = libspu.link.Desc()
    for index, port in enumerate(request["ports"]):
        description.add_party(f"party-{index}", f"127.0.0.1:{port}")

    link = libspu.link.create_brpc(description, rank())  # waits for the other, who compiles as well
    link.barrier()
    sent, wall, cpu = bytes_sent(), time.perf_counter(), time.process_time()
    runtime = api.Runtime(link, config)
    for name, each in zip(NAMES, inputs):
        runtime.set_var(name, each)
    runtime.run(program)
    link.barrier()
    steps = PartySteps(lambda go_on: link.broadcast("y" if go_on else "n", 0) in ("y", b"y"))
    steps.add("setup", time.perf_counter() - wall, time.process_time() - cpu, bytes_sent() - sent)
    steps.measure("product", request["repeats"], lambda: runtime.run(program), lambda: None)
    share = runtime.get_var("z")
    link.barrier()
    link.stop_link()
    chunks = [base64.b64encode(chunk).decode() for chunk in share.share_chunks]
    return steps.answer(meta=base64.b64encode(share.meta).decode(), chunks=chunks)


def product(request: dict[str, Any], answers: list[dict[str, Any]]) -> list[list[int]]:
    """X M + R from both shares of X M."""
    import numpy as np
    from spu import api, libspu

    config = libspu.RuntimeConfig(protocol=libspu.ProtocolKind.CHEETAH, field=libspu.FieldType.FM64)
    shares = []
    for each in answers:
        share = libspu.Share()
        share.meta = base64.b64decode(each["meta"])
        share.share_chunks = [base64.b64decode(chunk) for chunk in each["chunks"]]
        shares.append(share)
    found = api.Io(2, config).reconstruct(shares) + np.array(Matrices(request).addend)
    result: list[list[int]] = found.tolist()
    return result


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Start both, wait, put their answers together."""
    answers, logs = run_parties(request, MODULE)
    save_result(request, product(request, answers))
    peak = {"factor's owner": answers[0]["peak_mb"], "matrix's owner": answers[1]["peak_mb"]}
    packing = "yes" if "packing=enabled" in "".join(logs) else "no"
    return answer(request, "spu", ("spu", "jax"), joined(answers), peak, packing=packing)


if __name__ == "__main__" and is_party():
    main(party)
