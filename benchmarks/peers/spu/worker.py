"""spu: its ECDH-PSI (`psi`), and the matrix product of its Cheetah protocol (`cheetah`)."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.spu import cheetah, psi
from benchmarks.peers.worker import main


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """The case that is asked for."""
    return {"psi": psi.measure, "cheetah": cheetah.measure}[request["case"]](request)


if __name__ == "__main__":
    main(measure)
