"""Ours. Products are timed as the wire sees them: encrypt, product and decrypt take and give bytes."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.worker import Matrices, Steps, answer, main, peak_mb, save_result

PACKAGES = ("numpy", "gmpy2", "cryptography", "grpcio", "tenseal", "torch")
FACTOR_BITS = 17


def psi(request: dict[str, Any]) -> dict[str, Any]:
    """Two processes of a task: gRPC, mutual TLS, transcript. From ids in memory to both parties' results."""
    from benchmarks.psi_processes import run

    found, steps = run(request["ids"]), Steps(1)
    steps.add("psi", found["seconds"], found["cpu_seconds"], bytes=round(found["megabytes"] * 1e6))
    peak = {
        "host": found["host_peak_mb"],
        "collaborator": found["collaborator_peak_mb"],
        "a party's workers": found["workers_peak_mb"],
    }
    return answer(request, "ours", PACKAGES, steps, peak, intersection=found["intersection"])


def product(request: dict[str, Any]) -> dict[str, Any]:
    """From stocked pools, as in training; what fills them is "prepare"."""
    import numpy as np

    from protocols.he.bfv import BfvBackend
    from protocols.he.interface import MatrixShape, as_ring, as_signed
    from protocols.he.paillier import PaillierBackend
    from protocols.he.paillier_parameters import PARAMETER_SETS

    parameters = f"paillier-{request['key_bits']}"
    backend = PaillierBackend(PARAMETER_SETS[parameters]) if request["case"] == "paillier" else BfvBackend()
    given, steps = Matrices(request), Steps(request["repeats"])
    shape = MatrixShape(request["m"], request["k"], request["n"], FACTOR_BITS)
    factor = np.array(given.factor, dtype=np.int64)
    matrix, addend = (as_ring(np.array(each, dtype=np.int64)) for each in (given.matrix, given.addend))
    owner = backend.generate()
    public = backend.load_public(owner.public_key())
    steps.measure("prepare encrypt", lambda: owner.prepare(shape))
    steps.measure("prepare product", lambda: public.prepare(shape))
    for side in (owner, public):
        while side.prepare(shape) < request["repeats"]:  # so that every call below finds a full stock
            pass

    def size(bundle: Any) -> int:
        return sum(map(len, bundle.parts))

    sent = steps.measure("encrypt", lambda: owner.encrypt(matrix, shape), size=size)
    operand = steps.measure("load", lambda: public.load_operand(sent, shape))
    reply = steps.measure("product", lambda: public.multiply_add(factor, operand, addend, shape), size=size)
    result = steps.measure("decrypt", lambda: owner.decrypt(reply, shape))
    save_result(request, as_signed(result).tolist())
    return answer(request, "ours", PACKAGES, steps, {"both": peak_mb()}, parameters=backend.parameters.name)


def between_two(request: dict[str, Any]) -> dict[str, Any]:
    """The product between two processes."""
    from benchmarks.peers.ours import two_party_product

    return two_party_product.measure(request, PACKAGES)


if __name__ == "__main__":
    cases = {"psi": psi, "paillier": product, "bfv": product, "cheetah": between_two}
    main(lambda request: cases[request["case"]](request))
